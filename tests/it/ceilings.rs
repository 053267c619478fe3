//! Ceilings over all sessions: exactly as many serve as there is room for, and the others are told or wait.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Berth, Session, at_once, expect_gone, home};

/// The tests' configuration with these limits: keys of `[limits]`, and those of the client.
fn limited(keys: &str, client: &str, own: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("berth.toml");
    let config = std::fs::read_to_string(home().join("berth.toml")).unwrap();
    let config = config.replacen("[limits]\n", &format!("[limits]\n{keys}\n"), 1);
    std::fs::write(&file, format!("{config}\n[limits.clients.{client}]\n{own}\n")).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

fn hello(session: &mut Session) -> Value {
    session.request(
        "initialize",
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } }),
    )
}

#[test]
fn of_many_sessions_at_once_exactly_as_many_serve_as_the_ceiling_allows() {
    let client = "it-ceiling";
    let (_folder, config) = limited("", client, "sessions = 3");
    let start = || Berth::run("first").client(client).args(["--config", &config]).start();
    let sessions: Vec<Session> = (0..12).map(|_| start()).collect();
    let mut answered = at_once(sessions, |_, mut session| (hello(&mut session), session));
    let (served, refused): (Vec<_>, Vec<_>) =
        answered.iter().map(|(answer, _)| answer).partition(|answer| answer.get("result").is_some());
    assert_eq!((served.len(), refused.len()), (3, 9), "{refused:?}");
    for answer in refused {
        let why = answer["error"]["message"].as_str().unwrap();
        assert!(why.contains("3 sessions at once is the ceiling"), "{why}");
    }
    answered.retain(|(answer, _)| answer.get("result").is_some());
    // A killed holder's place is free at once.
    answered[0].1.kill();
    let killed = Instant::now();
    let mut next = start();
    let answer = hello(&mut next);
    assert!(answer.get("result").is_some(), "{answer} {:?} after the kill", killed.elapsed());
    next.close();
    for (_, session) in &mut answered[1..] {
        session.close();
    }
    expect_gone(client);
}

#[test]
fn who_waits_is_served_once_there_is_room() {
    let client = "it-ceiling-wait";
    let (_folder, config) = limited("over_limit = \"wait\"", client, "sessions = 2");
    let start = || Berth::run("first").client(client).args(["--config", &config]).start();
    let mut sessions: Vec<Session> = (0..2).map(|_| start()).collect();
    for session in &mut sessions {
        assert!(hello(session).get("result").is_some());
    }
    let mut third = start();
    third.send(&json!({
        "jsonrpc": "2.0", "id": "waits", "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } },
    }));
    assert!(third.line_within(Duration::from_secs(2)).is_none(), "there is no room");
    sessions[0].close();
    assert!(third.answer("waits").get("result").is_some());
    sessions[1].close();
    third.close();
    expect_gone(client);
}

#[test]
fn a_server_of_several_beyond_the_ceiling_fails_its_own_calls_alone() {
    let client = "it-ceiling-lane";
    let (_folder, config) = limited("", client, "memory = \"900m\"");
    let mut session = Berth::several(&["first", "second"])
        .client(client)
        .args(["--config", &config, "--memory", "512m"])
        .started();
    assert_eq!(session.call_text("first__echo", json!({ "text": "x" })), "x");
    let refused =
        session.request("tools/call", json!({ "name": "second__echo", "arguments": { "text": "x" } }));
    let why = refused["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("512.0 MiB of 900.0 MiB is taken"), "{refused}");
    assert_eq!(session.call_text("first__echo", json!({ "text": "y" })), "y");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}
