//! Pods that were started ahead of their sessions, and how one of them becomes a session's own.
//!
//! **Claiming** is one JSON Patch that tests the label of the state and changes it: of all who want a pod one gets it, and
//! the others hear that the test failed. A kubelet that writes the pod's status in between costs nobody anything. Looking for
//! a pod is no claim: a list may be old.
//!
//! A claimant speaks to the keeper before it claims. From then on the keeper waits for its owner for no longer than a cut
//! may last, so who is killed in between leaves nothing. A loser's word does no harm: the winner speaks, too.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::ListParams;
use mcp_berth::dock::owner::Owner;
use mcp_berth::human::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::allowed::{self, ANNOTATION_ALLOW};
use super::cluster::Cluster;
use super::hold::{Claiming, Hold, is_refusal};
use super::likeness;
use super::names;
use super::nodes;
use super::pod::{
    self, ACTIVE, LABEL_CLIENT, LABEL_MANAGED_BY, LABEL_SPEC, LABEL_STATE, MANAGER, Plan, STANDBY,
};
use super::pump::{From, To, What};

/// Any byte that is no command.
const ALIVE: &[u8] = b".";
/// What the API server answers where a test of a patch fails.
const TEST_FAILED: u16 = 422;

/// In what pods differ, as far as it was told.
static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A pod that is ours.
pub(crate) struct Claimed {
    pub(crate) hold: Hold,
    /// The stream over which its keeper was told.
    pub(crate) announced: (To, From),
}

/// A pod that stands by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) node: String,
}

/// What stands by for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The pods that can be claimed.
    pub(crate) ready: Vec<Found>,
    /// How many there are with those that start, and those that are not as berth makes them.
    pub(crate) count: usize,
}

/// The pods that stand by for a session; each session has an order of its own, so that not all want the same one. From the API
/// server's cache.
pub(crate) async fn find(cluster: &Cluster, plan: &Plan<'_>) -> kube::Result<Standing> {
    let client = names::label(&plan.spec.client);
    let hash = plan.hash();
    let labels = format!(
        "{LABEL_MANAGED_BY}={MANAGER},{LABEL_STATE}={STANDBY},{LABEL_CLIENT}={client},{LABEL_SPEC}={hash}"
    );
    let pods = cluster.pods().list(&ListParams::default().labels(&labels).match_any()).await?;
    let all: Vec<&Pod> = pods.items.iter().filter(|pod| is_to_come(pod)).collect();
    let ready = all.iter().filter(|pod| is_ready(pod) && is_as_asked(pod, plan));
    let mut ready: Vec<Found> =
        ready.map(|pod| Found { name: pod.name_any(), node: nodes::node_of(pod).to_owned() }).collect();
    ready.sort_by_cached_key(|pod| hex(&Sha256::digest(format!("{}{}", plan.spec.session, pod.name))));
    Ok(Standing { ready, count: all.len() })
}

/// Whether a pod runs, its server's container too, and is to go on.
fn is_ready(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = pod.metadata.deletion_timestamp.is_some() || pod::end_of_server(pod).is_some();
    phase == Some("Running") && !has_ended && !nodes::is_disrupted(pod) && !nodes::is_unheard(pod)
}

/// Whether a pod stands by, or will in a moment.
pub(crate) fn is_to_come(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed")) || pod::end_of_server(pod).is_some();
    pod.metadata.deletion_timestamp.is_none() && !has_ended
}

/// Whether a pod is what berth would make: whoever may make pods may give them any label.
pub(crate) fn is_as_asked(pod: &Pod, plan: &Plan<'_>) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = |pod: &Pod| serde_json::to_value(&pod.spec);
    let difference = plan
        .standby(name)
        .and_then(|asked| Ok(likeness::difference(&spec(&asked)?, &spec(pod)?)))
        .unwrap_or_else(|error| Some(error.to_string()));
    let list = |pod: &Pod| pod.metadata.annotations.as_ref()?.get(ANNOTATION_ALLOW).cloned();
    let asked = allowed::annotation(&plan.spec.server.settings).map(|(_, list)| list);
    let difference = difference.or_else(|| (list(pod) != asked).then(|| ANNOTATION_ALLOW.to_owned()));
    let Some(difference) = difference else { return true };
    // A cluster that changes one changes all.
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(difference.clone()) {
        tracing::warn!(
            "the pod `{name}` stands by and is not as berth makes it (`{difference}`): such pods are not used; \
             look at it with `kubectl get pod {name} -n {} -o yaml`, and put what the cluster adds into `pod_template`",
            pod.metadata.namespace.as_deref().unwrap_or("default")
        );
    }
    false
}

