//! Whom a server is started for, as soon as that is known.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::plan::Plan;
use crate::failure::{Code, Failure};
use crate::session::client::identity::Client;

/// A message that has come is read by then.
const READ_WITHIN: Duration = Duration::from_millis(5);

/// Who is served, as soon as that is known.
#[derive(Debug)]
pub struct Caller {
    /// `None` once it has come, or never will.
    said: Option<oneshot::Receiver<Option<String>>>,
    client: Option<Client>,
    /// A client that has said nothing by then has no name. `None`: it must have one.
    until: Option<Instant>,
    server: String,
}

impl Caller {
    /// `said` gives the name in the client's first message.
    pub fn new(plan: &Plan, said: oneshot::Receiver<Option<String>>) -> Self {
        let settings = &plan.spec.server.settings;
        let until = (!settings.needs_name()).then(|| Instant::now() + settings.name_timeout);
        Self { said: Some(said), client: plan.client.clone(), until, server: plan.spec.server.name.clone() }
    }

    /// Whom. Cancel safe.
    ///
    /// # Errors
    /// It must have a name, and has left without one.
    pub async fn client(&mut self) -> Result<Client, Failure> {
        if self.client.is_none()
            && let Some(said) = &mut self.said
        {
            let name = match self.until {
                // What waited in the pipe while this process stood still is read first.
                Some(until) => {
                    let until = until.max(Instant::now() + READ_WITHIN);
                    let Ok(name) = tokio::time::timeout_at(until.into(), said).await else {
                        // The next try may know it.
                        return Ok(Client::from_message(None));
                    };
                    name
                }
                None => said.await,
            };
            self.said = None;
            let nameless = || self.until.map(|_| Client::from_message(None));
            self.client =
                name.map_or_else(|_| nameless(), |name| Some(Client::from_message(name.as_deref())));
        }
        self.client.clone().ok_or_else(|| Failure {
            code: Code::Usage,
            text: format!(
                "the client left without a word, and `{}` has a volume for each client",
                self.server
            ),
            next: Some("name the client with `--client`".to_owned()),
        })
    }
}
