//! The daemon itself: made, repaired, removed.

mod access;
mod engines;
pub(crate) mod own;
mod said;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use own::{OwnDaemon, host};

use crate::harness::{Berth, GONE_WITHIN, PATIENCE, at_once, eventually};

#[test]
fn up_repairs_what_crashed_and_changes_nothing_twice_and_down_leaves_nothing() {
    let own = OwnDaemon::new("berth-test-dind-own", 22377);
    assert_eq!(own.says(&["status"]).status.code(), Some(69), "not up yet");
    own.succeeds(&["up"]);
    let first = own.container().expect("a container");
    own.succeeds(&["up"]);
    assert_eq!(own.container().as_deref(), Some(first.as_str()), "up twice changes nothing");

    host(&["kill", &own.name]);
    assert_eq!(own.says(&["status"]).status.code(), Some(69));
    own.succeeds(&["up"]);
    let status: Value = serde_json::from_str(&own.succeeds(&["status", "--json"])).expect("JSON");
    assert_eq!(status["healthy"], true, "{status}");
    own.session("own").call("echo", json!({ "text": "repaired" }));

    std::fs::remove_dir_all(own.home.path().join("certs")).expect("certificates");
    assert_eq!(own.says(&["status"]).status.code(), Some(69), "nobody can speak to it now");
    own.succeeds(&["up"]);
    own.session("own").call("echo", json!({ "text": "new certificates" }));

    // The last session was killed a moment ago; its container is about to go.
    eventually("the end of the last session", GONE_WITHIN, || {
        own.says(&["down"]).status.success().then_some(())
    });
    assert_eq!(own.container(), None);
    own.succeeds(&["down", "--volumes"]);
    let volumes = host(&["volume", "ls", "-q", "--filter", &format!("name={}", own.name)]);
    assert!(volumes.stdout.is_empty(), "{}", String::from_utf8_lossy(&volumes.stdout));
}

#[test]
fn clients_that_come_while_the_daemon_restarts_have_their_sessions() {
    let own = OwnDaemon::new("berth-test-dind-again", 22394);
    own.up();
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| host(&["restart", "-t", "2", &own.name]));
        at_once((0..12).collect(), |_, n: u32| {
            // Before it, in the midst of it, and after it.
            std::thread::sleep(Duration::from_millis(250) * n);
            own.session(&format!("again-{n}"));
        });
        assert!(restart.join().expect("no panic").status.success());
    });
}

#[test]
fn a_restart_of_the_daemon_answers_what_is_in_flight_and_leaves_no_container() {
    let own = OwnDaemon::new("berth-test-dind-restart", 22378);
    own.succeeds(&["up"]);
    let mut session = own.session("restarted");
    session.send(&json!({
        "jsonrpc": "2.0", "id": "doomed", "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 60_000 } },
    }));
    assert_eq!(session.call_text("echo", json!({ "text": "on" })), "on", "it has arrived");
    let ends = |way: &str| {
        let run = Berth::run("fixture").client(&format!("ends-{way}")).env("BERTH_HOME", own.home_folder());
        let mut session = run.args(["--on-failure", "exit", "--streams", way]).start_without_daemon();
        session.initialize();
        session
    };
    let mut ending = ["direct", "exec"].map(ends);
    assert!(own.says(&["down"]).status.code() == Some(69), "a session is active; only --force ends it");
    host(&["restart", "-t", "2", &own.name]);
    let answer = session.answer("doomed");
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    // So does one that wants no other server, and nothing more: the end of it comes without a request.
    for session in &mut ending {
        assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
        // 143: the daemon had the time to end the server in order.
        let code = session.exit_code();
        assert!(matches!(code, Some(69 | 143)), "{code:?}: {}", session.stderr());
    }
    // The same client goes on with another container.
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");
    let listed = own.rows();
    assert_eq!(listed.len(), 1, "no container outlived the restart: {listed:?}");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    own.until_nobody();
    assert!(own.succeeds(&["gc"]).contains("nothing"));
}

