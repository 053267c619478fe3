//! What holds a session's pod, and takes it away again.
//!
//! A pod goes with its session in an order that needs nobody later: its keeper hears the goodbye and ends, and the API
//! server knows that the object is to go. Whoever is dropped before that has the object deleted all the same, as long as
//! the process lives; what a killed process leaves the keeper ends, and a later session's sweep deletes.

mod claiming;

use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use mcp_berth::failure::Failure;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::lifeline::Lifeline;
pub(crate) use claiming::Claiming;

/// What a session says of itself is worth no wait.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
/// The goodbye.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// A pod whose making was not answered yet may be there a moment later.
const MADE_WITHIN: Duration = Duration::from_millis(500);
/// A cluster that is away for a moment is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// A cluster that gives no answer holds up the end of a session, and of a process, no longer.
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
    /// Nobody answers there.
    is_unheard: bool,
    /// Others wait for its end.
    keeps_others_off: bool,
    is_released: bool,
}

impl Hold {
    /// Of a pod that is about to be made, or was claimed.
    pub(crate) fn new(pods: Api<Pod>, name: String) -> Self {
        Self { pods, name, lifeline: None, is_unheard: false, keeps_others_off: false, is_released: false }
    }

    /// Whether its server has what no other may write. Others take an object that is gone for a server that has ended, so it
    /// stays until the pod's node says that.
    pub(crate) fn keep_others_off(&mut self, does: bool) {
        self.keeps_others_off = does;
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn namespace(&self) -> &str {
        self.pods.namespace().unwrap_or_default()
    }

    pub(crate) fn is_kept_alive(&self) -> bool {
        self.lifeline.is_some()
    }

    /// Resolves when its keeper hears, or never will.
    pub(crate) async fn held(&self) -> Result<(), Failure> {
        match &self.lifeline {
            Some(lifeline) => lifeline.held().await,
            None => Ok(()),
        }
    }

    pub(crate) fn keep_alive(&mut self, lifeline: Lifeline) {
        self.lifeline = Some(lifeline);
    }

    /// Its node may be dead: a pod there stays for as long as nobody says that it has ended, so its object goes at once. Its
    /// keeper, if there is one, ends it by itself as it hears nobody, and a kubelet that is back what it still finds.
    pub(crate) fn mark_unheard(&mut self) {
        self.is_unheard = true;
    }

    /// Whether the object goes before its node says that the pod has ended.
    fn at_once(&self) -> bool {
        self.is_unheard && !self.keeps_others_off
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
            let _ = lifeline.end(TOLD_WITHIN).await;
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
        let left = leave(&self.pods, (&self.name, self.at_once()), self.lifeline.as_ref());
        if tokio::time::timeout(SETTLED_WITHIN, left).await.is_err() {
            tracing::debug!("the pod `{}` is left for the next session to delete", self.name);
        }
        self.is_released = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_released {
            return;
        }
        let (pods, name, lifeline) = (self.pods.clone(), self.name.clone(), self.lifeline.take());
        let at_once = self.at_once();
        LEAVING.spawn(async move {
            let left = async {
                if leave(&pods, (&name, at_once), lifeline.as_ref()).await == Left::Nothing {
                    tokio::time::sleep(MADE_WITHIN).await;
                    leave(&pods, (&name, at_once), None).await;
                }
            };
            let _ = tokio::time::timeout(SETTLED_WITHIN, left).await;
        });
    }
}

/// Whether the API server has done nothing of what it was asked. One in trouble may have done it all the same.
pub(crate) fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code < 500)
}

/// What there was to let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Pod,
    Nothing,
}

