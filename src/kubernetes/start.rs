//! From a configured server to a running one: a pod that was claimed or made, its keeper's lifeline, the server's link.
//!
//! Nothing waits for the cluster to say that the pod runs: the container is there half a second earlier, and the link finds it
//! by trying. What keeps it from starting is looked for beside that (`causes.rs`).

mod claimed;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use mcp_berth::backend::publish::Published;
use mcp_berth::dind::progress::Progress;
use mcp_berth::dock::owner::new_session;
use mcp_berth::dock::spec::Spec;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::observe::event::Up;
use mcp_berth::observe::trace::Trace;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::causes::refused::{Asked, Refused};
use super::causes::{self, Source, Waiting};
use super::cluster::Cluster;
use super::hold::{Hold, is_refusal};
use super::housekeeping::{Bounds, Housekeeping, Made};
use super::keeper::Keeper;
use super::lifeline::Lifeline;
use super::link::{self, Over};
use super::names;
use super::nodes::{self, Nodes};
use super::pod::Plan;
use super::ports::Joining;
use super::pump::{From, To};
use super::server;
use super::streams::Execs;
use super::telling::Telling;
use super::template::Template;
use super::upstream::{KubernetesUpstream, Linked};
use super::volumes;

/// Pieces of a server's bytes that wait for the link, and behind it; each is bounded itself.
const PIECES: usize = 4;
/// Between two tries to make a pod.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An API server that is well says by then whether a pod stands by, and whose it is. One that has too much to do would only
/// have more with a new pod.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// A helper that answers by then needs no lifeline before: that saves tries.
const SOON: Duration = Duration::from_secs(3);
/// A right that lacks for the lifeline is known by then.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// A kubelet says that it has a pod within milliseconds. Two looks have to find that it has not.
const SEEN_WITHIN: Duration = Duration::from_secs(4);
/// What keeps a pod from its start is known a moment after it was lost.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(2);

/// What a start needs to know.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) spec: Spec,
    pub(crate) cluster: Cluster,
    /// It is the session's beginning: no server has been there yet.
    pub(crate) is_first: bool,
    pub(crate) bounds: Bounds,
    /// Where the forwarder of a list of names is.
    pub(crate) forwarder: Option<SocketAddr>,
    /// What each pod has beside berth's own.
    pub(crate) template: Option<Arc<Template>>,
    pub(crate) nodes: Nodes,
    pub(crate) progress: Progress,
    /// The session's ports on this machine.
    pub(crate) published: Option<Arc<Published>>,
}

