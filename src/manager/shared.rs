//! What all parts of a manager know.

use std::path::PathBuf;
use std::sync::Arc;

use mcp_berth::config::{Config, ConfigError, Home};
use mcp_berth::dind;
use mcp_berth::dock::docker::Engine;
use mcp_berth::failure::Failure;
use mcp_berth::observe::audit::Audit;
use tokio_util::sync::CancellationToken;

use crate::index::Index;
use crate::logins::Logins;
use crate::token::Token;
use crate::web::guard::Guard;
use crate::web::problem::Problem;

#[derive(Debug)]
pub(crate) struct Shared {
    /// As it was at the manager's start.
    pub(crate) config: Config,
    /// The file that `--config` named.
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) home: Home,
    pub(crate) token: Token,
    pub(crate) audit: Audit,
    pub(crate) index: Index,
    pub(crate) logins: Arc<Logins>,
    /// The manager ends.
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// `berth.toml` as it is now.
    ///
    /// # Errors
    /// It has a mistake, or cannot be read.
    pub(crate) async fn config_now(&self) -> Result<Config, Problem> {
        self.load(Config::load).await
    }

    /// The same as far as the daemon needs it: a mistake in a server must not keep a person from ending sessions.
    pub(crate) async fn config_of_daemon(&self) -> Result<Config, Problem> {
        match self.config_now().await {
            Err(problem) => self.load(Config::load_dind).await.map_err(|_| problem),
            loaded => loaded,
        }
    }

    async fn load(
        &self,
        load: impl FnOnce(&Home, Option<&std::path::Path>) -> Result<Config, ConfigError> + Send + 'static,
    ) -> Result<Config, Problem> {
        let (home, file) = (self.home.clone(), self.config_file.clone());
        let loading = tokio::task::spawn_blocking(move || {
            let mut config = load(&home, file.as_deref())?;
            dind::place::recall(&mut config, &home);
            Ok::<_, ConfigError>(config)
        });
        let loaded = loading.await.map_err(|_| Problem::unavailable("the configuration was not read"))?;
        loaded.map_err(|error| Problem::unavailable(error.to_string()))
    }

    /// What all requests of a listener pass.
    pub(crate) fn guard(&self) -> Arc<Guard> {
        Guard::new(self.token.clone(), self.audit.clone(), Arc::clone(&self.logins))
    }

    /// The daemon of a configuration.
    pub(crate) fn engine(&self, config: &Config) -> Result<Engine, Problem> {
        let endpoint = dind::endpoint(config, &self.home);
        Ok(Engine::new(endpoint.map_err(|error| Problem::unavailable(Failure::from(error).to_string()))?))
    }
}
