//! What every command says of a daemon that does not answer. It waits for a starting daemon, and shows a dying daemon's
//! last words at once.

use serde_json::{Value, json};

use super::own::{OwnDaemon, host};
use crate::harness::{Berth, PATIENCE, Session, eventually};

/// A client that asks at once, whatever there is.
fn client(own: &OwnDaemon, name: &str) -> Session {
    let home = own.home.path().to_str().expect("a plain path").to_owned();
    let mut session = Berth::run("fixture").client(name).env("BERTH_HOME", &home).start_without_daemon();
    session.send(&json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": name, "version": "1" } },
    }));
    session
}

fn inside(own: &OwnDaemon, script: &str) {
    let done = host(&["exec", &own.name, "sh", "-ec", script]);
    assert!(done.status.success(), "{script}");
}

#[test]
fn a_client_that_comes_before_the_daemon_waits_for_it() {
    let own = OwnDaemon::new("berth-test-dind-boot", 22410);
    own.succeeds(&["up"]);
    // From its next start on the daemon waits for a file.
    inside(
        &own,
        r#"tool=$(command -v iptables)
        mkdir /held
        mv "$tool" /held/iptables
        printf '#!/bin/sh\nwhile [ ! -e /held/go ]; do sleep 0.1; done\nexec /held/iptables "$@"\n' >"$tool"
        chmod +x "$tool""#,
    );
    host(&["restart", "-t", "5", &own.name]);
    let mut early = client(&own, "early");
    early.expect_stderr("waiting for the DinD daemon: it is still starting");
    let status: Value = serde_json::from_slice(&own.says(&["status", "--json"]).stdout).expect("JSON");
    let problem = "the DinD daemon does not answer yet: it is still starting";
    assert_eq!((&status["problems"][0], &status["next"]), (&json!(problem), &json!("berth status")));
    inside(&own, "touch /held/go");
    let answer = early.answer(0);
    assert!(answer.get("result").is_some(), "{answer}: {}", early.stderr());
    assert_eq!(early.call_text("echo", json!({ "text": "here" })), "here");
    assert_eq!(early.stderr().matches("waiting for").count(), 1, "{}", early.stderr());

    // One that somebody has stopped is not about to come.
    drop(early);
    own.until_nobody();
    host(&["stop", "-t", "5", &own.name]);
    let answer = client(&own, "late").answer(0);
    let cause = answer["error"]["data"]["cause"].as_str().expect("a cause");
    assert!(cause.contains("the container `berth-test-dind-boot` has exited"), "{answer}");
    assert_eq!(answer["error"]["data"]["next"], "type `berth up`");
}

/// All commands but `up` give this cause and this next step.
fn all_say(own: &OwnDaemon, cause: &str, next: &str) {
    let cause = format!("the DinD daemon `{}` dies at its start: {cause}", own.name);
    let phrase = if next.starts_with("berth") { format!("type `{next}`") } else { next.to_owned() };

    let answer = client(own, "told").answer(0);
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    assert_eq!(answer["error"]["data"], json!({ "cause": cause, "next": phrase }));
    assert_eq!(answer["error"]["message"], format!("berth: {cause}; {phrase}"));

    let status: Value = serde_json::from_slice(&own.says(&["status", "--json"]).stdout).expect("JSON");
    assert_eq!((&status["problems"][0], &status["next"]), (&json!(cause), &json!(next)), "{status:#}");

    let report: Value =
        serde_json::from_slice(&own.says(&["doctor", "--quick", "--json"]).stdout).expect("JSON");
    let mut lines = report["lines"].as_array().expect("lines").iter();
    let line = lines.find(|line| line["name"] == "container").expect("a line");
    assert!(line["fact"].as_str().is_some_and(|fact| fact.starts_with(&cause)), "{line}");
    assert_eq!((&line["state"], &line["next"]), (&json!("failed"), &json!(next)), "{line}");
}

#[test]
fn a_daemon_that_dies_at_its_start_says_why_everywhere() {
    let own = OwnDaemon::new("berth-test-dind-dies", 22411);
    own.succeeds(&["up"]);
    let dies = |script: &str| {
        inside(&own, script);
        host(&["restart", "-t", "5", &own.name]);
        eventually("its first death", PATIENCE, || {
            let output = host(&["inspect", "--format", "{{.RestartCount}}", &own.name]);
            (String::from_utf8_lossy(&output.stdout).trim() != "0").then_some(())
        });
    };

    dies("rm /berth/certs/server-key.pem");
    all_say(&own, "/berth/certs/server-key.pem is missing", "berth up");
    own.up();
    assert_eq!(own.says(&["status"]).status.code(), Some(0), "`berth up` did help");

    dies("rm \"$(command -v iptables)\"");
    let (cause, next) =
        ("the daemon's image has no iptables", "name another image in [dind], then type: berth up");
    all_say(&own, cause, next);
    let said = own.fails(&["up"], 69);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(last, format!("berth: the DinD daemon `{}` dies at its start: {cause}; {next}", own.name));
    all_say(&own, cause, next);
}
