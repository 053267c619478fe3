//! Whether a session's server has ended, by what the cluster says of its pod.
//!
//! A stream that is cut may be opened again, and a pod that is gone gives none. So whoever has lost a stream also looks at
//! the pod, seldom enough for the API server. What only may come to its end is no end: a pod that somebody deletes has its
//! grace, in which its server may have its last word, and a node that is not heard may be back.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use mcp_berth::session::upstream::Exit;
use tokio::time::{Instant, sleep, timeout};

use super::pod::{ANNOTATION_ENDED, end_of_server};

/// One look.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks. The kubelet tells of an end within a second or so.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The kubelet of a node that lives has ended a pod this long after its grace.
const BEYOND_GRACE: Duration = Duration::from_secs(2);

/// By `berth kill`.
pub(crate) fn is_killed(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|said| said.contains_key(ANNOTATION_ENDED))
}

/// How a pod's server ended that nobody has told of: by the container's memory, by somebody outside, or lost. `None`: nothing
/// is known yet.
pub(crate) fn exit_of(pod: &Pod, memory: u64) -> Option<Exit> {
    if is_killed(pod) {
        return Some(Exit::Ended);
    }
    if let Some(ended) = end_of_server(pod) {
        let is_oom = ended.reason.as_deref() == Some("OOMKilled");
        return Some(if is_oom { Exit::OutOfMemory(memory) } else { Exit::Lost });
    }
    (has_finished(pod) || pod.metadata.deletion_timestamp.is_some()).then_some(Exit::Lost)
}

fn has_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Whether no stream to its server can come any more.
fn is_over(pod: &Pod) -> bool {
    is_killed(pod) || end_of_server(pod).is_some() || has_finished(pod)
}

/// Resolves when the cluster says that the pod's server has ended. Never while it says nothing, or that the server goes on.
pub(crate) async fn seen(pods: Api<Pod>, name: String) {
    let mut pause = FIRST_PAUSE;
    // Until when a pod that is deleted has its grace.
    let mut until = None;
    loop {
        match timeout(ANSWERED_WITHIN, pods.get_opt(&name)).await {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(pod))) if is_over(&pod) => return,
            Ok(Ok(Some(pod))) if pod.metadata.deletion_timestamp.is_some() => {
                let until = *until.get_or_insert_with(|| Instant::now() + grace(&pod) + BEYOND_GRACE);
                if Instant::now() >= until {
                    return;
                }
            }
            Ok(Ok(Some(_))) => {}
            Ok(Err(error)) => tracing::debug!("cannot look at the pod `{name}`: {error}"),
            Err(_) => tracing::debug!("cannot look at the pod `{name}`: no answer"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn grace(pod: &Pod) -> Duration {
    let seconds = pod.metadata.deletion_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;

    fn exit(pod: &Value) -> Option<Exit> {
        exit_of(&serde_json::from_value(pod.clone()).unwrap(), 7)
    }

    fn ended(name: &str, reason: &str) -> Value {
        let state = json!({ "terminated": { "exitCode": 137, "reason": reason } });
        json!({ "metadata": {}, "status": { "phase": "Running", "containerStatuses": [{
            "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] } })
    }

    fn running() -> Value {
        json!({ "metadata": {}, "status": { "phase": "Running" } })
    }

    fn killed(mut pod: Value) -> Value {
        pod["metadata"] = json!({ "annotations": { ANNOTATION_ENDED: "true" } });
        pod
    }

    fn going() -> Value {
        let metadata =
            json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 11 });
        json!({ "metadata": metadata, "status": { "phase": "Running" } })
    }

    #[test]
    fn a_pod_tells_of_an_end_that_nobody_has_told() {
        assert_eq!(exit(&ended("server", "OOMKilled")), Some(Exit::OutOfMemory(7)));
        assert_eq!(exit(&ended("server", "Error")), Some(Exit::Lost));
        assert_eq!(exit(&ended("sidecar", "OOMKilled")), None, "the server goes on");
        assert_eq!(exit(&running()), None);
        assert_eq!(exit(&json!({ "metadata": {}, "status": { "phase": "Failed" } })), Some(Exit::Lost));
        assert_eq!(exit(&going()), Some(Exit::Lost));
        assert_eq!(
            exit(&killed(ended("server", "OOMKilled"))),
            Some(Exit::Ended),
            "`berth kill` says so first"
        );
    }

    /// When a cut is known to be the pod's end, where the cluster answers so.
    async fn seen_after(answer: (u16, Value)) -> (Duration, usize) {
        let (cluster, asked) = fake::cluster(move |_| answer.clone());
        let began = Instant::now();
        let within = Duration::from_mins(1);
        let _ = timeout(within, seen(cluster.pods(), "p".to_owned())).await;
        (began.elapsed(), asked.lock().unwrap().len())
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_seen_at_once_and_what_may_go_on_is_waited_for() {
        let mut gone = fake::status(404, "pods \"p\" not found");
        gone["reason"] = json!("NotFound");
        let finished = json!({ "metadata": {}, "status": { "phase": "Failed", "reason": "Evicted" } });
        for over in [(404, gone), (200, ended("server", "Error")), (200, killed(running())), (200, finished)]
        {
            assert_eq!(seen_after(over.clone()).await, (Duration::ZERO, 1), "{over:?}");
        }
        // For as long as a cut lasts; and the API server is not asked all the time.
        for on in [(200, running()), (200, ended("sidecar", "Error")), (503, fake::status(503, "no"))] {
            let (after, asked) = seen_after(on.clone()).await;
            assert!(after == Duration::from_mins(1) && (10..25).contains(&asked), "{asked}: {on:?}");
        }
        // Its server is asked to end, and may have its last word. A dead node tells nothing of it.
        let (after, _) = seen_after((200, going())).await;
        assert!(after >= Duration::from_secs(13) && after < Duration::from_secs(18), "{after:?}");
    }
}
