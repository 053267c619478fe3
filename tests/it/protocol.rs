//! Both eras of MCP, and everything that a session must let pass.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use futures::StreamExt;
use mcp_berth::dock::dial::Endpoint;
use mcp_berth::dock::exec;
use mcp_berth::dock::place::Place;
use mcp_berth::dock::wire::Wire;
use serde_json::{Value, json};

use crate::harness::{Berth, Session, containers_of, eventually, expect_gone};

fn discover(session: &mut Session) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "claude-code", "version": "2" },
    });
    session.send(&json!({
        "jsonrpc": "2.0", "id": "server-discover-probe-1", "method": "server/discover", "params": { "_meta": meta },
    }));
    session.answer("server-discover-probe-1")
}

#[test]
fn initialize_first_works() {
    let mut session = Berth::run("everything").client("it-initialize").start();
    let answer = session.initialize();
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    let text = session.call_text("echo", json!({ "message": "hello" }));
    assert_eq!(text, "Echo: hello");
}

#[test]
fn discover_first_works_and_falls_back_to_initialize_with_an_older_server() {
    let mut session = Berth::run("everything").client("it-discover").start();
    assert_eq!(discover(&mut session)["error"]["code"], -32601, "the server's own answer");
    session.initialize();

    let mut session = Berth::run("fixture").client("it-discover-new").start();
    let answer = discover(&mut session);
    assert!(answer["result"].to_string().contains("2026-07-28"), "{answer}");
}

#[test]
fn the_first_message_says_who_the_client_is() {
    let mut session = Berth::run("fixture").start();
    session.send(&json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {},
                    "clientInfo": { "name": "It's Me, a Client", "version": "1" } },
    }));
    session.answer(0);
    let name = eventually("a named container", Duration::from_secs(10), || {
        containers_of("it-s-me-a-client").into_iter().find(|name| !name.ends_with(".starting"))
    });
    assert_eq!(name, "mcp-it-s-me-a-client-1");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    expect_gone("it-s-me-a-client");
}

#[test]
fn the_environment_says_claude_code_before_any_message() {
    let session =
        Berth::run("fixture").env("CLAUDECODE", "1").env("CLAUDE_CODE_SESSION_ID", "0123-it").start();
    let name = eventually("claude-code's container", Duration::from_secs(10), || {
        let filter = "label=io.mcp-berth.client-session=0123-it";
        let name = crate::harness::docker_says(&["ps", "--filter", filter, "--format", "{{.Names}}"]);
        (!name.is_empty()).then_some(name)
    });
    assert!(name.starts_with("mcp-claude-code-"), "{name}");
    drop(session);
}

#[test]
fn requests_from_the_server_reach_the_client_and_their_answers_come_back() {
    let mut session = Berth::run("fixture").client("it-ask").start();
    session.initialize();
    for (method, result) in [
        ("roots/list", json!({ "roots": [{ "uri": "file:///somewhere" }] })),
        (
            "sampling/createMessage",
            json!({ "role": "assistant", "content": { "type": "text", "text": "4" }, "model": "m" }),
        ),
        ("elicitation/create", json!({ "action": "decline" })),
    ] {
        let arguments = json!({ "method": method, "params": {} });
        session.send(&json!({
            "jsonrpc": "2.0", "id": method, "method": "tools/call", "params": { "name": "ask", "arguments": arguments },
        }));
        let asked = session.expect(|message| message["method"] == method);
        session.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }));
        let answer = session.answer(method).to_string();
        let proof = if method == "roots/list" {
            "file:///somewhere"
        } else {
            result.as_object().unwrap().keys().next().unwrap()
        };
        assert!(answer.contains(proof), "{method}: {answer}");
    }
}