/// Starts the server in a pod of its own.
pub(crate) async fn start(request: Request, trace: Trace) -> Result<KubernetesUpstream, Failure> {
    let Request { spec, cluster, is_first, bounds, forwarder, template, nodes, progress, published } =
        request;
    let record = server::start(&spec, forwarder)?;
    let patience = if is_first { spec.server.settings.connect_timeout } else { Duration::ZERO };
    let (began, spec, waiting) = (std::time::Instant::now(), Arc::new(spec), Waiting::new(progress));
    let start = Start { began, spec, cluster, record, trace, bounds, template, nodes, waiting, published };
    let (mut until, mut pause) = (None, FIRST_PAUSE);
    loop {
        let failure = match start.attempt().await {
            Ok(upstream) => return Ok(upstream),
            Err(Refused::Passing(failure)) => failure,
            Err(refused) => return Err(refused.into()),
        };
        if Instant::now() + pause > *until.get_or_insert_with(|| Instant::now() + patience) {
            return Err(failure);
        }
        tracing::info!("the start is tried again: {failure}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Start {
    began: std::time::Instant,
    spec: Arc<Spec>,
    cluster: Cluster,
    /// The link's first one.
    record: Vec<u8>,
    trace: Trace,
    bounds: Bounds,
    template: Option<Arc<Template>>,
    nodes: Nodes,
    waiting: Waiting,
    published: Option<Arc<Published>>,
}

impl Start {
    async fn attempt(&self) -> Result<KubernetesUpstream, Refused> {
        let within = self.spec.server.settings.start_timeout;
        let starting = async {
            match self.claimed().await {
                Some(upstream) => Ok(upstream),
                None => self.cold().await,
            }
        };
        match tokio::time::timeout(within, starting).await {
            Ok(done) => done,
            Err(_) => Err(Refused::Lasting(self.waiting.take().unwrap_or_else(|| self.late(within)))),
        }
    }

    fn late(&self, within: Duration) -> Failure {
        let Cluster { namespace, .. } = &self.cluster;
        Failure {
            code: Code::Unavailable,
            text: format!("the pod of `{}` was not ready within {within:?}", self.spec.server.name),
            next: Some(format!("look at `kubectl get pods -n {namespace}`, or raise `start_timeout`")),
        }
    }

    fn asked<'a>(&'a self, verb: &'a str, resource: &'a str) -> Asked<'a> {
        Asked { verb, resource, namespace: &self.cluster.namespace }
    }

    fn plan<'a>(&'a self, keeper: &'a Keeper) -> Plan<'a> {
        Plan { spec: &self.spec, keeper, template: self.template.as_deref() }
    }

    fn keeper(&self) -> Keeper {
        Keeper::of(&self.cluster.settings)
    }

    /// A pod of its own, made now.
    async fn cold(&self) -> Result<KubernetesUpstream, Refused> {
        let began = std::time::Instant::now();
        volumes::ensure(&self.cluster, &self.spec).await?;
        let off = self.nodes.off();
        let (mut hold, pod) = self.create(&off).await?;
        let name = hold.name().to_owned();
        self.trace.step("create the pod", began, &name);
        let began = std::time::Instant::now();
        let watching = causes::watch(&self.cluster, &pod, &self.waiting);
        let slow = tokio::time::sleep(SOON);
        tokio::pin!(watching, slow);
        let execs = Execs::new(self.cluster.client.clone(), self.cluster.place(&name));
        let [cuts, _] = execs.cuts();
        let mut entering = Box::pin(volumes::enter(&self.cluster, &self.spec, &name));
        loop {
            tokio::select! {
                entered = &mut entering => break entered.map_err(Refused::Lasting)?,
                failure = &mut watching => return Err(Refused::Lasting(failure)),
                // The keeper does not wait for as long as another session may keep the volume.
                () = &mut slow, if !hold.is_kept_alive() => hold.keep_alive(self.lifeline(&name, &cuts, None)),
            }
        }
        let (mut linked, mut opened) = self.link(&name, execs);
        let untaken = unseen(&self.cluster, &name);
        tokio::pin!(untaken);
        let opened = loop {
            tokio::select! {
                opened = &mut opened => break opened,
                failure = &mut watching => return Err(Refused::Lasting(failure)),
                failure = self.nowhere_else(&off) => return Err(Refused::Passing(failure)),
                node = &mut untaken => {
                    self.nodes.keep_off(&node);
                    // A helper is told of its server when it has answered: where none has, there is no server.
                    linked.task.abort();
                    let _ = (&mut linked.task).await;
                    if opened.try_recv().is_err() {
                        hold.mark_unheard();
                    }
                    return Err(Refused::Passing(self.lost(&name, &format!("the node `{node}` does not take it"))));
                }
                // The keeper does not wait for as long as the helper may take.
                () = &mut slow, if !hold.is_kept_alive() => hold.keep_alive(self.lifeline(&name, &cuts, None)),
            }
        };
        if opened.is_err() {
            let why = match (&mut linked.task).await {
                Ok(Over::Denied(failure)) => return Err(Refused::Lasting(failure)),
                Ok(Over::Lost(why) | Over::Away(why)) => why,
                _ => "its stream has ended".to_owned(),
            };
            // The pod itself knows better.
            return Err(match tokio::time::timeout(EXPLAINED_WITHIN, watching).await {
                Ok(failure) => Refused::Lasting(failure),
                Err(_) => Refused::Passing(self.lost(&name, &why)),
            });
        }
        // Its helper has answered: the container is there.
        if !hold.is_kept_alive() {
            hold.keep_alive(self.lifeline(&name, &cuts, None));
        }
        heard(&hold).await.map_err(Refused::Lasting)?;
        self.trace.step("start the pod and the server's helper", began, &name);
        Ok(self.up(hold, linked, Made::now(&pod)))
    }

    /// Resolves when only a node takes the pod that is kept off: it is as good as none then.
    async fn nowhere_else(&self, off: &BTreeSet<String>) -> Failure {
        loop {
            tokio::time::sleep(FIRST_PAUSE).await;
            if !off.is_empty()
                && let Some(failure) = self.waiting.take_of(Source::Pod)
            {
                self.nodes.forget();
                return failure;
            }
        }
    }

    fn lost(&self, name: &str, why: &str) -> Failure {
        let namespace = &self.cluster.namespace;
        Failure {
            code: Code::Unavailable,
            text: format!("the pod `{name}` was lost while it started: {why}"),
            next: Some(format!("type `kubectl get events -n {namespace}`, and start again")),
        }
    }

    /// Waits for room where a quota leaves none.
    async fn create(&self, off: &BTreeSet<String>) -> Result<(Hold, Pod), Refused> {
        let keeper = self.keeper();
        let plan = self.plan(&keeper);
        let pods = self.cluster.pods();
        let mut pause = FIRST_PAUSE;
        loop {
            let name = names::pod(&self.spec.client, &new_session().map_err(Refused::Lasting)?);
            let mut body = plan.active(&name).map_err(|error| Refused::Lasting(malformed(&error)))?;
            nodes::steer(&mut body, off);
            body.metadata.owner_references = self.cluster.parent.clone().map(|parent| vec![parent]);
            let hold = Hold::new(pods.clone(), name);
            let error = match pods.create(&PostParams::default(), &body).await {
                Ok(pod) => {
                    self.waiting.clear(Source::Quota);
                    return Ok((hold, pod));
                }
                Err(error) => error,
            };
            let refused = self.asked("create", "pods").refused(&error);
            // There is no pod of that name, or somebody else's.
            if is_refusal(&error) {
                hold.let_be();
            }
            match refused {
                Refused::Full(failure) => self.waiting.note(Source::Quota, failure),
                refused => return Err(refused),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Begins the link to the server's helper; the second tells when it has answered.
    fn link(&self, name: &str, execs: Execs) -> (Linked, oneshot::Receiver<()>) {
        let settings = &self.spec.server.settings;
        let (tell, opened) = oneshot::channel();
        let [cuts, doubts] = execs.cuts();
        let joining = Joining {
            client: self.cluster.client.clone(),
            place: self.cluster.place(name),
            spec: Arc::clone(&self.spec),
            published: self.published.clone(),
            doubts,
            trace: self.trace.clone(),
        };
        let (ports, gate) = joining.begin().unzip();
        let streams = Telling::new(execs, tell, gate);
        let (input, given) = mpsc::channel(PIECES);
        let (say, output) = mpsc::channel(PIECES);
        let (record, times) = (self.record.clone(), (settings.start_timeout, settings.reconnect));
        let task = async move { link::run(streams, &record, given, say, times).await };
        (Linked { input, output, cuts, ports, task: AbortOnDropHandle::new(tokio::spawn(task)) }, opened)
    }

    /// What has cut the link may have cut the lifeline.
    fn lifeline(&self, name: &str, cuts: &Arc<Notify>, first: Option<(To, From)>) -> Lifeline {
        let Cluster { client, .. } = &self.cluster;
        Lifeline::begin(client.clone(), self.cluster.place(name), first, Arc::clone(cuts))
    }

    fn up(&self, mut hold: Hold, linked: Linked, made: Made) -> KubernetesUpstream {
        let Spec { server, client, attempt, .. } = &*self.spec;
        hold.keep_others_off(volumes::is_for_one(&server.settings));
        let how = match made {
            Made::Now { .. } => "cold",
            Made::Before { .. } => "standby",
        };
        let container = hold.name();
        self.trace.up(self.began, &Up { how, server: &server.name, client, container, lost: *attempt });
        let housekeeping = Housekeeping {
            cluster: self.cluster.clone(),
            spec: self.spec.clone(),
            made,
            bounds: self.bounds.clone(),
            template: self.template.clone(),
            trace: self.trace.clone(),
        };
        let (memory, nodes) = (server.settings.memory, self.nodes.clone());
        KubernetesUpstream::new(hold, linked, memory, nodes, housekeeping.start())
    }
}

/// Resolves when a pod was given to a node that does not take it: with that node. Kubernetes itself knows much later.
async fn unseen(cluster: &Cluster, name: &str) -> String {
    let mut given = None;
    loop {
        tokio::time::sleep(SEEN_WITHIN).await;
        let looked = tokio::time::timeout(ASKED_WITHIN, cluster.pods().get_opt(name)).await;
        let Ok(Ok(Some(pod))) = looked else { continue };
        if !nodes::is_unseen(&pod) {
            given = None;
        } else if given.as_deref() == Some(nodes::node_of(&pod)) {
            return given.unwrap_or_default();
        } else {
            given = Some(nodes::node_of(&pod).to_owned());
        }
    }
}

/// A keeper that hears nobody ends its pod, so a right that lacks for it is told before. Whatever else holds it up may pass.
async fn heard(hold: &Hold) -> Result<(), Failure> {
    tokio::time::timeout(HEARD_WITHIN, hold.held()).await.unwrap_or(Ok(()))
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::new(Code::Internal, error, "report this, with the server's settings")
}

#[cfg(test)]
mod tests;
