//! A session whose servers change while it runs.

use super::*;

pub(super) fn reshape(added: &[&str], order: &[usize]) -> Reshape {
    let options = |name: &&str| MemberOptions {
        server: (*name).to_owned(),
        label: (*name).to_owned(),
        is_eager: false,
        idle: None,
        holds: false,
    };
    Reshape {
        added: added.iter().map(options).collect(),
        order: order.to_vec(),
        tools: None,
        deny_tools: Vec::new(),
    }
}

impl Stage {
    pub(super) async fn becomes(&self, reshape: Reshape) {
        self.changes.send(reshape).await.unwrap();
        // It has room for another one once it has taken this.
        drop(tokio::time::timeout(HANGS, self.changes.reserve()).await.expect("it is taken").unwrap());
    }

    /// Until the client hears that its tools have changed; what it hears till then.
    pub(super) async fn hears_of_tools(&mut self) -> Vec<Value> {
        let mut before = Vec::new();
        loop {
            let message = self.hears().await;
            if message["method"] == "notifications/tools/list_changed" {
                return before;
            }
            before.push(message);
        }
    }

    async fn tools(&mut self, id: u32) -> Vec<String> {
        let answer = self.asks(id, "tools/list", json!({})).await;
        let tools = answer["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_is_announced_in_its_place_and_can_be_called() {
    local(async {
        let mut set = Set::of(["a", "b", "c"].map(|name| Played::new(name, &["x"])).to_vec());
        set.later = 1;
        let mut stage = set.stage();
        stage.begins().await;
        assert_eq!(stage.tools(1).await, ["a__x", "b__x"]);
        stage.becomes(reshape(&["c"], &[0, 2, 1])).await;
        stage.hears_of_tools().await;
        assert_eq!(stage.tools(2).await, ["a__x", "c__x", "b__x"]);
        let called = stage.calls(3, "c__x", json!({})).await;
        assert_eq!(called["result"]["content"][0]["text"], "c:x");
        let resource = stage.asks(4, "resources/read", json!({ "uri": "c://one" })).await;
        assert_eq!(resource["result"]["by"], "c");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_known_runs_at_its_first_call() {
    local(async {
        let servers = ["a", "b"].map(|name| Played::new(name, &["x"])).to_vec();
        let mut set = Set::of(servers.clone());
        set.known = servers.iter().map(|played| Some(told(played))).collect();
        set.later = 1;
        let mut stage = set.stage();
        stage.begins().await;
        assert_eq!(stage.tools(1).await, ["a__x"]);
        stage.becomes(reshape(&["b"], &[0, 1])).await;
        stage.hears_of_tools().await;
        assert_eq!(stage.tools(2).await, ["a__x", "b__x"]);
        assert_eq!(stage.starts(), [0; 0]);
        assert_eq!(stage.calls(3, "b__x", json!({})).await["result"]["content"][0]["text"], "b:x");
        assert_eq!(stage.starts(), [1]);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_knows_whether_a_call_or_the_sessions_beginning_has_started_it() {
    local(async {
        let servers = ["a", "b"].map(|name| Played::new(name, &["x"])).to_vec();
        let mut set = Set::of(servers.clone());
        set.known = vec![Some(told(&servers[0])), None];
        set.idle = Some(Duration::from_mins(1));
        let mut stage = set.stage();
        stage.begins().await;
        stage.calls(1, "a__x", json!({})).await;
        assert_eq!((stage.starts(), stage.lazy.lock().unwrap().clone()), (vec![1, 0], vec![0]));
        tokio::time::sleep(Duration::from_secs(90)).await;
        stage.calls(2, "b__x", json!({})).await;
        assert_eq!((stage.starts(), stage.lazy.lock().unwrap().clone()), (vec![1, 0, 1], vec![0, 1]));
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_answers_what_is_open_and_nothing_more() {
    local(async {
        let servers = ["a", "b"].map(|name| Played::new(name, &["x"])).to_vec();
        let heard = Arc::clone(&servers[1].heard);
        let mut stage = Set::of(servers).stage();
        stage.begins().await;
        assert_eq!(stage.tools(1).await, ["a__x", "b__x"]);
        // Its call waits for an answer of the client's.
        let asks = json!({ "do": "ask", "method": "elicitation/create", "params": { "message": "?" } });
        stage.says(json!({
            "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "b__x", "arguments": asks },
        })).await;
        let question = loop {
            let message = stage.hears().await;
            if message["method"] == "elicitation/create" {
                break message;
            }
        };
        stage.becomes(reshape(&[], &[0])).await;
        stage.hears_of_tools().await;
        assert_eq!(stage.tools(3).await, ["a__x"]);
        let refused = stage.calls(4, "b__x", json!({})).await;
        let why = refused["error"]["message"].as_str().unwrap();
        assert!(why.contains("the server `b` is no part of this session any more"), "{why}");
        let resource = stage.asks(5, "resources/read", json!({ "uri": "b://one" })).await;
        assert_eq!(resource["result"]["by"], "a", "the only one with resources that is left");
        stage.says(json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept" } })).await;
        let answer = stage.answer(2).await;
        assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("accept"), "{answer}");
        // Its lane has ended: nothing that is said to all reaches it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = heard.lock().unwrap().len();
        stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" })).await;
        assert_eq!(stage.calls(6, "a__x", json!({})).await["result"]["content"][0]["text"], "a:x");
        assert_eq!(heard.lock().unwrap().len(), before);
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_profile_forbids_is_forbidden_at_once() {
    local(async {
        let mut stage = Set::of(vec![Played::new("a", &["x", "y"])]).stage();
        stage.begins().await;
        assert_eq!(stage.tools(1).await, ["a__x", "a__y"]);
        let mut change = reshape(&[], &[0]);
        change.deny_tools = vec!["a__y".parse().unwrap()];
        stage.becomes(change).await;
        stage.hears_of_tools().await;
        assert_eq!(stage.tools(2).await, ["a__x"]);
        let refused = stage.calls(3, "a__y", json!({})).await;
        assert!(
            refused["error"]["message"].as_str().unwrap().contains("no server has the tool `a__y`"),
            "{refused}"
        );
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_is_waited_for() {
    local(async {
        let mut slow = Played::new("b", &["x"]);
        slow.delay = Duration::from_secs(3);
        let mut set = Set::of(vec![Played::new("a", &["x"]), Played::new("b", &["x"]), slow]);
        set.later = 1;
        let mut stage = set.stage();
        stage.begins().await;
        assert_eq!(stage.tools(1).await, ["a__x", "b__x"]);
        stage.becomes(reshape(&[], &[0])).await;
        stage.hears_of_tools().await;
        stage.becomes(reshape(&["b"], &[0, 2])).await;
        let called = stage.calls(2, "b__x", json!({})).await;
        assert_eq!(called["result"]["content"][0]["text"], "b:x", "{called}");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_of_the_new_era_sees_a_server_come_too() {
    local(async {
        let mut servers = vec![Played::new("a", &["x"]), Played::new("b", &["x"])];
        servers[0].speaks_modern = true;
        let mut set = Set::of(servers);
        set.later = 1;
        let mut stage = set.stage();
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        stage.asks(0, "server/discover", json!({ "_meta": meta })).await;
        let tools = stage.asks(1, "tools/list", json!({ "_meta": meta })).await;
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 1);
        stage.becomes(reshape(&["b"], &[0, 1])).await;
        let called =
            stage.asks(2, "tools/call", json!({ "name": "b__x", "arguments": {}, "_meta": meta })).await;
        assert_eq!(called["result"]["content"][0]["text"], "b:x", "{called}");
        stage.leaves().await;
    })
    .await;
}

#[tokio::test]
async fn a_lane_that_says_nothing_to_its_end_has_one() {
    let stop = CancellationToken::new();
    let mut lanes = Lanes::new(1, stop);
    lanes.start(0, Default::default(), |_, pipe| async move {
        drop(pipe);
        Over::Client
    });
    let news = tokio::time::timeout(Duration::from_secs(20), lanes.next(true)).await.expect("its end");
    assert!(matches!(news, lanes::News::Over(0, Over::Client)));
}
