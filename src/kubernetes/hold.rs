//! What holds a session's pod, and takes it away again.
//!
//! A pod goes with its session in an order that needs nobody later: its keeper hears the goodbye and ends, and the API
//! server knows that the object is to go. Whoever is dropped before that has the object deleted all the same, as long as
//! the process lives; what a killed process leaves the keeper ends, and a later session's sweep deletes.

use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::lifeline::Lifeline;

/// A cluster that gives no answer holds up no end.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// The goodbye.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// A pod whose making was not answered yet may be there a moment later.
const MADE_WITHIN: Duration = Duration::from_millis(500);
/// What is on its way holds up the end of a process no longer.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);

static LEAVING: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// No pod is on its way out any more. For the end of a process.
pub(crate) async fn settled() {
    LEAVING.close();
    if tokio::time::timeout(SETTLED_WITHIN, LEAVING.wait()).await.is_err() {
        tracing::debug!("a pod was still on its way at the end");
    }
}

/// A session's pod.
pub(crate) struct Hold {
    pods: Api<Pod>,
    name: String,
    lifeline: Option<Lifeline>,
    is_released: bool,
}

impl Hold {
    /// Of a pod that is about to be made, or claimed.
    pub(crate) fn new(pods: Api<Pod>, name: String) -> Self {
        Self { pods, name, lifeline: None, is_released: false }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn keep_alive(&mut self, lifeline: Lifeline) {
        self.lifeline = Some(lifeline);
    }

    /// It is not ours after all.
    pub(crate) fn let_be(mut self) {
        self.is_released = true;
    }

    pub(crate) fn client_left(&self) {
        if let Some(lifeline) = &self.lifeline {
            lifeline.leave();
        }
    }

    /// The keeper ends its container now.
    pub(crate) async fn terminate(&self) {
        if let Some(lifeline) = &self.lifeline {
            lifeline.end(TOLD_WITHIN).await;
        }
    }

    /// The pod as the cluster knows it; `None`: it is gone.
    pub(crate) async fn look(&self) -> kube::Result<Option<Pod>> {
        self.pods.get_opt(&self.name).await
    }

    /// Shows more of its owner. No failure counts.
    pub(crate) async fn annotate(&self, key: &str, value: &str) {
        let patch = json!({ "metadata": { "annotations": { key: value } } });
        patch_within(&self.pods, &self.name, &patch).await;
    }

    /// Resolves when the cluster knows that it is to go, or after a moment.
    pub(crate) async fn release(mut self) {
        self.is_released = true;
        let deleting = tokio::time::timeout(GONE_WITHIN, delete(&self.pods, &self.name));
        let (deleted, ()) = tokio::join!(deleting, self.terminate());
        if !matches!(deleted, Ok(Ok(_))) {
            tracing::debug!("the pod `{}` is left for the next session to delete", self.name);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_released {
            return;
        }
        let (pods, name, lifeline) = (self.pods.clone(), self.name.clone(), self.lifeline.take());
        LEAVING.spawn(async move {
            let deleted = async {
                if matches!(delete(&pods, &name).await, Ok(false)) {
                    tokio::time::sleep(MADE_WITHIN).await;
                    let _ = delete(&pods, &name).await;
                }
            };
            let told = async {
                if let Some(lifeline) = &lifeline {
                    lifeline.end(TOLD_WITHIN).await;
                }
            };
            let _ = tokio::time::timeout(GONE_WITHIN * 2, async { tokio::join!(deleted, told) }).await;
        });
    }
}

async fn patch_within(pods: &Api<Pod>, name: &str, patch: &Value) {
    let params = PatchParams::default();
    let patched = tokio::time::timeout(GONE_WITHIN, pods.patch(name, &params, &Patch::Merge(patch))).await;
    if let Ok(Err(error)) = patched {
        tracing::debug!("cannot annotate the pod `{name}`: {error}");
    }
}

/// With the time that its own specification gives it; false: there is none of that name.
async fn delete(pods: &Api<Pod>, name: &str) -> kube::Result<bool> {
    match pods.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[tokio::test(start_paused = true)]
    async fn a_pod_goes_with_its_session_and_with_whoever_is_dropped() {
        let (cluster, seen) = fake::cluster(|(_, uri, _)| match uri.contains("late") {
            false => (200, json!({ "kind": "Status", "status": "Success" })),
            true => (404, fake::status(404, "pods \"late\" not found")),
        });
        let hold = |name: &str| Hold::new(cluster.pods(), name.to_owned());
        hold("released").release().await;
        hold("another's").let_be();
        drop(hold("dropped"));
        drop(hold("late"));
        settled().await;
        let mut told = fake::told(&seen);
        told.sort();
        // What was not there yet is looked for once more.
        assert_eq!(told, ["DELETE /dropped", "DELETE /late", "DELETE /late", "DELETE /released"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_does_not_answer_holds_up_no_end() {
        let (cluster, _) = fake::cluster(|_| (503, fake::status(503, "no")));
        let began = tokio::time::Instant::now();
        Hold::new(cluster.pods(), "p".to_owned()).release().await;
        assert!(began.elapsed() <= GONE_WITHIN, "{:?}", began.elapsed());
    }
}
