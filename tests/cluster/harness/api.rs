//! What the API server says: an eye that is not berth's own.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use super::{KUBECONFIG, eventually};

/// A new namespace gets its service account by and by: controllers that have lost the API server come back late.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// For an answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

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

pub(super) fn pods(namespace: &str) -> Vec<Pod> {
    ask(async |client| Api::namespaced(client, namespace).list(&ListParams::default()).await)
        .expect("pods")
        .items
}

pub(super) fn pods_of(client: &str) -> Vec<Pod> {
    let selected = ListParams::default().labels(&format!("mcp-berth.io/client={client}"));
    ask(async |client| Api::all(client).list(&selected).await).expect("pods").items
}
