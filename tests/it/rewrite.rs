//! The changes that berth makes in messages, where the configuration asks for them: forbidden tools, and the names of
//! the client's folders.

use serde_json::{Value, json};

use crate::harness::{Berth, PATIENCE, Session, docker_says, eventually, shared};

/// A session that may not call `tally`, though it starts with a letter that is allowed.
fn choosy(client: &str) -> Session {
    let lists = ["--tool", "t*", "--tool", "marker", "--tool", "echo", "--deny-tool", "tall?"];
    let mut session = Berth::run("durable").client(client).args(lists).start();
    session.initialize();
    session
}

fn names(list: &Value) -> Vec<&str> {
    list["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

fn call(id: &str, tool: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool, "arguments": arguments } })
}

/// The error of a call that was refused.
fn refused(answer: &Value) -> &str {
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    answer["error"]["message"].as_str().unwrap()
}

#[test]
fn a_client_sees_the_tools_that_it_may_call_and_each_as_the_server_describes_it() {
    let mut all = Berth::run("fixture").client("it-tools-all").start();
    all.initialize();
    let all = all.request("tools/list", json!({}));
    let mut session = choosy("it-tools-list");
    let some = session.request("tools/list", json!({}));
    assert_eq!(names(&some), ["echo", "marker", "tallied", "twice", "threads"]);
    let descriptions = |list: &Value| list["result"]["tools"].as_array().unwrap().clone();
    for tool in descriptions(&some) {
        assert!(descriptions(&all).contains(&tool), "{tool}");
    }
}

#[test]
fn a_forbidden_call_is_answered_and_never_executed() {
    let mut session = choosy("it-tools-call");
    let answer = session.request("tools/call", json!({ "name": "tally", "arguments": { "token": "a" } }));
    assert_eq!(
        refused(&answer),
        "berth: the tool `tally` of the server `durable` is forbidden by `deny_tools` (\"tall?\") in its configuration"
    );
    let answer = session.request("tools/call", json!({ "name": "write", "arguments": {} }));
    assert!(
        refused(&answer).contains("`write` of the server `durable` is not allowed by `tools`"),
        "{answer}"
    );
    // However it is spelt.
    for line in [
        r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"\u0074ally","arguments":{"token":"b"}}}"#,
        r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"echo","name":"tally","arguments":{"token":"c"}}}"#,
        r#"{"jsonrpc":"2.0","id":"x","method":"ping","method":"tools/call","params":{"name":"tally","arguments":{"token":"d"}}}"#,
    ] {
        session.send_raw(format!("{line}\n").as_bytes());
        let answer = session.answer("x");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("berth: "), "{answer}");
    }
    session.send_raw(
        b"{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{\"name\":\"tally\",\"arguments\":{\"token\":\"e\"}}}\n",
    );
    let tallied = session.call_text("tallied", json!({}));
    assert_eq!(serde_json::from_str::<Value>(&tallied).unwrap()["times"], json!({}), "{tallied}");
}

#[test]
fn of_a_batch_only_the_forbidden_call_is_refused() {
    let mut session = choosy("it-tools-batch");
    let (echo, tally) =
        (call("e", "echo", json!({ "text": "passes" })), call("t", "tally", json!({ "token": "a" })));
    let list = json!({ "jsonrpc": "2.0", "id": "l", "method": "tools/list" });
    session.send(&json!([tally, echo, list]));
    // In either order.
    let mut messages = [session.message(), session.message()];
    messages.sort_by_key(Value::is_array);
    let [refusal, answers] = messages;
    assert_eq!(refusal["id"], "t", "{refusal}");
    refused(&refusal);
    assert_eq!(answers[0]["result"]["content"][0]["text"], "passes");
    assert_eq!(names(&answers[1]), ["echo", "marker", "tallied", "twice", "threads"]);
    assert_eq!(answers.as_array().unwrap().len(), 2);
}

