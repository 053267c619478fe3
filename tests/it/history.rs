//! What a session leaves for `berth logs`, and what `berth trace` says of a trace.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Berth, PATIENCE, Session, berth, berth_says, eventually, home};

/// A client's name that no earlier run has used: histories stay.
fn own(client: &str) -> String {
    format!("{client}-{}", std::process::id())
}

/// The sessions of this client, the newest first; those of other tests are none of ours.
fn sessions_of(client: &str) -> Vec<Value> {
    let (code, out, err) = berth_says(&["logs", "--json", "--number", "1000"]);
    assert_eq!(code, Some(0), "{err}");
    let all: Vec<Value> = serde_json::from_str(&out).unwrap();
    all.into_iter().filter(|past| past["client"] == client).collect()
}

fn only(client: &str) -> Value {
    let mut all = sessions_of(client);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn id(past: &Value) -> &str {
    past["session"].as_str().unwrap()
}

/// `berth logs SESSION --json`
fn records(session: &str) -> Vec<Value> {
    let (code, out, err) = berth_says(&["logs", "--json", session]);
    assert_eq!(code, Some(0), "{err}");
    out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn file(session: &str) -> PathBuf {
    home().join("state/sessions").join(format!("{session}.jsonl"))
}

fn details<'a>(records: &'a [Value], kind: &str) -> Vec<&'a str> {
    records.iter().filter(|record| record["kind"] == kind).filter_map(|it| it["detail"].as_str()).collect()
}

