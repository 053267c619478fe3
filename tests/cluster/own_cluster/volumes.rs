//! Volumes, which outlive their sessions.

use serde_json::json;

use crate::harness::{Fault, LocalVolume, PATIENCE, Place, eventually, expect_gone, is_ready};
use crate::sessions::tally;

use super::nodes::another_process;

const SERVER: &str = "\n[servers.keeps]\nimage = \"berth-fixture\"\ncommand = [\"/berth-fixture\"]\n\
                      volumes = [\"memory:/data\"]\nstop_grace = \"1s\"\n";

fn asked() -> serde_json::Value {
    json!({ "protocolVersion": "2025-06-18", "capabilities": {} })
}

#[test]
#[ignore = "needs a cluster"]
fn a_volume_outlives_its_session_and_one_session_at_a_time_has_it() {
    let volume = LocalVolume::new("keeps");
    let place = Place::new("keeps").setting(&format!("storage_class = \"{}\"", volume.class())).with(SERVER);
    let mut first = place.run("keeps").client("keeps").started();
    let pod = first.container();
    first.call_text("write", json!({ "path": "/data/note", "text": "ahoy" }));
    let mut second = place.run("keeps").client("keeps").start();
    let answer = second.request("initialize", asked());
    let error = answer["error"].to_string();
    let said =
        format!("the volume `memory` is in use by `{pod}` on the node `n1`; it allows one session at a time");
    assert!(error.contains(&said), "{answer}");
    second.close();
    second.wait();
    // It was told, and has changed nothing for the one that has the volume.
    assert_eq!(first.call_text("read", json!({ "path": "/data/note" })), "ahoy");
    first.close();
    assert_eq!(first.exit_code(), Some(0), "{}", first.stderr());
    expect_gone("keeps");
    let claims = place.claims();
    assert!(
        matches!(claims.as_slice(), [claim] if claim.starts_with("berth-data-keeps-memory-")),
        "{claims:?}"
    );
    let mut third = place.run("keeps").client("keeps").started();
    assert_eq!(third.call_text("read", json!({ "path": "/data/note" })), "ahoy");
    third.kill();
    // Whoever is killed holds it for no longer than its pod runs.
    let again = eventually("the volume of a killed session", PATIENCE, || {
        let mut next = place.run("keeps").client("keeps").start();
        let answer = next.request("initialize", asked());
        answer.get("result").is_some().then_some(next)
    });
    drop(again);
}

#[test]
#[ignore = "needs a cluster"]
fn a_session_whose_volume_is_on_a_dead_node_goes_on_with_it_when_the_node_is_back() {
    let volume = LocalVolume::new("stays");
    let settings = "on_failure = \"restart\"\nreconnect = \"5s\"\nrecover_within = \"2m\"\n";
    let place = Place::alone("stays")
        .setting(&format!("storage_class = \"{}\"", volume.class()))
        .with(&(SERVER.to_owned() + settings));
    let mut session = place.run("keeps").client("stays").started();
    session.call_text("write", json!({ "path": "/data/note", "text": "ahoy" }));
    let before = tally(&mut session, "before", 1)["process"].clone();
    let pod = session.container();
    let power = Fault::power("1");
    session.expect_stderr("a volume may be bound to its node");
    assert!(place.pod(&pod).is_some(), "it may write there yet, for all that anybody knows");
    drop(power);
    eventually("the node's return", PATIENCE, || is_ready("n1").then_some(()));
    another_process(&mut session, &before, PATIENCE);
    assert_eq!(session.call_text("read", json!({ "path": "/data/note" })), "ahoy");
}

#[test]
#[ignore = "needs a cluster"]
fn a_volume_that_the_cluster_cannot_make_is_told_to_the_client() {
    let place = Place::new("classless")
        .setting("storage_class = \"t-nobodys\"")
        .with(&(SERVER.to_owned() + "start_timeout = \"5s\"\n"));
    let mut session = place.run("keeps").client("classless").start();
    let answer = session.request("initialize", asked());
    let error = answer["error"].to_string();
    assert!(error.contains("cannot make the volume of the claim `berth-data-classless-memory-"), "{answer}");
    assert!(error.contains("t-nobodys") && error.contains("`storage_class`"), "{answer}");
}
