//! Many sessions at once: each has its own container, and no message ever crosses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Berth, GONE_WITHIN, Session, at_once, docker_says, eventually, expect_gone, inspect};

#[test]
fn no_message_of_thirty_two_sessions_crosses() {
    const SESSIONS: usize = 32;
    const CALLS: usize = 20;
    let runs = (0..SESSIONS).map(|_| Berth::run("fixture").client("it-many")).collect();
    let mut sessions = at_once(runs, |n, run: Berth| {
        let mut session = run.start();
        session.initialize();
        session.call("marker", json!({ "set": format!("marker {n}") }));
        session
    });
    let names = eventually("a number for each", std::time::Duration::from_secs(20), || {
        let names: BTreeSet<String> = sessions[0].containers().into_iter().collect();
        let numbered = (1..=SESSIONS).all(|n| names.contains(&format!("mcp-it-many-{n}")));
        numbered.then_some(names)
    });
    assert_eq!(names.len(), SESSIONS);

    // All of them use the same ids at the same time; what comes back has to be told apart by what it says.
    at_once(sessions.iter_mut().collect(), |n, session: &mut Session| {
        for call in 0..CALLS {
            let text = format!("session {n}, call {call}");
            session.send(&json!({
                "jsonrpc": "2.0", "id": call, "method": "tools/call",
                "params": { "name": "echo", "arguments": { "text": text } },
            }));
        }
        session.send(&json!({
            "jsonrpc": "2.0", "id": CALLS, "method": "tools/call", "params": { "name": "marker", "arguments": {} },
        }));
        let mut answers = BTreeMap::new();
        for _ in 0..=CALLS {
            let answer = session.message();
            let id = answer["id"].as_u64().unwrap_or_else(|| panic!("session {n}: {answer}"));
            let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
            assert!(
                answers.insert(usize::try_from(id).unwrap(), text).is_none(),
                "session {n}: twice {answer}"
            );
        }
        assert_eq!(answers.remove(&CALLS).unwrap(), format!("marker {n}"));
        for (call, text) in answers {
            assert_eq!(text, format!("session {n}, call {call}"));
        }
    });
    at_once(sessions, |n, mut session: Session| {
        session.close();
        assert_eq!(session.exit_code(), Some(0), "session {n}: {}", session.stderr());
        assert_eq!(session.rest(), Vec::<Vec<u8>>::new(), "session {n} got more than it asked for");
    });
    expect_gone("it-many");
}

/// The name that berth says it took, and what the daemon has under it.
fn named(session: &Session) -> (String, Value) {
    let name = eventually("a name", std::time::Duration::from_secs(10), || {
        let said = session.stderr();
        let line = said.lines().find(|line| line.contains("take a name"))?;
        line.split_whitespace().last().map(str::to_owned)
    });
    let container = inspect(&name);
    (name, container)
}

#[test]
fn four_clients_work_in_four_containers_at_once() {
    // As both clients introduce themselves: one by its environment, one by its first message.
    let clients = ["claude-code", "claude-code", "codex", "codex"];
    let sessions = at_once(clients.to_vec(), |n, client| {
        let run = Berth::run("everything").args(["--trace"]);
        let run = match client {
            "claude-code" => {
                run.env("CLAUDECODE", "1").env("CLAUDE_CODE_SESSION_ID", &format!("it-four-{n}"))
            }
            _ => run,
        };
        let mut session = run.start();
        let name = if client == "codex" { "codex-mcp-client" } else { client };
        let answer = session.request(
            "initialize",
            json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": name, "version": "1" } }),
        );
        assert_eq!(answer["result"]["serverInfo"]["name"], "mcp-servers/everything", "{answer}");
        session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        (client, session)
    });
    let mut right = 0;
    let mut seen = at_once(sessions, |n, (client, mut session)| {
        let said = format!("said by {n}");
        let sum = session.call_text("get-sum", json!({ "a": 1000, "b": n }));
        let tools = session.request("tools/list", json!({}));
        let resources = session.request("resources/list", json!({}));
        let operations = [
            session.call_text("echo", json!({ "message": said })) == format!("Echo: {said}"),
            sum.contains(&format!("{}", 1000 + n)),
            tools["result"]["tools"]
                .as_array()
                .is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "echo")),
            resources["result"]["resources"].as_array().is_some_and(|resources| !resources.is_empty()),
        ];
        // The fifth: the server says in which container it is.
        let env: Value = serde_json::from_str(&session.call_text("get-env", json!({}))).unwrap();
        let hostname = env["HOSTNAME"].as_str().unwrap().to_owned();
        let (name, container) = named(&session);
        let is_there = container["Config"]["Hostname"] == hostname;
        (
            n,
            client,
            session,
            name,
            container,
            operations.into_iter().chain([is_there]).filter(|right| *right).count(),
        )
    });
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut session_ids = BTreeSet::new();
    for (n, client, _, name, container, done) in &seen {
        right += done;
        let number =
            name.strip_prefix(&format!("mcp-{client}-")).unwrap_or_else(|| panic!("{client}: {name}"));
        number.parse::<u32>().unwrap();
        let labels = &container["Config"]["Labels"];
        let label = |key: &str| labels[format!("io.mcp-berth.{key}")].as_str().map(str::to_owned);
        assert_eq!(label("managed-by").as_deref(), Some("berth"), "{labels}");
        assert_eq!(label("client").as_deref(), Some(*client), "{labels}");
        assert_eq!(label("server").as_deref(), Some("everything"), "{labels}");
        assert_eq!(label("version").as_deref(), Some(env!("CARGO_PKG_VERSION")), "{labels}");
        assert!(label("spec").is_some() && label("created").is_some(), "{labels}");
        let own = if *client == "claude-code" { format!("it-four-{n}") } else { String::new() };
        assert_eq!(label("client-session"), Some(own), "{labels}");
        names.insert(name.clone());
        ids.insert(container["Id"].as_str().unwrap().to_owned());
        session_ids.insert(label("session").unwrap());
    }
    assert_eq!((names.len(), ids.len(), session_ids.len()), (4, 4, 4), "{names:?}");
    assert_eq!(right, 20, "operations of 20");
    for (_, _, session, ..) in &mut seen {
        session.close();
        assert_eq!(session.exit_code(), Some(0));
    }
    eventually("the end of the four containers", GONE_WITHIN, || {
        let left = docker_says(&["ps", "-aq", "--no-trunc"]);
        ids.iter().all(|id| !left.contains(id)).then_some(())
    });
}

#[test]
fn a_session_lives_as_long_as_its_client() {
    // Longer than a keeper waits for its owner.
    let mut session = Berth::run("fixture").client("it-long").start();
    session.initialize();
    let text = session.call_text("sleep", json!({ "ms": 6000 }));
    assert_eq!(text, "slept 6000 ms");
    assert_eq!(session.call_text("echo", json!({ "text": "still here" })), "still here");
}
