//! How soon what a session had is gone: after an end in order, and after SIGKILL at any moment.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::tell;
use crate::harness::{Cluster, PATIENCE, Place, at_once, containers_of, eventually, processes_of};

const MOMENTS: u32 = 20;
/// Between two of them: the last is well after a cold start.
const STEP: Duration = Duration::from_millis(250);
/// By default, and what an end may take besides.
const RECONNECT: Duration = Duration::from_secs(15);
const BEYOND: Duration = Duration::from_secs(1);
const CONTAINER_WITHIN: Duration = Duration::from_secs(1);
const POD_WITHIN: Duration = Duration::from_secs(5);
/// By then somebody else has removed what a killed session left.
const SWEPT_WITHIN: Duration = Duration::from_secs(20);

/// Until none of a client's pods has a process; `None`: it never had one.
fn until_gone(client: &str) -> Duration {
    let began = Instant::now();
    let mut last = Instant::now();
    // A pod that is made in this moment starts within seconds.
    while last.elapsed() < Duration::from_secs(4) {
        if containers_of(client).iter().any(|pod| !processes_of(pod).is_empty()) {
            last = Instant::now();
        }
        assert!(began.elapsed() < PATIENCE, "{client} goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    last.duration_since(began)
}

#[test]
#[ignore = "needs a cluster"]
fn a_session_that_is_killed_at_any_moment_leaves_nothing() {
    Cluster::of_this_machine();
    let place = Place::alone("x-killed");
    // Four at once, so that a start takes no longer than usual.
    let moments: Vec<u32> = (0..MOMENTS).collect();
    let mut all = Vec::new();
    for moments in moments.chunks(4) {
        all.extend(at_once(moments.to_vec(), |_, moment| {
            let client = format!("x-killed-{moment}");
            let mut session = place.run("fixture").client(&client).start();
            session.send(&json!({
                "jsonrpc": "2.0", "id": 1, "method": "initialize",
                "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } },
            }));
            std::thread::sleep(STEP * moment);
            session.kill();
            (moment, until_gone(&client))
        }));
    }
    let slowest = all.iter().map(|(_, took)| *took).max().expect("moments");
    for (moment, took) in &all {
        tell(&format!("killed after {:?}: its container was gone after {took:?}", STEP * *moment));
    }
    // Until then its own session could want to know how it ended.
    let mut next = place.run("fixture").client("x-killed-next").started();
    let _: Value = next.request("ping", json!({}));
    eventually("the sweep of what they left", SWEPT_WITHIN, || (place.pods().len() == 1).then_some(()));
    tell(&format!(
        "killed at {MOMENTS} moments: the slowest container was gone after {slowest:?}; 0 pods left"
    ));
    assert!(slowest <= RECONNECT + BEYOND, "{slowest:?}");
}

#[test]
#[ignore = "needs a cluster"]
fn a_session_that_ends_in_order_leaves_nothing() {
    Cluster::of_this_machine();
    let place = Place::alone("x-order");
    let ends: Vec<(Duration, Duration)> = (0..10)
        .map(|number| {
            let client = format!("x-order-{number}");
            let mut session = place.run("fixture").client(&client).started();
            let pod = session.container();
            assert!(!processes_of(&pod).is_empty(), "its processes are seen");
            session.close();
            let closed = Instant::now();
            let container = eventually("the container's end", PATIENCE, || {
                processes_of(&pod).is_empty().then(|| closed.elapsed())
            });
            let object =
                eventually("the pod's end", PATIENCE, || place.pod(&pod).is_none().then(|| closed.elapsed()));
            assert_eq!(session.exit_code(), Some(0));
            (container, object)
        })
        .collect();
    let container = ends.iter().map(|(container, _)| *container).max().expect("ends");
    let object = ends.iter().map(|(_, object)| *object).max().expect("ends");
    tell(&format!(
        "ended in order, 10 times: the slowest container after {container:?}, the slowest pod after {object:?}"
    ));
    assert!(container <= CONTAINER_WITHIN && object <= POD_WITHIN, "{container:?} {object:?}");
}
