use mcp_berth::config::{Server, Settings};
use mcp_berth::session::upstream::Upstream;
use serde_json::{Value, json};

use super::*;
use crate::fake;

/// Of the session `s`, with a server of these settings.
pub(super) fn start(cluster: Cluster, set: impl FnOnce(&mut Settings)) -> Start {
    let mut server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
    set(&mut server.settings);
    Start {
        began: std::time::Instant::now(),
        spec: Arc::new(Spec::new(server, "a", "s")),
        cluster,
        record: Vec::new(),
        trace: Trace::default(),
        bounds: Bounds::default(),
        template: None,
        nodes: Nodes::default(),
        waiting: Waiting::new(Progress::silent()),
        published: None,
    }
}

/// Which node is known not to take a pod after a minute, and when.
async fn untaken(spec: Value, status: Value) -> (Option<String>, Duration) {
    let (cluster, _) =
        fake::cluster(move |_| (200, json!({ "metadata": {}, "spec": spec, "status": status })));
    let began = Instant::now();
    let found = tokio::time::timeout(Duration::from_mins(1), unseen(&cluster, "p")).await;
    (found.ok(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_take_a_pod_is_known_in_seconds() {
    let given = || json!({ "containers": [], "nodeName": "n1" });
    assert_eq!(
        untaken(given(), json!({ "phase": "Pending" })).await,
        (Some("n1".to_owned()), SEEN_WITHIN * 2)
    );
    let pulling = json!({ "phase": "Pending", "startTime": "2026-01-01T00:00:00Z" });
    assert_eq!(untaken(given(), pulling).await.0, None, "it may pull for long");
    assert_eq!(untaken(json!({ "containers": [] }), json!({ "phase": "Pending" })).await.0, None, "no room");
}

#[test]
fn only_a_refusal_says_that_there_is_no_pod() {
    let error = |code| {
        let status = serde_json::from_value(fake::status(code, "no")).unwrap();
        kube::Error::Api(Box::new(status))
    };
    assert!([403, 409, 422].into_iter().all(|code| is_refusal(&error(code))));
    assert!(![500, 503, 504].into_iter().any(|code| is_refusal(&error(code))), "it may be there");
    assert!(!is_refusal(&kube::Error::LinesCodecMaxLineLengthExceeded), "nobody has answered");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_volume_keeps_its_own_pod_alive() {
    let (cluster, seen) = fake::cluster(|(method, uri, body)| match method.as_str() {
        "POST" => (201, body.clone()),
        "GET" if uri.contains("/persistentvolumeclaims/") => {
            let annotations = json!({ "mcp-berth.io/holder": "other" });
            let labels = json!({ "app.kubernetes.io/managed-by": "mcp-berth" });
            (200, json!({ "metadata": { "annotations": annotations, "labels": labels } }))
        }
        "GET" if uri.ends_with("/pods/other") => {
            (200, json!({ "metadata": { "name": "other" }, "status": { "phase": "Running" } }))
        }
        _ => (503, fake::status(503, "not yet")),
    });
    let start = start(cluster, |settings| {
        settings.volumes = vec!["memory:/d".parse().unwrap()];
        settings.stop_grace = Duration::from_secs(15);
    });
    let began = Instant::now();
    let failure = Failure::from(start.cold().await.err().unwrap());
    assert!(failure.text.contains("is in use by `other`"), "{failure}");
    assert!(began.elapsed() >= Duration::from_secs(15), "{:?}", began.elapsed());
    let told = fake::told(&seen);
    let attached = told.iter().filter(|told| told.ends_with("/attach")).count();
    let asked = told.iter().filter(|told| told.ends_with("/other")).count();
    assert!(attached > 1 && asked > 1, "{told:?}");
    assert!(!told.iter().any(|told| told.ends_with("/exec")), "its server waits: {told:?}");
}

/// How long the pod has for its end whose session hears nothing of it.
async fn grace_of_the_unheard(volume: &str) -> Option<Value> {
    let (cluster, seen) = fake::cluster(|(method, ..)| match method.as_str() {
        "GET" => (200, json!({ "metadata": {}, "status": { "phase": "Running" } })),
        _ => (200, json!({ "kind": "Status", "status": "Success" })),
    });
    let start = start(cluster.clone(), |settings| settings.volumes = vec![volume.parse().unwrap()]);
    let (input, _given) = mpsc::channel(1);
    let (_, output) = mpsc::channel(1);
    let task = AbortOnDropHandle::new(tokio::spawn(async { Over::Away("no stream".to_owned()) }));
    let linked = Linked { input, output, cuts: Arc::default(), ports: None, task };
    let mut upstream =
        start.up(Hold::new(cluster.pods(), "p".to_owned()), linked, Made::Now { has_others: false });
    assert!(upstream.next().await.is_none() && upstream.post_mortem().await.is_lost());
    upstream.release().await;
    let seen = seen.lock().unwrap();
    let (.., body) = seen.iter().find(|(method, ..)| method == "DELETE").unwrap();
    body.get("gracePeriodSeconds").cloned()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_nobody_hears_keeps_its_volume_until_its_node_says_its_end() {
    assert_eq!(grace_of_the_unheard("memory:/d").await, None, "the next one waits for it");
    for shared in ["memory:/d:concurrent", "memory:/d:ro", "memory:/d:claim"] {
        assert_eq!(grace_of_the_unheard(shared).await, Some(json!(0)), "{shared}");
    }
}
