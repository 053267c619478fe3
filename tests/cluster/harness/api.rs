//! What the API server says: an eye that is not berth's own.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount,
};
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use super::{KUBECONFIG, eventually};

/// A new namespace gets its service account by and by: controllers that have lost the API server come back late.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// For an answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Of the pods that nobody needs.
const STUFFED_AT_ONCE: usize = 500;

/// By a connection of its own, so that none is left that was cut meanwhile.
fn ask<T>(question: impl AsyncFnOnce(Client) -> kube::Result<T>) -> kube::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let file = Kubeconfig::read_from(&*KUBECONFIG).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.expect("a context"))?;
        let answer = tokio::time::timeout(ANSWERS_WITHIN, question(client)).await;
        answer.unwrap_or_else(|late| Err(kube::Error::Service(late.into())))
    })
}

/// Its pods have to pass the strictest profile.
pub(super) fn make_namespace(name: &str) {
    let body = json!({
        "metadata": { "name": name, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    let namespace: Namespace = serde_json::from_value(body).expect("a namespace");
    ask(async |client| Api::all(client).create(&PostParams::default(), &namespace).await)
        .expect("a new namespace");
    eventually("the namespace's service account", READY_WITHIN, || {
        let accounts =
            async |client| Api::<ServiceAccount>::namespaced(client, name).get_opt("default").await;
        ask(accounts).expect("an answer")
    });
}

pub(super) fn remove_namespace(name: &str) {
    // Its test may have failed because nobody answers.
    let _ = ask(async |client| {
        Api::<Namespace>::all(client).delete(name, &DeleteParams::default()).await.map(drop)
    });
}

/// A volume that a node has in a folder; claims of its class may have it.
pub(super) fn make_volume(name: &str, node: &str, folder: &str) {
    let body = json!({
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "10Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
            "persistentVolumeReclaimPolicy": "Retain", "local": { "path": folder },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
            ] }] } },
        },
    });
    let volume: PersistentVolume = serde_json::from_value(body).expect("a volume");
    ask(async |client| Api::all(client).create(&PostParams::default(), &volume).await).expect("a new volume");
}

pub(super) fn remove_volume(name: &str) {
    let _ = ask(async |client| {
        Api::<PersistentVolume>::all(client).delete(name, &DeleteParams::default()).await.map(drop)
    });
}

pub(super) fn claims(namespace: &str) -> Vec<String> {
    let list = async |client| {
        Api::<PersistentVolumeClaim>::namespaced(client, namespace).list(&ListParams::default()).await
    };
    ask(list).expect("claims").items.into_iter().filter_map(|claim| claim.metadata.name).collect()
}

pub(super) fn pods(namespace: &str) -> Vec<Pod> {
    ask(async |client| Api::namespaced(client, namespace).list(&ListParams::default()).await)
        .expect("pods")
        .items
}

/// Without those that `stuff` has made.
pub(super) fn sessions_pods(namespace: &str) -> Vec<Pod> {
    let selected = ListParams::default().labels("app.kubernetes.io/managed-by=mcp-berth");
    ask(async |client| Api::namespaced(client, namespace).list(&selected).await).expect("pods").items
}

/// Makes so many pods that no node gets.
pub(super) fn stuff(namespace: &str, count: usize) {
    let confined = json!({
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true,
        "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" },
    });
    // Some at a time, as each question has its time.
    for from in (0..count).step_by(STUFFED_AT_ONCE) {
        let made = ask(async |client| {
            let pods = Api::<Pod>::namespaced(client, namespace);
            let creating = |number: usize| {
                let body = json!({
                    "metadata": { "name": format!("other-{number}"), "labels": { "app": "other" } },
                    "spec": {
                        "schedulingGates": [{ "name": "test.example/never" }],
                        "containers": [{ "name": "other", "image": "other", "securityContext": confined }],
                    },
                });
                let pods = pods.clone();
                async move {
                    let pod = serde_json::from_value(body).expect("a pod");
                    pods.create(&PostParams::default(), &pod).await.map(drop)
                }
            };
            let made = stream::iter((from..count.min(from + STUFFED_AT_ONCE)).map(creating));
            made.buffer_unordered(32).try_collect::<()>().await
        });
        made.expect("pods");
    }
}

pub(super) fn delete_pod(namespace: &str, name: &str) {
    let params = DeleteParams::default();
    ask(async |client| Api::<Pod>::namespaced(client, namespace).delete(name, &params).await.map(drop))
        .expect("a pod that goes");
}

pub(super) fn pods_of(client: &str) -> Vec<Pod> {
    let selected = ListParams::default().labels(&format!("mcp-berth.io/client={client}"));
    ask(async |client| Api::all(client).list(&selected).await).expect("pods").items
}

/// A node that gets no new pods, until this is dropped.
pub(crate) struct Cordon(String);

impl Cordon {
    pub(crate) fn around(node: &str) -> Self {
        let cordon = Self(node.to_owned());
        set_unschedulable(node, true).expect("a cordoned node");
        cordon
    }
}

impl Drop for Cordon {
    fn drop(&mut self) {
        let opened = set_unschedulable(&self.0, false);
        assert!(opened.is_ok() || std::thread::panicking(), "{opened:?}");
    }
}

fn set_unschedulable(node: &str, is_closed: bool) -> kube::Result<()> {
    let patch = Patch::Merge(json!({ "spec": { "unschedulable": is_closed } }));
    ask(async |client| Api::<Node>::all(client).patch(node, &PatchParams::default(), &patch).await.map(drop))
}

/// As a drain does.
pub(super) fn evict(namespace: &str, pod: &str) {
    ask(async |client| {
        Api::<Pod>::namespaced(client, namespace).evict(pod, &EvictParams::default()).await.map(drop)
    })
    .expect("an eviction");
}

/// Whether Kubernetes takes a node for alive.
pub(crate) fn is_ready(node: &str) -> bool {
    let found = ask(async |client| Api::<Node>::all(client).get(node).await).expect("the node");
    let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
}
