//! What sessions have left that could not take their pods away: each session's housekeeping deletes it, and `berth gc`.
//!
//! Most go without it. A session deletes its pod; the keeper of a killed one ends its container by itself, and then only the
//! finished object is left. A pod that never started has no keeper. Nobody waits for it any longer than its session's
//! `start_timeout`, which it says itself; `activeDeadlineSeconds` would not help, as it counts from a node's first look
//! and would bound good sessions, too. So it goes by its age, which the API server's clock tells.
//!
//! Only an agent's pod can be an owner (`parent.rs`); all others are swept. A Job around each pod costs 50 to 200 ms of each
//! start.

use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, ObjectList, Preconditions};
use kube::client::Body;

use super::cluster::Cluster;
use super::pod::{ANNOTATION_PATIENCE, LABEL_MANAGED_BY, MANAGER, PROBER, end_of_server};
use super::volumes;

/// A start may be tried again.
const BEYOND_PATIENCE: Duration = Duration::from_mins(2);
/// Of a pod that says nothing of its session's patience.
const PATIENCE: Duration = Duration::from_mins(5);
/// The kubelet of a node that lives has ended a pod so long after its grace. A keeper ends by itself before.
const ENDED_WITHIN: Duration = Duration::from_mins(1);
/// Its own session may be about to ask how it ended.
pub(crate) const LOOKED_AT_WITHIN: Duration = Duration::from_secs(5);

/// Which pods are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// Those that have ended or not begun: of thousands of sessions few.
    Still,
    /// All. A pod that has more than its server's container goes on without it.
    All,
}

/// What a sweep has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// The names of those that were deleted.
    pub(crate) gone: Vec<String>,
    /// Some have ended a moment ago.
    pub(crate) has_spared: bool,
}

/// What is to be done with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stays,
    /// Its end is too new.
    Spared,
    Left,
    /// It was deleted, and nobody ends it: its node is dead.
    Stuck,
}

/// Pods, and what time it was for the API server then.
pub(crate) struct Looked {
    pub(crate) pods: Vec<Pod>,
    now: Timestamp,
}

/// Looks at what may be left. It may be a little old, unless somebody needs it `fresh`.
pub(crate) async fn look(cluster: &Cluster, among: Among, fresh: bool) -> kube::Result<Looked> {
    let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY} in ({MANAGER},{PROBER})"));
    let ours = if fresh { ours } else { ours.match_any() };
    let ours = match among {
        Among::Still => ours.fields("status.phase!=Running"),
        Among::All => ours,
    };
    let (pods, now) = list(cluster, &ours).await?;
    Ok(Looked { pods, now })
}

/// Looks, and deletes what is left.
pub(crate) async fn sweep(cluster: &Cluster, among: Among) -> kube::Result<Swept> {
    Ok(delete(cluster, &look(cluster, among, false).await?).await)
}

/// Deletes what is left. What somebody has changed meanwhile stays.
pub(crate) async fn delete(cluster: &Cluster, Looked { pods, now }: &Looked) -> Swept {
    let mut swept = Swept::default();
    for pod in pods {
        match verdict(pod, *now) {
            Verdict::Stays => {}
            Verdict::Spared => swept.has_spared = true,
            verdict @ (Verdict::Left | Verdict::Stuck) => {
                let preconditions =
                    Preconditions { uid: pod.uid(), resource_version: pod.resource_version() };
                let at_once = (verdict == Verdict::Stuck).then_some(0);
                let params = DeleteParams { grace_period_seconds: at_once, ..DeleteParams::default() }
                    .preconditions(preconditions);
                match cluster.pods().delete(&pod.name_any(), &params).await {
                    Ok(_) => swept.gone.push(pod.name_any()),
                    Err(error) => tracing::debug!("`{}` is not deleted: {error}", pod.name_any()),
                }
            }
        }
    }
    swept
}

/// The pods, and what time it is for the API server, which has dated them. A clock of this machine that is ahead would take
/// what starts now for old.
async fn list(cluster: &Cluster, params: &ListParams) -> kube::Result<(Vec<Pod>, Timestamp)> {
    let path = format!("/api/v1/namespaces/{}/pods", cluster.namespace);
    let request = kube::core::Request::new(path).list(params).map_err(kube::Error::BuildRequest)?;
    let answer = cluster.client.send(request.map(Body::from)).await?;
    let now = date(answer.headers()).unwrap_or_else(Timestamp::now);
    let is_answer = answer.status().is_success();
    let body = answer.into_body().collect().await?.to_bytes();
    if !is_answer {
        let status = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
        return Err(kube::Error::Api(status));
    }
    let pods: ObjectList<Pod> = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
    Ok((pods.items, now))
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    rfc2822::parse(date).ok().map(|date| date.timestamp())
}

