//! What a start needs to know of its session's container.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::again::Setback;
use super::inquiry::Inquiry;
use super::peers::Peers;
use super::publish::Published;
use crate::backend::ceiling::{self, Asks, Ceilings};
use crate::catalogue::Key;
use crate::config::{Daemon, EnvVar, Server};
use crate::dind::images::room::Shelf;
use crate::dind::progress::Progress;
use crate::dock::dial::Endpoint;
use crate::dock::door::Doors;
use crate::dock::owner::{Parent, new_session};
use crate::dock::peers::NetworkOf;
use crate::dock::place::Place;
use crate::dock::spec::Spec;
use crate::docker_cli::DockerCli;
use crate::failure::{Code, Failure};
use crate::secrets::Secrets;
use crate::session::client::identity::Client;

/// All that a start needs.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, answered once")]
#[derive(Debug, Clone)]
pub struct Plan {
    /// The container. Whose it is only holds where `client` is known.
    pub spec: Spec,
    /// What of its server's environment is read while it starts.
    pub secrets: Option<Secrets>,
    /// `None`: the first message will say.
    pub client: Option<Client>,
    pub endpoint: Endpoint,
    /// The id of the image that its server was started of last.
    pub ran: Arc<Mutex<String>>,
    /// How many containers the session has been given a name for.
    pub containers: Arc<AtomicU32>,
    /// It is the session's beginning: no server has been there yet.
    pub is_first: bool,
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
    /// The daemon's folder of doors, where it has one.
    pub doors: Option<Doors>,
    /// What berth is to be told to clear away what a session has reserved.
    pub clear: Vec<OsString>,
    /// Whether the daemon is to ask this machine's nameservers.
    pub tell_nameservers: bool,
    /// The session's, over all of its servers; `None`: it publishes no port.
    pub published: Option<Arc<Published>>,
    /// Those that its server shares a network with; `None`: it has its own.
    pub peers: Option<Peers>,
    /// Whether an image that the daemon lacks is fetched: there is no configuration that `berth up` could have it from.
    pub fetch: bool,
    /// Whether a registry is asked for a newer image once the session runs (`Config::may_renew`).
    pub renew: bool,
    pub replenishing: Replenishing,
    /// What room there is for an image that the daemon lacks.
    pub shelf: Arc<Shelf>,
    pub ceilings: Ceilings,
    /// The place below the ceilings that this server's containers have, one after another.
    pub held: Arc<Mutex<Option<ceiling::Place>>>,
}

/// When the next session's container is put on standby, beside what the server's settings say.
#[derive(Debug, Clone, Copy)]
pub struct Replenishing {
    /// At the first use already, for somebody has said so. What nobody has configured has to be used twice.
    pub at_first_use: bool,
    /// The daemon's cap, where the configuration says one.
    pub limit: Option<u32>,
}

impl Plan {
    /// Its server shares a network with these.
    pub fn share(&mut self, peers: &Peers) {
        self.peers = Some(peers.clone());
        self.spec.network_of = NetworkOf::joined();
    }

    /// Takes a place for the server's container, unless there is one from the container before.
    ///
    /// # Errors
    /// Which ceiling there is no room below.
    pub async fn admit(&self, client: &Client) -> Result<(), Failure> {
        let Server { name, settings, .. } = &self.spec.server;
        let has_place = || self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if has_place() {
            return Ok(());
        }
        let asks = Asks {
            process: process()?,
            client: client.as_str().to_owned(),
            server: name.clone(),
            memory: settings.memory,
        };
        let place = self.ceilings.admit(&asks).await?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = place;
        Ok(())
    }

    /// The container of a client that is known by now.
    pub fn spec_of(&self, client: &Client) -> Spec {
        Spec { client: client.as_str().to_owned(), parent: Some(Parent::own()), ..self.spec.clone() }
    }
}

/// What tells this process from all others, also from those of another container with its numbers.
fn process() -> Result<String, Failure> {
    static PROCESS: OnceLock<String> = OnceLock::new();
    if let Some(known) = PROCESS.get() {
        return Ok(known.clone());
    }
    let fresh = new_session()?;
    Ok(PROCESS.get_or_init(|| fresh).clone())
}

/// What the server's answers may depend on, for the catalogue.
pub fn key(spec: &Spec, client: &str, revision: &str, capabilities: &str) -> Key {
    let Server { name, settings, .. } = &spec.server;
    // What is kept back is in no list.
    let rules = format!("{:?}{:?}", settings.tools, settings.deny_tools);
    Key {
        server: name.clone(),
        spec: spec.hash(),
        env: spec.env.iter().cloned().chain([rules]).collect(),
        client: client.to_owned(),
        revision: revision.to_owned(),
        capabilities: capabilities.to_owned(),
    }
}

/// What would be created, as the Engine API would be told.
pub fn preview(daemon: &str, spec: &Spec, env: &[EnvVar]) -> serde_json::Value {
    let Server { command, args, recipe, .. } = &spec.server;
    let command = match (command, args) {
        (Some(command), args) => json!([command.as_slice(), args.as_deref().unwrap_or_default()].concat()),
        (None, Some(args)) => json!(["the image's ENTRYPOINT", args]),
        (None, None) => json!("the image's ENTRYPOINT and CMD"),
    };
    let mut plan = json!({
        "daemon": daemon,
        "name": format!("mcp-{}-<n>", spec.client),
        "container": spec.create_body(&Place::example()),
        "streams": spec.way().as_str(),
        "exec": { "command": command, "env": env.iter().map(ToString::to_string).collect::<Vec<_>>() },
    });
    if let Some(recipe) = recipe {
        let package = &recipe.package;
        plan["bake"] = json!({
            "runner": package.runner.as_str(),
            "packages": package.packages,
            "on": recipe.base(),
            "container": recipe.container(),
        });
    }
    plan
}

/// A part of the start, for as long as `start_timeout` lets it take.
pub(super) async fn in_time<T>(
    timeout: Duration,
    what: &str,
    server: &str,
    work: impl Future<Output = Result<T, Setback>>,
) -> Result<T, Setback> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        Err(Setback::Lasting(Failure {
            code: Code::Unavailable,
            text: format!("the {what} of `{server}` was not ready within {timeout:?}"),
            next: Some("look at the DinD daemon with `berth status`, or raise `start_timeout`".to_owned()),
        }))
    })
}
