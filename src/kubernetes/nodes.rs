//! Nodes that a session keeps off: one that took its server with it, or gave no answer, may do so again.
//!
//! Kubernetes takes most of a minute to see that a node is dead, and until then gives it new pods. So a new pod names the
//! nodes that it is not for. Where no other takes it, they count as good again: a node may be back.
//!
//! No pod tells that its node is cordoned, only the node does. Whoever may list nodes asks before a claim, and whoever may
//! not claims there, and starts elsewhere when the drain ends that pod, too.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

/// By then Kubernetes knows of a dead node itself (`node-monitor-grace-period` is 50 s by default).
const KEPT_OFF: Duration = Duration::from_mins(2);
/// Who may not ask, or gets no answer, knows of no node.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// What a session knows of nodes, for all the starts of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Nodes(Arc<Mutex<Vec<(String, Instant)>>>);

impl Nodes {
    pub(crate) fn keep_off(&self, node: &str) {
        if !node.is_empty() {
            tracing::info!("no new server on the node `{node}` for {} s", KEPT_OFF.as_secs());
            self.lock().push((node.to_owned(), Instant::now() + KEPT_OFF));
        }
    }

    /// Those that are kept off at the moment.
    pub(crate) fn off(&self) -> BTreeSet<String> {
        let mut nodes = self.lock();
        nodes.retain(|(_, until)| *until > Instant::now());
        nodes.iter().map(|(node, _)| node.clone()).collect()
    }

    /// There is no other.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a pod runs.
pub(crate) fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// The nodes that take no new pods, as far as we are told.
pub(crate) async fn cordoned(client: &Client) -> BTreeSet<String> {
    let closed = ListParams::default().fields("spec.unschedulable=true").match_any();
    match tokio::time::timeout(TOLD_WITHIN, Api::<Node>::all(client.clone()).list(&closed)).await {
        Ok(Ok(nodes)) => nodes.items.iter().map(ResourceExt::name_any).collect(),
        Ok(Err(error)) => {
            tracing::debug!("which nodes are cordoned is not known: {error}");
            BTreeSet::new()
        }
        Err(_) => BTreeSet::new(),
    }
}

/// Whether its node is not heard any more: the pod counts as not ready, and each of its containers as it was.
pub(crate) fn is_unheard(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let is = |kind: &str, value: &str| {
        status.conditions.iter().flatten().any(|it| it.type_ == kind && it.status == value)
    };
    is("Ready", "False") && status.container_statuses.iter().flatten().all(|container| container.ready)
}

/// Whether the cluster is about to end it: a drain, a taint, or a pod of greater importance.
pub(crate) fn is_disrupted(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|it| it.type_ == "DisruptionTarget" && it.status == "True")
}

/// Whether a node has got a pod and does not take it: its kubelet has not even said that it has seen it.
pub(crate) fn is_unseen(pod: &Pod) -> bool {
    let is_taken = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    !node_of(pod).is_empty() && !is_taken
}

/// Has the scheduler give a pod to none of these, besides what the pod itself wants.
pub(crate) fn steer(pod: &mut Pod, off: &BTreeSet<String>) {
    if off.is_empty() {
        return;
    }
    // Each takes one name.
    let not_there: Vec<NodeSelectorRequirement> = off
        .iter()
        .map(|node| NodeSelectorRequirement {
            key: "metadata.name".to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec![node.clone()]),
        })
        .collect();
    let affinity = pod
        .spec
        .get_or_insert_default()
        .affinity
        .get_or_insert_with(Affinity::default)
        .node_affinity
        .get_or_insert_with(NodeAffinity::default);
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default);
    // One of these terms is enough, so each has to say it.
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields.get_or_insert_default().extend(not_there.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;

    fn pod(of: &Value) -> Pod {
        serde_json::from_value(of.clone()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_kept_off_until_kubernetes_knows_it_or_there_is_no_other() {
        let nodes = Nodes::default();
        let same = nodes.clone();
        nodes.keep_off("a");
        nodes.keep_off("");
        assert_eq!(same.off(), BTreeSet::from(["a".to_owned()]), "the next start of the server knows it");
        tokio::time::sleep(KEPT_OFF).await;
        assert!(nodes.off().is_empty());
        nodes.keep_off("b");
        same.forget();
        assert!(nodes.off().is_empty());
    }

    #[test]
    fn a_pod_is_given_to_no_such_node_whatever_else_it_wants() {
        let off = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let fields = json!([
            { "key": "metadata.name", "operator": "NotIn", "values": ["a"] },
            { "key": "metadata.name", "operator": "NotIn", "values": ["b"] },
        ]);
        let terms = |mut pod: Pod| {
            steer(&mut pod, &off);
            serde_json::to_value(pod).unwrap()["spec"]["affinity"]["nodeAffinity"]
                ["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
                .clone()
        };
        assert_eq!(terms(pod(&json!({ "spec": { "containers": [] } }))), json!([{ "matchFields": fields }]));
        let disk = json!([{ "key": "disk", "operator": "Exists" }]);
        let wanted = json!({ "nodeSelectorTerms": [{ "matchExpressions": disk }, { "matchFields": [] }] });
        let of = json!({ "spec": { "containers": [], "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": wanted,
        } } } });
        assert_eq!(
            terms(pod(&of)),
            json!([{ "matchExpressions": disk, "matchFields": fields }, { "matchFields": fields }])
        );
        let mut untouched = pod(&of);
        steer(&mut untouched, &BTreeSet::new());
        assert_eq!(untouched, pod(&of));
    }

    #[test]
    fn a_pod_shows_that_its_node_is_not_heard_or_ends_it() {
        let of = |ready: &str, container: bool, more: &Value| {
            pod(&json!({ "spec": { "containers": [], "nodeName": "n1" }, "status": {
                "conditions": [{ "type": "Ready", "status": ready }, more],
                "containerStatuses": [{
                    "name": "server", "image": "i", "imageID": "", "ready": container, "restartCount": 0,
                }],
            } }))
        };
        let other = json!({ "type": "PodScheduled", "status": "True" });
        let evicted =
            json!({ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" });
        assert!(!is_unheard(&of("True", true, &other)) && !is_disrupted(&of("True", true, &other)));
        assert!(is_unheard(&of("False", true, &other)), "its containers were ready when it was heard last");
        assert!(!is_unheard(&of("False", false, &other)), "a sidecar is not ready");
        assert!(is_disrupted(&of("True", true, &evicted)));
        let mut given = of("False", true, &other);
        assert!(is_unseen(&given));
        given.status.as_mut().unwrap().start_time =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(!is_unseen(&given));
        assert!(!is_unseen(&pod(&json!({ "spec": { "containers": [] } }))), "it has no node yet");
    }

    #[tokio::test]
    async fn cordoned_nodes_are_known_to_whoever_may_list_them() {
        let items = json!([{ "metadata": { "name": "n2" }, "spec": { "unschedulable": true } }]);
        let (cluster, seen) = fake::cluster(move |_| (200, json!({ "metadata": {}, "items": items })));
        assert_eq!(cordoned(&cluster.client).await, BTreeSet::from(["n2".to_owned()]));
        let (_, uri, _) = seen.lock().unwrap()[0].clone();
        assert!(uri.contains("spec.unschedulable%3Dtrue") && uri.contains("resourceVersion=0"), "{uri}");
        let (cluster, _) = fake::cluster(|_| (403, fake::status(403, "no")));
        assert!(cordoned(&cluster.client).await.is_empty());
    }
}
