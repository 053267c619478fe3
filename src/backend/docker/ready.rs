//! The Docker daemon as a session knows it: who starts its servers.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use super::peers::Peers;
use super::plan::{self, DockerPlan};
use super::publish::Published;
use super::start::start;
use super::upstream::DockerUpstream;
use crate::backend::plan::Plan;
use crate::backend::{Backend, Ready};
use crate::config::{Config, EnvVar, Home};
use crate::dind;
use crate::dock::docker::Engine;
use crate::dock::spec::Spec;
use crate::failure::Failure;
use crate::observe::trace::Trace;

/// Servers in containers of the configuration's daemon.
#[derive(Debug, Clone, Copy)]
pub struct Docker {
    /// Of the environment.
    pub lookup: fn(&str) -> Option<String>,
}

impl Backend for Docker {
    type Ready = DockerPlan;

    fn ready(&self, plan: Plan, config: &Config, home: &Home) -> Result<DockerPlan, Failure> {
        DockerPlan::of(plan, config, home, self.lookup)
    }

    fn preview(&self, spec: Spec, env: &[EnvVar], config: &Config, home: &Home) -> Result<Value, Failure> {
        let spec = plan::in_daemon(spec, config, home)?;
        Ok(plan::preview(&dind::daemon(config, home).address, &spec, env))
    }
}

impl Ready for DockerPlan {
    type Upstream = DockerUpstream;

    fn plan(&self) -> &Plan {
        self.common()
    }

    fn plan_mut(&mut self) -> &mut Plan {
        self.common_mut()
    }

    fn begin(&mut self, trace: &Trace) {
        let (engine, state) = (Engine::new(self.endpoint.clone()), self.state.clone());
        self.published = Published::of(&self.spec, engine, state, trace.clone()).map(Arc::new);
    }

    fn share(&mut self, peers: &Peers) -> Result<(), Failure> {
        self.share(peers);
        Ok(())
    }

    async fn start(
        self,
        said: oneshot::Receiver<Option<String>>,
        trace: Trace,
    ) -> Result<DockerUpstream, Failure> {
        start(self, said, trace).await
    }
}
