//! What a session asks of the API server, by the audit log.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::harness::{Cluster, PATIENCE, Place, eventually};

/// What was asked in a namespace so far, in order: ids, and verbs with resources. Streams are no part of it, nor is what the
/// tests' own eye asks, which selects nothing.
fn asked(cluster: &Cluster, namespace: &str) -> Vec<(String, String)> {
    let log = fs::read_to_string(cluster.path("audit log")).expect("the audit log");
    let mut known = BTreeSet::new();
    let of = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        let (about, text) = (&event["objectRef"], |value: &Value| value.as_str().map(str::to_owned));
        // All others are the cluster's own parts.
        let is_ours = about["namespace"] == namespace && event["user"]["username"] == "admin";
        let (verb, resource) = (text(&event["verb"])?, text(&about["resource"])?);
        let is_stream = about.get("subresource").is_some_and(|of| of == "attach" || of == "exec");
        let is_eye =
            verb == "list" && resource == "pods" && !text(&event["requestURI"])?.contains("labelSelector");
        let id = text(&event["auditID"])?;
        // A watch is told twice.
        let is_new = is_ours && !is_stream && !is_eye && known.insert(id.clone());
        is_new.then(|| (id, format!("{verb} {resource}")))
    };
    log.lines().filter(|line| line.contains(namespace)).filter_map(of).collect()
}

/// What was asked since. A start that takes long watches its pod, which is no part of it here.
fn since(cluster: &Cluster, namespace: &str, before: &[(String, String)]) -> Vec<String> {
    let is_new = |asked: &(String, String)| !before.contains(asked) && !asked.1.starts_with("watch ");
    asked(cluster, namespace).into_iter().filter(is_new).map(|(_, what)| what).collect()
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
    let before = asked(&cluster, namespace);
    let mut cold = place.run("fixture").client("asks").started();
    eventually("the sweep", PATIENCE, || {
        since(&cluster, namespace, &before).contains(&"list pods".to_owned()).then_some(())
    });
    cold.close();
    cold.wait();
    assert_eq!(since(&cluster, namespace, &before), ["create pods", "list pods", "delete pods"]);

    let before = asked(&cluster, namespace);
    let mut first = place.run("ready").client("asks-first").started();
    eventually("a pod on standby", PATIENCE, || standing(&place));
    first.close();
    first.wait();
    let expected = ["list pods", "create pods", "list pods", "create pods", "list pods", "delete pods"];
    assert_eq!(since(&cluster, namespace, &before), expected);

    // That of cordoned nodes is none of the namespace's.
    let before = asked(&cluster, namespace);
    let mut second = place.run("ready").client("asks-first").started();
    eventually("the next pod on standby", PATIENCE, || standing(&place));
    second.close();
    second.wait();
    let expected = ["list pods", "patch pods", "create pods", "list pods", "delete pods"];
    assert_eq!(since(&cluster, namespace, &before), expected);
}
