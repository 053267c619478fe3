//! Old sessions with a new server.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_new_server_serves_an_old_session_and_hears_with_each_request_who_asks() {
    local(async {
        let (mut stage, server) = old_session().await;
        assert_eq!(text(&stage.calls(1, "new__x", json!({})).await), "new:x");
        assert_eq!(text(&stage.calls(2, "old__x", json!({})).await), "old:x");
        stage.asks(3, "logging/setLevel", json!({ "level": "info" })).await;
        let read =
            stage.asks(4, "resources/read", json!({ "uri": "new://one", "_meta": { "own": 1 } })).await;
        let told = &read["result"]["params"]["_meta"];
        assert_eq!(told["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(told["io.modelcontextprotocol/clientInfo"]["name"], "test");
        assert_eq!(told["io.modelcontextprotocol/clientCapabilities"], json!({ "roots": {} }));
        assert_eq!((&told["io.modelcontextprotocol/logLevel"], &told["own"]), (&json!("info"), &json!(1)));
        for method in ["notifications/initialized", "logging/setLevel", "resources/subscribe"] {
            assert_eq!(heard(&server, method), [Value::Null; 0], "it knows none");
        }
        assert!(server.heard.lock().unwrap().iter().all(|message| message["id"] != 1), "an id of berth's");
        let kept = stage.kept.lock().unwrap().clone();
        let told = kept.iter().rev().find(|(member, _)| *member == 0).unwrap();
        assert!(matches!(told.1.hello, Hello::Initialize(_)) && told.1.tools.is_some());
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_server_that_is_known_in_its_own_era_need_not_run_for_an_old_client() {
    local(async {
        let server = new("new");
        let hello = Hello::Discover(json!({ "capabilities": { "tools": {} } }).to_string().into());
        let mut set = Set::of(vec![server.clone()]);
        set.known = vec![Some(Told { hello, ..told(&server) })];
        let mut stage = set.stage();
        assert_eq!(stage.begins().await["result"]["protocolVersion"], "2025-11-25");
        let tools = stage.asks(1, "tools/list", json!({})).await;
        assert_eq!(tools["result"]["tools"][0]["name"], "new__x", "{tools}");
        assert_eq!(stage.starts(), [0; 0]);
        assert_eq!(text(&stage.calls(2, "new__x", json!({})).await), "new:x");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_neither_era_is_told_by_what_it_said_first() {
    local(async {
        let mut server = new("none");
        server.speaks_modern = false;
        let mut stage = Set::of(vec![server.clone(), Played::new("old", &["x"])]).stage();
        stage.begins().await;
        assert_eq!(text(&stage.calls(1, "old__x", json!({})).await), "old:x");
        let refused = stage.calls(2, "none__x", json!({})).await;
        assert!(failure(&refused).contains("no server has the tool"), "{refused}");
        let asked: Vec<Value> =
            server.heard.lock().unwrap().iter().map(|one| one["method"].clone()).collect();
        assert_eq!(asked, ["initialize", "server/discover"]);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_new_server_tells_of_changes_an_old_client_hears() {
    local(async {
        let (mut stage, server) = old_session().await;
        stage.asks(1, "resources/list", json!({})).await;
        assert_eq!(stage.asks(2, "resources/subscribe", json!({ "uri": "new://one" })).await["result"], json!({}));
        stage.says(json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call("new__x", &json!({ "do": "update" })) })).await;
        let updated = stage.hears().await;
        assert_eq!(updated["params"], json!({ "uri": "new://one", "_meta": {} }));
        stage.answer(3).await;
        let listens = heard(&server, "subscriptions/listen");
        let last = &listens.last().unwrap()["params"]["notifications"];
        assert_eq!(*last, json!({ "toolsListChanged": true, "resourceSubscriptions": ["new://one"] }));
        assert_eq!(heard(&server, "notifications/cancelled")[0]["params"]["requestId"], listens[0]["id"]);
        stage.says(json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": call("new__x", &json!({ "do": "change", "tool": "y" })) })).await;
        loop {
            if stage.hears().await["method"] == "notifications/tools/list_changed" {
                break;
            }
        }
        assert_eq!(text(&stage.calls(5, "new__y", json!({})).await), "new:y");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_new_server_needs_an_old_client_is_asked_for_and_the_call_is_made_again() {
    local(async {
        let (mut stage, server) = old_session().await;
        let ask = json!({ "do": "ask", "method": [SAMPLING, "roots/list", "elicitation/create"], "params": { "mode": "url" } });
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call("new__x", &ask) })).await;
        let questions = [stage.hears().await, stage.hears().await, stage.hears().await];
        let methods: Vec<&Value> = questions.iter().map(|question| &question["method"]).collect();
        assert_eq!(methods, [SAMPLING, "roots/list", "elicitation/create"]);
        assert!(questions[2]["params"]["elicitationId"].is_string(), "that era has one: {}", questions[2]);
        for question in questions.iter().rev() {
            stage.replies(question, json!({ "for": question["method"] })).await;
        }
        let said: Value = serde_json::from_str(text(&stage.answer(1).await)).unwrap();
        assert_eq!(said["q0.0"]["for"], SAMPLING, "{said}");
        assert_eq!((&said["q0.1"]["for"], &said["q0.2"]["for"]), (&json!("roots/list"), &json!("elicitation/create")));
        let calls = heard(&server, "tools/call");
        assert_eq!(calls.len(), 2);
        assert_ne!(calls[0]["id"], calls[1]["id"]);
        assert_eq!(calls[0]["params"]["arguments"], calls[1]["params"]["arguments"]);
        assert_eq!(calls[1]["params"]["requestState"], "1");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_question_that_the_client_refuses_ends_the_call_and_the_other_questions() {
    local(async {
        let (mut stage, server) = old_session().await;
        let ask = json!({ "do": "ask", "method": [SAMPLING, "elicitation/create"], "params": {} });
        stage
            .says(
                json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call("new__x", &ask) }),
            )
            .await;
        let questions = [stage.hears().await, stage.hears().await];
        let error = json!({ "code": -1, "message": "User rejected" });
        stage.says(json!({ "jsonrpc": "2.0", "id": questions[1]["id"], "error": error })).await;
        let withdrawn = stage.hears().await;
        assert_eq!(withdrawn["method"], "notifications/cancelled");
        assert_eq!(withdrawn["params"]["requestId"], questions[0]["id"]);
        assert_eq!(stage.answer(1).await["error"], error);
        stage.replies(&questions[0], json!({})).await;
        assert_eq!(text(&stage.calls(2, "new__x", json!({})).await), "new:x");
        assert_eq!(heard(&server, "tools/call").len(), 2, "the call is not made again");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_between_question_and_answer_is_over() {
    local(async {
        let (mut stage, server) = old_session().await;
        let ask = json!({ "do": "ask", "method": SAMPLING, "params": {} });
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call("new__x", &ask) })).await;
        let question = stage.hears().await;
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } })).await;
        assert_eq!(stage.hears().await["params"]["requestId"], question["id"]);
        stage.replies(&question, json!({})).await;
        assert_eq!(text(&stage.calls(2, "new__x", json!({})).await), "new:x", "and nothing before that");
        assert_eq!(heard(&server, "notifications/cancelled"), [Value::Null; 0], "it has answered that request");
        // One that the server works on is cancelled there, by the id that it has there.
        stage.says(json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call("new__x", &json!({ "do": "hang" })) })).await;
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 3 } })).await;
        stage.calls(4, "new__x", json!({})).await;
        let hanging = &heard(&server, "tools/call")[2];
        assert_eq!(heard(&server, "notifications/cancelled")[0]["params"]["requestId"], hanging["id"]);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_servers_death_ends_the_call_that_waits_for_the_client() {
    local(async {
        let (mut stage, _) = old_session().await;
        let ask = json!({ "do": "ask", "method": SAMPLING, "params": {} });
        stage
            .says(
                json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call("new__x", &ask) }),
            )
            .await;
        let question = stage.hears().await;
        let crashed = stage.calls(2, "new__x", json!({ "do": "crash" })).await;
        assert_eq!(failure(&crashed), "berth: it crashed");
        let mut rest = [stage.hears().await, stage.hears().await];
        rest.sort_by_key(|message| message["id"].is_null());
        assert!(failure(&rest[0]).contains("crashed"), "{rest:?}");
        assert_eq!(rest[1]["params"]["requestId"], question["id"]);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(
            text(&stage.calls(3, "new__x", json!({})).await),
            "new:x",
            "the next one has a bridge, too"
        );
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn questions_of_a_new_server_are_bounded_in_number_and_time() {
    local(async {
        let (mut stage, server) = old_session().await;
        let endless = json!({ "do": "ask", "method": SAMPLING, "params": {}, "rounds": 99 });
        stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call("new__x", &endless) })).await;
        for _ in 0..10 {
            let question = stage.hears().await;
            assert_eq!(question["method"], SAMPLING, "{question}");
            stage.replies(&question, json!({})).await;
        }
        assert!(failure(&stage.hears().await).contains("more input 10 times"));
        // One that only wants to be asked again is, a little later.
        assert_eq!(text(&stage.calls(2, "new__x", json!({ "do": "ask", "rounds": 3 })).await), "null");
        assert!(failure(&stage.calls(3, "new__x", json!({ "do": "ask", "rounds": 99 })).await).contains("10 times"));
        let strange = json!({ "do": "ask", "method": "x/y" });
        assert!(failure(&stage.calls(4, "new__x", strange).await).contains("no client can be asked for `x/y`"));
        let ask = json!({ "do": "ask", "method": SAMPLING, "params": {} });
        stage.says(json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": call("new__x", &ask) })).await;
        let question = stage.hears().await;
        tokio::time::sleep(Duration::from_mins(9)).await;
        stage.asks(6, "ping", json!({})).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(stage.hears().await["params"]["requestId"], question["id"]);
        assert!(failure(&stage.answer(5).await).contains("within 10 minutes"));
        assert_eq!(heard(&server, "tools/call").len(), 10 + 1 + 4 + 11 + 1 + 1);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_answers_no_questions_and_its_call_has_an_error() {
    local(async {
        let (mut stage, _) = old_session().await;
        let ask = json!({ "do": "ask", "method": SAMPLING, "params": {} });
        stage
            .says(
                json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call("new__x", &ask) }),
            )
            .await;
        stage.hears().await;
        let (rest, _) = stage.leaves().await;
        assert!(
            rest.iter().any(|message| message["id"] == 1 && failure(message).contains("has left")),
            "{rest:?}"
        );
    })
    .await;
}
