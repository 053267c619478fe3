//! A server that is lost in the middle of a session is replaced, and the client goes on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Berth, Session, docker_says, eventually, expect_gone};
use crate::standby::Tidy;

/// A session that has a handshake behind it, with what the server would otherwise forget.
fn begun(server: &str, client: &str) -> Session {
    let mut session = Berth::run(server).client(client).start();
    session.initialize();
    assert_eq!(session.request("logging/setLevel", json!({ "level": "warning" }))["result"], json!({}));
    assert_eq!(
        session.request("resources/subscribe", json!({ "uri": "fixture://marker" }))["result"],
        json!({})
    );
    assert_eq!(session.call_text("marker", json!({ "set": "first" })), "first");
    session
}

/// The session works, and it is another server that answers.
fn expect_replaced(session: &mut Session) {
    // What is asked before the loss is noticed is lost with the server.
    let answer = eventually("a server that answers", Duration::from_mins(1), || {
        let answer = session.request("tools/call", json!({ "name": "marker", "arguments": {} }));
        answer.get("result").cloned()
    });
    assert_ne!(answer["content"][0]["text"], "first", "the process is a new one");
    session.expect_stderr("a new server");
}

/// Asks for something that takes longer than the server will live.
fn ask_for_ever(session: &mut Session, id: &str) {
    let params = json!({ "name": "sleep", "arguments": { "ms": 600_000 } });
    session.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
}

#[test]
fn a_removed_container_is_replaced_and_what_was_in_flight_is_answered() {
    let mut session = begun("durable", "it-replaced");
    let before = session.container();
    ask_for_ever(&mut session, "doomed");
    assert_eq!(session.call_text("echo", json!({ "text": "on" })), "on", "it has arrived");
    docker_says(&["rm", "-f", &before]);
    let answer = session.answer("doomed");
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    let message = answer["error"]["message"].as_str().expect("a text");
    assert!(message.contains("is gone") && message.contains("try again"), "{message}");
    expect_replaced(&mut session);
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    expect_gone("it-replaced");
}

#[test]
fn the_client_hears_that_its_lists_may_have_changed() {
    let mut session = begun("durable", "it-lists");
    docker_says(&["rm", "-f", &session.container()]);
    for list in ["tools", "resources"] {
        let method = format!("notifications/{list}/list_changed");
        session.expect(|message| message["method"] == *method);
    }
    // The fixture sends the update to subscribers alone, and the subscription was repeated.
    let params = json!({ "name": "marker", "arguments": { "set": "second" } });
    session.send(&json!({ "jsonrpc": "2.0", "id": "set", "method": "tools/call", "params": params }));
    session.expect(|message| message["method"] == "notifications/resources/updated");
}

#[test]
fn nothing_of_the_repeated_handshake_reaches_the_client() {
    let mut session = begun("durable", "it-handshake");
    docker_says(&["rm", "-f", &session.container()]);
    session.expect_stderr("a new server");
    let mut seen: Vec<Value> = Vec::new();
    // What the new server has to say of the handshake stands before its answer to this.
    session.send(&json!({ "jsonrpc": "2.0", "id": "after", "method": "ping" }));
    loop {
        let message = session.message();
        if message["id"] == "after" {
            assert_eq!(message["result"], json!({}), "the new server's");
            break;
        }
        seen.push(message);
    }
    let methods: Vec<&str> = seen.iter().filter_map(|message| message["method"].as_str()).collect();
    assert!(methods.contains(&"notifications/tools/list_changed"), "the handshake was repeated: {seen:?}");
    assert_eq!(methods.len(), seen.len(), "no answer: {seen:?}");
    assert!(seen.iter().all(|message| message.get("id").is_none()), "{seen:?}");
}

#[test]
fn a_server_that_crashes_is_replaced_until_that_is_no_use() {
    let mut session = begun("durable", "it-crashes");
    for _ in 0..5 {
        let answer = session.request("tools/call", json!({ "name": "crash", "arguments": { "code": 7 } }));
        let message = answer["error"]["message"].as_str().expect("a text");
        assert!(message.contains("exited with code 7") && message.contains("try again"), "{message}");
        expect_replaced(&mut session);
    }
    let answer = session.request("tools/call", json!({ "name": "crash", "arguments": { "code": 7 } }));
    let message = answer["error"]["message"].as_str().expect("a text");
    assert!(message.contains("exited with code 7") && !message.contains("try again"), "{message}");
    assert_eq!(session.exit_code(), Some(7));
    expect_gone("it-crashes");
}

