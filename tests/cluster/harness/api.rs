//! What the API server says: an eye that is not berth's own.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount,
};
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use super::{KUBECONFIG, eventually};

/// A new namespace gets its service account by and by: controllers that have lost the API server come back late.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// The keeper of this build, and its config map, as the sessions' `berth` looks for it.
const KEEPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pod-keeper"));
const KEEPER_MAP: &str = concat!("berth-keeper-", env!("BERTH_POD_KEEPER_HASH"));

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

/// A service account's own connection: nothing is left of an administrator's.
pub(crate) struct Agent {
    namespace: String,
    token: String,
}

impl Agent {
    pub(super) fn of(namespace: &str) -> Self {
        let body: TokenRequest =
            serde_json::from_value(json!({ "spec": { "audiences": [], "expirationSeconds": 600 } }))
                .expect("a request");
        let made = ask(async |client| {
            let accounts = Api::<ServiceAccount>::namespaced(client, namespace);
            accounts.create_token_request("berth-agent", &PostParams::default(), &body).await
        });
        let token = made.expect("a token").status.expect("a token").token;
        Self { namespace: namespace.to_owned(), token }
    }

    /// What a list of these is answered.
    pub(crate) fn may_list(&self, plural: &str) -> Result<(), u16> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = runtime.block_on(async {
            let mut file = Kubeconfig::read_from(&*KUBECONFIG).expect("a kubeconfig");
            for user in &mut file.auth_infos {
                let token = Some(self.token.clone().into());
                user.auth_info = Some(AuthInfo { token, ..AuthInfo::default() });
            }
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
            let client = Client::try_from(config.expect("a context"))?;
            let uri = format!("/api/v1/namespaces/{}/{plural}", self.namespace);
            client.request_text(http::Request::get(uri).body(Vec::new()).expect("a request")).await
        });
        match answer {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.code),
            Err(error) => panic!("{error}"),
        }
    }
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

/// As `berth kubernetes up` does.
pub(super) fn give_keeper(namespace: &str) {
    let mut map = ConfigMap { immutable: Some(true), ..ConfigMap::default() };
    map.metadata.name = Some(KEEPER_MAP.to_owned());
    let made_by = ("app.kubernetes.io/managed-by".to_owned(), "mcp-berth".to_owned());
    map.metadata.labels = Some([made_by].into());
    map.binary_data = Some([("keeper".to_owned(), ByteString(KEEPER.to_vec()))].into());
    ask(async |client| Api::namespaced(client, namespace).create(&PostParams::default(), &map).await)
        .expect("a config map");
}

/// As if nobody had done so.
pub(super) fn take_keeper(namespace: &str) {
    let maps = async |client| {
        let maps = Api::<ConfigMap>::namespaced(client, namespace);
        maps.delete(KEEPER_MAP, &DeleteParams::default()).await.map(drop)
    };
    ask(maps).expect("a config map");
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

/// Makes an object where the API server has such.
pub(crate) fn create(path: &str, object: &Value) {
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(object.to_string().into_bytes()).expect("a request");
    ask(async |client| client.request::<Value>(request).await).expect("a new object");
}

pub(crate) fn remove(path: &str) {
    let request = http::Request::delete(path).body(Vec::new()).expect("a request");
    let _ = ask(async |client| client.request::<Value>(request).await);
}

/// Why the API server would take no pod; `None`: it would.
pub(super) fn refusal(namespace: &str) -> Option<String> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": "asked" },
        "spec": {
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 1, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "c", "image": "i",
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    }))
    .expect("a pod");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let asked = ask(async |client| Api::namespaced(client, namespace).create(&dry, &pod).await);
    asked.err().map(|error| error.to_string())
}

/// A kubeconfig's text.
pub(super) fn parsed(kubeconfig: &str) -> Value {
    let read: Kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
    serde_json::to_value(read).expect("JSON")
}
