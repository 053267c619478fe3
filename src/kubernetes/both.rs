//! Each server where its `backend` says: some of a session may be in containers, and others in pods.

use std::io;

use mcp_berth::backend::docker::peers::Peers;
use mcp_berth::backend::docker::plan::DockerPlan;
use mcp_berth::backend::docker::ready::Docker;
use mcp_berth::backend::docker::upstream::DockerUpstream;
use mcp_berth::backend::plan::Plan;
use mcp_berth::backend::{Backend, Ready};
use mcp_berth::config::{Config, EnvVar, Home};
use mcp_berth::dock::spec::Spec;
use mcp_berth::failure::Failure;
use mcp_berth::observe::trace::Trace;
use mcp_berth::session::upstream::{Exit, Output, Upstream};
use mcp_berth::values;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::either::Either;

use super::ready::{PodPlan, Pods};
use super::upstream::KubernetesUpstream;
use Somewhere::{Docker as InDocker, Pod as InPod};

/// Containers and pods.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Both {
    pub(crate) docker: Docker,
    pub(crate) pods: Pods,
}

/// A server that is ready to be started in one of them.
#[derive(Debug, Clone)]
pub(crate) enum Somewhere<D, P> {
    Docker(D),
    Pod(P),
}

impl Backend for Both {
    type Ready = Somewhere<DockerPlan, PodPlan>;

    fn ready(&self, plan: Plan, config: &Config, home: &Home) -> Result<Self::Ready, Failure> {
        Ok(match plan.spec.server.settings.backend {
            values::Backend::Docker => InDocker(self.docker.ready(plan, config, home)?),
            values::Backend::Kubernetes => InPod(self.pods.ready(plan, config, home)?),
        })
    }

    fn preview(&self, spec: Spec, env: &[EnvVar], config: &Config, home: &Home) -> Result<Value, Failure> {
        match spec.server.settings.backend {
            values::Backend::Docker => self.docker.preview(spec, env, config, home),
            values::Backend::Kubernetes => self.pods.preview(spec, env, config, home),
        }
    }
}

impl Ready for Somewhere<DockerPlan, PodPlan> {
    type Upstream = Somewhere<DockerUpstream, KubernetesUpstream>;

    fn plan(&self) -> &Plan {
        match self {
            InDocker(ready) => ready.plan(),
            InPod(ready) => ready.plan(),
        }
    }

    fn plan_mut(&mut self) -> &mut Plan {
        match self {
            InDocker(ready) => ready.plan_mut(),
            InPod(ready) => ready.plan_mut(),
        }
    }

    fn begin(&mut self, trace: &Trace) {
        match self {
            InDocker(ready) => ready.begin(trace),
            InPod(ready) => ready.begin(trace),
        }
    }

    fn share(&mut self, peers: &Peers) -> Result<(), Failure> {
        match self {
            InDocker(ready) => ready.share(peers),
            InPod(ready) => ready.share(peers),
        }
    }

    async fn start(
        self,
        said: oneshot::Receiver<Option<String>>,
        trace: Trace,
    ) -> Result<Self::Upstream, Failure> {
        Ok(match self {
            InDocker(ready) => InDocker(ready.start(said, trace).await?),
            InPod(ready) => InPod(ready.start(said, trace).await?),
        })
    }
}

impl<D: Upstream, P: Upstream> Upstream for Somewhere<D, P> {
    type Input = Either<D::Input, P::Input>;

    fn take_input(&mut self) -> Option<Self::Input> {
        match self {
            InDocker(upstream) => upstream.take_input().map(Either::Left),
            InPod(upstream) => upstream.take_input().map(Either::Right),
        }
    }

    async fn next(&mut self) -> Option<io::Result<Output>> {
        match self {
            InDocker(upstream) => upstream.next().await,
            InPod(upstream) => upstream.next().await,
        }
    }

    async fn client_left(&mut self) {
        match self {
            InDocker(upstream) => upstream.client_left().await,
            InPod(upstream) => upstream.client_left().await,
        }
    }

    async fn terminate(&mut self) {
        match self {
            InDocker(upstream) => upstream.terminate().await,
            InPod(upstream) => upstream.terminate().await,
        }
    }

    async fn introduce(&mut self, client_session: &str) {
        match self {
            InDocker(upstream) => upstream.introduce(client_session).await,
            InPod(upstream) => upstream.introduce(client_session).await,
        }
    }

    async fn post_mortem(&mut self) -> Exit {
        match self {
            InDocker(upstream) => upstream.post_mortem().await,
            InPod(upstream) => upstream.post_mortem().await,
        }
    }

    async fn release(self) {
        match self {
            InDocker(upstream) => upstream.release().await,
            InPod(upstream) => upstream.release().await,
        }
    }
}
