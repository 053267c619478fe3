//! What a start needs to know of its session's server, wherever that runs.

use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::ceiling::{self, Asks, Ceilings};
use crate::catalogue::Key;
use crate::config::Server;
use crate::dind::progress::Progress;
use crate::dock::owner::{Parent, new_session};
use crate::dock::spec::Spec;
use crate::failure::Failure;
use crate::secrets::Secrets;
use crate::session::client::identity::Client;

/// A server of a session.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The container. Whose it is only holds where `client` is known.
    pub spec: Spec,
    /// What of its server's environment is read while it starts.
    pub secrets: Option<Secrets>,
    /// `None`: the first message will say.
    pub client: Option<Client>,
    /// The id of the image that its server was started of last.
    pub ran: Arc<Mutex<String>>,
    /// How many containers the session has been given a name for.
    pub containers: Arc<AtomicU32>,
    /// It is the session's beginning: no server has been there yet.
    pub is_first: bool,
    /// Whether somebody has configured it; what nobody has comes from a command line alone.
    pub is_configured: bool,
    /// Where it is told that an image is baked or fetched: nothing that blocks.
    pub progress: Progress,
    /// The folder of berth's state, where one that fetches an image waits for another.
    pub state: PathBuf,
    pub replenishing: Replenishing,
    pub ceilings: Ceilings,
    /// The place below the ceilings that this server's containers have, one after another.
    pub held: Arc<Mutex<Option<ceiling::Place>>>,
}

/// When the next session's container is put on standby, beside what the server's settings say.
#[derive(Debug, Clone, Copy)]
pub struct Replenishing {
    /// At the first use already, for somebody has said so. What nobody has configured has to be used twice.
    pub at_first_use: bool,
    /// The cap on all that stands by, where the configuration says one.
    pub limit: Option<u32>,
}

impl Plan {
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