#[test]
fn the_lists_hold_for_the_next_server_too() {
    let mut session = choosy("it-tools-again");
    assert_eq!(session.call_text("marker", json!({ "set": "first" })), "first");
    docker_says(&["rm", "-f", &session.container()]);
    eventually("another server", PATIENCE, || {
        let answer = session.request("tools/call", json!({ "name": "marker", "arguments": {} }));
        (answer.get("result")?["content"][0]["text"] != "first").then_some(())
    });
    refused(&session.request("tools/call", json!({ "name": "tally", "arguments": { "token": "a" } })));
    let list = session.request("tools/list", json!({}));
    assert_eq!(names(&list), ["echo", "marker", "tallied", "twice", "threads"]);
}

#[test]
fn in_the_newer_era_it_is_the_same() {
    let mut session = Berth::run("time").client("it-tools-era").args(["--tool", "convert_*"]).start();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
    });
    let list = session.request("tools/list", json!({ "_meta": meta }));
    assert_eq!(names(&list), ["convert_time"]);
    assert_eq!(list["result"]["resultType"], "complete", "{list}");
    let params = json!({ "name": "get_current_time", "arguments": { "timezone": "UTC" }, "_meta": meta });
    refused(&session.request("tools/call", params));
}

/// Has the server ask for the roots, answers, and gives what the server says that it has heard.
pub(crate) fn roots_heard(session: &mut Session, roots: &Value) -> Value {
    session.send(&call("r", "ask", json!({ "method": "roots/list" })));
    let asked = session.expect(|message| message["method"] == "roots/list");
    session.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "roots": roots } }));
    let answer = session.answer("r");
    let text =
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_server_hears_of_roots_by_the_names_that_they_have_in_its_container() {
    let folder = shared("roots é");
    std::fs::create_dir_all(folder.join("inner folder")).unwrap();
    std::fs::write(folder.join("inner folder/note"), "found").unwrap();
    let uri = format!("file://{}/inner%20folder", folder.display());
    let link = shared("roots-link").join("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let roots = json!([
        { "uri": uri, "name": "mine" },
        { "uri": "file:///etc" },
        { "uri": format!("file://{}", link.display()) },
    ]);
    let mount = format!("{}:/workspace", folder.display());
    let berth = Berth::run("fixture").client("it-roots").args(["--mount", &mount]);
    let mut session = berth.env("CLAUDE_PROJECT_DIR", link.to_str().unwrap()).start();
    session.initialize();
    let heard = roots_heard(&mut session, &roots).to_string();
    assert!(heard.contains(r#""file:///workspace/inner%20folder""#) && heard.contains("mine"), "{heard}");
    assert!(heard.contains(r#""file:///workspace""#) && !heard.contains("/etc"), "{heard}");
    assert_eq!(session.call_text("read", json!({ "path": "/workspace/inner folder/note" })), "found");

    let mut session = Berth::run("fixture").client("it-roots-none").start();
    session.initialize();
    let heard = roots_heard(&mut session, &roots).to_string();
    assert!(
        heard.contains(&uri) && heard.contains("/etc"),
        "without mounts they are the client's own: {heard}"
    );
}

#[test]
fn in_the_newer_era_the_roots_come_with_the_call_that_is_made_again() {
    let folder = shared("roots-era");
    let mount = format!("{}:/workspace", folder.display());
    let mut session = Berth::run("fixture").client("it-roots-era").args(["--mount", &mount]).start();
    let uri = format!("file://{}/a", folder.display());
    let mut params = json!({
        "name": "ask",
        "arguments": { "method": "roots/list", "note": uri },
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "roots": {} },
            "io.modelcontextprotocol/clientInfo": { "name": "it", "version": "1" },
        },
    });
    let first = session.request("tools/call", params.clone());
    assert_eq!(first["result"]["resultType"], "input_required", "{first}");
    assert_eq!(first["result"]["inputRequests"]["asked"]["method"], "roots/list", "{first}");
    params["inputResponses"] = json!({ "asked": { "roots": [{ "uri": uri }] } });
    let second = session.request("tools/call", params).to_string();
    assert!(second.contains("file:///workspace/a") && !second.contains(&uri), "{second}");
}
