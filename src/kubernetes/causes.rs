//! Why there is no pod, or none that runs, in a person's words: cause, object, next command.
//!
//! What the API server refuses is in `refused.rs`, and in `denied.rs` when that is final; what keeps a pod from its start is in
//! `stuck.rs`, and what became of one in `lost.rs`. All of them are pure. Here is who
//! looks: a watch of the one pod and of its events, beside the start. A start that goes well is over before it begins.

pub(crate) mod denied;
pub(crate) mod lost;
pub(crate) mod refused;
pub(crate) mod stuck;

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use mcp_berth::failure::Failure;

use super::cluster::Cluster;
use stuck::Stuck;

/// Most pods have started by then, and cost no watch.
const LOOKS_AFTER: Duration = Duration::from_millis(500);
/// A watch that breaks off is begun again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a start waits for at the moment, for whoever loses patience.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Option<Failure>>);

impl Waiting {
    /// It is told once for as long as it stays the same.
    pub(crate) fn note(&self, failure: Failure) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_ref() != Some(&failure) {
            tracing::warn!("the start waits: {failure}");
            *noted = Some(failure);
        }
    }

    pub(crate) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Resolves when a pod can't start, and nothing that Kubernetes does by itself will change that. What may pass is noted.
pub(crate) async fn watch(cluster: &Cluster, pod: &Pod, waiting: &Waiting) -> Failure {
    tokio::time::sleep(LOOKS_AFTER).await;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let version = pod.metadata.resource_version.clone().unwrap_or_default();
    let events = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    let about = |pod: &Pod| stuck::of_pod(pod, &cluster.namespace);
    let of_event = |event: &Event| stuck::of_event(event, &name);
    let pods = follow(cluster.pods(), format!("metadata.name={name}"), version, about, waiting);
    let said = format!("involvedObject.kind=Pod,involvedObject.name={name}");
    let events = follow(events, said, String::new(), of_event, waiting);
    tokio::select! {
        failure = pods => failure,
        failure = events => failure,
    }
}

/// Resolves when something lasting is seen.
async fn follow<K>(
    objects: Api<K>,
    fields: String,
    mut version: String,
    judge: impl Fn(&K) -> Option<Stuck>,
    waiting: &Waiting,
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
    waiting: &Waiting,
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
            Some(Stuck::Waiting(failure)) => waiting.note(failure),
            None => {}
        }
    }
    None
}