#[test]
fn another_home_never_ends_this_ones_sessions() {
    let own = OwnDaemon::new("berth-test-dind-homes", 22379);
    own.succeeds(&["up"]);
    let before = own.run_id();
    let mut session = own.session("homes");

    // As it was made, and with other settings: neither is a reason.
    let other = OwnDaemon { home: tempfile::tempdir().expect("a folder"), name: own.name.clone() };
    for port in [22379, 22380] {
        other.configure(&format!("port = {port}"));
        for args in [&["up"][..], &["down"], &["down", "--volumes"]] {
            let said = other.fails(args, 78);
            assert!(said.contains("another berth home"), "{args:?}: {said}");
            assert!(said.contains(own.certs().to_str().expect("a plain path")), "{args:?}: {said}");
            assert!(said.contains("`berth down --force`"), "{args:?}: {said}");
        }
        let status: Value = serde_json::from_slice(&other.says(&["status", "--json"]).stdout).expect("JSON");
        assert!(
            status["problems"][0].as_str().is_some_and(|text| text.contains("another berth home")),
            "{status}"
        );
    }
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");

    // Nor does this home, when it has lost what the sessions' daemon knows it by.
    std::fs::remove_dir_all(own.certs()).expect("certificates");
    let said = own.fails(&["down"], 69);
    assert!(said.contains("1 session is active"), "{said}");
    let said = own.fails(&["up"], 69);
    assert!(said.contains("new certificates") && said.contains("1 session is active"), "{said}");
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");
    assert_eq!(own.run_id(), before);

    other.succeeds(&["down", "--force"]);
    assert_eq!(own.container(), None, "force is force");
    assert_eq!(session.request("tools/list", json!({}))["error"]["code"], 69);
}

#[test]
fn a_slow_daemon_keeps_its_sessions_and_one_that_is_paused_is_not_swept() {
    let own = OwnDaemon::new("berth-test-dind-slow", 22381);
    own.succeeds(&["up"]);
    let before = own.run_id();
    let mut session = own.session("slow");

    own.signal("STOP");
    let said = own.fails(&["down"], 69);
    assert!(said.contains("1 session is active"), "{said}");
    let mut up =
        own.command().arg("up").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("berth runs");
    let mut said = BufReader::new(up.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let mut before_that = Vec::new();
    let is_told = said.any(|line| {
        before_that.push(line);
        before_that.last().is_some_and(|line| line.contains("does not answer yet"))
    });
    assert!(is_told, "it was asked in vain: {before_that:?}");
    own.signal("CONT");
    let said: Vec<String> = said.collect();
    assert!(up.wait().expect("a child").success(), "{said:?}");
    assert_eq!(own.run_id(), before);
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");

    // As old as the session's, and never started.
    let labels = ["io.mcp-berth.managed-by=berth", "io.mcp-berth.client=slow"];
    own.inner(&[
        "create",
        "--name",
        "mcp-slow-99",
        "--label",
        labels[0],
        "--label",
        labels[1],
        "berth-fixture",
    ]);
    let paused = own.inner(&["ps", "--filter", "label=io.mcp-berth.client=slow", "--format", "{{.Names}}"]);
    assert_eq!(paused, "mcp-slow-1");
    own.inner(&["pause", &paused]);
    let swept = eventually("a sweep", PATIENCE, || {
        let said = own.swept();
        (said != "nothing was left behind").then_some(said)
    });
    assert_eq!(swept, "removed mcp-slow-99");
    own.inner(&["unpause", &paused]);
    assert_eq!(session.call("echo", json!({ "text": "alive" }))["content"][0]["text"], "alive");
}

#[test]
fn what_is_new_waits_for_the_last_session_and_then_reaches_the_daemon() {
    let own = OwnDaemon::new("berth-test-dind-new", 22382);
    own.succeeds(&["up"]);
    let before = own.run_id();
    let mut session = own.session("new");

    let old = std::fs::read(own.certs().join("server-cert.pem")).expect("a certificate");
    std::fs::remove_file(own.certs().join("server-cert.pem")).expect("a certificate");
    let said = own.up();
    assert!(said.contains("new certificate ") && said.contains("must wait: 1 session is active"), "{said}");
    assert_ne!(std::fs::read(own.certs().join("server-cert.pem")).expect("a certificate"), old);
    own.session("second").call("echo", json!({ "text": "the old one is good still" }));

    // Where it listens now nobody answers; that is no reason to end what goes on.
    own.configure("port = 22383");
    let said = own.fails(&["up"], 69);
    assert!(said.contains("new settings"), "{said}");
    own.configure("port = 22382");
    assert_eq!(own.run_id(), before);
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");

    drop(session);
    own.until_nobody();
    assert!(own.up().contains("it has a new certificate"));
    assert_ne!(own.run_id(), before);
    let after = own.run_id();
    assert_eq!(own.up(), "", "the daemon shows the newest");
    assert_eq!(own.run_id(), after);
    own.session("new").call("echo", json!({ "text": "by the new one" }));

    own.until_nobody();
    own.configure("port = 22383");
    assert!(own.up().contains("its settings have changed"));
    own.session("new").call("echo", json!({ "text": "at the new port" }));
}
