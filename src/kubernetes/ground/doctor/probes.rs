//! Pods that try what the policies claim: on each node an open pod, one of `network = "none"`, and one of "egress".
//!
//! The open pods have another label than sessions' have, so that no policy of berth's is theirs: what they do not reach either proves
//! nothing. One more of them listens for all.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use mcp_berth::config::Config;
use mcp_berth::doctor::line::Seen;
use mcp_berth::values::Backend;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::super::keeper::Keeper;
use super::super::network::{LABEL_PROBE, PolicyLabel};
use super::super::objects::{PROBE_MEMORY, PROBED_NODES};
use super::super::refused::failure;
use super::super::{Cluster, LABEL_MANAGED_BY, MANAGER, PROBER};
use super::reach::{Tried, once, settled};

const PORT: u16 = 8080;
/// They end by themselves.
const LIVE_FOR: Duration = Duration::from_secs(150);
const START_WITHIN: Duration = Duration::from_mins(1);
const LOOKS_EVERY: Duration = Duration::from_millis(300);
/// Metadata of nearly all clouds.
const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 254)), 80);

/// What a pod reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) pod: Tried,
    pub(super) api: Tried,
    pub(super) metadata: Tried,
    pub(super) world: Tried,
}

/// What was seen on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnNode {
    /// `None`: wherever the scheduler has put them.
    pub(super) node: Option<String>,
    pub(super) open: Ways,
    pub(super) none: Ways,
    pub(super) egress: Ways,
    /// From another pod to the open one, and to the one without a network.
    pub(super) to_open: Tried,
    pub(super) to_none: Tried,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probes {
    pub(super) nodes: Vec<OnNode>,
    /// Nodes that were left out.
    pub(super) others: usize,
    /// The API server's, as pods know it; none where whoever asks may not see it.
    pub(super) api: Vec<SocketAddr>,
    pub(super) world: SocketAddr,
}

/// What the probe pods run.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    pub(super) image: String,
    keeper: Keeper,
}

impl Prober {
    /// Without an image of the keeper's, that of a server has to do, whose program does not run then.
    pub(super) fn of(config: &Config) -> Self {
        let keeper = Keeper::of(&config.kubernetes);
        let mut servers = config.servers.values();
        let image = match &keeper {
            Keeper::Image(image) => image.clone(),
            Keeper::ConfigMap => servers
                .find(|server| server.settings.backend == Backend::Kubernetes)
                .map(|server| server.image.clone())
                .unwrap_or_default(),
        };
        Self { image, keeper }
    }

    /// Where a node does not get the image.
    fn next(&self) -> &'static str {
        match self.keeper {
            Keeper::Image(_) => {
                "put it where the nodes find it: berth kubernetes image | docker load, then docker push; or kind load \
                 image-archive, minikube image load, ctr -n k8s.io images import"
            }
            Keeper::ConfigMap => "push it to a registry that the nodes reach, or change the server's `image`",
        }
    }
}

/// A probe pod, which passes Pod Security's strictest profile.
pub(super) fn pod(
    name: &str,
    prober: &Prober,
    probe: &str,
    label: Option<PolicyLabel>,
    node: Option<&str>,
) -> Value {
    let mut labels = json!({ LABEL_PROBE: probe, LABEL_MANAGED_BY: PROBER });
    if let Some(label) = label {
        labels[LABEL_MANAGED_BY] = MANAGER.into();
        labels[PolicyLabel::KEY] = label.as_str().into();
    }
    let affinity = node.map(|node| {
        let term = json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] });
        json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [term] } } })
    });
    let resources = json!({ "memory": PROBE_MEMORY.to_string(), "cpu": "50m" });
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "activeDeadlineSeconds": LIVE_FOR.as_secs() + 30,
            "affinity": affinity,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65_534,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "probe",
                "image": prober.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/keeper", "probe", "listen", PORT.to_string(), "--for", LIVE_FOR.as_millis().to_string()],
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                "resources": { "requests": resources, "limits": resources },
            }],
        },
    });
    prober.keeper.bring_as_file(&mut pod["spec"], 0);
    pod
}

