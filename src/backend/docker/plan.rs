//! What is known of a session's container when the process starts.

use std::path::PathBuf;
use std::time::Duration;

use super::inquiry::Inquiry;
use crate::config::Daemon;
use crate::dind::progress::Progress;
use crate::dock::dial::Endpoint;
use crate::dock::spec::Spec;
use crate::docker_cli::DockerCli;
use crate::failure::{Code, Failure};
use crate::session::client::identity::Client;

/// All that a start needs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The container. Whose it is only holds where `client` is known.
    pub spec: Spec,
    /// `None`: the first message will say.
    pub client: Option<Client>,
    pub endpoint: Endpoint,
    /// Whoever can say why the daemon does not answer.
    pub inquiry: Option<Inquiry>,
    /// Where what a package is baked on may be.
    pub host: Option<Daemon>,
    /// Who pulls it from a registry.
    pub cli: DockerCli,
    /// Where it is told that an image is baked or fetched: nothing that blocks.
    pub progress: Progress,
    /// The folder of berth's state, where one that fetches an image waits for another.
    pub state: PathBuf,
    /// Whether the daemon is to ask this machine's nameservers.
    pub tell_nameservers: bool,
    /// Whether an image that the daemon lacks is fetched: there is no configuration that `berth up` could have it from.
    pub fetch: bool,
}

impl Plan {
    /// The container of a client that is known by now.
    pub fn spec_of(&self, client: &Client) -> Spec {
        Spec { client: client.as_str().to_owned(), ..self.spec.clone() }
    }
}

/// A part of the start, for as long as `start_timeout` lets it take.
pub(super) async fn in_time<T>(
    timeout: Duration,
    what: &str,
    server: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        Err(Failure {
            code: Code::Unavailable,
            text: format!("the {what} of `{server}` was not there within {timeout:?}"),
            next: Some("look at the DinD daemon with `berth status`, or raise `start_timeout`".to_owned()),
        })
    })
}