/// Whether nobody needs it any more.
fn verdict(pod: &Pod, now: Timestamp) -> Verdict {
    let age = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let ended_at = |time: Option<Timestamp>| match time {
        Some(time) if age(time) < LOOKED_AT_WITHIN => Verdict::Spared,
        _ => Verdict::Left,
    };
    let Some(status) = &pod.status else { return Verdict::Stays };
    if let Some(gone) = &pod.metadata.deletion_timestamp {
        // While the object is there, nobody else writes its volumes. Its node may live, and its server.
        let is_stuck = age(gone.0) >= ENDED_WITHIN && !volumes::may_write_any(pod);
        return if is_stuck { Verdict::Stuck } else { Verdict::Stays };
    }
    match status.phase.as_deref() {
        Some("Succeeded" | "Failed") => ended_at(ended(pod)),
        Some("Pending") => {
            let said = pod.annotations().get(ANNOTATION_PATIENCE).and_then(|said| said.parse().ok());
            let patience = said.map_or(PATIENCE, Duration::from_secs).saturating_add(BEYOND_PATIENCE);
            let is_old = pod.creation_timestamp().is_some_and(|made| age(made.0) >= patience);
            if is_old { Verdict::Left } else { Verdict::Stays }
        }
        // A keeper is there, and sees to the end; another container would go on for ever.
        _ => match end_of_server(pod) {
            Some(end) => ended_at(end.finished_at.as_ref().map(|time| time.0)),
            None => Verdict::Stays,
        },
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

    fn verdict(pod: Value) -> Verdict {
        super::verdict(&serde_json::from_value(pod).unwrap(), "2026-01-01T01:00:00Z".parse().unwrap())
    }

    fn is_left(pod: Value) -> bool {
        verdict(pod) == Verdict::Left
    }

    fn finished(phase: &str, at: &str) -> Value {
        finished_container("server", phase, at)
    }

    fn finished_container(container: &str, phase: &str, at: &str) -> Value {
        let statuses = fake::ended(container, at);
        json!({ "metadata": {}, "status": { "phase": phase, "containerStatuses": statuses } })
    }

    #[test]
    fn what_has_ended_goes_and_what_runs_stays() {
        assert!(is_left(finished("Succeeded", "2026-01-01T00:59:50Z")));
        assert!(is_left(finished("Failed", "2026-01-01T00:59:50Z")));
        let new = finished("Failed", "2026-01-01T00:59:58Z");
        assert_eq!(verdict(new), Verdict::Spared, "its session may still ask why");
        assert_eq!(verdict(finished("Running", "2026-01-01T00:59:58Z")), Verdict::Spared);
        assert!(is_left(finished("Running", "2026-01-01T00:00:00Z")), "its sidecar goes on for nobody");
        let without = finished_container("sidecar", "Running", "2026-01-01T00:00:00Z");
        assert_eq!(verdict(without), Verdict::Stays, "its server runs");
        assert!(
            is_left(json!({ "metadata": {}, "status": { "phase": "Failed" } })),
            "it never had a container"
        );
        let mut going = finished("Failed", "2026-01-01T00:00:00Z");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:59:30Z");
        assert_eq!(verdict(going.clone()), Verdict::Stays, "it is on its way");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:58:30Z");
        going["status"]["phase"] = json!("Running");
        assert_eq!(verdict(going.clone()), Verdict::Stuck, "no kubelet is there to end it");
        let claim = json!({ "name": "volume-0", "persistentVolumeClaim": { "claimName": "c" } });
        going["spec"] = json!({ "containers": [], "volumes": [claim] });
        going["status"]["containerStatuses"] = json!([]);
        assert_eq!(verdict(going.clone()), Verdict::Stays, "it may still write");
        going["status"]["phase"] = json!("Failed");
        assert_eq!(verdict(going), Verdict::Stuck, "it has ended");
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
        let mut stuck = left.clone();
        stuck["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let items =
            pods(vec![("left", left.clone()), ("starting", starting), ("changed", left), ("stuck", stuck)]);
        let now = Timestamp::now();
        let (cluster, seen) = fake::cluster_at(Some(now), move |(method, uri, _)| match method.as_str() {
            "GET" => (200, json!({ "metadata": {}, "items": items })),
            _ if uri.contains("changed") => (409, fake::status(409, "the object has been modified")),
            _ => (200, json!({ "kind": "Status", "status": "Success" })),
        });
        let swept = sweep(&cluster, Among::Still).await.unwrap();
        assert_eq!((&swept.gone[..], swept.has_spared), (&["left", "stuck"].map(str::to_owned)[..], false));
        assert_eq!(fake::told(&seen), ["GET ", "DELETE /left", "DELETE /changed", "DELETE /stuck"]);
        let seen = seen.lock().unwrap();
        assert!(seen[0].1.contains("status.phase%21%3DRunning"), "{}", seen[0].1);
        assert_eq!(seen[1].2["preconditions"], json!({ "resourceVersion": "7", "uid": "uid-left" }));
        assert_eq!(seen[1].2.get("gracePeriodSeconds"), None);
        assert_eq!(seen[3].2["gracePeriodSeconds"], 0, "nobody would end it");
    }

    #[tokio::test]
    async fn it_is_as_late_as_the_cluster_says() {
        // The clock of this machine is years ahead.
        let made = "2020-01-01T00:00:00Z";
        let starting = json!({ "metadata": { "name": "p", "creationTimestamp": made }, "status": { "phase": "Pending" } });
        let list = json!({ "metadata": {}, "items": [starting] });
        let swept = async |now: Option<&str>| {
            let list = list.clone();
            let now = now.map(|now| now.parse().unwrap());
            let (cluster, seen) = fake::cluster_at(now, move |_| (200, list.clone()));
            let gone = sweep(&cluster, Among::All).await.unwrap().gone;
            assert!(!seen.lock().unwrap()[0].1.contains("fieldSelector"), "all are looked at");
            gone
        };
        assert!(swept(Some("2020-01-01T00:01:00Z")).await.is_empty());
        assert_eq!(swept(Some("2020-01-01T01:00:00Z")).await, ["p"]);
        assert_eq!(swept(None).await, ["p"], "nobody says another time");
        let (cluster, _) = fake::cluster(|_| (403, fake::status(403, "no")));
        let error = sweep(&cluster, Among::All).await.unwrap_err();
        assert!(matches!(error, kube::Error::Api(status) if status.code == 403));
    }
}
