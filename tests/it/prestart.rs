//! Servers that run before their session begins: nothing shows the wait, and they end as all others do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Berth, GONE_WITHIN, PATIENCE, Session, at_once, berth_says, docker_says, eventually, home, inspect,
};
use crate::standby::{Tidy, claimed, container_of, containers, left_by, on_standby};

/// A session of `ahead` whose server was there before it, and its container's id.
fn ahead<const N: usize>(client: &str, args: [&str; N]) -> (Session, String) {
    claimed(|| Berth::run("ahead").client(client).args(args).started())
}

fn expect_gone(client: &str, id: &str) {
    eventually("the end of the container", GONE_WITHIN, || {
        (!containers(client).values().any(|left| left == id)).then_some(())
    });
}

/// The processes of a container as the daemon has them: process, parent, command.
fn processes(id: &str) -> Vec<[String; 3]> {
    let table = docker_says(&["top", id, "-eo", "pid,ppid,args"]);
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        [words.next().unwrap(), words.next().unwrap(), words.collect::<Vec<_>>().join(" ")]
    };
    table.lines().skip(1).map(row).collect()
}

#[test]
fn a_prestarted_server_is_older_than_its_session() {
    let _tidy = Tidy("it-ahead");
    let (_, id) = left_by(Berth::run("ahead").client("it-ahead").started());
    let before = eventually("a server on standby", PATIENCE, || {
        let processes = processes(&id);
        (processes.len() == 2).then_some(processes)
    });
    let [[keeper, _, hold], [_, parent, server]] = before.as_slice() else { panic!("{before:?}") };
    assert!(
        hold.starts_with("/.berth-")
            && hold.contains("/keeper hold --room ")
            && hold.ends_with(" -- /berth-fixture"),
        "{hold}"
    );
    assert_eq!((parent, server.as_str()), (keeper, "/berth-fixture"));

    let mut session = Berth::run("ahead").client("it-ahead").started();
    assert_eq!(container_of(&mut session), id, "{}", session.stderr());
    let [[first, _, shown], same] = &processes(&id)[..] else { panic!("two processes") };
    assert_eq!((first, same), (keeper, &before[1]));
    assert!(shown.starts_with("/.berth-") && shown.contains("/keeper hold for "), "{shown}");
    assert_eq!(inspect(&id)["ExecIDs"], Value::Null, "no exec");
}

#[test]
fn kill_ends_the_session_for_good() {
    let _tidy = Tidy("it-ahead-kill");
    let (_, id) = left_by(Berth::run("durable-ahead").client("it-ahead-kill").started());
    let mut session = Berth::run("durable-ahead").client("it-ahead-kill").started();
    assert_eq!(container_of(&mut session), id, "{}", session.stderr());
    let name = inspect(&id)["Name"].as_str().expect("a name").trim_start_matches('/').to_owned();
    let (code, _, error) = berth_says(&["kill", &name]);
    assert_eq!(code, Some(0), "{error}");
    // At once, without a question.
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
    assert_eq!(session.exit_code(), Some(69));
    assert!(session.stderr().contains("was ended by `berth kill`"), "{}", session.stderr());
}