pub(super) async fn probe(cluster: &Cluster, prober: &Prober, world: SocketAddr) -> Seen<Probes> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    remove(&pods, LABEL_PROBE, true).await;
    let Ok(probe) = mcp_berth::dock::owner::new_session() else {
        return Seen::NotApplicable("this machine gives no random number".to_owned());
    };
    let (nodes, others) = nodes(cluster).await;
    let seen = Box::pin(look(cluster, &pods, prober, &probe, &nodes)).await;
    let seen = match seen {
        Ok(addresses) => {
            let api = api_server(cluster).await;
            let each = nodes.iter().enumerate().map(|(index, node)| {
                let places = Places { pods: &pods, probe: &probe, addresses: &addresses, index };
                places.look(node.clone(), &api, world)
            });
            Seen::Found(Probes { nodes: join_all(each).await, others, api, world })
        }
        Err((why, next)) => Seen::failed(why, next),
    };
    remove(&pods, &format!("{LABEL_PROBE}={probe}"), false).await;
    seen
}

/// Those that take pods, by name; none where whoever asks may not see them. And how many were left out.
async fn nodes(cluster: &Cluster) -> (Vec<Option<String>>, usize) {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let Ok(listed) = nodes.list(&ListParams::default()).await else { return (vec![None], 0) };
    let mut names: Vec<String> =
        listed.items.into_iter().filter(takes_pods).filter_map(|it| it.metadata.name).collect();
    let others = names.len().saturating_sub(PROBED_NODES);
    names.truncate(PROBED_NODES);
    if names.is_empty() { (vec![None], 0) } else { (names.into_iter().map(Some).collect(), others) }
}

fn takes_pods(node: &Node) -> bool {
    let tainted = |effect: &str| effect == "NoSchedule" || effect == "NoExecute";
    let spec = node.spec.as_ref();
    let refuses = spec.is_some_and(|spec| {
        spec.unschedulable == Some(true) || spec.taints.iter().flatten().any(|taint| tainted(&taint.effect))
    });
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    let linux = status
        .and_then(|status| status.node_info.as_ref())
        .is_none_or(|info| info.operating_system == "linux");
    ready && linux && !refuses
}

fn name(probe: &str, which: &str) -> String {
    format!("berth-probe-{probe}-{which}")
}

/// Makes them all, and waits until they run. Their addresses by name.
async fn look(
    cluster: &Cluster,
    pods: &Api<Pod>,
    prober: &Prober,
    probe: &str,
    nodes: &[Option<String>],
) -> Result<BTreeMap<String, IpAddr>, (String, String)> {
    let mut made = vec![(name(probe, "far"), None, None)];
    for (index, node) in nodes.iter().enumerate() {
        let of = |which: &str, label| (name(probe, &format!("{which}-{index}")), label, node.as_deref());
        made.push(of("open", None));
        made.push(of("none", Some(PolicyLabel::None)));
        made.push(of("egress", Some(PolicyLabel::Egress)));
    }
    for (name, label, node) in &made {
        let what = || format!("make a probe pod in the namespace `{}`", cluster.namespace);
        let object = serde_json::from_value(pod(name, prober, probe, *label, *node));
        let object: Pod =
            object.map_err(|error| (format!("a probe pod is malformed: {error}"), String::new()))?;
        if let Err(error) = pods.create(&PostParams::default(), &object).await {
            let failure = failure(&what(), &error);
            return Err((failure.text, failure.next.unwrap_or_default()));
        }
    }
    let until = Instant::now() + START_WITHIN;
    let ours = ListParams::default().labels(&format!("{LABEL_PROBE}={probe}"));
    loop {
        let listed = pods.list(&ours).await.map_err(|error| {
            let failure = failure("list the probe pods", &error);
            (failure.text, failure.next.unwrap_or_default())
        })?;
        let running: BTreeMap<String, IpAddr> = listed.items.iter().filter_map(address).collect();
        if running.len() == made.len() {
            return Ok(running);
        }
        if let Some(why) = listed.items.iter().find_map(stuck) {
            return Err((why, prober.next().to_owned()));
        }
        if Instant::now() > until {
            let waiting = listed.items.iter().find(|pod| address(pod).is_none());
            let why = waiting.and_then(unscheduled).unwrap_or_else(|| "nobody says why".to_owned());
            let next = format!("kubectl get events -n {}", cluster.namespace);
            return Err((
                format!("the probe pods do not run after {} s: {why}", START_WITHIN.as_secs()),
                next,
            ));
        }
        sleep(LOOKS_EVERY).await;
    }
}

/// Of one that runs.
fn address(pod: &Pod) -> Option<(String, IpAddr)> {
    let status = pod.status.as_ref()?;
    let runs = status
        .container_statuses
        .iter()
        .flatten()
        .any(|it| it.state.as_ref().is_some_and(|it| it.running.is_some()));
    let address = status.pod_ip.as_ref()?.parse().ok()?;
    runs.then_some((pod.metadata.name.clone()?, address))
}

