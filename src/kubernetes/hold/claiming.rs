//! A pod whose claim has no answer yet: it may be this session's by now.
//!
//! A claim that was answered says whose the pod is. Where the answer is lost, the pod itself is asked, and deleted only if it
//! has become this session's: another one may have it.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};

use super::{AGAIN_AFTER, Hold, LEAVING, MADE_WITHIN, SETTLED_WITHIN, leave};
use crate::pod::{ACTIVE, ANNOTATION_SESSION, LABEL_STATE, STANDBY};

/// Whoever is dropped with one of these has the pod looked at, and deleted if it has become its own.
pub(crate) struct Claiming {
    pods: Api<Pod>,
    name: String,
    /// Who claims it; `None`: nobody, it only is to stand by no longer.
    session: Option<String>,
    is_answered: bool,
}

impl Claiming {
    pub(crate) fn new(pods: Api<Pod>, name: &str, session: Option<&str>) -> Self {
        Self { pods, name: name.to_owned(), session: session.map(str::to_owned), is_answered: false }
    }

    /// It is ours.
    pub(crate) fn won(mut self) -> Hold {
        self.is_answered = true;
        Hold::new(self.pods.clone(), self.name.clone())
    }

    /// It is as it was, somebody else's, or gone.
    pub(crate) fn lost(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let (pods, name, session) = (self.pods.clone(), self.name.clone(), self.session.take());
        LEAVING.spawn(async move {
            let left = async {
                if is_claimed(&pods, &name, session.as_deref()).await {
                    leave(&pods, (&name, false), None).await;
                }
            };
            let _ = tokio::time::timeout(SETTLED_WITHIN, left).await;
        });
    }
}

/// Whether the claim has come true, be it a moment later.
async fn is_claimed(pods: &Api<Pod>, name: &str, session: Option<&str>) -> bool {
    let mut has_waited = false;
    loop {
        match pods.get_opt(name).await {
            Ok(Some(pod)) if state(&pod) == Some(ACTIVE) => {
                return pod.annotations().get(ANNOTATION_SESSION).map(String::as_str) == session;
            }
            Ok(Some(pod)) if state(&pod) == Some(STANDBY) && !has_waited => {
                has_waited = true;
                tokio::time::sleep(MADE_WITHIN).await;
            }
            Ok(_) => return false,
            Err(error) => {
                tracing::debug!("whose the pod `{name}` is, is not known yet: {error}");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

fn state(pod: &Pod) -> Option<&str> {
    pod.labels().get(LABEL_STATE).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;
    use crate::hold::settled;

    fn pod(state: &str, session: Option<&str>) -> (u16, Value) {
        let annotations = session.map(|session| json!({ ANNOTATION_SESSION: session }));
        (200, json!({ "metadata": { "labels": { LABEL_STATE: state }, "annotations": annotations } }))
    }

    /// What is asked for after a claim without an answer, where the pod is seen like this, one time after another.
    async fn asked(session: Option<&str>, seen: &[(u16, Value)]) -> String {
        let mut looks = seen.to_vec();
        looks.reverse();
        let looks = std::sync::Mutex::new(looks);
        let (cluster, told) = fake::cluster(move |(method, ..)| match method.as_str() {
            "GET" => looks.lock().unwrap().pop().unwrap(),
            _ => (200, json!({ "kind": "Status", "status": "Success" })),
        });
        drop(Claiming::new(cluster.pods(), "p", session));
        settled().await;
        fake::told(&told).join(", ")
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_without_an_answer_is_given_up_only_where_it_has_come_true() {
        let (standby, away) = (pod(STANDBY, None), (503, fake::status(503, "no")));
        assert_eq!(asked(Some("s"), &[pod(ACTIVE, Some("s"))]).await, "GET /p, DELETE /p");
        assert_eq!(asked(Some("s"), &[pod(ACTIVE, Some("t"))]).await, "GET /p", "another session has it");
        assert_eq!(asked(Some("s"), &[pod(ACTIVE, None)]).await, "GET /p", "somebody else deletes it");
        assert_eq!(asked(Some("s"), &[fake::not_found()]).await, "GET /p");
        let late = [standby.clone(), pod(ACTIVE, Some("s"))];
        assert_eq!(asked(Some("s"), &late).await, "GET /p, GET /p, DELETE /p", "it comes true late");
        assert_eq!(asked(Some("s"), &[standby.clone(), standby]).await, "GET /p, GET /p", "it never does");
        let late = [away, pod(ACTIVE, Some("s"))];
        assert_eq!(asked(Some("s"), &late).await, "GET /p, GET /p, DELETE /p");
        assert_eq!(asked(None, &[pod(ACTIVE, None)]).await, "GET /p, DELETE /p");
        assert_eq!(asked(None, &[pod(ACTIVE, Some("t"))]).await, "GET /p", "a session was faster");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed() {
        let (cluster, told) = fake::cluster(|_| (200, json!({ "kind": "Status", "status": "Success" })));
        let claiming = |name| Claiming::new(cluster.pods(), name, Some("s"));
        claiming("lost").lost();
        drop(claiming("won").won());
        settled().await;
        assert_eq!(fake::told(&told), ["DELETE /won"]);
    }
}