/// Has the API server delete a pod, and its keeper end it. A keeper that was told is enough where the right to delete lacks;
/// whatever else fails is tried again. No try is broken off: a plug-in may take seconds for its token, each time anew.
async fn leave(pods: &Api<Pod>, (name, at_once): (&str, bool), lifeline: Option<&Lifeline>) -> Left {
    loop {
        let deleting = delete(pods, name, at_once);
        let telling = async {
            match lifeline {
                Some(lifeline) => lifeline.end(TOLD_WITHIN).await,
                None => false,
            }
        };
        match tokio::join!(deleting, telling) {
            (Ok(false), false) => return Left::Nothing,
            (Ok(_), _) => return Left::Pod,
            (Err(kube::Error::Api(status)), true) if status.code == 403 => return Left::Pod,
            (Err(error), _) => tracing::debug!("cannot delete the pod `{name}` yet: {error}"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn patch_within(pods: &Api<Pod>, name: &str, patch: &Value) {
    let params = PatchParams::default();
    let patched = tokio::time::timeout(SHOWN_WITHIN, pods.patch(name, &params, &Patch::Merge(patch))).await;
    if let Ok(Err(error)) = patched {
        tracing::debug!("cannot annotate the pod `{name}`: {error}");
    }
}

/// With the time that its own specification gives it, unless the object is to go `at_once`; false: there is none of that name.
async fn delete(pods: &Api<Pod>, name: &str, at_once: bool) -> kube::Result<bool> {
    let params = DeleteParams { grace_period_seconds: at_once.then_some(0), ..DeleteParams::default() };
    match pods.delete(name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fake;
    use crate::lifeline::{Attach, Attached, NotAttached};

    #[tokio::test(start_paused = true)]
    async fn a_pod_goes_with_its_session_and_with_whoever_is_dropped() {
        let (cluster, seen) = fake::cluster(|(_, uri, _)| {
            if uri.contains("late") {
                (404, fake::status(404, "pods \"late\" not found"))
            } else {
                (200, json!({ "kind": "Status", "status": "Success" }))
            }
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
    async fn where_nobody_answers_the_object_goes_at_once() {
        let (cluster, seen) = blinking(0);
        Hold::new(cluster.pods(), "heard".to_owned()).release().await;
        let mut hold = Hold::new(cluster.pods(), "unheard".to_owned());
        hold.mark_unheard();
        hold.release().await;
        let mut alone = Hold::new(cluster.pods(), "alone".to_owned());
        alone.keep_others_off(true);
        alone.mark_unheard();
        alone.release().await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0].2.get("gracePeriodSeconds"), None, "its keeper ends it in order");
        assert_eq!(seen[1].2["gracePeriodSeconds"], 0);
        assert_eq!(seen[2].2.get("gracePeriodSeconds"), None, "what has no object may still write");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_does_not_answer_holds_up_no_end() {
        let (cluster, _) = fake::cluster(|_| (503, fake::status(503, "no")));
        let began = tokio::time::Instant::now();
        Hold::new(cluster.pods(), "p".to_owned()).release().await;
        assert!(began.elapsed() <= SETTLED_WITHIN, "{:?}", began.elapsed());
    }

    /// A cluster that is away for its first `away` answers.
    fn blinking(away: usize) -> (crate::cluster::Cluster, fake::Seen) {
        let asked = AtomicUsize::new(0);
        fake::cluster(move |_| {
            if asked.fetch_add(1, Ordering::Relaxed) < away {
                (503, fake::status(503, "no"))
            } else {
                (200, json!({ "kind": "Status", "status": "Success" }))
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_away_for_a_moment_is_told_all_the_same() {
        let (cluster, seen) = blinking(3);
        let began = tokio::time::Instant::now();
        Hold::new(cluster.pods(), "p".to_owned()).release().await;
        assert_eq!((fake::told(&seen).len(), began.elapsed()), (4, AGAIN_AFTER * 3));
        let (cluster, seen) = blinking(3);
        drop(Hold::new(cluster.pods(), "p".to_owned()));
        settled().await;
        assert_eq!(fake::told(&seen).len(), 4, "it is not told more often than it takes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_that_was_told_is_enough() {
        let (told, took) = let_go(fake::cluster(|_| (403, fake::status(403, "no")))).await;
        assert_eq!((told.len(), took), (1, Duration::ZERO), "nobody gives the right meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn the_object_goes_too_however_long_its_delete_takes() {
        let gone = |_: &fake::Request| (200, json!({ "kind": "Status", "status": "Success" }));
        let late = Duration::from_millis(2500);
        assert_eq!(let_go(fake::slow(late, gone)).await, (vec!["DELETE /p".to_owned()], late));
        let (told, took) = let_go(blinking(2)).await;
        assert_eq!((told.len(), took), (3, AGAIN_AFTER * 2));
        let (told, took) = let_go(fake::slow(Duration::from_mins(1), gone)).await;
        assert_eq!((told.len(), took), (0, SETTLED_WITHIN), "a dead cluster holds up no end for longer");
    }

    /// What a cluster is asked at the end of a session whose keeper hears the goodbye, and how long that takes.
    async fn let_go((cluster, seen): (crate::cluster::Cluster, fake::Seen)) -> (Vec<String>, Duration) {
        let mut hold = Hold::new(cluster.pods(), "p".to_owned());
        hold.keep_alive(Lifeline::by(Hearing, std::sync::Arc::default()));
        let began = tokio::time::Instant::now();
        hold.release().await;
        (fake::told(&seen), began.elapsed())
    }

    /// A keeper that hears all.
    struct Hearing;

    impl Attach for Hearing {
        type Attached = Option<u8>;

        async fn attach(&mut self) -> Result<Option<u8>, NotAttached> {
            Ok(None)
        }
    }

    impl Attached for Option<u8> {
        async fn beat(&mut self, byte: u8) -> io::Result<()> {
            *self = Some(byte);
            Ok(())
        }

        async fn answer(&mut self) -> io::Result<u8> {
            match self.take() {
                Some(byte) => Ok(byte),
                None => std::future::pending().await,
            }
        }
    }
}
