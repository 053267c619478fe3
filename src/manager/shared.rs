//! What all parts of a manager know.

use std::sync::Arc;

use mcp_berth::config::{Config, Home};
use mcp_berth::dind;
use mcp_berth::dock::dial::Endpoint;
use mcp_berth::dock::docker::Engine;
use mcp_berth::failure::Failure;
use mcp_berth::observe::audit::Audit;
use tokio_util::sync::CancellationToken;

use crate::configured::{Configured, Read};
use crate::index::Index;
use crate::logins::Logins;
use crate::pods::Pods;
use crate::scale::Watch;
use crate::token::Token;
use crate::web::guard::Guard;
use crate::web::problem::Problem;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) configured: Arc<Configured>,
    pub(crate) home: Home,
    pub(crate) token: Token,
    pub(crate) audit: Audit,
    pub(crate) index: Index,
    pub(crate) logins: Arc<Logins>,
    pub(crate) watch: Watch,
    pub(crate) pods: Pods,
    /// The manager ends.
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// `berth.toml` as it is now.
    ///
    /// # Errors
    /// It has a mistake, or cannot be read.
    pub(crate) async fn config_now(&self) -> Result<Arc<Config>, Problem> {
        self.read().await?.all.map_err(Problem::unavailable)
    }

    /// The same as far as the daemon needs it.
    pub(crate) async fn config_of_daemon(&self) -> Result<Arc<Config>, Problem> {
        self.read().await?.of_daemon.map_err(Problem::unavailable)
    }

    async fn read(&self) -> Result<Read, Problem> {
        let configured = Arc::clone(&self.configured);
        let read = tokio::task::spawn_blocking(move || configured.now());
        read.await.map_err(|_| Problem::unavailable("the configuration was not read"))
    }

    /// Where the daemon of a configuration is.
    pub(crate) fn endpoint(&self, config: &Config) -> Result<Endpoint, Problem> {
        let endpoint = dind::endpoint(config, &self.home);
        endpoint.map_err(|error| Problem::unavailable(Failure::from(error).to_string()))
    }

    /// What all requests of a listener pass.
    pub(crate) fn guard(&self) -> Arc<Guard> {
        Guard::new(self.token.clone(), self.audit.clone(), Arc::clone(&self.logins))
    }

    /// The daemon of a configuration.
    pub(crate) fn engine(&self, config: &Config) -> Result<Engine, Problem> {
        self.endpoint(config).map(Engine::new)
    }
}

#[cfg(test)]
impl Shared {
    /// Of a test's manager, all of whose folders are in `folder`, with this `berth.toml`.
    pub(crate) fn of(folder: &std::path::Path, toml: &str) -> Arc<Self> {
        std::fs::write(folder.join("berth.toml"), toml).unwrap();
        let place = folder.to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| place.clone())).unwrap();
        Arc::new(Self {
            configured: Arc::new(Configured::new(home.clone(), None)),
            token: Token::random(),
            audit: Audit::of_manager(&home.state),
            index: Index::open(folder).unwrap(),
            logins: Arc::default(),
            watch: Watch::open(folder).unwrap(),
            pods: Pods::default(),
            stop: CancellationToken::new(),
            home,
        })
    }
}
