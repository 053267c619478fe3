//! A session outlives what its server was in: its container, its pod, its node.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::harness::{Cluster, Cordon, Fault, PATIENCE, Place, Session, end_container, eventually, is_ready};
use crate::sessions::tally;

/// What outlives its server, and waits for a cut that does not end for as long as the other tests do not like.
const SERVERS: &str = r#"
[servers.lasting]
image = "REGISTRY/berth-fixture"
command = ["/berth-fixture"]
on_failure = "restart"
recover_within = "2m"

[servers.brief]
image = "REGISTRY/berth-fixture"
command = ["/berth-fixture"]
on_failure = "restart"
reconnect = "5s"
"#;
/// As `[servers.brief]` has it.
const RECONNECT: Duration = Duration::from_secs(5);
/// Who claims a pod waits so long for its answer.
const CLAIMED_WITHIN: Duration = Duration::from_secs(5);
/// Beside a machine's load: a cold start, and what it takes to look at the pod.
const STARTED_WITHIN: Duration = Duration::from_secs(8);

pub(crate) fn place(name: &str) -> Place {
    Cluster::of_this_machine();
    Place::alone(name).with(&crate::harness::registered(SERVERS))
}

/// The next call that is answered, and by whom. A call may be lost with its server, and says so.
fn next_process(session: &mut Session, within: Duration) -> Value {
    let began = Instant::now();
    loop {
        let params = serde_json::json!({ "name": "tally", "arguments": { "token": "next", "ms": 1 } });
        let answer = session.request("tools/call", params);
        let said = answer["result"]["content"][0]["text"].as_str();
        if let Some(said) = said {
            let said: Value = serde_json::from_str(said).expect("JSON");
            return said["process"].clone();
        }
        assert!(began.elapsed() < within, "{answer}; stderr: {}", session.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The next one of another process than before. The old one may still be at its end.
pub(crate) fn another_process(session: &mut Session, before: &Value, within: Duration) -> Value {
    let began = Instant::now();
    loop {
        let process = next_process(session, within);
        if process != *before {
            return process;
        }
        assert!(began.elapsed() < within, "nothing has happened");
    }
}

/// What ends the server costs the session no more than this. Gives the old pod and the new one.
fn expect_recovery(
    place: &Place,
    server: &str,
    within: Duration,
    happens: impl FnOnce(&str),
) -> (Session, String, String) {
    let mut session = place.run(server).client(server).started();
    let before = tally(&mut session, "before", 1)["process"].clone();
    let pod = session.container();
    happens(&pod);
    let began = Instant::now();
    another_process(&mut session, &before, within);
    let took = began.elapsed();
    assert!(took < within, "it took {took:?}; stderr: {}", session.stderr());
    let new =
        eventually("another pod", PATIENCE, || session.containers().into_iter().find(|name| *name != pod));
    (session, pod, new)
}

#[test]
#[ignore = "needs a cluster"]
fn a_container_that_is_killed_is_known_long_before_a_cut_counts() {
    let place = place("ended");
    let (session, pod, _) = expect_recovery(&place, "lasting", STARTED_WITHIN, end_container);
    let told = format!("the container of the pod `{pod}` ended");
    assert!(session.stderr().contains(&told), "{}", session.stderr());
}

#[test]
#[ignore = "needs a cluster"]
fn a_drained_nodes_session_goes_on_elsewhere_at_once() {
    let place = place("drained");
    let mut cordon = None;
    let (session, pod, new) = expect_recovery(&place, "lasting", STARTED_WITHIN, |pod| {
        cordon = Some((Cordon::around(&place.node_of(pod)), place.node_of(pod)));
        place.evict(pod);
    });
    let (_cordon, node) = cordon.expect("a cordoned node");
    assert_ne!(place.node_of(&new), node);
    assert!(session.stderr().contains("EvictionByEvictionAPI"), "{}", session.stderr());
    eventually("the end of the old pod", PATIENCE, || place.pod(&pod).is_none().then_some(()));
}

#[test]
#[ignore = "needs a cluster"]
fn a_dead_nodes_session_goes_on_elsewhere_before_kubernetes_knows_of_it() {
    let place = place("dead");
    let mut dead = None;
    let (_session, pod, new) = expect_recovery(&place, "brief", RECONNECT + STARTED_WITHIN, |pod| {
        let node = place.node_of(pod);
        dead = Some((Fault::power(node.trim_start_matches('n')), node));
    });
    let (power, node) = dead.expect("a dead node");
    assert_ne!(place.node_of(&new), node);
    assert!(place.pod(&pod).is_none(), "nobody there would ever end it");
    drop(power);
    eventually("the node's return", PATIENCE, || is_ready(&node).then_some(()));
}

/// The names of the pods that stand by and run.
pub(crate) fn ready_on_standby(pods: &[Pod]) -> Vec<String> {
    let is_ready = |pod: &&Pod| {
        let state = pod.metadata.labels.as_ref().and_then(|labels| labels.get("mcp-berth.io/state"));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        state.is_some_and(|state| state == "standby") && phase == Some("Running")
    };
    pods.iter().filter(is_ready).filter_map(|pod| pod.metadata.name.clone()).collect()
}

#[test]
#[ignore = "needs a cluster"]
fn a_pod_that_waits_on_a_cordoned_node_is_nobodys() {
    let place = place("cordoned");
    let _first = place.run("ready").client("cordoned").started();
    let waiting = eventually("a pod on standby", PATIENCE, || ready_on_standby(&place.pods()).pop());
    let node = place.node_of(&waiting);
    let _cordon = Cordon::around(&node);
    let mut second = place.run("ready").client("cordoned").started();
    let inside = second.call_text("read", serde_json::json!({ "path": "/etc/hostname" }));
    assert_ne!(place.node_of(inside.trim()), node);
}

#[test]
#[ignore = "needs a cluster"]
fn a_pod_that_waits_on_a_dead_node_costs_a_session_seconds() {
    let place = place("waiting");
    let first = place.run("ready").client("waiting").started();
    let waiting = eventually("a pod on standby", PATIENCE, || ready_on_standby(&place.pods()).pop());
    let node = place.node_of(&waiting);
    let power = Fault::power(node.trim_start_matches('n'));
    // Nobody knows it yet.
    let began = Instant::now();
    let mut second = place.run("ready").client("waiting").started();
    let inside = second.call_text("read", serde_json::json!({ "path": "/etc/hostname" }));
    let took = began.elapsed();
    assert_ne!(place.node_of(inside.trim()), node);
    assert!(took < CLAIMED_WITHIN + STARTED_WITHIN, "{took:?}; stderr: {}", second.stderr());
    assert!(place.pod(&waiting).is_none(), "nobody there would ever end it");
    drop((first, power));
    eventually("the node's return", PATIENCE, || is_ready(&node).then_some(()));
}
