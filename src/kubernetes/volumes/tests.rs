use std::sync::Mutex;

use mcp_berth::config::Server;

use super::*;
use crate::fake::{self, not_found};

fn volume(text: &str) -> Volume {
    text.parse().unwrap()
}

fn spec(volumes: &[&str]) -> Spec {
    let mut server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
    server.settings.volumes = volumes.iter().map(|text| volume(text)).collect();
    server.settings.stop_grace = Duration::from_secs(1);
    Spec::new(server, "codex", "s")
}

#[test]
fn a_claim_says_whose_it_is_and_what_it_needs() {
    let mut kubernetes = Kubernetes::default();
    let own = body(&volume("memory:/d"), "codex", &kubernetes);
    assert_eq!(own["metadata"]["labels"][LABEL_CLIENT], "codex");
    assert_eq!(own["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(own["spec"]["resources"]["requests"]["storage"], "1073741824");
    assert_eq!(own["spec"].get("storageClassName"), None, "the cluster's own");
    kubernetes.storage_class = Some("fast".to_owned());
    let shared = body(&volume("memory:/d:shared,concurrent"), "codex", &kubernetes);
    assert_eq!(shared["metadata"]["labels"].get(LABEL_CLIENT), None);
    assert_eq!(shared["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(shared["spec"]["storageClassName"], "fast");
}

/// A claim as the API server has it.
fn there(holder: &str, ours: bool) -> Value {
    let manager = if ours { MANAGER } else { "helm" };
    json!({ "metadata": {
        "name": "x", "labels": { LABEL_MANAGED_BY: manager }, "annotations": { ANNOTATION_HOLDER: holder },
    } })
}

#[tokio::test]
async fn what_is_missing_is_made_and_what_is_somebody_elses_is_not_touched() {
    let told = async |found: Option<Value>| {
        let (cluster, seen) = fake::cluster(move |(method, _, body)| match (method.as_str(), &found) {
            ("GET", Some(found)) => (200, found.clone()),
            ("GET", None) => not_found(),
            _ => (201, body.clone()),
        });
        let done = ensure(&cluster, &spec(&["memory:/d", "work:/w:claim"])).await;
        let methods = seen.lock().unwrap().iter().map(|(method, ..)| method.clone()).collect::<Vec<_>>();
        (done.map_err(Failure::from).map_err(|failure| failure.to_string()), methods.join(" "))
    };
    assert_eq!(told(None).await, (Ok(()), "GET POST".to_owned()));
    assert_eq!(told(Some(there("", true))).await, (Ok(()), "GET".to_owned()));
    let (error, methods) = told(Some(there("", false))).await;
    assert!(error.unwrap_err().contains("is not berth's") && methods == "GET");
    let mut going = there("", true);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(told(Some(going)).await.0.unwrap_err().contains("is being deleted"));
}

/// What becomes of a session that wants a claim, whose holder is `holder`, where the pods are as told.
async fn entered(holder: &'static str, pod: Option<Value>) -> (Result<(), Failure>, Vec<Value>) {
    let of_claim = Mutex::new(holder.to_owned());
    let (cluster, seen) = fake::cluster(move |(method, uri, body)| {
        let mut of_claim = of_claim.lock().unwrap();
        match method.as_str() {
            "GET" if uri.contains("/pods/") => pod.clone().map_or_else(not_found, |pod| (200, pod)),
            "GET" => (200, there(&of_claim, true)),
            _ if body[0]["value"] != json!(*of_claim) => (422, fake::status(422, "the test failed")),
            _ => {
                *of_claim = body[1]["value"].as_str().unwrap().to_owned();
                (200, there(&of_claim, true))
            }
        }
    });
    let done = enter(&cluster, &spec(&["memory:/d", "seen:/s:ro", "work:/w:claim"]), "mine").await;
    let patches = seen.lock().unwrap().iter().filter(|it| it.0 == "PATCH").map(|it| it.2.clone()).collect();
    (done, patches)
}

#[tokio::test(start_paused = true)]
async fn one_session_at_a_time_holds_a_volume_and_its_end_gives_it_back() {
    let running = json!({
        "metadata": { "name": "other" }, "spec": { "nodeName": "n1", "containers": [] },
        "status": { "phase": "Running" },
    });
    let (free, patches) = entered("", None).await;
    assert_eq!((free, patches.len()), (Ok(()), 1));
    assert_eq!(patches[0][0]["value"], "");
    assert_eq!(patches[0][1]["value"], "mine");
    assert_eq!(entered("gone", None).await.0, Ok(()), "its pod is no longer there");
    let mut ended = running.clone();
    ended["status"]["phase"] = json!("Succeeded");
    assert_eq!(entered("other", Some(ended)).await.0, Ok(()));
    let mut going = running.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let held = entered("other", Some(going)).await.0.unwrap_err().to_string();
    assert!(
        held.contains("`kubectl delete pod other -n default --force`"),
        "its node has not said its end: {held}"
    );
    let began = Instant::now();
    let (held, patches) = entered("other", Some(running)).await;
    let text = held.unwrap_err().to_string();
    let said = "the volume `memory` is in use by `other` on the node `n1`; it allows one session at a time";
    assert!(text.starts_with(said) && text.contains("`berth kill other`"), "{text}");
    assert!(
        patches.is_empty() && began.elapsed() >= Duration::from_secs(3),
        "it waits for an ending session"
    );
}

#[tokio::test]
async fn of_all_who_want_a_volume_at_once_one_gets_it() {
    let of_claim = Mutex::new(String::new());
    let running = |name: &str| json!({ "metadata": { "name": name }, "status": { "phase": "Running" } });
    let (cluster, _) = fake::cluster(move |(method, uri, body)| {
        let mut of_claim = of_claim.lock().unwrap();
        match method.as_str() {
            "GET" if uri.contains("/pods/") => (200, running(uri.rsplit('/').next().unwrap())),
            "GET" => (200, there(&of_claim, true)),
            _ if body[0]["value"] != json!(*of_claim) => (422, fake::status(422, "the test failed")),
            _ => {
                *of_claim = body[1]["value"].as_str().unwrap().to_owned();
                (200, there(&of_claim, true))
            }
        }
    });
    let names: Vec<String> = (0..24).map(|n| format!("pod-{n}")).collect();
    let wanted = names.iter().map(|name| take(&cluster, "x", name));
    let done = futures::future::join_all(wanted).await;
    assert_eq!(done.into_iter().filter(|done| matches!(done, Ok(None))).count(), 1);
}