/// Claims a pod for its owner; `None`: it is somebody else's, or gone.
pub(crate) async fn claim(
    cluster: &Cluster,
    name: &str,
    plan: &Plan<'_>,
    owner: &Owner,
) -> kube::Result<Option<Claimed>> {
    let (mut to, from) = match cluster.place(name).open(&cluster.client, What::Attach).await {
        Ok(stream) => stream,
        Err(kube::Error::Api(status)) if [400, 404].contains(&status.code) => return Ok(None),
        Err(error) => return Err(error),
    };
    if to.send(Bytes::from_static(ALIVE)).await.is_err() {
        return Ok(None);
    }
    Ok(own(cluster, name, plan, owner).await?.map(|hold| Claimed { hold, announced: (to, from) }))
}

/// The hold of a pod that can be used. One that cannot is ours all the same, and goes.
async fn own(cluster: &Cluster, name: &str, plan: &Plan<'_>, owner: &Owner) -> kube::Result<Option<Hold>> {
    let taken = take(cluster, name, Some(owner)).await?;
    // Somebody may have deleted it meanwhile, or have made another one of that name.
    Ok(taken.and_then(|(hold, pod)| (is_ready(&pod) && is_as_asked(&pod, plan)).then_some(hold)))
}

/// Takes a pod that nobody needs from those that stand by; `None`: it is somebody's, or gone.
pub(crate) async fn withdraw(cluster: &Cluster, name: &str) -> kube::Result<Option<Hold>> {
    Ok(take(cluster, name, None).await?.map(|(hold, _)| hold))
}

/// Takes a pod from those that stand by, for its owner, or for nobody. Whoever has it holds it from that moment on.
async fn take(cluster: &Cluster, name: &str, owner: Option<&Owner>) -> kube::Result<Option<(Hold, Pod)>> {
    let parent = owner.and(cluster.parent.as_ref());
    let claiming = Claiming::new(cluster.pods(), name, owner.map(|owner| owner.session.as_str()));
    match change(cluster, name, &patch(owner, parent)).await {
        Ok(Some(pod)) => Ok(Some((claiming.won(), pod))),
        Ok(None) => {
            claiming.lost();
            Ok(None)
        }
        Err(error) => {
            if is_refusal(&error) {
                claiming.lost();
            }
            Err(error)
        }
    }
}

/// The pod that is ours now; `None`: it is somebody else's, or gone.
async fn change(cluster: &Cluster, name: &str, patch: &Value) -> kube::Result<Option<Pod>> {
    let uri = format!("/api/v1/namespaces/{}/pods/{name}", cluster.namespace);
    let request = http::Request::patch(uri)
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    match cluster.client.request::<Pod>(request).await {
        Ok(pod) => Ok(Some(pod)),
        Err(kube::Error::Api(status)) if [TEST_FAILED, 404].contains(&status.code) => Ok(None),
        Err(error) => Err(error),
    }
}

fn patch(owner: Option<&Owner>, parent: Option<&OwnerReference>) -> Value {
    let state = format!("/metadata/labels/{}", escaped(LABEL_STATE));
    let mut patch = vec![
        json!({ "op": "test", "path": state, "value": STANDBY }),
        json!({ "op": "replace", "path": state, "value": ACTIVE }),
    ];
    patch.extend(owner.into_iter().flat_map(pod::owner).map(|(key, value)| {
        json!({ "op": "add", "path": format!("/metadata/annotations/{}", escaped(key)), "value": value })
    }));
    // A pod on standby has no owner yet.
    patch.extend(
        parent.map(|parent| json!({ "op": "add", "path": "/metadata/ownerReferences", "value": [parent] })),
    );
    patch.into()
}

/// As a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
