//! What sessions have left that could not take their pods away: each session's housekeeping deletes it, and `berth gc`.
//!
//! Most go without it. A session deletes its pod; the keeper of a killed one ends its container by itself, and then only the
//! finished object is left. A pod that never started has no keeper. Nobody waits for it any longer than its session's
//! `start_timeout`, which it says itself; `activeDeadlineSeconds` would not help, as it counts from a node's first look
//! and would bound good sessions, too. So it goes by its age. Clocks differ: it has some minutes beyond that.
//!
//! No pod has an owner in the cluster. An agent's own pod as its owner would have Kubernetes delete sessions' pods with it,
//! but only agents in the cluster have one; and a Job around each pod costs 50 to 200 ms of each start.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Preconditions};

use super::cluster::Cluster;
use super::pod::{ANNOTATION_PATIENCE, LABEL_MANAGED_BY, MANAGER, PROBER};

/// So far the clocks of two machines may be apart, and a start may be tried again.
const BEYOND_PATIENCE: Duration = Duration::from_mins(2);
/// Of a pod that says nothing of its session's patience.
const PATIENCE: Duration = Duration::from_mins(5);
/// Its own session may be about to ask how it ended.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(5);

/// Deletes what is left; gives the names. What somebody has changed meanwhile stays.
pub(crate) async fn sweep(cluster: &Cluster) -> kube::Result<Vec<String>> {
    let pods = cluster.pods();
    let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY} in ({MANAGER},{PROBER})"));
    // Of thousands of sessions few have left anything.
    let ours = ours.fields("status.phase!=Running").match_any();
    let mut swept = Vec::new();
    for pod in pods.list(&ours).await?.items.iter().filter(|pod| is_left(pod, Timestamp::now())) {
        let preconditions = Preconditions { uid: pod.uid(), resource_version: pod.resource_version() };
        let params = DeleteParams::default().preconditions(preconditions);
        match pods.delete(&pod.name_any(), &params).await {
            Ok(_) => swept.push(pod.name_any()),
            Err(error) => tracing::debug!("`{}` is not deleted: {error}", pod.name_any()),
        }
    }
    Ok(swept)
}

/// Whether nobody needs it any more.
fn is_left(pod: &Pod, now: Timestamp) -> bool {
    if pod.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let age = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let Some(status) = &pod.status else { return false };
    match status.phase.as_deref() {
        Some("Succeeded" | "Failed") => ended(pod).is_none_or(|ended| age(ended) >= LOOKED_AT_WITHIN),
        Some("Pending") => {
            let said = pod.annotations().get(ANNOTATION_PATIENCE).and_then(|said| said.parse().ok());
            let patience = said.map_or(PATIENCE, Duration::from_secs).saturating_add(BEYOND_PATIENCE);
            pod.creation_timestamp().is_some_and(|made| age(made.0) >= patience)
        }
        // A keeper is there, and sees to the end.
        _ => false,
    }
}

/// When the last of its containers ended.
fn ended(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    let ends = containers.filter_map(|it| it.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ends.map(|time| time.0).max()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;

    fn is_left(pod: Value) -> bool {
        super::is_left(&serde_json::from_value(pod).unwrap(), "2026-01-01T01:00:00Z".parse().unwrap())
    }

    fn finished(phase: &str, at: &str) -> Value {
        let state = json!({ "terminated": { "exitCode": 0, "finishedAt": at } });
        let status = json!({ "name": "server", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        json!({ "metadata": {}, "status": { "phase": phase, "containerStatuses": [status] } })
    }

    #[test]
    fn what_has_ended_goes_and_what_runs_stays() {
        assert!(is_left(finished("Succeeded", "2026-01-01T00:59:50Z")));
        assert!(is_left(finished("Failed", "2026-01-01T00:59:50Z")));
        assert!(!is_left(finished("Failed", "2026-01-01T00:59:58Z")), "its session may still ask why");
        assert!(!is_left(finished("Running", "2026-01-01T00:00:00Z")), "a sidecar may be there");
        assert!(
            is_left(json!({ "metadata": {}, "status": { "phase": "Failed" } })),
            "it never had a container"
        );
        let mut going = finished("Failed", "2026-01-01T00:00:00Z");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:59:00Z");
        assert!(!is_left(going), "it is on its way");
    }

    #[test]
    fn what_never_started_goes_when_nobody_waits_for_it() {
        let pending = |made: &str, patience: Option<&str>| {
            let mut pod =
                json!({ "metadata": { "creationTimestamp": made }, "status": { "phase": "Pending" } });
            if let Some(patience) = patience {
                pod["metadata"]["annotations"] = json!({ ANNOTATION_PATIENCE: patience });
            }
            is_left(pod)
        };
        assert!(!pending("2026-01-01T00:58:00Z", Some("30")));
        assert!(pending("2026-01-01T00:57:00Z", Some("30")));
        assert!(!pending("2026-01-01T00:57:00Z", Some("3600")), "its session is patient");
        assert!(!pending("2026-01-01T00:54:00Z", None));
        assert!(pending("2026-01-01T00:52:00Z", None));
        assert!(!pending("2026-01-01T02:00:00Z", Some("1")), "a clock that is behind takes nothing for old");
        assert!(!pending("2026-01-01T00:58:00Z", Some("18446744073709551615")));
    }

    #[tokio::test]
    async fn what_is_left_is_deleted_as_it_was_seen() {
        let pods = |pods: Vec<(&str, Value)>| -> Vec<Value> {
            let named = |(name, mut pod): (&str, Value)| {
                pod["metadata"]["name"] = name.into();
                pod["metadata"]["uid"] = format!("uid-{name}").into();
                pod["metadata"]["resourceVersion"] = "7".into();
                pod
            };
            pods.into_iter().map(named).collect()
        };
        let left = finished("Failed", "2026-01-01T00:00:00Z");
        let starting = json!({
            "metadata": { "creationTimestamp": Timestamp::now().to_string() }, "status": { "phase": "Pending" },
        });
        let items = pods(vec![("left", left.clone()), ("starting", starting), ("changed", left)]);
        let (cluster, seen) = fake::cluster(move |(method, uri, _)| match method.as_str() {
            "GET" => (200, json!({ "metadata": {}, "items": items })),
            _ if uri.contains("changed") => (409, fake::status(409, "the object has been modified")),
            _ => (200, json!({ "kind": "Status", "status": "Success" })),
        });
        assert_eq!(sweep(&cluster).await.unwrap(), ["left"]);
        assert_eq!(fake::told(&seen), ["GET ", "DELETE /left", "DELETE /changed"]);
        let seen = seen.lock().unwrap();
        assert!(seen[0].1.contains("status.phase%21%3DRunning"), "{}", seen[0].1);
        assert_eq!(seen[1].2["preconditions"], json!({ "resourceVersion": "7", "uid": "uid-left" }));
    }
}