/// Why the container of one does not start, where that is not a matter of time.
fn stuck(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let waiting = statuses.iter().filter_map(|it| it.state.as_ref()?.waiting.as_ref());
    let reason = |reason: &str| reason.contains("Image") || reason.ends_with("Error");
    let waiting = waiting.into_iter().find(|it| it.reason.as_deref().is_some_and(reason))?;
    let (reason, message) = (waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default());
    Some(format!("{reason}: {message}"))
}

fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|it| it.status == "False")?.message.clone()
}

/// The API server's addresses, as pods know it: a service, and who stands behind it.
pub(crate) async fn api_server(cluster: &Cluster) -> Vec<SocketAddr> {
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), "default");
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), "default");
    let mut found = Vec::new();
    if let Ok(service) = services.get("kubernetes").await {
        let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_ref()?.parse().ok());
        found.extend(address.map(|address| SocketAddr::new(address, 443)));
    }
    let of_it = ListParams::default().labels("kubernetes.io/service-name=kubernetes");
    for slice in slices.list(&of_it).await.map(|list| list.items).unwrap_or_default() {
        let port = slice.ports.iter().flatten().find_map(|port| u16::try_from(port.port?).ok());
        let address =
            slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses).find_map(|it| it.parse().ok());
        found.extend(address.zip(port).map(|(address, port)| SocketAddr::new(address, port)));
    }
    found
}

/// Removes probe pods: those that have ended, or all of them.
async fn remove(pods: &Api<Pod>, label: &str, ended_only: bool) {
    let Ok(listed) = pods.list(&ListParams::default().labels(label)).await else { return };
    for pod in listed.items {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if ended_only && !matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        if let Some(name) = &pod.metadata.name
            && let Err(error) = pods.delete(name, &DeleteParams::default()).await
        {
            tracing::warn!("cannot delete the probe pod `{name}`, which ends by itself: {error}");
        }
    }
}

/// The pods of a node.
struct Places<'a> {
    pods: &'a Api<Pod>,
    probe: &'a str,
    addresses: &'a BTreeMap<String, IpAddr>,
    index: usize,
}

impl Places<'_> {
    fn pod(&self, which: &str) -> String {
        let index = self.index;
        name(self.probe, &if which == "far" { which.to_owned() } else { format!("{which}-{index}") })
    }

    async fn between(&self, from: &str, to: &str, wanted: Tried) -> Tried {
        let Some(address) = self.addresses.get(&self.pod(to)) else {
            return Tried::Unknown(format!("the pod `{}` has no address", self.pod(to)));
        };
        settled(self.pods, &self.pod(from), SocketAddr::new(*address, PORT), &wanted).await
    }

    async fn ways(&self, from: &str, api: &[SocketAddr], world: SocketAddr) -> Ways {
        let open = from == "open";
        let name = self.pod(from);
        let local = if open { Tried::Reached } else { Tried::Kept };
        let beyond = if from == "none" { Tried::Kept } else { Tried::Reached };
        let try_one = async |to: SocketAddr, wanted: &Tried| {
            // What an open pod does not reach is nobody's fault here.
            if open { once(self.pods, &name, to).await } else { settled(self.pods, &name, to, wanted).await }
        };
        let api = async {
            let tried = join_all(api.iter().map(|to| try_one(*to, &Tried::Kept))).await;
            let nobody = || Tried::Unknown("you may not see its address".to_owned());
            tried.into_iter().min_by_key(|tried| *tried != Tried::Reached).unwrap_or_else(nobody)
        };
        let (pod, api, metadata, world) = tokio::join!(
            self.between(from, "far", local),
            api,
            try_one(METADATA, &Tried::Kept),
            try_one(world, &beyond),
        );
        Ways { pod, api, metadata, world }
    }

    async fn look(self, on: Option<String>, api: &[SocketAddr], world: SocketAddr) -> OnNode {
        let (open, none, egress, to_open, to_none) = tokio::join!(
            self.ways("open", api, world),
            self.ways("none", api, world),
            self.ways("egress", api, world),
            self.between("far", "open", Tried::Reached),
            self.between("far", "none", Tried::Kept),
        );
        OnNode { node: on, open, none, egress, to_open, to_none }
    }
}
