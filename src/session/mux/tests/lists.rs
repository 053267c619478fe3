//! What a client is told before it calls anything.

use super::*;

fn names(answer: &Value) -> Vec<&str> {
    answer["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_all_servers_are_one_page_in_the_configurations_order() {
    local(async {
        let mut slow = Played::new("a", &["one", "two", "three", "four", "five"]);
        slow.delay = Duration::from_secs(3);
        let mut stage = Set::of(vec![slow, Played::new("b", &["x"])]).stage();
        let hello = stage.begins().await;
        assert_eq!(hello["result"]["serverInfo"]["name"], "berth");
        let tools = stage.asks(1, "tools/list", json!({})).await;
        assert_eq!(names(&tools), ["a__one", "a__two", "a__three", "a__four", "a__five", "b__x"]);
        assert_eq!(tools["result"]["tools"][0]["x-own"], "a", "what nobody knows passes");
        assert!(tools["result"].get("nextCursor").is_none());
        let resources = stage.asks(2, "resources/list", json!({})).await;
        let uris: Vec<&Value> =
            resources["result"]["resources"].as_array().unwrap().iter().map(|item| &item["uri"]).collect();
        assert_eq!(uris, ["a://one", "shared://", "b://one"]);
        let refused = stage.asks(3, "tools/list", json!({ "cursor": "2" })).await;
        assert_eq!(refused["error"]["code"], -32602);
        assert_eq!(stage.kept.lock().unwrap().iter().map(|(member, _)| *member).collect::<Vec<_>>().len(), 2);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_answered_without_any_server() {
    local(async {
        let servers = vec![Played::new("a", &["one", "two", "three"]), Played::new("b", &["x"])];
        let mut set = Set::of(servers.clone());
        set.known = servers.iter().map(|played| Some(told(played))).collect();
        let mut stage = set.stage();
        stage.begins().await;
        let tools = stage.asks(1, "tools/list", json!({})).await;
        assert_eq!(names(&tools), ["a__one", "a__two", "a__three", "b__x"]);
        assert_eq!(stage.asks(2, "ping", json!({})).await["result"], json!({}));
        assert_eq!(stage.starts(), [0; 0]);
        let called = stage.calls(3, "b__x", json!({})).await;
        assert_eq!(called["result"]["content"][0]["text"], "b:x");
        assert_eq!(stage.starts(), [1], "only that one runs");
        let heard = servers[1].heard.lock().unwrap().clone();
        let methods: Vec<&str> = heard.iter().filter_map(|message| message["method"].as_str()).collect();
        assert_eq!(&methods[..3], ["initialize", "notifications/initialized", "tools/call"]);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_difference_to_what_was_known_is_announced_once_the_server_runs() {
    local(async {
        let server = Played::new("a", &["one"]);
        let mut set = Set::of(vec![server.clone()]);
        set.known = vec![Some(told(&server))];
        server.tools.lock().unwrap().push("two".to_owned());
        let mut stage = set.stage();
        stage.begins().await;
        assert_eq!(names(&stage.asks(1, "tools/list", json!({})).await), ["a__one"]);
        stage.calls(2, "a__one", json!({})).await;
        assert_eq!(stage.hears().await["method"], "notifications/tools/list_changed");
        assert_eq!(names(&stage.asks(3, "tools/list", json!({})).await), ["a__one", "a__two"]);
        let changed = stage.calls(4, "a__one", json!({ "do": "change", "tool": "three" })).await;
        assert!(changed.get("result").is_some());
        assert_eq!(stage.hears().await["method"], "notifications/tools/list_changed");
        assert_eq!(stage.calls(5, "a__three", json!({})).await["result"]["content"][0]["text"], "a:three");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_in_time_is_announced_later() {
    local(async {
        let mut slow = Played::new("slow", &["late"]);
        slow.delay = Duration::from_mins(1);
        let mut stage = Set::of(vec![slow, Played::new("b", &["x"])]).stage();
        let hello = stage.begins().await;
        assert_eq!(hello["result"]["capabilities"]["tools"]["listChanged"], true);
        assert_eq!(names(&stage.asks(1, "tools/list", json!({})).await), ["b__x"]);
        assert_eq!(stage.hears().await["method"], "notifications/tools/list_changed");
        assert_eq!(names(&stage.asks(2, "tools/list", json!({})).await), ["slow__late", "b__x"]);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_had_costs_the_others_nothing() {
    local(async {
        let mut broken = Played::new("broken", &[]);
        broken.fails = true;
        let mut stage = Set::of(vec![broken, Played::new("b", &["x"])]).stage();
        stage.begins().await;
        assert_eq!(names(&stage.asks(1, "tools/list", json!({})).await), ["b__x"]);
        let unknown = stage.calls(2, "broken__x", json!({})).await;
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
        assert!(unknown["error"]["message"].as_str().unwrap().contains("`b__x`"), "{unknown}");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_no_server_can_be_had_the_client_is_told() {
    local(async {
        let mut broken = Played::new("broken", &[]);
        broken.fails = true;
        let mut stage = Set::of(vec![broken.clone(), broken]).stage();
        let hello = stage.begins().await;
        assert_eq!(hello["error"]["message"], "berth: no daemon");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_single_server_keeps_its_names_and_its_first_answer() {
    local(async {
        let server = Played::new("a", &["one", "two", "three"]);
        let mut set = Set::of(vec![server.clone()]);
        set.room = None;
        set.known = vec![Some(told(&server))];
        let mut stage = set.stage();
        let hello = stage.begins().await;
        assert_eq!(hello["result"], server.initialized("2025-11-25"));
        assert_eq!(names(&stage.asks(1, "tools/list", json!({})).await), ["one", "two", "three"]);
        assert_eq!(stage.calls(2, "two", json!({})).await["result"]["content"][0]["text"], "a:two");
        assert_eq!(stage.calls(3, "nobody", json!({})).await["result"]["content"][0]["text"], "a:nobody");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn long_instructions_are_a_resource() {
    local(async {
        let mut servers = vec![Played::new("a", &[]), Played::new("b", &[])];
        for server in &mut servers {
            server.instructions = Some(format!("{}{}", server.name, "x".repeat(3000)));
        }
        let mut stage = Set::of(servers).stage();
        let hello = stage.begins().await;
        assert_eq!(hello["result"]["instructions"].as_str().unwrap().chars().count(), 2048);
        let resources = stage.asks(1, "resources/list", json!({})).await.to_string();
        assert!(resources.contains("berth://instructions/b"), "{resources}");
        let read = stage.asks(2, "resources/read", json!({ "uri": "berth://instructions/b" })).await;
        assert_eq!(read["result"]["contents"][0]["text"].as_str().unwrap().len(), 3001);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_session_of_new_servers_and_an_old_one_where_one_is_old() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let modern = |name| {
        let mut played = Played::new(name, &["x", "y", "z"]);
        played.speaks_modern = true;
        played
    };
    local(async {
        let mut stage = Set::of(vec![modern("a"), modern("b")]).stage();
        let found = stage.asks(1, "server/discover", json!({ "_meta": meta })).await;
        assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]));
        let tools = stage.asks(2, "tools/list", json!({ "_meta": meta })).await;
        assert_eq!(names(&tools).len(), 6);
        assert_eq!(tools["result"]["resultType"], "complete");
        assert_eq!(tools["result"]["ttlMs"], 0);
        let called = stage.asks(3, "tools/call", json!({ "name": "b__z", "_meta": meta })).await;
        assert_eq!(called["result"]["content"][0]["text"], "b:z");
        stage.leaves().await;
        let mut stage = Set::of(vec![modern("a"), Played::new("old", &["o"])]).stage();
        let refused = stage.asks(1, "server/discover", json!({ "_meta": meta })).await;
        assert_eq!(refused["error"]["code"], -32601);
        stage.begins().await;
        assert_eq!(names(&stage.asks(2, "tools/list", json!({})).await).len(), 4);
        assert_eq!(stage.starts(), [0, 1], "the same servers are asked again");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_definition_is_held_from_the_first_call_on() {
    local(async {
        let server = Played::new("a", &["one"]);
        let mut set = Set::of(vec![server.clone()]);
        set.known = vec![Some(told(&server))];
        set.holds = true;
        server.tools.lock().unwrap().push("new".to_owned());
        let mut stage = set.stage();
        stage.begins().await;
        // Not even the call that starts it passes, though nobody had seen the definition.
        let held = stage.calls(1, "a__new", json!({})).await;
        assert!(held["error"]["message"].as_str().unwrap().contains("no server has the tool"), "{held}");
        assert_eq!(stage.calls(2, "a__one", json!({})).await["result"]["content"][0]["text"], "a:one");
        let held = stage.calls(3, "a__new", json!({})).await;
        assert!(held["error"]["message"].as_str().unwrap().contains("`berth tools --accept a`"), "{held}");
        let called = |message: &Value| message["params"]["name"] == "new";
        assert!(!server.heard.lock().unwrap().iter().any(called));
        stage.leaves().await;
        let mut set = Set::of(vec![server.clone()]);
        // It was accepted, and its definition is another one once the server runs.
        set.known = vec![Some(told(&Played::new("a", &["new"])))];
        set.holds = true;
        let mut stage = set.stage();
        stage.begins().await;
        let held = stage.calls(4, "a__new", json!({})).await;
        assert!(held["error"]["message"].as_str().unwrap().contains("has changed"), "{held}");
        assert!(!server.heard.lock().unwrap().iter().any(called), "it waited for the lists");
        stage.accepted.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(
            stage.calls(5, "a__new", json!({})).await["result"]["content"][0]["text"],
            "a:new",
            "at once"
        );
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_that_was_asked_to_discover_hears_the_handshake_that_follows() {
    local(async {
        let mut slow = Played::new("a", &["one", "two", "three"]);
        slow.delay = Duration::from_secs(5);
        let mut stage = Set::of(vec![slow.clone(), Played::new("b", &["x"])]).stage();
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
        assert_eq!(stage.asks(1, "server/discover", json!({ "_meta": meta })).await["error"]["code"], -32601);
        stage.begins().await;
        let tools = stage.asks(2, "tools/list", json!({})).await;
        assert_eq!(names(&tools), ["a__one", "a__two", "a__three", "b__x"]);
        let heard = slow.heard.lock().unwrap().clone();
        let greetings = heard.iter().filter(|message| message["method"] == "initialize").count();
        assert_eq!(greetings, 1);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_wait_for_answers_has_all_pages_and_each_is_asked_for_once() {
    local(async {
        for is_eager in [false, true] {
            let mut server = Played::new("a", &["one", "two", "three", "four", "five"]);
            server.delay = Duration::from_secs(2);
            let mut set = Set::of(vec![server.clone()]);
            set.eager = is_eager;
            set.known = vec![is_eager.then(|| told(&server))];
            let mut stage = set.stage();
            let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
            stage.says(json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })).await;
            stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
            stage.says(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
            assert_eq!(names(&stage.answer(1).await).len(), 5);
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert_eq!(names(&stage.asks(2, "tools/list", json!({})).await).len(), 5);
            let heard = server.heard.lock().unwrap().clone();
            let pages = heard.iter().filter(|message| message["method"] == "tools/list").count();
            assert_eq!(pages, 3);
            let kept = stage.kept.lock().unwrap().clone();
            assert!(kept.iter().all(|(_, told)| told.tools.as_ref().unwrap().items.len() == 5));
            stage.leaves().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_for_a_moment_is_asked_for_again_and_nothing_wrong_is_kept() {
    local(async {
        let server = Played::new("a", &["one", "two", "three"]);
        server.refuses_lists.store(2, std::sync::atomic::Ordering::Relaxed);
        let mut stage = Set::of(vec![server]).stage();
        stage.begins().await;
        assert_eq!(names(&stage.asks(1, "tools/list", json!({})).await).len(), 3);
        let kept = stage.kept.lock().unwrap().clone();
        assert_eq!(kept.last().unwrap().1.tools.as_ref().unwrap().items.len(), 3);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_down_says_nothing_of_what_a_server_speaks() {
    local(async {
        let mut broken = Played::new("a", &[]);
        broken.fails = true;
        let mut stage = Set::of(vec![broken]).stage();
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
        assert_eq!(stage.asks(1, "server/discover", json!({ "_meta": meta })).await["error"]["code"], -32601);
        assert!(stage.kept.lock().unwrap().is_empty());
        stage.leaves().await;
    })
    .await;
}