#[test]
fn a_session_tells_its_start_what_the_server_said_and_its_end() {
    let client = &own("it-history");
    let mut session =
        Berth::run("fixture").client(client).args(["--secret", "HIDDEN=hunter2-of-history"]).start();
    session.initialize();
    let container = session.container();
    session.call("stderr", json!({ "text": "a word \u{1b}[2Jand hunter2-of-history" }));
    session.request("no/such", json!({}));
    let past = eventually("a history", PATIENCE, || sessions_of(client).pop());
    assert_eq!((&past["state"], &past["server"]), (&json!("live"), &json!("fixture")));
    eventually("the last step of its start", PATIENCE, || {
        records(id(&past)).iter().any(|record| record["name"] == "take a name").then_some(())
    });
    session.close();
    assert_eq!(session.exit_code(), Some(0));

    let past = only(client);
    assert_eq!((&past["state"], &past["how"], &past["code"]), (&json!("ended"), &json!("cold"), &json!(0)));
    assert_eq!((&past["requests"], &past["errors"]), (&json!(3), &json!(1)));
    let (_, list, _) = berth_says(&["logs", "--server", "fixture"]);
    let line = list.lines().find(|line| line.contains(id(&past))).expect("it is in the list");
    assert!(line.contains(client) && line.contains("the client closed its output"), "{line}");
    let (code, list, err) = berth_says(&["logs", "--server", "time"]);
    assert_eq!((code, list.contains(id(&past))), (Some(0), false), "{list}{err}");

    let records = records(id(&past));
    assert_eq!((&records[0]["kind"], &records[0]["image"]), (&json!("start"), &json!("berth-fixture")));
    let steps: Vec<&str> =
        records.iter().filter(|it| it["kind"] == "step").filter_map(|it| it["name"].as_str()).collect();
    for step in ["connect for the container", "create, start and attach", "start the server", "take a name"] {
        assert!(steps.contains(&step), "{step} in {steps:?}");
    }
    assert_eq!(details(&records, "stderr"), ["a word \u{1b}[2Jand [redacted]"]);
    assert_eq!(records.last().unwrap()["kind"], "end");
    let is_message =
        |record: &Value| ["body", "params", "arguments", "id"].iter().any(|key| record.get(key).is_some());
    assert!(!records.iter().any(is_message), "no messages: {records:?}");
    let (code, calls, err) = berth_says(&["calls", id(&past), "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let calls: Vec<Value> = serde_json::from_str(&calls).unwrap();
    let calls: Vec<(&Value, &Value, &Value)> =
        calls.iter().map(|call| (&call["method"], &call["tool"], &call["outcome"])).collect();
    assert_eq!(
        calls,
        [
            (&json!("initialize"), &Value::Null, &json!("ok")),
            (&json!("tools/call"), &json!("stderr"), &json!("ok")),
            (&json!("no/such"), &Value::Null, &json!("error")),
        ]
    );
    let (_, failed, _) = berth_says(&["calls", id(&past), "--errors"]);
    assert!(
        failed.contains("no/such") && failed.contains("error -32601") && !failed.contains("initialize"),
        "{failed}"
    );
    let (_, sessions, _) = berth_says(&["sessions", "--client", client]);
    assert!(sessions.contains(id(&past)), "{sessions}");

    let (_, told, _) = berth_says(&["logs", &container]);
    assert!(told.contains(r"server | a word \u{1b}[2Jand [redacted]"), "{told}");
    let (_, by_prefix, _) = berth_says(&["logs", &id(&past)[..11]]);
    assert_eq!(by_prefix, told);
    assert!(!std::fs::read_to_string(file(id(&past))).unwrap().contains("hunter2"), "secrets stay out");

    let (code, _, err) = berth_says(&["logs", "no-such-session"]);
    assert_eq!((code, err.contains("see `berth logs`")), (Some(64), true), "{err}");
}

#[test]
fn two_sessions_do_not_mix_and_their_servers_words_stay_with_them() {
    let clients = &["it-history-one", "it-history-two"].map(own);
    let mut sessions = clients.each_ref().map(|client| Berth::run("fixture").client(client).start());
    for (session, client) in sessions.iter_mut().zip(clients) {
        session.initialize();
        session.call("stderr", json!({ "text": client }));
    }
    for mut session in sessions {
        session.close();
        session.wait();
    }
    for client in clients {
        let past = only(client);
        assert_eq!(details(&records(id(&past)), "stderr"), [client]);
    }
}

#[test]
fn a_killed_session_is_known_to_be_and_its_history_is_readable() {
    let client = &own("it-history-killed");
    let mut session = Berth::run("fixture").client(client).start();
    session.initialize();
    session.call("stderr", json!({ "text": "the last word" }));
    eventually("its last word", PATIENCE, || {
        let past = sessions_of(client).pop()?;
        details(&records(id(&past)), "stderr").contains(&"the last word").then_some(())
    });
    session.signal("-KILL");
    session.wait();
    let past = only(client);
    assert_eq!(past["state"], "killed");
    let records = records(id(&past));
    assert_eq!(details(&records, "stderr"), ["the last word"]);
    assert!(records.iter().all(|record| record["kind"] != "end"));
    // It has no end that could be waited for.
    let (code, told, _) = berth_says(&["logs", "--follow", id(&past)]);
    assert_eq!(code, Some(0));
    assert!(told.contains("the last word"), "{told}");
}

#[test]
fn a_failure_and_its_recovery_are_told() {
    let client = &own("it-history-lost");
    let mut session = Berth::run("durable").client(client).start();
    session.initialize();
    session.request("tools/call", json!({ "name": "crash", "arguments": { "code": 7 } }));
    session.call("echo", json!({ "text": "again" }));
    session.close();
    session.wait();
    let past = only(client);
    assert_eq!(past["lost"], 1, "the call that was in flight");
    let records = records(id(&past));
    let said = details(&records, "log");
    assert!(said.iter().any(|line| line.contains("exited with code 7")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("a new server `durable` has started")), "{said:?}");
    let ups: Vec<&Value> = records.iter().filter(|record| record["kind"] == "up").collect();
    assert_eq!((ups.len(), &ups[1]["lost"]), (2, &json!(1)));
    assert_ne!(ups[0]["container"], ups[1]["container"]);
}

#[test]
fn who_wants_no_history_leaves_none_and_a_place_that_takes_none_harms_nobody() {
    let client = &own("it-history-off");
    let run = |session: &mut Session| {
        session.initialize();
        assert_eq!(session.call_text("echo", json!({ "text": "well" })), "well");
        session.close();
        assert_eq!(session.exit_code(), Some(0));
    };
    run(&mut Berth::run("unrecorded").client(client).start());
    run(&mut Berth::run("fixture").client(client).env("BERTH_JOURNAL", "off").start());
    // A home of the same daemon, whose state folder is none.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(home().join("berth.toml"), folder.path().join("berth.toml")).unwrap();
    std::os::unix::fs::symlink(home().join("certs"), folder.path().join("certs")).unwrap();
    std::fs::write(folder.path().join("state"), "").unwrap();
    run(&mut Berth::run("fixture").client(client).env("BERTH_HOME", path(folder.path())).start());
    assert_eq!(sessions_of(client), [] as [Value; 0]);
    run(&mut Berth::run("fixture").client(client).start());
    assert_eq!(only(client)["server"], "fixture", "it would have been seen");
}

#[test]
fn a_living_session_is_followed_to_its_end() {
    let client = &own("it-history-follow");
    let mut session = Berth::run("fixture").client(client).start();
    session.initialize();
    let past = eventually("a history", PATIENCE, || sessions_of(client).pop());
    let mut command = berth();
    command.args(["logs", "--follow", id(&past)]);
    let mut following = Berth::instead(command).start();
    let mut wait_for = |text: &str| loop {
        let line = String::from_utf8(following.line().expect("it goes on")).unwrap();
        if line.contains(text) {
            return;
        }
    };
    wait_for("start  server fixture");
    session.call("stderr", json!({ "text": "said later" }));
    wait_for("server | said later");
    session.close();
    wait_for("end    the client closed its output");
    assert_eq!(following.exit_code(), Some(0));
    session.wait();
    assert!(following.line_within(Duration::from_millis(1)).is_none());
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A recorded session of the fixture, in which the server has asked the client.
fn recorded(client: &str, folder: &Path) -> String {
    let file = folder.join("session.jsonl").to_str().unwrap().to_owned();
    let trace = format!("--trace={file}");
    let mut session = Berth::run("fixture").client(client).args([&trace, "--trace-bodies"]).start();
    session.initialize();
    for text in ["one", "two"] {
        session.call("echo", json!({ "text": text }));
    }
    let ask = json!({ "name": "ask", "arguments": { "method": "roots/list" } });
    session.send(&json!({ "jsonrpc": "2.0", "id": "asks", "method": "tools/call", "params": ask }));
    let asked = session.expect(|message| message["method"] == "roots/list");
    let roots = json!({ "roots": [{ "uri": "file:///recorded" }] });
    session.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": roots }));
    session.answer("asks");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    file
}

#[test]
fn a_trace_tells_where_the_time_went() {
    let folder = tempfile::tempdir().unwrap();
    let file = recorded("it-timeline", folder.path());
    let (code, out, err) = berth_says(&["trace", "--json", &file]);
    assert_eq!(code, Some(0), "{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["broken"], &summary["unanswered"]), (&json!(0), &json!(0)));
    let start = &summary["starts"][0];
    assert_eq!((&start["how"], &start["server"]), (&json!("cold"), &json!("fixture")));
    let whole = start["ms"].as_f64().unwrap();
    let steps = start["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["name"] == "start the server"), "{start}");
    assert!(steps.iter().all(|step| step["ms"].as_f64().unwrap() <= whole), "{start}");
    let tools: Vec<&Value> = summary["methods"].as_array().unwrap().iter().map(|row| &row["tool"]).collect();
    assert!(tools.contains(&&json!("echo")) && tools.contains(&&json!("ask")), "{tools:?}");
    let (code, out, _) = berth_says(&["trace", &file]);
    assert_eq!(code, Some(0));
    assert!(out.contains("start of fixture: cold") && out.contains("tools/call echo"), "{out}");
    let (code, _, err) = berth_says(&["trace", "/no/such/file"]);
    assert!(code == Some(64) && err.contains("`berth run --trace=FILE`"), "{err}");
}

#[test]
fn a_replay_finds_no_difference_in_the_same_server_and_each_in_one_that_lies() {
    let folder = tempfile::tempdir().unwrap();
    let file = recorded("it-replay", folder.path());
    let (code, out, err) = berth_says(&["trace", "replay", &file]);
    assert_eq!(code, Some(0), "{out}\n{err}");
    assert!(out.contains("4 answers compared, no differences"), "{out}");

    let (code, out, err) = berth_says(&["trace", "replay", "--json", &file, "liar"]);
    assert_eq!(code, Some(1), "{out}\n{err}");
    let outcome: Value = serde_json::from_str(&out).unwrap();
    let changed = outcome["differences"].as_array().unwrap();
    let now: Vec<&Value> = changed.iter().map(|it| &it["differences"][0]["now"]).collect();
    assert_eq!(now, ["\"\"", "\"one\""], "each answers what was asked before");
    let ignore = "--ignore=/result/content/*/text";
    let (code, out, err) = berth_says(&["trace", "replay", ignore, &file, "liar"]);
    assert_eq!(code, Some(0), "{out}\n{err}");
}

#[test]
fn what_is_refused_and_what_is_ended_by_hand_is_kept_for_good() {
    let client = &own("it-audit");
    let secret = ["--secret", "HIDDEN=hunter2-of-audit", "--deny-tool", "tally"];
    let mut session = Berth::run("fixture").client(client).args(secret).started();
    let asked = json!({ "name": "tally", "arguments": { "token": "argument-of-audit" } });
    let refused = session.request("tools/call", asked);
    assert!(refused["error"]["message"].as_str().unwrap().contains("forbidden"), "{refused}");
    let container = session.container();
    let (code, _, err) = berth_says(&["kill", &container]);
    assert_eq!(code, Some(0), "{err}");
    session.close();
    let id = only(client)["session"].clone();
    let of_this = eventually("both events", PATIENCE, || {
        let (_, said, _) = berth_says(&["audit", "--json", "--number", "1000"]);
        let events: Vec<Value> = serde_json::from_str(&said).unwrap();
        let refused = events.iter().find(|event| {
            event["event"] == "tool refused"
                && event["session"] == id
                && event["detail"].as_str().unwrap().contains("`tally`")
        })?;
        let ended =
            events.iter().find(|event| event["event"] == "ended by hand" && event["session"] == id)?;
        Some([refused.clone(), ended.clone()])
    });
    assert!(of_this[1]["detail"].as_str().unwrap().contains(client.as_str()), "{of_this:?}");
    let file = std::fs::read_to_string(home().join("state/audit.jsonl")).unwrap();
    assert!(!file.contains("argument-of-audit") && !file.contains("hunter2"), "no arguments, no secrets");
}
