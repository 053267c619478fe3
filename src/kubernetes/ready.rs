//! The cluster as a session knows it: who starts its servers.

use std::sync::Arc;

use mcp_berth::backend::caller::Caller;
use mcp_berth::backend::docker::peers::Peers;
use mcp_berth::backend::plan::Plan;
use mcp_berth::backend::publish::Published;
use mcp_berth::backend::{Backend, Ready};
use mcp_berth::commands::variable;
use mcp_berth::config::{Config, EnvVar, Home, Kubernetes};
use mcp_berth::dock::spec::Spec;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::observe::trace::Trace;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::cluster::Cluster;
use super::ground::proof;
use super::host_network;
use super::housekeeping::Bounds;
use super::image::{self, Images};
use super::keeper::Keeper;
use super::names;
use super::nodes::Nodes;
use super::pod::Plan as Pod;
use super::ports::Sessions;
use super::server;
use super::start::{self, Request};
use super::template::Template;
use super::upstream::KubernetesUpstream;

/// Servers in pods of the configuration's cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pods;

/// A plan for a pod.
#[derive(Debug, Clone)]
pub(crate) struct PodPlan {
    plan: Plan,
    kubernetes: Arc<Kubernetes>,
    template: Option<Arc<Template>>,
    /// What one start knows of them counts for the next.
    nodes: Nodes,
    /// The session's, over all of its servers; `None`: it publishes no port.
    published: Option<Arc<Published>>,
    images: Images,
}

impl Backend for Pods {
    type Ready = PodPlan;

    fn ready(&self, mut plan: Plan, config: &Config, home: &Home) -> Result<PodPlan, Failure> {
        server::fits(&plan.spec.server)?;
        plan.spec.server.image = image::reference(&plan.spec.server, &config.kubernetes);
        let template = template(&config.kubernetes)?.map(Arc::new);
        host_network::admit(&plan.spec.server, template.as_deref())?;
        let images = Images::of(config, home, &variable);
        Ok(PodPlan {
            plan,
            kubernetes: Arc::new(config.kubernetes.clone()),
            template,
            nodes: Nodes::default(),
            published: None,
            images,
        })
    }

    fn preview(
        &self,
        mut spec: Spec,
        env: &[EnvVar],
        config: &Config,
        home: &Home,
    ) -> Result<Value, Failure> {
        server::fits(&spec.server)?;
        spec.server.image = image::reference(&spec.server, &config.kubernetes);
        if let Some(known) = Images::of(config, home, &variable).known(&spec.server) {
            known.complete(&mut spec.server)?;
        }
        let command = match server::command(&spec.server) {
            Ok(command) => json!(command),
            Err(_) => json!(["the image's ENTRYPOINT", spec.server.args]),
        };
        let Kubernetes { context, namespace, .. } = &config.kubernetes;
        let keeper = Keeper::of(&config.kubernetes);
        let template = template(&config.kubernetes)?;
        host_network::admit(&spec.server, template.as_ref())?;
        let pod = Pod { spec: &spec, keeper: &keeper, template: template.as_ref() };
        let name = names::pod(&spec.client, "<n>");
        let pod = pod.active(&name).map_err(|error| Failure::new(Code::Internal, &error, "report it"))?;
        Ok(json!({
            "cluster": { "context": context, "namespace": namespace },
            "pod": pod,
            "exec": {
                "command": command,
                "env": env.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
        }))
    }
}

fn template(kubernetes: &Kubernetes) -> Result<Option<Template>, Failure> {
    kubernetes.pod_template.as_deref().map(Template::read).transpose()
}

impl Ready for PodPlan {
    type Upstream = KubernetesUpstream;

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn plan_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }

    fn begin(&mut self, trace: &Trace) {
        let Plan { spec, state, .. } = &self.plan;
        let sessions = Arc::new(Sessions(Arc::clone(&self.kubernetes)));
        self.published = Published::of(spec, sessions, state.clone(), trace.clone()).map(Arc::new);
    }

    fn share(&mut self, _: &Peers) -> Result<(), Failure> {
        Err(Failure {
            code: Code::Configuration,
            text: format!("server `{}` cannot share a network in a cluster", self.plan.spec.server.name),
            next: Some("remove `peers` from the profile, or set `backend = \"docker\"`".to_owned()),
        })
    }

    async fn start(
        self,
        said: oneshot::Receiver<Option<String>>,
        trace: Trace,
    ) -> Result<KubernetesUpstream, Failure> {
        let Self { plan, kubernetes, template, nodes, published, images } = self;
        let mut caller = Caller::new(&plan, said);
        let env = async {
            match &plan.secrets {
                Some(secrets) => secrets.fill(&plan.spec.env).await,
                None => Ok(plan.spec.env.clone()),
            }
        };
        let client = async {
            let client = caller.client().await?;
            plan.admit(&client).await.inspect_err(|failure| trace.audit("over a ceiling", &failure.text))?;
            Ok(client)
        };
        let (cluster, image, env, client) =
            tokio::try_join!(Cluster::connect(&kubernetes), images.find(&plan.spec.server), env, client)?;
        let mut spec = Spec { env, ..plan.spec_of(&client) };
        if let Some(image) = image {
            image.complete(&mut spec.server)?;
        }
        let forwarder = proof::admit(&cluster, &spec.server.settings).await?;
        let Plan { is_first, progress, state, replenishing, .. } = plan;
        let bounds = Bounds { limit: replenishing.limit, state };
        let request =
            Request { spec, cluster, is_first, bounds, forwarder, template, nodes, progress, published };
        Box::pin(start::start(request, trace)).await
    }
}