#[test]
fn notifications_progress_and_cancellation_pass() {
    let mut session = Berth::run("fixture").client("it-notify").start();
    session.initialize();
    session.call("notify", json!({ "method": "notifications/tools/list_changed", "params": {} }));
    session.send(&json!({
        "jsonrpc": "2.0", "id": "n", "method": "tools/call",
        "params": { "name": "notify", "arguments": { "method": "notifications/tools/list_changed", "params": {} } },
    }));
    session.expect(|message| message["method"] == "notifications/tools/list_changed");

    // The server's own cancellation, of what it asked the client.
    let cancelled = json!({ "requestId": "fixture-1", "reason": "no longer needed" });
    session.send(&json!({
        "jsonrpc": "2.0", "id": "c", "method": "tools/call",
        "params": { "name": "notify", "arguments": { "method": "notifications/cancelled", "params": cancelled } },
    }));
    let heard = session.expect(|message| message["method"] == "notifications/cancelled");
    assert_eq!(heard["params"], cancelled);

    session.send(&json!({
        "jsonrpc": "2.0", "id": "slow", "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 60_000 }, "_meta": { "progressToken": "p" } },
    }));
    let progress = session.expect(|message| message["method"] == "notifications/progress");
    assert_eq!(progress["params"]["progressToken"], "p");
    session.send(&json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "slow" },
    }));
    // The server heard of it before the call that follows, and of nothing else.
    let cancelled = session.call("cancelled", json!({}))["structuredContent"].take();
    assert_eq!(cancelled, json!({ "ids": ["slow"] }));
    // A cancelled request is answered by nobody: neither by the server nor, at the end, by berth.
    assert_eq!(session.call_text("echo", json!({ "text": "still here" })), "still here");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    let rest = session.rest();
    assert!(!rest.iter().any(|line| String::from_utf8_lossy(line).contains("\"slow\"")), "{rest:?}");
}

#[test]
fn a_slow_call_does_not_hold_up_a_quick_one() {
    let mut session = Berth::run("fixture").client("it-overtake").start();
    session.initialize();
    session.send(&json!({
        "jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": { "name": "sleep", "arguments": { "ms": 1500 } },
    }));
    session.send(&json!({
        "jsonrpc": "2.0", "id": "quick", "method": "tools/call", "params": { "name": "echo", "arguments": { "text": "q" } },
    }));
    let first = session.expect(|message| message.get("result").is_some());
    assert_eq!(first["id"], "quick");
    session.answer("slow");
}

/// What a server says before it is asked may come together with the daemon's own answer. Here it always does, and
/// nothing comes after it.
#[tokio::test]
async fn what_comes_with_the_daemons_answer_does_not_wait_for_what_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.sock");
    let daemon = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let mut connection = daemon.accept().unwrap().0;
        let mut answers = [
            &b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{\"Id\":\"e\"}"[..],
            b"HTTP/1.1 101 UPGRADED\r\n\r\n\x01\0\0\0\0\0\0\x06first\n",
        ]
        .into_iter();
        let mut asked = [0; 4096];
        while connection.read(&mut asked).unwrap() > 0 {
            connection.write_all(answers.next().unwrap_or_default()).unwrap();
        }
    });
    let endpoint = Endpoint::parse(&format!("unix://{}", path.display()), None).unwrap();
    let command = exec::Command {
        door: false,
        place: Place::example(),
        argv: vec!["server".to_owned()],
        env: Vec::new(),
        session: "s".to_owned(),
        options: Vec::new(),
    };
    let wire = Wire::connect(&endpoint).await.unwrap();
    let mut started = exec::start(wire, "container", &command).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(2), started.output.next()).await;
    let first = first.expect("it is there already").unwrap().unwrap();
    assert_eq!(first, exec::Chunk::Stdout("first\n".into()));
}

#[test]
fn a_python_server_works_too() {
    let mut session = Berth::run("time").client("it-time").start();
    session.initialize();
    let text = session.call_text("get_current_time", json!({ "timezone": "UTC" }));
    assert!(text.contains("UTC"), "{text}");
}
