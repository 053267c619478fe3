//! New sessions with an old server.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_old_server_serves_a_new_client_and_what_it_asks_is_the_calls_result() {
    local(async {
        let (mut stage, server) = new_session(Played::new("old", &["x"])).await;
        let called = stage.asks_anew(1, "tools/call", call("old__x", &json!({}))).await;
        assert_eq!((text(&called), &called["result"]["resultType"]), ("old:x", &json!("complete")));
        let called = stage.asks_anew(2, "tools/call", call("new__x", &json!({}))).await;
        assert_eq!(text(&called), "new:x");
        let begun = &heard(&server, "initialize")[0]["params"];
        assert_eq!(
            (&begun["protocolVersion"], &begun["clientInfo"]["name"]),
            (&json!("2025-11-25"), &json!("test"))
        );
        assert_eq!(begun["capabilities"], json!({ "sampling": {}, "roots": {}, "elicitation": {} }));
        let params = call("old__x", &json!({ "do": "ask", "method": SAMPLING, "params": { "what": 1 } }));
        let needs = stage.asks_anew(3, "tools/call", params.clone()).await;
        assert_eq!(needs["result"]["resultType"], "input_required", "{needs}");
        let questions = needs["result"]["inputRequests"].as_object().unwrap();
        let question = questions.values().next().unwrap();
        assert_eq!(*question, json!({ "method": SAMPLING, "params": { "what": 1 } }));
        let wrong = json!({ "result": { "inputRequests": questions, "requestState": "1" } });
        let wrong = stage.comes_again(4, &params, &wrong, &json!({})).await;
        assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
        let done = stage.comes_again(5, &params, &needs, &json!({ "it": "is" })).await;
        assert_eq!((text(&done), &done["result"]["resultType"]), (r#"{"it":"is"}"#, &json!("complete")));
        let twice = stage.comes_again(6, &params, &needs, &json!({})).await;
        assert!(failure(&twice).contains("no call of the server `old` waits"), "{twice}");
        assert_eq!(heard(&server, "tools/call").len(), 2, "each was made once");
        let kept = stage.kept.lock().unwrap().clone();
        let told: Vec<&Told> = kept.iter().filter(|(member, _)| *member == 0).map(|(_, told)| told).collect();
        assert_eq!(told[0].hello, Hello::NoDiscover, "a client of both eras is refused next time, too");
        assert!(matches!(told.last().unwrap().hello, Hello::Initialize(_)), "in its own era it is kept");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_old_server_that_is_known_need_not_run_for_a_new_client_and_is_not_asked_what_it_speaks() {
    local(async {
        let server = Played::new("old", &["x"]);
        let mut stage = Set::of(vec![server.clone()]).stage();
        let known = told(&server);
        let refused = Told { hello: Hello::NoDiscover, tools: None, ..known.clone() };
        stage.kept.lock().unwrap().extend([(0, known), (0, refused)]);
        // The client begins without a `server/discover`.
        let tools = stage.asks_anew(1, "tools/list", json!({})).await;
        assert_eq!(tools["result"]["tools"][0]["name"], "old__x", "{tools}");
        assert_eq!(stage.starts(), [0; 0]);
        let called = stage.asks_anew(2, "tools/call", call("old__x", &json!({}))).await;
        assert_eq!(text(&called), "old:x");
        assert_eq!(heard(&server, "server/discover"), [Value::Null; 0]);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_question_that_may_be_of_several_calls_is_refused_but_for_the_roots() {
    local(async {
        let (mut stage, server) = new_session(Played::new("old", &["x"])).await;
        stage.says(modern(1, "tools/call", call("old__x", &json!({ "do": "hang" })))).await;
        let ask = json!({ "do": "ask", "method": SAMPLING, "params": {} });
        let refused = stage.asks_anew(2, "tools/call", call("old__x", &ask)).await;
        assert!(text(&refused).contains("several calls are open"), "{refused}");
        let roots = json!({ "do": "ask", "method": "roots/list", "params": {} });
        stage.says(modern(3, "tools/call", call("old__x", &roots))).await;
        let needs = stage.answer(1).await;
        assert_eq!(needs["result"]["resultType"], "input_required");
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 3 } })).await;
        let hangs = call("old__x", &json!({ "do": "hang" }));
        let mut params = hangs.clone();
        params["requestState"] = needs["result"]["requestState"].clone();
        let again = stage.asks_anew(4, "tools/call", params).await;
        assert_eq!(again["result"]["inputRequests"], needs["result"]["inputRequests"], "what is missing is asked again");
        let hanging = heard(&server, "tools/call")[0]["id"].clone();
        assert_ne!(hanging, 1);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_comes_again_for_ends_by_its_time() {
    local(async {
        let (mut stage, server) = new_session(Played::new("old", &["x"])).await;
        let params = call("old__x", &json!({ "do": "ask", "method": SAMPLING, "params": {} }));
        let needs = stage.asks_anew(1, "tools/call", params.clone()).await;
        tokio::time::sleep(Duration::from_mins(9)).await;
        assert_eq!(heard(&server, "notifications/cancelled"), [Value::Null; 0]);
        tokio::time::sleep(Duration::from_secs(61)).await;
        let call_id = heard(&server, "tools/call")[0]["id"].clone();
        assert_eq!(heard(&server, "notifications/cancelled")[0]["params"]["requestId"], call_id);
        let late = stage.comes_again(2, &params, &needs, &json!({})).await;
        assert!(failure(&late).contains("within 10 minutes"), "{late}");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_an_old_server_answers_while_nobody_waits_is_kept_and_its_death_too() {
    local(async {
        let (mut stage, _) = new_session(Played::new("old", &["x"])).await;
        let ask = json!({ "do": "ask", "method": SAMPLING, "params": {}, "impatient": true });
        let params = call("old__x", &ask);
        let needs = stage.asks_anew(1, "tools/call", params.clone()).await;
        assert_eq!(needs["result"]["resultType"], "input_required");
        let done = stage.comes_again(2, &params, &needs, &json!({})).await;
        assert_eq!(text(&done), "old:x");
        let params = call("old__x", &json!({ "do": "ask", "method": SAMPLING, "params": {} }));
        let needs = stage.asks_anew(3, "tools/call", params.clone()).await;
        stage.asks_anew(4, "tools/call", call("old__x", &json!({ "do": "crash" }))).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let gone = stage.comes_again(5, &params, &needs, &json!({})).await;
        assert!(failure(&gone).contains("the call or its server has ended"), "{gone}");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_came_again_is_cancelled_at_the_old_server() {
    local(async {
        let (mut stage, server) = new_session(Played::new("old", &["x"])).await;
        let hang = call("old__x", &json!({ "do": "hang" }));
        stage.says(modern(1, "tools/call", hang)).await;
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } })).await;
        let called = stage.asks_anew(2, "tools/call", call("old__x", &json!({}))).await;
        assert_eq!(text(&called), "old:x");
        let hanging = heard(&server, "tools/call")[0]["id"].clone();
        assert_eq!(heard(&server, "notifications/cancelled")[0]["params"]["requestId"], hanging);
        let ask = json!({ "do": "ask", "method": SAMPLING, "params": {} });
        let needs = stage.asks_anew(3, "tools/call", call("old__x", &ask)).await;
        assert_eq!(needs["result"]["resultType"], "input_required", "the cancelled one is not open");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_old_server_that_wants_the_roots_at_once_has_them_before_its_first_call() {
    local(async {
        let mut server = Played::new("old", &["x"]);
        server.asks_roots = true;
        let (mut stage, server) = new_session(server).await;
        let params = call("old__x", &json!({}));
        let needs = stage.asks_anew(1, "tools/call", params.clone()).await;
        let asked = needs["result"]["inputRequests"].as_object().unwrap().values().next().unwrap();
        assert_eq!(asked["method"], "roots/list");
        assert_eq!(heard(&server, "tools/call"), [Value::Null; 0], "not yet");
        let done = stage.comes_again(2, &params, &needs, &json!({ "roots": [] })).await;
        assert_eq!(text(&done), "old:x");
        let heard = server.heard.lock().unwrap().clone();
        let at = |is_it: &dyn Fn(&Value) -> bool| heard.iter().position(is_it).unwrap();
        let roots = at(&|message| message["id"] == "roots" && message["result"]["roots"] == json!([]));
        assert!(roots < at(&|message| message["method"] == "tools/call"));
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn progress_log_errors_and_changes_of_an_old_server_are_those_of_the_new_era() {
    local(async {
        let (mut stage, server) = new_session(Played::new("old", &["x"])).await;
        let logs = json!({ "io.modelcontextprotocol/logLevel": "info", "progressToken": "t" });
        let mut params = call("old__x", &json!({ "do": "progress", "raw": "\"t\"" }));
        params["_meta"] = logs;
        stage.says(modern(1, "tools/call", params)).await;
        assert_eq!(stage.hears().await["params"]["progressToken"], "t");
        stage.answer(1).await;
        assert_eq!(heard(&server, "logging/setLevel")[0]["params"]["level"], "info");
        let stray = call("old__x", &json!({ "do": "no-resource" }));
        assert_eq!(stage.asks_anew(2, "tools/call", stray).await["error"]["code"], -32602);
        let read = stage.asks_anew(3, "resources/read", json!({ "uri": "old://one" })).await;
        assert_eq!((&read["result"]["ttlMs"], &read["result"]["cacheScope"]), (&json!(0), &json!("private")));
        let wanted = json!({ "notifications": { "resourceSubscriptions": ["old://one"] } });
        stage.says(modern(4, "subscriptions/listen", wanted)).await;
        assert_eq!(stage.hears().await["method"], "notifications/subscriptions/acknowledged");
        stage.says(modern(5, "tools/call", call("old__x", &json!({ "do": "update" })))).await;
        let updated = stage.hears().await;
        assert_eq!(updated["params"]["uri"], "old://one", "{updated}");
        assert_eq!(updated["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 4);
        stage.answer(5).await;
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 4 } })).await;
        stage.asks_anew(6, "tools/call", call("old__x", &json!({ "do": "update" }))).await;
        assert_eq!(heard(&server, "resources/unsubscribe").len(), 1);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_to_be_visited_first_is_a_question_and_the_log_is_for_those_who_ask() {
    local(async {
        let (mut stage, _) = new_session(Played::new("old", &["x"])).await;
        let mut params = call("old__x", &json!({ "do": "visit" }));
        let unable = stage.asks_anew(1, "tools/call", params.clone()).await;
        assert_eq!(unable["error"]["code"], -32603, "the old code is nobody's any more: {unable}");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({ "elicitation": { "url": {} } });
        let needs = stage.asks_anew(2, "tools/call", params.clone()).await["result"].take();
        assert_eq!(needs["inputRequests"]["1"]["params"]["url"], "https://x", "{needs}");
        assert_eq!(needs.get("requestState"), None, "the server has ended that call");
        params["inputResponses"]["1"] = json!({ "action": "accept" });
        let again = stage.asks_anew(3, "tools/call", params).await;
        assert_eq!(again["result"]["resultType"], "input_required");
        let mut logs = call("old__x", &json!({ "do": "log" }));
        stage.says(modern(4, "tools/call", logs.clone())).await;
        assert_eq!(stage.hears().await["id"], 4, "nobody has asked for the log");
        logs["_meta"]["io.modelcontextprotocol/logLevel"] = "info".into();
        stage.says(modern(5, "tools/call", logs)).await;
        assert_eq!(stage.hears().await["method"], "notifications/message");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_old_server_that_comes_to_a_new_session_has_a_bridge_at_once() {
    local(async {
        let old = Played::new("old", &["x"]);
        let mut set = Set::of(vec![new("new"), old.clone()]);
        set.later = 1;
        let mut stage = set.stage();
        let refused = Told { hello: Hello::NoDiscover, tools: None, ..told(&old) };
        stage.kept.lock().unwrap().push((1, refused));
        stage.asks_anew(1, "tools/list", json!({})).await;
        stage
            .says(modern(2, "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })))
            .await;
        stage.becomes(living::reshape(&["old"], &[0, 1])).await;
        stage.hears_of_tools().await;
        assert_eq!(text(&stage.asks_anew(3, "tools/call", call("old__x", &json!({}))).await), "old:x");
        stage.leaves().await;
    })
    .await;
}
