//! Pods that were started ahead of their sessions, and how one of them becomes a session's own.
//!
//! **Claiming** is one JSON Patch that tests the label of the state and changes it: of all who want a pod one gets it, and
//! the others hear that the test failed. A kubelet that writes the pod's status in between costs nobody anything. Looking for
//! a pod is no claim: a list may be old.
//!
//! A claimant speaks to the keeper before it claims. From then on the keeper waits for its owner for no longer than a cut
//! may last, so who is killed in between leaves nothing. A loser's word does no harm: the winner speaks, too.

use bytes::Bytes;
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use mcp_berth::dock::owner::Owner;
use mcp_berth::human::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cluster::Cluster;
use super::names;
use super::pod::{
    self, ACTIVE, LABEL_CLIENT, LABEL_MANAGED_BY, LABEL_SPEC, LABEL_STATE, MANAGER, Plan, STANDBY,
};
use super::pump::{From, To, What};

/// Any byte that is no command.
const ALIVE: &[u8] = b".";
/// What the API server answers where a test of a patch fails.
const TEST_FAILED: u16 = 422;

/// What became of a claim.
pub(crate) enum Claim {
    /// Ours; the stream over which its keeper was told.
    Won((To, From)),
    /// Somebody else's, or gone.
    Lost,
}

/// The pods that stand by for a session, by their names; each session has an order of its own, so that not all want the
/// same one. From the API server's cache.
pub(crate) async fn find(cluster: &Cluster, plan: &Plan<'_>) -> kube::Result<Vec<String>> {
    let client = names::label(&plan.spec.client);
    let hash = plan.hash();
    let labels = format!(
        "{LABEL_MANAGED_BY}={MANAGER},{LABEL_STATE}={STANDBY},{LABEL_CLIENT}={client},{LABEL_SPEC}={hash}"
    );
    let pods = cluster.pods().list(&ListParams::default().labels(&labels).match_any()).await?;
    let mut found: Vec<String> =
        pods.items.iter().filter(|pod| is_ready(pod)).filter_map(|pod| pod.metadata.name.clone()).collect();
    found.sort_by_cached_key(|name| hex(&Sha256::digest(format!("{}{name}", plan.spec.session))));
    Ok(found)
}

/// Whether a pod runs, and is to go on.
fn is_ready(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Claims a pod for its owner.
pub(crate) async fn claim(cluster: &Cluster, name: &str, owner: &Owner) -> kube::Result<Claim> {
    let (mut to, from) = match cluster.place(name).open(&cluster.client, What::Attach).await {
        Ok(stream) => stream,
        Err(kube::Error::Api(status)) if [400, 404].contains(&status.code) => return Ok(Claim::Lost),
        Err(error) => return Err(error),
    };
    if to.send(Bytes::from_static(ALIVE)).await.is_err() {
        return Ok(Claim::Lost);
    }
    Ok(if change(cluster, name, owner).await? { Claim::Won((to, from)) } else { Claim::Lost })
}

/// Whether it is ours now.
async fn change(cluster: &Cluster, name: &str, owner: &Owner) -> kube::Result<bool> {
    let patch = patch(owner);
    let path = format!("/api/v1/namespaces/{}/pods/{name}", cluster.namespace);
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    match cluster.client.request::<Pod>(request).await {
        // Somebody has deleted it meanwhile.
        Ok(pod) => Ok(is_ready(&pod)),
        Err(kube::Error::Api(status)) if [TEST_FAILED, 404].contains(&status.code) => Ok(false),
        Err(error) => Err(error),
    }
}

fn patch(owner: &Owner) -> Value {
    let state = format!("/metadata/labels/{}", escaped(LABEL_STATE));
    let mut patch = vec![
        json!({ "op": "test", "path": state, "value": STANDBY }),
        json!({ "op": "replace", "path": state, "value": ACTIVE }),
    ];
    patch.extend(pod::owner(owner).map(|(key, value)| {
        json!({ "op": "add", "path": format!("/metadata/annotations/{}", escaped(key)), "value": value })
    }));
    patch.into()
}

/// As a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
