//! Many want few pods, and few want a pod among many.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{percentile, tell};
use crate::harness::{Cluster, PATIENCE, Place, at_once, eventually, registered};
use crate::own_cluster::nodes::ready_on_standby;

const READY: usize = 20;
const RACERS: usize = 50;
/// Of another kind each, so that one does not make what another claims.
const MANY: usize = 10_000;
const SLOW: Duration = Duration::from_mins(4);
const CLAIMS: usize = 40;

fn server(name: &str, standby: usize) -> String {
    registered(&format!(
        "\n[servers.{name}]\nimage = \"REGISTRY/berth-fixture\"\ncommand = [\"/berth-fixture\"]\nstandby = {standby}\n\
         standby_ttl = \"30m\"\nstart_timeout = \"4m\"\nmemory = \"64m\"\n"
    ))
}

/// How long a claim took, as its session's trace tells; `None`: there was none.
fn claimed(trace: &Path) -> Option<Duration> {
    let said = std::fs::read_to_string(trace).expect("a trace");
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut took = 0.0;
    for step in ["look for a pod on standby", "claim a pod on standby", "take over the pod"] {
        took += lines.iter().find(|line| line["name"] == step)?["duration_ms"].as_f64()?;
    }
    Some(Duration::from_secs_f64(took / 1000.0))
}

#[test]
#[ignore = "needs a cluster"]
fn fifty_processes_race_for_twenty_pods() {
    Cluster::of_this_machine();
    let place = Place::alone("x-race").with(&server("raced", READY));
    let maker = place.run("raced").client("x-race").started();
    let ready = eventually("pods on standby", Duration::from_mins(3), || {
        let ready = ready_on_standby(&place.pods());
        (ready.len() == READY).then_some(ready)
    });
    // Whoever has a pod puts one on standby, and no more: while any of these is there, none.
    let sessions = at_once((0..RACERS).collect(), |_, _: usize| {
        let mut session = place.run("raced").client("x-race").args(["--standby", "1"]).start();
        // Fifty starts at once keep a small machine busy for minutes.
        session.send(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } },
        }));
        let answer = session.line_within(SLOW);
        assert!(answer.is_some(), "no answer; stderr: {}", session.stderr());
        session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        let pod = session.call_text("read", json!({ "path": "/etc/hostname" })).trim().to_owned();
        (session, pod)
    });
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, pod) in &sessions {
        *owners.entry(pod).or_default() += 1;
    }
    assert!(owners.values().all(|owners| *owners == 1), "{owners:?}");
    let passed_over: Vec<_> = ready.iter().filter(|pod| !owners.contains_key(pod.as_str())).collect();
    tell(&format!(
        "50 processes raced for {READY} pods on standby: {} sessions in {} pods, {} of the {READY} passed over",
        sessions.len(),
        owners.len(),
        passed_over.len()
    ));
    assert!(passed_over.is_empty(), "{passed_over:?}");
    drop(maker);
}

/// One claim after another, each of a pod that stands by for a while; how long each took.
fn claim(place: &Place, number: usize, took: &mut Vec<Duration>) {
    eventually("a pod on standby", PATIENCE, || {
        (!ready_on_standby(&place.sessions_pods()).is_empty()).then_some(())
    });
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let traced = format!("--trace={}", trace.display());
    let mut session = place.run("many").client("x-many").args([&traced]).started();
    session.close();
    session.wait();
    match claimed(&trace) {
        Some(time) => took.push(time),
        None => tell(&format!("session {number} claimed no pod")),
    }
}

#[test]
#[ignore = "needs a cluster"]
fn a_claim_among_ten_thousand_pods() {
    Cluster::of_this_machine();
    // Side by side, in a namespace of its own each.
    let empty = Place::new("x-empty").with(&server("many", 3));
    let full = Place::new("x-full").with(&server("many", 3));
    full.stuff(MANY);
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    let _makers = [&empty, &full].map(|place| place.run("many").client("x-many").started());
    for number in 0..CLAIMS {
        claim(&empty, number, &mut alone);
        claim(&full, number, &mut among);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!([alone.len(), among.len()], [CLAIMS; 2], "each session claimed a pod");
    let figures = |took: &mut Vec<Duration>| (percentile(took, 0.5), percentile(took, 0.99), took.len());
    let (alone, among) = (figures(&mut alone), figures(&mut among));
    tell(&format!(
        "a claim (p50, p99 in ms, count): {alone:.1?} in an empty namespace, {among:.1?} among {MANY} pods; p99 ratio {:.2}",
        among.1 / alone.1
    ));
    assert!(among.1 <= 2.0 * alone.1, "{among:?} {alone:?}");
}
