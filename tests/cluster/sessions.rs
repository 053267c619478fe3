//! Sessions from their start to their end.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::{Berth, PATIENCE, Place, Session, at_once, eventually, expect_gone};

/// As `[servers.hasty]` has it.
const RECONNECT: Duration = Duration::from_secs(5);
/// A pod that has ended is nobody's own by then.
const LEFT_AFTER: Duration = Duration::from_secs(6);
/// By then somebody else has removed what a killed session left.
const SWEPT_WITHIN: Duration = Duration::from_secs(20);

/// What `tally` answers.
pub(crate) fn tally(session: &mut Session, token: &str, ms: u64) -> Value {
    let said = session.call_text("tally", json!({ "token": token, "ms": ms }));
    serde_json::from_str(&said).expect("JSON")
}

fn started(berth: Berth, client: &str) -> Session {
    berth.client(client).started()
}

/// When the server's container ended, once it has.
fn end_of(pod: &Pod) -> Option<Timestamp> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let server = containers.iter().find(|container| container.name == "server")?;
    Some(server.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
}

#[test]
#[ignore = "needs a cluster"]
fn a_session_answers_and_leaves_no_pod() {
    let place = Place::new("one");
    let mut session = place.run("fixture").client("one").start();
    assert_eq!(session.initialize()["result"]["serverInfo"]["name"], "berth-fixture");
    assert_eq!(session.request("ping", json!({}))["result"], json!({}));
    let tools = session.request("tools/list", json!({}));
    assert!(tools["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 10), "{tools}");
    assert_eq!(session.call_text("echo", json!({ "text": "ahoy" })), "ahoy");
    assert_eq!(place.pods().len(), 1);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone("one");
}

#[test]
#[ignore = "needs a cluster"]
fn an_image_may_bring_the_keeper() {
    let place = Place::new("image").without_keeper().by_image();
    let mut session = started(place.run("fixture"), "image");
    let pod = place.pod(&session.container()).expect("its pod");
    assert_eq!(pod.spec.expect("a spec").init_containers.expect("the keeper's").len(), 1);
    assert_eq!(session.call_text("echo", json!({ "text": "ahoy" })), "ahoy");
}

#[test]
#[ignore = "needs a cluster"]
fn four_clients_work_at_once_each_in_a_pod_of_its_own() {
    let place = Place::new("four");
    let clients: Vec<String> = (1..=4).map(|n| format!("four-{n}")).collect();
    let pairs = at_once(clients.clone(), |_, client| {
        let mut session = started(place.run("fixture"), &client);
        let pod = session.container();
        assert_eq!(session.call_text("marker", json!({ "set": client })), client);
        let processes: BTreeSet<String> = (0..5)
            .map(|n| {
                let answer = tally(&mut session, &format!("{client}-{n}"), 100);
                assert_eq!(answer["times"], 1, "{answer}");
                answer["process"].to_string()
            })
            .collect();
        assert_eq!(session.call_text("marker", json!({})), client);
        assert_eq!(session.call_text("read", json!({ "path": "/etc/hostname" })).trim(), pod);
        assert_eq!(processes.len(), 1, "one process has answered all: {processes:?}");
        session.close();
        assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
        (pod, processes.into_iter().next())
    });
    let (pods, processes): (BTreeSet<_>, BTreeSet<_>) = pairs.into_iter().unzip();
    assert_eq!((pods.len(), processes.len()), (4, 4), "{pods:?} {processes:?}");
    for client in clients {
        expect_gone(&client);
    }
}

#[test]
#[ignore = "needs a cluster"]
fn the_container_of_a_killed_session_ends_and_the_next_one_removes_its_pod() {
    let place = Place::new("killed");
    let mut session = started(place.run("hasty"), "killed");
    let pod = session.container();
    let killed = Timestamp::now();
    session.kill();
    let ended = eventually("the container's end", PATIENCE, || place.pod(&pod).as_ref().and_then(end_of));
    // Kubernetes tells whole seconds.
    let latest = killed + RECONNECT + Duration::from_secs(1);
    assert!(ended <= latest, "killed at {killed}, ended at {ended}");
    // Until then its own session could want to know how it ended.
    let left = ended + LEFT_AFTER;
    eventually("a pod that was left", PATIENCE, || (Timestamp::now() > left).then_some(()));
    let _next = started(place.run("fixture"), "killed-next");
    eventually("the sweep of its pod", SWEPT_WITHIN, || place.pod(&pod).is_none().then_some(()));
}

#[test]
#[ignore = "needs a cluster"]
fn a_session_claims_the_pod_that_waits_for_it() {
    let place = Place::new("standby");
    let first = started(place.run("ready"), "standby");
    let waiting = eventually("a pod on standby", PATIENCE, || {
        let labelled = |pod: &Pod| {
            let state = pod.metadata.labels.as_ref().and_then(|labels| labels.get("mcp-berth.io/state"));
            state.is_some_and(|state| state == "standby")
        };
        let ready = place.pods().into_iter().find(labelled)?;
        let is_running = ready.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        ready.metadata.uid.filter(|_| is_running)
    });
    let mut second = started(place.run("ready"), "standby");
    let inside = second.call_text("read", json!({ "path": "/etc/hostname" }));
    let claimed = place.pod(inside.trim()).expect("the pod that it names");
    assert_eq!(claimed.metadata.uid, Some(waiting), "it is the pod that had waited");
    drop(first);
}