#[test]
fn a_server_killed_for_its_memory_is_named_so_and_the_next_call_works() {
    for (server, client) in [("durable-limited", "it-hungry"), ("durable-ahead-limited", "it-hungry-ahead")] {
        let mut session = begun(server, client);
        let answer =
            session.request("tools/call", json!({ "name": "eat", "arguments": { "bytes": 200_000_000 } }));
        let message = answer["error"]["message"].as_str().expect("a text");
        assert!(message.contains("memory limit of 64 MiB"), "{message}");
        expect_replaced(&mut session);
    }
}

#[test]
fn a_prestarted_server_is_replaced_too() {
    let _tidy = Tidy("it-durable-ahead");
    drop(begun("durable-ahead", "it-durable-ahead"));
    let mut session = begun("durable-ahead", "it-durable-ahead");
    docker_says(&["kill", &session.container()]);
    expect_replaced(&mut session);
}

#[test]
fn what_the_lost_server_had_asked_is_taken_back_and_its_late_answer_goes_nowhere() {
    let mut session = begun("durable", "it-asked");
    let params = json!({ "name": "ask", "arguments": { "method": "roots/list", "id": "theirs" } });
    session.send(&json!({ "jsonrpc": "2.0", "id": "outer", "method": "tools/call", "params": params }));
    session.expect(|message| message["method"] == "roots/list");
    docker_says(&["rm", "-f", &session.container()]);
    let cancelled = session.expect(|message| message["method"] == "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], "theirs");
    assert_eq!(session.answer("outer")["error"]["code"], 69);
    session.send(&json!({ "jsonrpc": "2.0", "id": "theirs", "result": { "roots": [] } }));
    // The new server asks by the same id, and gets its own answer.
    let params = json!({ "name": "ask", "arguments": { "method": "roots/list", "id": "theirs" } });
    session.send(&json!({ "jsonrpc": "2.0", "id": "again", "method": "tools/call", "params": params }));
    session.expect(|message| message["method"] == "roots/list");
    session.send(
        &json!({ "jsonrpc": "2.0", "id": "theirs", "result": { "roots": [{ "uri": "file:///new" }] } }),
    );
    let answer = session.answer("again").to_string();
    assert!(answer.contains("file:///new"), "{answer}");
}

#[test]
fn a_listener_of_the_new_era_is_told_that_its_stream_broke_off() {
    let mut session = Berth::run("durable").client("it-listener").start();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "notifications": { "toolsListChanged": true }, "_meta": meta });
    session.send(&json!({ "jsonrpc": "2.0", "id": 41, "method": "subscriptions/listen", "params": params }));
    session.expect(|message| message["method"] == "notifications/subscriptions/acknowledged");
    docker_says(&["rm", "-f", &session.container()]);
    let answer = session.answer(41);
    // A result would say that it has ended in order.
    assert!(answer["error"]["message"].as_str().unwrap_or_default().contains("is gone"), "{answer}");
    let listed = session.request("tools/list", json!({ "_meta": meta }));
    assert!(listed["result"]["tools"].is_array(), "{listed}");
}

#[test]
fn a_server_that_never_answers_is_given_up_and_not_tried_again() {
    let mut session = Berth::run("mute").client("it-mute").start();
    let answer = session.request("initialize", json!({}));
    let message = answer["error"]["message"].as_str().expect("a text");
    assert!(message.contains("has not answered anything within 2s"), "{message}");
    assert_eq!(session.exit_code(), Some(69));
    expect_gone("it-mute");
}

#[test]
fn a_client_that_leaves_while_a_server_is_being_replaced_leaves_nothing() {
    let mut session = begun("durable", "it-leaver");
    docker_says(&["rm", "-f", &session.container()]);
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    expect_gone("it-leaver");
}

#[test]
fn a_call_that_takes_too_long_is_answered_and_cancelled_and_the_session_goes_on() {
    let mut session = Berth::run("hasty").client("it-hasty").start();
    session.initialize();
    ask_for_ever(&mut session, "slow");
    let answer = session.answer("slow");
    let message = answer["error"]["message"].as_str().expect("a text");
    assert!(message.contains("within 1s") && message.contains("`call_timeout`"), "{message}");
    let cancelled = session.call_text("cancelled", json!({}));
    assert!(cancelled.contains("slow"), "{cancelled}");
    assert_eq!(session.call_text("echo", json!({ "text": "on" })), "on");
}
