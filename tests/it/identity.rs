//! The client that a container belongs to, by that client's own words: `berth ps` shows it; `berth ps` and `berth kill`
//! find it.

use serde_json::{Value, json};

use crate::harness::{Berth, PATIENCE, Session, berth_says, daemon, docker_says, eventually, expect_gone};
use crate::standby::{Tidy, standbys};

/// A session of Claude Code as its environment tells it.
fn claude(server: &str, client: &str, id: &str, project: &str) -> Session {
    let berth = Berth::run(server).client(client);
    let mut session = berth.env("CLAUDE_CODE_SESSION_ID", id).env("CLAUDE_PROJECT_DIR", project).start();
    session.initialize();
    session
}

/// The rows of `berth ps --json` that are this client's, and not on standby.
fn rows(client: &str) -> Vec<Value> {
    let (code, out, err) = berth_says(&["ps", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    rows.into_iter().filter(|row| row["client"] == client && row["state"] != "standby").collect()
}

#[test]
fn a_container_tells_the_clients_session_and_project() {
    let session = claude("fixture", "it-whose", "0199-whose", "/home/me/my project");
    session.container();
    let [row] = &rows("it-whose")[..] else { panic!("one container") };
    assert_eq!(
        (&row["client_session"], &row["project"]),
        (&json!("0199-whose"), &json!("/home/me/my project"))
    );
    let label = "{{index .Config.Labels \"io.mcp-berth.project\"}}";
    assert_eq!(docker_says(&["inspect", "--format", label, "mcp-it-whose-1"]), "/home/me/my project");
    let (_, table, _) = berth_says(&["ps"]);
    let line =
        table.lines().find(|line| line.starts_with("mcp-it-whose-1 ")).unwrap_or_else(|| panic!("{table}"));
    assert!(line.contains(" 0199-whose ") && line.contains(" /home/me/my project "), "{line}");
}

#[test]
fn without_a_word_the_project_is_where_the_client_has_started_us() {
    let mut session = Berth::run("fixture").client("it-where").start();
    session.initialize();
    session.container();
    let here = std::env::current_dir().unwrap();
    let row = rows("it-where").remove(0);
    assert_eq!((&row["client_session"], &row["project"]), (&json!(""), &json!(here)));
}

#[test]
fn a_container_that_was_on_standby_tells_whose_it_is_by_now() {
    for (server, client) in [("ready", "it-whose-ready"), ("ahead", "it-whose-ahead")] {
        let _tidy = Tidy(client);
        let first = claude(server, client, "first", "/a");
        standbys(client, 1);
        let second = claude(server, client, "second", "/b é");
        let rows = rows(client);
        let of = |id: &str| {
            rows.iter().find(|row| row["client_session"] == id).unwrap_or_else(|| panic!("{rows:?}"))
        };
        assert_eq!(of("first")["project"], "/a");
        let claimed = of("second");
        assert_eq!((claimed["state"].as_str(), claimed["project"].as_str()), (Some("active"), Some("/b é")));
        assert_eq!(claimed["session"].as_str().map(str::len), Some(12));
        let label = "{{index .Config.Labels \"io.mcp-berth.session\"}}";
        let labelled = docker_says(&["inspect", "--format", label, claimed["name"].as_str().unwrap()]);
        assert_eq!(labelled, "", "it was made for nobody");
        drop((first, second));
    }
}

#[test]
fn codex_says_who_it_is_with_its_first_call_and_the_next_server_knows() {
    let mut session = Berth::run("durable").client("it-late").start();
    session.request(
        "initialize",
        json!({ "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": { "name": "codex-mcp-client", "version": "1" } }),
    );
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let container = session.container();
    assert_eq!(rows("it-late")[0]["client_session"], "");
    let meta =
        json!({ "x-codex-turn-metadata": { "turn_id": "t", "session_id": "0199-codex", "thread_id": "u" } });
    let params = json!({ "name": "echo", "arguments": { "text": "x" }, "_meta": meta });
    assert!(session.request("tools/call", params).get("result").is_some());
    let known = || {
        eventually("Codex's session", PATIENCE, || {
            rows("it-late").into_iter().find(|row| row["client_session"] == "0199-codex")
        })
    };
    assert_eq!(known()["name"], container.as_str());
    docker_says(&["rm", "-f", &container]);
    session.expect_stderr("a new server");
    assert_eq!(session.call_text("echo", json!({ "text": "on" })), "on");
    // It gets its number beside the calls.
    eventually("the new container's number", PATIENCE, || (known()["state"] == "active").then_some(()));
}

#[test]
fn a_clients_sessions_are_found_and_ended_by_its_own_id() {
    let mine = [0, 1].map(|_| claude("fixture", "it-by-id", "0199-by-id", "/a"));
    let mut other = claude("fixture", "it-by-id", "0199-other", "/a");
    eventually("three containers", PATIENCE, || {
        let names = crate::harness::containers_of("it-by-id");
        (names.iter().filter(|name| !name.ends_with(".starting")).count() == 3).then_some(())
    });
    let (code, out, _) = berth_says(&["ps", "--json", "--client-session", "0199-by-id"]);
    let found: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!((code, found.len()), (Some(0), 2), "{out}");
    let (code, out, err) = berth_says(&["kill", "0199-by-id"]);
    assert_eq!((code, out.as_str()), (Some(64), ""), "nobody can be asked");
    assert_eq!(err.lines().filter(|line| line.starts_with("mcp-it-by-id-")).count(), 2, "{err}");
    assert!(err.contains("`0199-by-id` means 2 sessions") && err.contains("`berth kill --yes"), "{err}");
    let (code, out, err) = berth_says(&["kill", "--yes", "0199-by-id"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out.lines().filter(|line| line.starts_with("ended mcp-it-by-id-")).count(), 2, "{out}");
    assert!(out.ends_with("2 sessions of `0199-by-id` ended"), "{out}");
    eventually("the end of two of three", PATIENCE, || {
        (crate::harness::containers_of("it-by-id").len() == 1).then_some(())
    });
    drop(mine);
    assert_eq!(other.call_text("echo", json!({ "text": "untouched" })), "untouched");
    let (_, out, _) = berth_says(&["ps", "--json", "--client-session", "0199-by-id"]);
    assert_eq!(out, "[]");
}

#[test]
fn what_a_client_says_is_shown_without_harm() {
    daemon();
    let session = claude("fixture", "it-harm", "a\u{1b}[2J b", "/x\u{1b}[2Jy\n");
    session.container();
    let row = rows("it-harm").remove(0);
    assert_eq!((&row["client_session"], &row["project"]), (&json!("a__2J_b"), &json!("/x?[2Jy?")));
    let (_, out, _) = berth_says(&["ps", "--json", "--client-session", "a\u{1b}[2J b"]);
    assert!(out.contains("mcp-it-harm-1"), "{out}");
    drop(session);
    expect_gone("it-harm");
}
