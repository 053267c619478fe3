//! Why there is no pod, or none that runs, in a person's words: cause, object, next command.
//!
//! What the API server refuses is in `refused.rs`, and in `denied.rs` when that is final; what keeps a pod from its start is in
//! `stuck.rs`, and what became of one in `lost.rs`. All of them are pure. Here is who
//! looks: a watch of the one pod and of its events, beside the start. A start that goes well is over before it begins.

mod claims;
pub(crate) mod denied;
pub(crate) mod lost;
pub(crate) mod refused;
pub(crate) mod stuck;

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use mcp_berth::dind::progress::Progress;
use mcp_berth::failure::Failure;

use super::cluster::Cluster;
use stuck::Stuck;

/// Most pods have started by then, and cost no watch.
const LOOKS_AFTER: Duration = Duration::from_secs(1);
/// A watch that breaks off is begun again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Who says what a start waits for; whoever comes first knows it best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Claim,
    Pod,
    Event,
    Quota,
}

/// What a start waits for at the moment: told as it happens, and to whoever loses patience.
#[derive(Debug)]
pub(crate) struct Waiting {
    progress: Progress,
    noted: Mutex<[Option<Failure>; 4]>,
}

impl Waiting {
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress, noted: Mutex::default() }
    }

    /// It is told once for as long as it stays the same.
    pub(crate) fn note(&self, source: Source, failure: Failure) {
        let noted = &mut lock(&self.noted)[source as usize];
        if noted.as_ref() != Some(&failure) {
            self.progress.say(&format!("the start waits: {failure}"));
            *noted = Some(failure);
        }
    }

    /// It waits for that no longer.
    pub(crate) fn clear(&self, source: Source) {
        lock(&self.noted)[source as usize] = None;
    }

    /// What one of them says.
    pub(crate) fn take_of(&self, source: Source) -> Option<Failure> {
        lock(&self.noted)[source as usize].take()
    }

    pub(crate) fn take(&self) -> Option<Failure> {
        lock(&self.noted).iter_mut().find_map(Option::take)
    }
}

fn lock<T>(noted: &Mutex<T>) -> MutexGuard<'_, T> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resolves when a pod can't start, and nothing that Kubernetes does by itself will change that. What may pass is noted.
pub(crate) async fn watch(cluster: &Cluster, pod: &Pod, waiting: &Waiting) -> Failure {
    tokio::time::sleep(LOOKS_AFTER).await;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let version = pod.metadata.resource_version.clone().unwrap_or_default();
    let events = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    // A pod that says of nothing that it waits for it waits no longer.
    let about = |pod: &Pod| stuck::of_pod(pod, &cluster.namespace).or(Some(Stuck::Over));
    let of_event = |event: &Event| stuck::of_event(event, &name);
    let pods =
        follow(cluster.pods(), format!("metadata.name={name}"), version, about, (waiting, Source::Pod));
    let said = format!("involvedObject.kind=Pod,involvedObject.name={name}");
    let of_claims = claims::of(pod).map(|claim| {
        let said = format!("involvedObject.kind=PersistentVolumeClaim,involvedObject.name={claim}");
        let about = move |event: &Event| claims::of_event(event, &claim);
        let events = events.clone();
        async move { follow(events, said, String::new(), about, (waiting, Source::Claim)).await }
    });
    let of_claims: FuturesUnordered<_> = of_claims.collect();
    let events = follow(events, said, String::new(), of_event, (waiting, Source::Event));
    tokio::select! {
        failure = pods => failure,
        failure = events => failure,
        Some(failure) = of_claims.into_future().map(|(first, _)| first) => failure,
    }
}

/// Resolves when something lasting is seen.
async fn follow<K>(
    objects: Api<K>,
    fields: String,
    mut version: String,
    judge: impl Fn(&K) -> Option<Stuck>,
    waiting: (&Waiting, Source),
) -> Failure
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + 'static,
{
    let params = WatchParams::default().fields(&fields);
    loop {
        match objects.watch(&params, &version).await {
            Ok(seen) => {
                if let Some(failure) = first_lasting(pin!(seen), &judge, waiting).await {
                    return failure;
                }
            }
            // Whoever may start a pod need not be allowed to see events.
            Err(error) => tracing::debug!("cannot watch `{fields}`: {error}"),
        }
        // What has happened meanwhile is told again.
        version.clear();
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn first_lasting<K>(
    mut seen: impl Stream<Item = kube::Result<WatchEvent<K>>> + Unpin,
    judge: &impl Fn(&K) -> Option<Stuck>,
    (waiting, source): (&Waiting, Source),
) -> Option<Failure> {
    while let Some(Ok(event)) = seen.next().await {
        let verdict = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                judge(&object)
            }
            WatchEvent::Bookmark(_) => None,
            WatchEvent::Error(_) => return None,
        };
        match verdict {
            Some(Stuck::Lasting(failure)) => return Some(failure),
            Some(Stuck::Waiting(failure)) => waiting.note(source, failure),
            Some(Stuck::Over) => waiting.clear(source),
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use mcp_berth::failure::Code;
    use serde_json::{Value, json};

    use super::*;

    fn failure(text: &str) -> Failure {
        Failure { code: Code::Unavailable, text: text.to_owned(), next: None }
    }

    async fn seen(waiting: &Waiting, of: &[Value]) -> Option<Failure> {
        let pods = of.iter().map(|status| {
            let pod = json!({ "metadata": { "name": "p" }, "status": status });
            Ok(WatchEvent::Modified(serde_json::from_value::<Pod>(pod).unwrap()))
        });
        let about = |pod: &Pod| stuck::of_pod(pod, "n").or(Some(Stuck::Over));
        first_lasting(futures::stream::iter(pods), &about, (waiting, Source::Pod)).await
    }

    #[tokio::test]
    async fn what_a_start_no_longer_waits_for_is_no_reason() {
        let full = json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }] });
        let waiting = Waiting::new(Progress::silent());
        assert_eq!(seen(&waiting, std::slice::from_ref(&full)).await, None);
        assert!(waiting.take().unwrap().text.contains("no node has room"));
        assert_eq!(seen(&waiting, &[full, json!({ "phase": "Pending" })]).await, None);
        assert_eq!(waiting.take(), None, "a node was found");
    }

    #[test]
    fn each_who_says_something_takes_back_its_own() {
        let waiting = Waiting::new(Progress::silent());
        waiting.note(Source::Quota, failure("full"));
        waiting.note(Source::Event, failure("pulls"));
        waiting.clear(Source::Pod);
        waiting.clear(Source::Quota);
        assert_eq!(waiting.take(), Some(failure("pulls")));
        assert_eq!(waiting.take(), None);
    }
}
