//! Several servers in one session: a container for each that is called, and none for the others.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Berth, Session, containers_of, docker_says, eventually, expect_gone, home};

const SERVER: &str = "io.mcp-berth.server";

fn names(session: &mut Session, list: &str) -> Vec<String> {
    let kind = if list == "resources/list" {
        ("resources", "uri")
    } else {
        (list.split('/').next().unwrap(), "name")
    };
    let answer = session.request(list, json!({}));
    let items = answer["result"][kind.0].as_array().unwrap_or_else(|| panic!("{answer}"));
    items.iter().map(|item| item[kind.1].as_str().unwrap().to_owned()).collect()
}

/// Of each of the client's containers its id and its server, in one look: names change.
fn rows_of(client: &str) -> Vec<(String, String)> {
    let filter = format!("label=io.mcp-berth.client={client}");
    let format = format!("{{{{.ID}}}} {{{{.Label \"{SERVER}\"}}}} {{{{.Names}}}}");
    let said = docker_says(&["ps", "--filter", &filter, "--format", &format]);
    let row = |line: &str| {
        let [id, server, name] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (!name.ends_with(".standby")).then(|| (id.to_owned(), server.to_owned()))
    };
    said.lines().filter_map(row).collect()
}

/// The client's containers, by their servers.
fn servers_of(client: &str) -> Vec<String> {
    let mut servers: Vec<String> = rows_of(client).into_iter().map(|(_, server)| server).collect();
    servers.sort_unstable();
    servers
}

fn container_of(client: &str, server: &str) -> String {
    eventually("the server's container", Duration::from_secs(10), || {
        rows_of(client).into_iter().find_map(|(id, of)| (of == server).then_some(id))
    })
}

