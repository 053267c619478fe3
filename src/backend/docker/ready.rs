//! The Docker daemon as a session knows it: who starts its servers.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::oneshot;

use super::peers::Peers;
use super::plan::{self, DockerPlan};
use super::start::start;
use super::upstream::DockerUpstream;
use crate::backend::plan::Plan;
use crate::backend::publish::{Published, Roster};
use crate::backend::{Backend, Ready};
use crate::config::{Config, EnvVar, Home, Server};
use crate::dind;
use crate::dock::docker::Engine;
use crate::dock::peers::NetworkOf;
use crate::dock::roster;
use crate::dock::spec::Spec;
use crate::failure::{Code, Failure};
use crate::observe::trace::Trace;
use crate::values;

/// Servers in containers of the configuration's daemon.
#[derive(Debug, Clone, Copy)]
pub struct Docker {
    /// Of the environment.
    pub lookup: fn(&str) -> Option<String>,
}

impl Backend for Docker {
    type Ready = DockerPlan;

    fn ready(&self, plan: Plan, config: &Config, home: &Home) -> Result<DockerPlan, Failure> {
        is_of_daemon(&plan.spec)?;
        DockerPlan::of(plan, config, home, self.lookup)
    }

    fn preview(&self, spec: Spec, env: &[EnvVar], config: &Config, home: &Home) -> Result<Value, Failure> {
        is_of_daemon(&spec)?;
        let spec = plan::in_daemon(spec, config, home)?;
        Ok(plan::preview(&dind::daemon(config, home).address, &spec, env))
    }
}

/// A session that began without a server of a cluster knows none.
fn is_of_daemon(spec: &Spec) -> Result<(), Failure> {
    let Server { name, settings, .. } = &spec.server;
    match settings.backend {
        values::Backend::Docker => Ok(()),
        values::Backend::Kubernetes => Err(Failure {
            code: Code::Unavailable,
            text: format!("the server `{name}` runs in a cluster, which this session does not know"),
            next: Some("start the session again".to_owned()),
        }),
    }
}

impl Ready for DockerPlan {
    type Upstream = DockerUpstream;

    fn plan(&self) -> &Plan {
        self
    }

    fn plan_mut(&mut self) -> &mut Plan {
        self
    }

    fn begin(&mut self, trace: &Trace) {
        let daemon = Arc::new(Daemon(Engine::new(self.endpoint.clone())));
        self.published = Published::of(&self.spec, daemon, self.state.clone(), trace.clone()).map(Arc::new);
    }

    fn share(&mut self, peers: &Peers) -> Result<(), Failure> {
        self.peers = Some(peers.clone());
        self.spec.network_of = NetworkOf::joined();
        Ok(())
    }

    async fn start(
        self,
        said: oneshot::Receiver<Option<String>>,
        trace: Trace,
    ) -> Result<DockerUpstream, Failure> {
        Box::pin(start(self, said, trace)).await
    }
}

/// Knows the sessions of its containers.
#[derive(Debug)]
struct Daemon(Engine);

impl Roster for Daemon {
    fn session(&self, id: String) -> BoxFuture<'_, Option<(String, String)>> {
        Box::pin(async move {
            let entries = roster::list_with_owners(&self.0).await.ok()?;
            let entry = entries.into_iter().find(|entry| entry.owner.session == id)?;
            Some((entry.name, entry.server))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn a_server_of_a_cluster_is_never_run_in_a_daemon() {
        let spec = |backend| {
            let mut settings = Settings::default();
            settings.backend = backend;
            let server = Server::from_image("i".parse().unwrap(), Vec::new(), &settings);
            Spec::new(server, "codex", "0")
        };
        assert_eq!(is_of_daemon(&spec(values::Backend::Docker)), Ok(()));
        let failure = is_of_daemon(&spec(values::Backend::Kubernetes)).unwrap_err();
        assert!(failure.text.contains("runs in a cluster"), "{failure}");
    }
}
