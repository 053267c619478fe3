//! Calls, and what servers ask and tell meanwhile.

use super::*;

async fn stage_of_two() -> (Stage, Vec<Played>) {
    let servers = vec![Played::new("a", &["x"]), Played::new("b", &["x"])];
    let mut stage = Set::of(servers.clone()).stage();
    stage.begins().await;
    stage.asks(90, "tools/list", json!({})).await;
    (stage, servers)
}

#[tokio::test(start_paused = true)]
async fn two_servers_ask_with_one_id_and_each_gets_its_answer() {
    local(async {
        let (mut stage, _) = stage_of_two().await;
        let ask = |what: &str| json!({ "do": "ask", "method": "sampling/createMessage", "params": { "what": what } });
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a__x", "arguments": ask("A") } })).await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "b__x", "arguments": ask("B") } })).await;
        let questions = [stage.hears().await, stage.hears().await];
        assert_ne!(questions[0]["id"], questions[1]["id"]);
        for question in questions.iter().rev() {
            let result = json!({ "for": question["params"]["what"] });
            stage.says(json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })).await;
        }
        let mut answers = [stage.hears().await, stage.hears().await];
        answers.sort_by_key(|answer| answer["id"].as_u64());
        assert_eq!(answers[0]["result"]["content"][0]["text"], r#"{"for":"A"}"#);
        assert_eq!(answers[1]["result"]["content"][0]["text"], r#"{"for":"B"}"#);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_roots_are_asked_for_once_for_all() {
    local(async {
        let (mut stage, _) = stage_of_two().await;
        let ask = json!({ "do": "ask", "method": "roots/list", "params": {} });
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a__x", "arguments": ask } })).await;
        let question = stage.hears().await;
        assert_eq!(question["method"], "roots/list");
        let roots = json!({ "roots": [{ "uri": "file:///x" }] });
        stage.says(json!({ "jsonrpc": "2.0", "id": question["id"], "result": roots })).await;
        assert_eq!(stage.answer(1).await["result"]["content"][0]["text"], roots.to_string());
        let other = stage.calls(2, "b__x", ask.clone()).await;
        assert_eq!(other["result"]["content"][0]["text"], roots.to_string(), "and the client heard of no second question");
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" })).await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": { "name": "b__x", "arguments": ask } })).await;
        assert_eq!(stage.hears().await["method"], "roots/list");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_servers_death_withdraws_its_questions_and_the_others_live_on() {
    local(async {
        let (mut stage, _) = stage_of_two().await;
        let ask = json!({ "do": "ask", "method": "elicitation/create", "params": {} });
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a__x", "arguments": ask } })).await;
        let question = stage.hears().await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "a__x", "arguments": { "do": "crash" } } })).await;
        assert_eq!(stage.hears().await["error"]["message"], "berth: it crashed");
        let mut rest = [stage.hears().await, stage.hears().await];
        rest.sort_by_key(|message| message["id"].is_null());
        assert_eq!(rest[0]["id"], 1, "{rest:?}");
        assert!(rest[0]["error"]["message"].as_str().unwrap().contains("crashed"));
        assert_eq!(rest[1]["method"], "notifications/cancelled");
        assert_eq!(rest[1]["params"]["requestId"], question["id"]);
        assert_eq!(stage.calls(3, "b__x", json!({})).await["result"]["content"][0]["text"], "b:x");
        let given_up = stage.calls(4, "a__x", json!({})).await;
        assert!(given_up["error"]["message"].as_str().unwrap().contains("crashed"), "{given_up}");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(stage.calls(5, "a__x", json!({})).await["result"]["content"][0]["text"], "a:x", "it is tried again");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_split_and_answered_as_one_array() {
    local(async {
        let (mut stage, _) = stage_of_two().await;
        let call = |id: u32, name: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name } });
        stage.says(json!([call(1, "a__x"), call(2, "b__x"), 7, { "jsonrpc": "2.0", "method": "notifications/x" }, call(3, "no")])).await;
        let answers = stage.hears().await;
        let mut ids: Vec<String> = answers.as_array().unwrap().iter().map(|answer| answer["id"].to_string()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["1", "2", "3", "null"], "{answers}");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn cancellations_progress_and_tasks_go_to_whom_they_concern() {
    local(async {
        let (mut stage, servers) = stage_of_two().await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a__x", "arguments": { "do": "hang" }, "_meta": { "progressToken": "t" } } })).await;
        for (id, token) in [(2, r#""t""#), (20, r#""\u0074""#)] {
            let call = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"b__x","arguments":{{"do":"progress","raw":{}}}}}}}"#,
                json!(token)
            );
            stage.to_mux.as_mut().unwrap().write_all(format!("{call}\n").as_bytes()).await.unwrap();
            assert_eq!(stage.hears().await["id"], id, "no other server's progress is shown");
        }
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } })).await;
        for (id, name) in [(3, "a__x"), (4, "b__x")] {
            let task = stage.calls(id, name, json!({ "do": "task" })).await["result"]["task"]["taskId"].clone();
            let of = stage.asks(id + 10, "tasks/get", json!({ "taskId": task })).await;
            assert_eq!(of["result"]["by"], &name[..1]);
            assert_eq!(of["result"]["params"]["taskId"], "t1", "as it called it itself");
        }
        let cancels = |server: &Played| {
            server.heard.lock().unwrap().iter().filter(|message| message["method"] == "notifications/cancelled").count()
        };
        assert_eq!([cancels(&servers[0]), cancels(&servers[1])], [1, 0]);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_server_is_told_of_it_each_second() {
    local(async {
        let mut server = Played::new("a", &["x"]);
        let known = told(&server);
        server.delay = Duration::from_millis(3500);
        let mut set = Set::of(vec![server]);
        set.known = vec![Some(known)];
        let mut stage = set.stage();
        stage.begins().await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a__x", "_meta": { "progressToken": 7 } } })).await;
        for n in 1..=3 {
            let progress = stage.hears().await;
            assert_eq!(progress["params"]["progressToken"], 7, "{progress}");
            assert_eq!(progress["params"]["progress"], n);
        }
        assert_eq!(stage.answer(1).await["result"]["content"][0]["text"], "a:x");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_gives_its_container_back_and_comes_again() {
    local(async {
        let servers = vec![Played::new("a", &["x"]), Played::new("b", &["x"])];
        let mut set = Set::of(servers);
        set.idle = Some(Duration::from_mins(1));
        let mut stage = set.stage();
        stage.begins().await;
        stage.asks(1, "tools/list", json!({})).await;
        assert_eq!(stage.starts(), [0, 1]);
        tokio::time::sleep(Duration::from_secs(40)).await;
        stage.calls(2, "b__x", json!({})).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        stage.calls(3, "b__x", json!({})).await;
        assert_eq!(stage.starts(), [0, 1], "it was used meanwhile");
        stage.calls(4, "a__x", json!({})).await;
        assert_eq!(stage.starts(), [0, 1, 0]);
        stage.says(json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": { "name": "a__x", "arguments": { "do": "hang" } } })).await;
        tokio::time::sleep(Duration::from_secs(200)).await;
        stage.calls(6, "a__x", json!({})).await;
        assert_eq!(stage.starts(), [0, 1, 0], "something is open");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_all_at_once_and_leaves_is_answered() {
    local(async {
        let mut stage = Set::of(vec![Played::new("a", &["x"]), Played::new("b", &["y"])]).stage();
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        stage.says(json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })).await;
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
        let (rest, over) = stage.leaves().await;
        let ids: Vec<&Value> = rest.iter().map(|message| &message["id"]).collect();
        assert_eq!(ids, [0, 1], "{rest:?}");
        assert_eq!(rest[1]["result"]["tools"].as_array().unwrap().len(), 2);
        assert_eq!(over, Over::Client);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_is_answered_and_the_next_one_passes() {
    local(async {
        let (mut stage, _) = stage_of_two().await;
        for (line, code) in [
            ("{\"jsonrpc\":\"2.0\",\"id\":1", -32700),
            ("[]", -32600),
            ("7", -32600),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__x","name":"b__x"}}"#,
                -32602,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, -32600),
        ] {
            stage.to_mux.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
            let heard = stage.hears().await;
            let answer = if heard.is_array() { &heard[0] } else { &heard };
            assert_eq!(answer["error"]["code"], code, "{line}: {heard}");
        }
        assert_eq!(stage.calls(2, "a__x", json!({})).await["result"]["content"][0]["text"], "a:x");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_client_knows_from_before_waits_for_the_lists() {
    local(async {
        let mut stage = Set::of(vec![Played::new("a", &["x"]), Played::new("b", &["y"])]).stage();
        stage.begins().await;
        assert_eq!(stage.calls(1, "b__y", json!({})).await["result"]["content"][0]["text"], "b:y");
        let read = stage.asks(2, "resources/read", json!({ "uri": "b://one" })).await;
        assert_eq!(read["result"]["by"], "b");
        let nobody = stage.calls(3, "b__z", json!({})).await;
        assert!(
            nobody["error"]["message"].as_str().unwrap().contains("there are `a__x`, `b__y`"),
            "{nobody}"
        );
        let nobody = stage.asks(4, "resources/read", json!({ "uri": "c://one" })).await;
        assert!(nobody["error"]["message"].as_str().unwrap().contains("asked were `a`, `b`"), "{nobody}");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_like_anothers_full_name_is_nobodys_own() {
    local(async {
        let mut slow = Played::new("git", &["status"]);
        slow.delay = Duration::from_mins(1);
        let mut stage = Set::of(vec![slow, Played::new("b", &["git__status", "x"])]).stage();
        stage.begins().await;
        let stolen = stage.calls(1, "git__status", json!({})).await;
        assert!(stolen.get("error").is_some(), "{stolen}");
        let bare = stage.calls(2, "x", json!({})).await;
        assert!(bare.get("error").is_some(), "the other one may have such a tool, too: {bare}");
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(
            stage.calls(3, "git__status", json!({})).await["result"]["content"][0]["text"],
            "git:status"
        );
        assert_eq!(stage.calls(4, "x", json!({})).await["result"]["content"][0]["text"], "b:x");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_in_mid_call_leaves_no_request_without_an_answer_that_its_lane_gave() {
    local(async {
        let (mut stage, _) = stage_of_two().await;
        for (id, name) in [(1, "a__x"), (2, "b__x")] {
            stage.says(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name, "arguments": { "do": "hang" } } })).await;
        }
        stage.says(json!({ "jsonrpc": "2.0", "id": 3, "method": "ping" })).await;
        stage.answer(3).await;
        stage.stop.cancel();
        let (rest, over) = stage.leaves().await;
        let mut ids: Vec<u64> = rest.iter().filter_map(|message| message["id"].as_u64()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2], "{rest:?}");
        assert_eq!(over, Over::Client);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_does_not_keep_the_session() {
    local(async {
        let mut stage = Set::of(vec![Played::new("a", &["x"])]).stage();
        stage.begins().await;
        // More than all pipes hold.
        for id in 0..200 {
            stage.says(json!({ "jsonrpc": "2.0", "id": id, "method": "ping", "params": { "x": "x".repeat(60_000) } })).await;
            stage.says(json!({ "jsonrpc": "2.0", "id": format!("{id}{}", "x".repeat(60_000)), "method": "ping" })).await;
        }
        stage.to_mux.take().unwrap().shutdown().await.unwrap();
        let over = tokio::time::timeout(HANGS, stage.session).await.expect("it hangs").unwrap();
        assert_eq!(over, Over::Client);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_server_answers_for_another() {
    local(async {
        let (mut stage, _) = stage_of_two().await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "a__x", "arguments": { "do": "hang" } } })).await;
        stage.says(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "b__x", "arguments": { "do": "forge", "id": 1 } } })).await;
        assert_eq!(stage.hears().await["id"], 2, "its own answer alone");
        stage.stop.cancel();
        let (rest, _) = stage.leaves().await;
        assert!(rest.iter().any(|message| message["id"] == 1 && message.get("error").is_some()), "{rest:?}");
    })
    .await;
}
