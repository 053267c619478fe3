//! Pods that need what `up` has made.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use mcp_berth::failure::Failure;

use super::network::{LABEL_PROBE, PolicyLabel};
use super::refused::failure;
use super::{Cluster, LABEL_MANAGED_BY, MANAGER};

/// Whether it is of a session, or may become so: who was looking with a probe pod looks again.
pub(super) fn lives(pod: &Pod) -> bool {
    if pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_PROBE)) {
        return false;
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none()
}

/// How many living pods have a list of names, on standby or not.
pub(super) async fn with_list(cluster: &Cluster) -> Result<usize, Failure> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let labels = format!("{LABEL_MANAGED_BY}={MANAGER},{}={}", PolicyLabel::KEY, PolicyLabel::Allow.as_str());
    let what = || format!("list pods in the namespace `{}`", cluster.namespace);
    let listed = api.list(&ListParams::default().labels(&labels)).await;
    let listed = listed.map_err(|error| failure(&what(), &error))?;
    Ok(listed.items.iter().filter(|pod| lives(pod)).count())
}