/// A session before this one has told the catalogue what these servers have.
fn known(client: &str, args: &[&str]) {
    let mut session = Berth::several(args).client(client).started();
    for list in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        session.request(list, json!({}));
    }
    // It is kept behind the answers.
    std::thread::sleep(Duration::from_millis(300));
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn each_server_has_its_own_container_and_its_tools_their_full_names() {
    let client = "it-several";
    let mut session = Berth::several(&["--profile", "mixed"]).client(client).started();
    let tools = names(&mut session, "tools/list");
    for tool in ["everything__echo", "time__get_current_time", "first__echo"] {
        assert!(tools.iter().any(|name| name == tool), "{tool} in {tools:?}");
    }
    let first = |server: &str| tools.iter().position(|name| name.starts_with(server)).unwrap();
    assert!(first("everything__") < first("time__") && first("time__") < first("first__"), "{tools:?}");
    assert_eq!(session.call_text("first__echo", json!({ "text": "one" })), "one");
    assert!(session.call_text("everything__echo", json!({ "message": "two" })).contains("two"));
    let now = session.call_text("get_current_time", json!({ "timezone": "UTC" }));
    assert!(now.contains("UTC"), "by its own name, for it is the only one: {now}");
    assert_eq!(servers_of(client), ["everything", "first", "time"]);
    let prompts = names(&mut session, "prompts/list");
    let prompt = prompts.iter().find(|name| name.starts_with("everything__")).expect("a prompt").clone();
    let uris = names(&mut session, "resources/list");
    assert!(uris.iter().any(|uri| uri == "fixture://marker"), "{uris:?}");
    let read = session.request("resources/read", json!({ "uri": "fixture://marker" }));
    assert_eq!(read["result"]["contents"][0]["uri"], "fixture://marker", "{read}");
    let got = session.request("prompts/get", json!({ "name": prompt, "arguments": { "city": "x" } }));
    assert!(got.get("result").is_some() || got["error"]["code"] == -32602, "{got}");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn what_nobody_calls_is_not_started() {
    let client = "it-several-lazy";
    known(client, &["--profile", "pair"]);
    let mut session = Berth::several(&["--profile", "pair"]).client(client).started();
    let tools = names(&mut session, "tools/list");
    assert!(tools.iter().any(|name| name == "second__echo"), "{tools:?}");
    assert!(!tools.iter().any(|name| name == "second__stderr"), "the profile denies it");
    assert_eq!(containers_of(client), [""; 0]);
    assert_eq!(session.call_text("second__marker", json!({ "set": "b" })), "b");
    assert_eq!(servers_of(client), ["second"]);
    let denied = session.request("tools/call", json!({ "name": "second__stderr", "arguments": {} }));
    assert_eq!(denied["error"]["code"], -32602, "{denied}");
    let both = session.request("tools/call", json!({ "name": "echo", "arguments": { "text": "x" } }));
    assert!(both["error"]["message"].as_str().unwrap().contains("`first__echo`, `second__echo`"), "{both}");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn a_single_server_may_be_lazy_and_keeps_its_names() {
    let client = "it-single-lazy";
    known(client, &["lazy"]);
    let mut session = Berth::run("lazy").client(client).started();
    assert!(names(&mut session, "tools/list").iter().any(|name| name == "echo"));
    assert_eq!(containers_of(client), [""; 0]);
    assert_eq!(session.call_text("echo", json!({ "text": "x" })), "x");
    assert_eq!(servers_of(client), ["lazy"]);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn one_servers_death_is_its_own() {
    let client = "it-several-death";
    let mut session = Berth::several(&["first", "second"]).client(client).started();
    assert_eq!(session.call_text("first__marker", json!({ "set": "a" })), "a");
    assert_eq!(session.call_text("second__marker", json!({ "set": "b" })), "b");
    let sleep = json!({ "name": "second__sleep", "arguments": { "ms": 600_000 } });
    session.send(&json!({ "jsonrpc": "2.0", "id": "doomed", "method": "tools/call", "params": sleep }));
    assert_eq!(session.call_text("second__echo", json!({ "text": "on" })), "on", "it has arrived");
    docker_says(&["rm", "-f", &container_of(client, "second")]);
    let doomed = session.answer("doomed");
    assert_eq!(doomed["error"]["code"], 69, "{doomed}");
    assert_eq!(session.call_text("first__marker", json!({})), "a", "the same process");
    let replaced = eventually("a server that answers", Duration::from_secs(30), || {
        let answer = session.request("tools/call", json!({ "name": "second__marker", "arguments": {} }));
        answer.get("result").cloned()
    });
    assert_ne!(replaced["content"][0]["text"], "b", "another process");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn servers_ask_the_client_while_another_one_streams() {
    let client = "it-several-ask";
    let mut session = Berth::several(&["first", "second"]).client(client).started();
    names(&mut session, "tools/list");
    let call = |id: &str, name: &str, arguments: Value, token: Value| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": name, "arguments": arguments, "_meta": { "progressToken": token } } })
    };
    session.send(&call("stream", "first__sleep", json!({ "ms": 1500 }), json!("t")));
    let ask = |method: &str| json!({ "method": method, "params": {}, "id": 1 });
    session.send(&call("one", "first__ask", ask("sampling/createMessage"), json!(1)));
    session.send(&call("two", "second__ask", ask("elicitation/create"), json!(2)));
    let (mut asked, mut answered, mut progress) = (Vec::new(), Vec::new(), 0);
    while answered.len() < 3 {
        let message = session.message();
        match message["method"].as_str() {
            Some("notifications/progress") => progress += 1,
            Some(method) if !message["id"].is_null() => {
                asked.push((message["id"].clone(), method.to_owned()));
                let result = json!({ "for": method });
                session.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
            }
            Some(_) => {}
            None => answered.push(message),
        }
    }
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_ne!(asked[0].0, asked[1].0, "each has an id of its own");
    let text = |id: &str| {
        answered.iter().find(|answer| answer["id"] == id).map(ToString::to_string).unwrap_or_default()
    };
    assert!(text("one").contains("sampling/createMessage"), "{answered:?}");
    assert!(text("two").contains("elicitation/create"), "{answered:?}");
    assert!(progress > 0);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

const META: &str = "io.modelcontextprotocol";

/// A request of the era since 2026-07-28.
fn modern(id: &str, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        format!("{META}/protocolVersion"): "2026-07-28",
        format!("{META}/clientCapabilities"): { "sampling": {}, "elicitation": {}, "roots": {} },
        format!("{META}/clientInfo"): { "name": "it", "version": "1" },
        "progressToken": id,
    });
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

const QUESTIONS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];

#[test]
fn an_old_client_answers_a_new_server_while_an_old_one_streams() {
    let client = "it-several-eras-old";
    let mut session = Berth::several(&["old", "new"]).client(client).started();
    let tools = names(&mut session, "tools/list");
    assert!(["old__ask", "new__ask"].iter().all(|name| tools.iter().any(|tool| tool == name)), "{tools:?}");
    let call = |id: &str, name: &str, arguments: Value| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": name, "arguments": arguments, "_meta": { "progressToken": id } } })
    };
    session.send(&call("stream", "old__sleep", json!({ "ms": 1500 })));
    for method in QUESTIONS {
        session.send(&call(method, "new__ask", json!({ "method": method, "params": { "x": 1 } })));
    }
    let (mut asked, mut answered, mut progress) = (Vec::new(), Vec::new(), 0);
    while answered.len() < 4 {
        let message = session.message();
        match message["method"].as_str() {
            Some("notifications/progress") => progress += 1,
            Some(method) if !message["id"].is_null() => {
                asked.push(method.to_owned());
                let result = json!({ "for": method });
                session.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
            }
            Some(_) => {}
            None => answered.push(message),
        }
    }
    asked.sort_unstable();
    assert_eq!(asked, ["elicitation/create", "roots/list", "sampling/createMessage"]);
    for method in QUESTIONS {
        let answer = answered.iter().find(|answer| answer["id"] == method).unwrap();
        assert_eq!(answer["result"]["structuredContent"]["for"], method, "{answer}");
    }
    assert!(progress > 0);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn a_new_client_comes_again_with_what_an_old_server_asks_while_a_new_one_streams() {
    let client = "it-several-eras-new";
    let mut session = Berth::several(&["old", "new"]).client(client).start();
    session.send(&modern("list", "tools/list", json!({})));
    let tools = session.answer("list")["result"]["tools"].to_string();
    assert!(tools.contains("old__ask") && tools.contains("new__ask"), "{tools}");
    let sleep = json!({ "name": "new__sleep", "arguments": { "ms": 1500 } });
    session.send(&modern("stream", "tools/call", sleep));
    for server in ["old", "new"] {
        for method in QUESTIONS {
            let mut params = json!({ "name": format!("{server}__ask"), "arguments": { "method": method, "params": { "x": 1 } } });
            let id = format!("{server} {method}");
            session.send(&modern(&id, "tools/call", params.clone()));
            let needs = session.answer(id.as_str())["result"].take();
            assert_eq!(needs["resultType"], "input_required", "{needs}");
            let (key, question) = needs["inputRequests"].as_object().unwrap().iter().next().unwrap();
            assert_eq!(question["method"], method);
            params["inputResponses"][key] = json!({ "for": method });
            params["requestState"] = needs["requestState"].clone();
            session.send(&modern(&format!("{id} again"), "tools/call", params));
            let done = session.answer(format!("{id} again"))["result"].take();
            assert_eq!(done["structuredContent"]["for"], method, "{done}");
            assert_eq!(done["resultType"], "complete");
        }
    }
    assert!(session.answer("stream")["result"].to_string().contains("slept"));
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn a_stateless_server_gives_its_container_back_and_comes_again() {
    let client = "it-several-parked";
    let mut session = Berth::several(&["first", "parked"]).client(client).started();
    assert_eq!(session.call_text("first__echo", json!({ "text": "x" })), "x", "known or not, it runs now");
    assert_eq!(session.call_text("parked__echo", json!({ "text": "x" })), "x");
    eventually("the container's end", Duration::from_secs(10), || {
        (servers_of(client) == ["first"]).then_some(())
    });
    assert_eq!(session.call_text("parked__echo", json!({ "text": "again" })), "again");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn a_server_that_does_not_start_costs_the_others_nothing() {
    let client = "it-several-absent";
    let mut session = Berth::several(&["absent", "first"]).client(client).started();
    let tools = names(&mut session, "tools/list");
    assert!(tools.iter().all(|name| name.starts_with("first__")) && !tools.is_empty(), "{tools:?}");
    assert_eq!(session.call_text("first__echo", json!({ "text": "x" })), "x");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn names_that_nobody_has_are_told_with_the_nearest() {
    let mut session = Berth::several(&["first", "secnd"]).client("it-several-unknown").start();
    session.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} }));
    let answer = session.answer(0);
    assert!(answer["error"]["message"].as_str().unwrap().contains("did you mean `second`?"), "{answer}");
    session.close();
    assert_eq!(session.exit_code(), Some(78));
}

#[test]
fn a_kill_leaves_no_container_of_any_server() {
    let client = "it-several-kill";
    let mut session = Berth::several(&["first", "second", "third"]).client(client).started();
    for tool in ["first__echo", "second__echo", "t3__echo"] {
        assert_eq!(session.call_text(tool, json!({ "text": "x" })), "x");
    }
    assert_eq!(servers_of(client).len(), 3);
    session.kill();
    expect_gone(client);
}

#[test]
fn a_session_follows_its_profile_in_the_file() {
    let client = "it-several-living";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("berth.toml");
    let config = std::fs::read_to_string(home().join("berth.toml")).unwrap();
    let write = |servers: &str| {
        // As an editor does: a whole file takes the place of the one before.
        let new = folder.path().join("new");
        std::fs::write(&new, format!("{config}\n[profiles.living]\nservers = [{servers}]\n")).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write("\"first\"");
    let path = file.to_str().unwrap();
    let mut session =
        Berth::several(&["--profile", "living"]).client(client).args(["--config", path]).started();
    assert!(names(&mut session, "tools/list").iter().all(|name| name.starts_with("first__")));
    assert_eq!(session.call_text("first__marker", json!({ "set": "a" })), "a");
    let changed = |message: &Value| message["method"] == "notifications/tools/list_changed";
    write("\"second\", \"first\"");
    session.expect(changed);
    assert!(names(&mut session, "tools/list")[0].starts_with("second__"), "in the file's order");
    assert_eq!(session.call_text("second__echo", json!({ "text": "x" })), "x");
    // A mistake changes nothing.
    write("\"first\", \"nobody\"");
    session.expect_stderr("unknown server `nobody`");
    assert_eq!(session.call_text("second__echo", json!({ "text": "y" })), "y");
    write("\"second\"");
    session.expect(changed);
    eventually("the end of the first server", Duration::from_secs(20), || {
        (servers_of(client) == ["second"]).then_some(())
    });
    let gone = session.request("tools/call", json!({ "name": "first__marker", "arguments": {} }));
    assert!(gone["error"]["message"].as_str().unwrap().contains("no part of this session"), "{gone}");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}
