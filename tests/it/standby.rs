//! Containers on standby: the next session of their kind gets one, and no other session ever has it.

mod cap;
mod races;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{
    Berth, GONE_WITHIN, PATIENCE, Session, berth_says, docker, docker_says, eventually, inspect,
};

/// Removes what a test leaves on standby: nobody will come for it.
pub(crate) struct Tidy(pub(crate) &'static str);

impl Drop for Tidy {
    fn drop(&mut self) {
        // A session that has just ended may still have put one there.
        for _ in 0..2 {
            for id in on_standby(self.0).into_values() {
                let _ = docker(&["rm", "-f", &id]);
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    }
}

/// A client's containers: their ids by their names.
pub(crate) fn containers(client: &str) -> BTreeMap<String, String> {
    let filter = format!("label=io.mcp-berth.client={client}");
    let rows =
        docker_says(&["ps", "-a", "--no-trunc", "--filter", &filter, "--format", "{{.Names}} {{.ID}}"]);
    let row = |row: &str| row.split_once(' ').map(|(name, id)| (name.to_owned(), id.to_owned()));
    rows.lines().filter_map(row).collect()
}

/// Those of them that wait for a session.
pub(crate) fn on_standby(client: &str) -> BTreeMap<String, String> {
    containers(client).into_iter().filter(|(name, _)| name.ends_with(".standby")).collect()
}

/// Waits until as many are on standby, started; their ids by their names.
pub(crate) fn standbys(client: &str, count: usize) -> BTreeMap<String, String> {
    eventually(&format!("{count} on standby for {client}"), PATIENCE, || {
        let standby = on_standby(client);
        let started = |id: &String| inspect(id)["State"]["Running"] == true;
        (standby.len() == count && standby.values().all(started)).then_some(standby)
    })
}

/// The one on standby: its name and its id.
pub(crate) fn standby(client: &str) -> (String, String) {
    standbys(client, 1).pop_first().unwrap()
}

/// Ends a session when it has put another container on standby, and waits until that is all there is: its name and its id.
pub(crate) fn left_by(mut session: Session) -> (String, String) {
    let client = session.client().to_owned();
    let left = standby(&client);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    eventually("the end of the session's own container", GONE_WITHIN, || {
        (containers(&client).len() == 1).then_some(())
    });
    left
}

/// A session by `start` whose container was on standby before, and that container's id.
pub(crate) fn claimed(start: impl Fn() -> Session) -> (Session, String) {
    let (name, id) = left_by(start());
    let session = start();
    let name = name.strip_suffix(".standby").unwrap();
    assert_eq!(inspect(&id)["Name"], format!("/{name}"), "{}", session.stderr());
    (session, id)
}

/// The id of the container that a session's server says it is in.
pub(crate) fn container_of(session: &mut Session) -> String {
    let hostname = session.call("env", json!({ "name": "HOSTNAME" }))["structuredContent"]["value"].take();
    inspect(hostname.as_str().unwrap())["Id"].as_str().unwrap().to_owned()
}

/// The rows of `berth ps --json`, by name.
fn ps() -> BTreeMap<String, Value> {
    let (code, out, err) = berth_says(&["ps", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    rows.into_iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row)).collect()
}

/// berth's own name for a session, from its trace.
fn session_id(trace: &std::path::Path) -> String {
    let text = std::fs::read_to_string(trace).unwrap();
    let record: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    record["session"].as_str().unwrap().to_owned()
}

#[test]
fn the_next_session_has_the_container_that_stood_by() {
    let _tidy = Tidy("it-next");
    let run = || Berth::run("ready").client("it-next");
    let mut session = run().started();
    let mut seen = BTreeSet::from([container_of(&mut session)]);
    // Each while the one before is still on: no number may be taken twice.
    let mut sessions = vec![session];
    for _ in 0..4 {
        let (name, id) = standby("it-next");
        assert!(!seen.contains(&id), "{name} is somebody's");
        let mut next = run().args(["--trace"]).started();
        assert_eq!(container_of(&mut next), id, "{}", next.stderr());
        let own = name.strip_suffix(".standby").unwrap();
        assert_eq!(inspect(&id)["Name"], format!("/{own}"));
        next.expect_stderr("put on standby");
        seen.insert(id);
        sessions.push(next);
    }
    assert_eq!(containers("it-next").len(), sessions.len() + 1);
    assert_eq!(seen.len(), sessions.len());
}

#[test]
fn ps_shows_who_stands_by_and_then_whose_it_is() {
    let _tidy = Tidy("it-whose");
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let (name, id) = left_by(Berth::run("ready").client("it-whose").started());
    let row = ps().remove(&name).unwrap();
    assert_eq!(
        (&row["state"], &row["server"], &row["session"]),
        (&json!("standby"), &json!("ready"), &json!(""))
    );
    let (_, table, _) = berth_says(&["ps"]);
    let line = table.lines().find(|line| line.starts_with(&name)).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[1..3], ["standby", "ready"]);
    // Others come and go; at some moment both count the same.
    eventually("the count of `berth status`", PATIENCE, || {
        let there = docker_says(&["ps", "--format", "{{.Names}}"]);
        let there = there.lines().filter(|name| name.ends_with(".standby")).count();
        let (_, out, _) = berth_says(&["status", "--json"]);
        let status: Value = serde_json::from_str(&out).unwrap();
        assert!(there > 0 && status["sessions"]["standby"] != 0, "{status}");
        (status["sessions"]["standby"] == there).then_some(())
    });

    let flag = format!("--trace={}", trace.display());
    let mut next = Berth::run("ready").client("it-whose").args([flag.as_str()]).started();
    let name = name.strip_suffix(".standby").unwrap().to_owned();
    let session = session_id(&trace);
    let labels = inspect(&id)["Config"]["Labels"].take();
    assert_eq!(labels["io.mcp-berth.session"], "", "{labels}");
    let row = ps().remove(&name).unwrap();
    assert_eq!((&row["state"], &row["session"]), (&json!("active"), &json!(session)));
    next.send(&json!({
        "jsonrpc": "2.0", "id": "in flight", "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 60_000 } },
    }));
    let (code, out, err) = berth_says(&["kill", &session]);
    assert_eq!((code, out), (Some(0), format!("ended {name} (session {session})")), "{err}");
    assert_eq!(next.answer("in flight")["error"]["code"], 69);
    assert_eq!(next.exit_code(), Some(69));
}

#[test]
fn no_session_finds_anything_of_the_one_before() {
    let _tidy = Tidy("it-clean");
    let (mut seen, mut waiting) = (BTreeSet::new(), None);
    for n in 0..4 {
        let mut session = Berth::run("ready").client("it-clean").started();
        let id = container_of(&mut session);
        assert!(waiting.is_none_or(|waiting| waiting == id), "{}", session.stderr());
        assert!(seen.insert(id.clone()), "the container of an earlier session");
        for path in ["/mine", "/tmp/mine"] {
            assert_eq!(session.call("read", json!({ "path": path }))["isError"], true, "session {n}: {path}");
            session.call("write", json!({ "path": path, "text": "mine" }));
            assert_eq!(session.call_text("read", json!({ "path": path })), "mine");
        }
        assert_eq!(session.call_text("marker", json!({ "set": "mine" })), "mine");
        waiting = Some(left_by(session).1);
    }
}

#[test]
fn what_stands_by_for_another_kind_is_left_alone() {
    let _tidy = Tidy("it-kind");
    let ready = || Berth::run("ready").client("it-kind");
    let (_, id) = left_by(ready().started());
    let others = [
        ("wish for one", ready().args(["--standby", "0"])),
        ("memory", ready().args(["--memory", "96m"])),
        ("variable", ready().args(["--env", "X=1"])),
        ("command", ready().args(["--standby", "1", "--", "/berth-fixture"])),
        ("server", Berth::run("fixture").client("it-kind").args(["--standby", "1"])),
        ("prestart", Berth::run("ahead").client("it-kind")),
        ("image", Berth::image("berth-fixture").client("it-kind").args(["--standby", "1"])),
    ];
    for (what, other) in others {
        let mut session = other.started();
        assert_ne!(container_of(&mut session), id, "another {what}");
        assert!(on_standby("it-kind").values().any(|left| *left == id), "another {what} took or ended it");
        // What it leaves is of its own kind.
        let leaves = usize::from(what != "wish for one");
        for own in standbys("it-kind", 1 + leaves).values().filter(|own| **own != id) {
            docker_says(&["rm", "-f", own]);
        }
        session.close();
        assert_eq!(session.exit_code(), Some(0));
        assert_eq!(on_standby("it-kind").into_values().collect::<Vec<_>>(), [id.as_str()], "{what}");
    }
    let mut own = ready().started();
    assert_eq!(container_of(&mut own), id, "{}", own.stderr());
}

#[test]
fn a_variables_value_is_the_sessions_own() {
    let _tidy = Tidy("it-value");
    let run = |value: &str| Berth::run("ready").client("it-value").args(["--env", &format!("X={value}")]);
    let (_, id) = left_by(run("first").started());
    let mut next = run("next").started();
    assert_eq!(container_of(&mut next), id, "{}", next.stderr());
    assert_eq!(next.call("env", json!({ "name": "X" }))["structuredContent"]["value"], "next");
}

#[test]
fn an_image_that_was_made_anew_has_its_own() {
    let tidy = Tidy("it-anew");
    let run = || Berth::image("berth-it-anew").client("it-anew").args(["--standby", "1"]);
    docker_says(&["tag", "berth-fixture", "berth-it-anew"]);
    let (_, id) = left_by(run().started());
    let other = docker_says(&["create", "berth-fixture"]);
    let image = docker_says(&["commit", &other, "berth-it-anew"]);
    docker_says(&["rm", &other]);
    let mut next = run().started();
    let own = container_of(&mut next);
    assert_ne!(own, id);
    assert_eq!(inspect(&own)["Image"], image);
    let both = standbys("it-anew", 2);
    let of_image = |id: &&String| inspect(id)["Image"] == image;
    assert_eq!(both.values().filter(of_image).count(), 1, "{both:?}");
    drop(next);
    drop(tidy);
    eventually("the end of the image's containers", PATIENCE, || {
        containers("it-anew").is_empty().then_some(())
    });
    docker_says(&["rmi", "-f", "berth-it-anew"]);
}

#[test]
fn as_many_stand_by_as_are_wished() {
    let _tidy = Tidy("it-two");
    let run = || Berth::run("ready").client("it-two").args(["--standby", "2"]);
    let mut first = run().started();
    let before = standbys("it-two", 2);
    first.close();
    first.wait();
    let mut next = run().started();
    let own = container_of(&mut next);
    assert!(before.values().any(|id| *id == own), "{}", next.stderr());
    let after = standbys("it-two", 2);
    assert!(!after.values().any(|id| *id == own));
    assert_eq!(before.values().filter(|id| after.values().any(|after| after == *id)).count(), 1);
}

#[test]
fn nobody_is_needed_for_its_end() {
    let _tidy = Tidy("it-expiry");
    let mut session = Berth::run("brief").client("it-expiry").args(["--trace"]).started();
    session.expect_stderr("put on standby");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    drop(session);
    eventually("the end of what nobody claimed", PATIENCE, || {
        containers("it-expiry").is_empty().then_some(())
    });
}
