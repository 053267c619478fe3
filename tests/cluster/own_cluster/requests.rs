//! What a session asks of the API server, by the audit log.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::harness::{Cluster, PATIENCE, Place, eventually};

/// The ids and verbs of what was asked of a namespace's pods so far, in order. Streams are no part of it, nor is what the
/// tests' own eye asks, which selects nothing.
fn asked(cluster: &Cluster, namespace: &str) -> Vec<(String, String)> {
    let log = fs::read_to_string(cluster.path("audit log")).expect("the audit log");
    let mut known = BTreeSet::new();
    let of = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        let (about, text) = (&event["objectRef"], |value: &Value| value.as_str().map(str::to_owned));
        let is_pods = about["namespace"] == namespace && about["resource"] == "pods";
        let is_session = event["user"]["username"] == "admin" && about.get("subresource").is_none();
        let (verb, uri) = (text(&event["verb"])?, text(&event["requestURI"])?);
        let is_eye = verb == "list" && !uri.contains("labelSelector");
        // A watch is told twice.
        let is_new = is_pods && is_session && !is_eye && known.insert(text(&event["auditID"])?);
        is_new.then_some((text(&event["auditID"])?, verb))
    };
    log.lines().filter(|line| line.contains(namespace)).filter_map(of).collect()
}

/// The verbs of what was asked since. A start that takes long watches its pod, which is no part of it here.
fn since(cluster: &Cluster, namespace: &str, before: &[(String, String)]) -> Vec<String> {
    let is_new = |asked: &(String, String)| !before.contains(asked) && asked.1 != "watch";
    asked(cluster, namespace).into_iter().filter(is_new).map(|(_, verb)| verb).collect()
}

fn standing(place: &Place) -> Option<String> {
    let pods = place.pods().into_iter();
    let mut ready = pods.filter(|pod| {
        let state = pod.metadata.labels.as_ref().and_then(|labels| labels.get("mcp-berth.io/state"));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        state.is_some_and(|state| state == "standby") && phase == Some("Running")
    });
    ready.next()?.metadata.name
}

#[test]
#[ignore = "needs a cluster"]
fn a_session_asks_at_most_six_times() {
    let cluster = Cluster::of_this_machine();
    let place = Place::new("asks");
    let namespace = place.namespace();
    let mut cold = place.run("fixture").client("asks").started();
    eventually("the sweep", PATIENCE, || {
        asked(&cluster, namespace).iter().find(|it| it.1 == "list").cloned()
    });
    cold.close();
    cold.wait();
    assert_eq!(since(&cluster, namespace, &[]), ["create", "list", "delete"]);

    let before = asked(&cluster, namespace);
    let mut first = place.run("ready").client("asks-first").started();
    eventually("a pod on standby", PATIENCE, || standing(&place));
    first.close();
    first.wait();
    assert_eq!(since(&cluster, namespace, &before), ["list", "create", "list", "create", "list", "delete"]);

    // That of cordoned nodes is none of the namespace's.
    let before = asked(&cluster, namespace);
    let mut second = place.run("ready").client("asks-first").started();
    eventually("the next pod on standby", PATIENCE, || standing(&place));
    second.close();
    second.wait();
    assert_eq!(since(&cluster, namespace, &before), ["list", "patch", "create", "list", "delete"]);
}