#[test]
fn nothing_of_the_wait_is_heard_and_nothing_of_others() {
    let _tidy = Tidy("it-private");
    let mut first = Berth::run("ahead").client("it-private").started();
    first.call("marker", json!({ "set": "the first's" }));
    let (_, id) = left_by(first);
    let mut session = Berth::run("ahead").client("it-private").start();
    session.send(&json!({
        "jsonrpc": "2.0", "id": "hello", "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } },
    }));
    let answer = session.message();
    assert_eq!((&answer["id"], answer["result"].is_object()), (&json!("hello"), true), "{answer}");
    assert_eq!(container_of(&mut session), id, "{}", session.stderr());
    assert_ne!(session.call_text("marker", json!({})), "the first's");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_megabyte_passes_a_prestarted_server_unchanged_both_ways() {
    let _tidy = Tidy("it-parrot");
    let line = |n: usize| {
        let filler = "0123456789 é \\u0061 ".repeat(50_000);
        format!(" {{\"jsonrpc\":\"2.0\",\"method\":\"big\" ,\"params\":[{n},\"{filler}\"]}}\r").into_bytes()
    };
    let echoed = |session: &mut Session, n| {
        session.send_raw(&[&line(n)[..], b"\n"].concat());
        assert!(session.line().unwrap() == line(n), "message {n} came back changed");
    };
    let (mut session, _) = claimed(|| {
        let mut session = Berth::run("parrot").client("it-parrot").start();
        echoed(&mut session, 0);
        session
    });
    for n in 1..4 {
        echoed(&mut session, n);
    }
    // All at once, and the end right behind: as much as no buffer on the way holds.
    let many: Vec<u8> = (4..12).flat_map(|n| [&line(n)[..], b"\n"].concat()).collect();
    session.send_raw(&many).close();
    for n in 4..12 {
        assert!(session.line().unwrap() == line(n), "message {n} came back changed");
    }
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
}

#[test]
fn output_after_the_end_of_the_input_arrives_from_a_prestarted_server() {
    let _tidy = Tidy("it-ahead-late");
    let (mut session, id) = ahead("it-ahead-late", ["--env", "FIXTURE_LATE=700"]);
    session.close();
    let last = session.message();
    assert_eq!((&last["method"], &last["params"]["data"]), (&json!("notifications/message"), &json!("late")));
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
    expect_gone("it-ahead-late", &id);
}

/// Calls a tool that is the server's end, with this code; what the client is told.
fn last_words(session: &mut Session, tool: &str, arguments: Value, code: i32) -> String {
    let answer = session.request("tools/call", json!({ "name": tool, "arguments": arguments }));
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    assert_eq!(session.exit_code(), Some(code));
    answer["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn the_end_of_a_prestarted_server_is_explained() {
    let ends = [
        ("it-ahead-code", "crash", json!({ "code": 7 }), "`ahead` exited with code 7", 7),
        ("it-ahead-abort", "crash", json!({ "code": -1 }), "`ahead` exited with code 134", 134),
        ("it-ahead-memory", "eat", json!({ "bytes": 256 << 20 }), "memory limit of 64 MiB", 137),
    ];
    at_once(ends.into(), |_, (client, tool, arguments, why, code)| {
        let _tidy = Tidy(client);
        let (mut session, id) = ahead(client, ["--memory", "64m"]);
        let message = last_words(&mut session, tool, arguments, code);
        assert!(message.contains(why), "no {why:?} in {message:?}");
        expect_gone(client, &id);
    });
}

#[test]
fn a_request_in_flight_is_answered_when_a_prestarted_servers_container_dies() {
    let _tidy = Tidy("it-ahead-lost");
    let (mut session, id) = ahead("it-ahead-lost", []);
    session.send(&json!({
        "jsonrpc": "2.0", "id": "doomed", "method": "tools/call", "params": { "name": "sleep", "arguments": { "ms": 60_000 } },
    }));
    docker_says(&["rm", "-f", &id]);
    let answer = session.answer("doomed");
    assert!(answer["error"]["message"].as_str().unwrap().contains("`ahead` is gone"), "{answer}");
    assert_eq!(session.exit_code(), Some(69));
}

#[test]
fn a_server_that_dies_while_it_waits_leaves_nothing() {
    let _tidy = Tidy("it-ahead-dies");
    let (_, id) = left_by(Berth::run("ahead").client("it-ahead-dies").started());
    let server = eventually("a server on standby", PATIENCE, || Some(processes(&id).get(1)?[0].clone()));
    // By the daemon's own numbers; no session can do that.
    let kill = format!("kill -9 {server}");
    let killed =
        std::process::Command::new("docker").args(["exec", "berth-test-dind", "sh", "-c", &kill]).status();
    assert!(killed.expect("docker runs").success());
    eventually("the end of its container", GONE_WITHIN, || {
        on_standby("it-ahead-dies").is_empty().then_some(())
    });
    let mut session = Berth::run("ahead").client("it-ahead-dies").started();
    assert_ne!(container_of(&mut session), id);
    assert_eq!(session.call_text("echo", json!({ "text": "cold" })), "cold");
}

#[test]
fn a_prestarted_server_that_ignores_everything_is_gone_within_the_grace_period() {
    let _tidy = Tidy("it-ahead-stubborn");
    let (mut session, id) = ahead("it-ahead-stubborn", ["--stop-grace", "2s"]);
    session.call("ignore_eof", json!({}));
    let began = Instant::now();
    session.close();
    session.wait();
    assert!(began.elapsed() > Duration::from_millis(900), "it had no time to end by itself");
    expect_gone("it-ahead-stubborn", &id);
}

#[test]
fn a_prestarted_server_goes_with_its_killed_session_whatever_it_does() {
    let _tidy = Tidy("it-ahead-orphan");
    let (mut session, id) = ahead("it-ahead-orphan", []);
    session.call("ignore_eof", json!({}));
    session.signal("-KILL");
    session.wait();
    expect_gone("it-ahead-orphan", &id);
}

#[test]
fn a_prestarted_servers_standard_error_is_ours() {
    let _tidy = Tidy("it-ahead-stderr");
    let (mut session, _) = ahead("it-ahead-stderr", []);
    session.call("stderr", json!({ "text": "said by a prestarted server" }));
    session.expect_stderr("said by a prestarted server\n");
    assert_eq!(session.call_text("echo", json!({ "text": "next" })), "next");
}

#[test]
fn a_prestarted_server_is_kept_from_the_keepers_files() {
    let _tidy = Tidy("it-ahead-keeper");
    let (mut session, _) = ahead("it-ahead-keeper", []);
    for path in ["/proc/1/fd/0", "/proc/1/fd/1", "/proc/1/environ", "/proc/1/mem"] {
        let denied = session.call("read", json!({ "path": path }));
        assert_eq!(denied["isError"], true, "{path}: {denied}");
    }
}

/// The client, its standard error and the exit code tell the same, and nothing is started for it.
fn refused(run: Berth, parts: &[&str]) {
    let mut session = run.start_without_daemon();
    session.send(&json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } },
    }));
    let answer = session.answer(0);
    assert_eq!(answer["error"]["code"], 78, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
    assert_eq!(session.exit_code(), Some(78));
    session.expect_stderr(message);
}

#[test]
fn a_value_that_only_the_session_knows_is_no_prestarted_servers() {
    let client = "it-ahead-refused";
    let why = "server `ahead` cannot be prestarted: its variable";
    let ahead = || Berth::run("ahead").client(client).env("HERE", "1");
    let named = format!("{why} `X` takes `HERE` from its client's environment");
    refused(ahead().args(["--env", "X=${HERE}"]), &[&named, "`prestart = false`"]);
    let named = format!("{why} `X` is a secret");
    refused(ahead().args(["--secret", "X=1"]), &[&named, "`prestart = false`"]);
    // In a file it is a mistake of the file, with its line.
    let folder = tempfile::tempdir_in(home()).unwrap();
    let file = folder.path().join("berth.toml");
    let server =
        "[servers.ahead]\nimage = \"berth-fixture\"\nprestart = true\nenv = { X = \"${HERE:-1}\" }\n";
    std::fs::write(&file, server).unwrap();
    let named = format!("{why} `X` takes `HERE`");
    let run = ahead().args(["--config", file.to_str().unwrap()]);
    refused(run, &[&format!("{}:4: {named}", file.display()), "`prestart = false`"]);
    assert!(containers(client).is_empty());
}
