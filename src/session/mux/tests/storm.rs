//! For any order of calls, cancellations and deaths each request gets exactly one answer, from the right server.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Call(usize),
    Hang(usize),
    Crash(usize),
    Ask(usize),
    /// The last question has its answer, or the call that needs more input is made again.
    Answer,
    Cancel(usize),
    List,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 0..3_usize;
    prop::collection::vec(
        prop_oneof![
            4 => member.clone().prop_map(Step::Call),
            2 => member.clone().prop_map(Step::Hang),
            1 => member.clone().prop_map(Step::Crash),
            2 => member.prop_map(Step::Ask),
            2 => Just(Step::Answer),
            1 => (0..40_usize).prop_map(Step::Cancel),
            1 => Just(Step::List),
            2 => (0..9000_u64).prop_map(Step::Wait),
        ],
        1..40,
    )
}

/// The client's side of a storm.
struct Storm {
    stage: Stage,
    is_modern: bool,
    /// By id: whose answer it has to be, and whether there may be none.
    open: BTreeMap<u64, (Option<&'static str>, bool)>,
    /// Questions that it was asked, and calls that need more input.
    asked: Vec<Value>,
    questions: BTreeSet<u64>,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Storm {
    async fn says(&mut self, id: u64, method: &str, params: Value) {
        let id = u32::try_from(id).unwrap();
        let line = if self.is_modern {
            modern(id, method, params)
        } else {
            json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
        };
        self.stage.says(line).await;
    }

    fn hears(&mut self, message: &Value) {
        let id = message["id"].as_u64();
        if message.get("method").is_some() {
            if let Some(id) = id {
                assert!(!self.is_modern, "a client of the new era is asked nothing: {message}");
                assert!(self.questions.insert(id), "one id for two questions: {message}");
                self.asked.push(message.clone());
            }
            return;
        }
        let id = id.unwrap_or_else(|| panic!("whose is {message}?"));
        let (server, _) =
            self.open.remove(&id).unwrap_or_else(|| panic!("answered twice, or never asked: {message}"));
        if message["result"]["resultType"] == "input_required" {
            assert!(self.is_modern, "a client of the old era knows no such result: {message}");
            self.asked.push(message.clone());
        }
        if let Some(server) = server {
            assert_eq!(message["result"]["content"][0]["text"], format!("{server}:x"), "{message}");
        }
    }

    /// What has come so far.
    async fn reads(&mut self) {
        let briefly = Duration::from_millis(1);
        while let Ok(line) = tokio::time::timeout(briefly, self.stage.from_mux.next_line()).await {
            self.hears(&serde_json::from_str(&line.unwrap().expect("it goes on")).unwrap());
        }
    }

    async fn answers(&mut self, id: u64) {
        self.reads().await;
        let Some(asked) = self.asked.pop() else { return };
        if !self.is_modern {
            let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "content": "x" } });
            return self.stage.says(answer).await;
        }
        let question = asked["result"]["inputRequests"].as_object().unwrap().iter().next().unwrap();
        let member = question.1["params"]["of"].as_str().unwrap().to_owned();
        let mut params = json!({ "name": format!("{member}__x"), "arguments": asking(&member) });
        params["inputResponses"][question.0] = json!({ "content": "x" });
        params["requestState"] = asked["result"]["requestState"].clone();
        self.open.insert(id, (None, false));
        self.says(id, "tools/call", params).await;
    }
}

fn asking(member: &str) -> Value {
    json!({ "do": "ask", "method": "sampling/createMessage", "params": { "of": member } })
}

async fn storm(steps: Vec<Step>, is_modern: bool) {
    // One of the old era, one of the new one, and one of both.
    let mut servers = NAMES.map(|name| Played::new(name, &["x"]));
    (servers[1].speaks_legacy, servers[1].speaks_modern) = (false, true);
    servers[2].speaks_modern = true;
    let mut set = Set::of(servers.into());
    set.idle = Some(Duration::from_secs(5));
    let mut stage = set.stage();
    if !is_modern {
        stage.begins().await;
    }
    let (open, asked, questions) = Default::default();
    let mut storm = Storm { stage, is_modern, open, asked, questions };
    storm.says(1_000_000, "tools/list", json!({})).await;
    storm.stage.answer(1_000_000).await;
    // Who may have ended before a call came.
    let mut has_crashed = [false; 3];
    for (step, id) in steps.iter().zip(1_u64..) {
        let call = |member: usize, arguments: Value| json!({ "name": format!("{}__x", NAMES[member]), "arguments": arguments });
        match *step {
            Step::Call(member) => {
                storm.open.insert(id, ((!has_crashed[member]).then_some(NAMES[member]), false));
                storm.says(id, "tools/call", call(member, json!({}))).await;
            }
            Step::Hang(member) => {
                storm.open.insert(id, (None, true));
                storm.says(id, "tools/call", call(member, json!({ "do": "hang" }))).await;
            }
            Step::Crash(member) => {
                storm.open.insert(id, (None, false));
                has_crashed[member] = true;
                storm.says(id, "tools/call", call(member, json!({ "do": "crash" }))).await;
            }
            Step::Ask(member) => {
                storm.open.insert(id, (None, true));
                storm.says(id, "tools/call", call(member, asking(NAMES[member]))).await;
            }
            Step::Answer => storm.answers(id).await,
            Step::Cancel(which) => {
                let id = which as u64;
                if let Some((_, may_be_silent)) = storm.open.get_mut(&id) {
                    *may_be_silent = true;
                    storm.stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } })).await;
                }
            }
            Step::List => {
                storm.open.insert(id, (None, false));
                storm.says(id, "tools/list", json!({})).await;
            }
            Step::Wait(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                storm.reads().await;
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    storm.reads().await;
    storm.stage.to_mux.take().unwrap().shutdown().await.unwrap();
    while let Some(line) =
        tokio::time::timeout(HANGS, storm.stage.from_mux.next_line()).await.unwrap().unwrap()
    {
        storm.hears(&serde_json::from_str(&line).unwrap());
    }
    assert_eq!(storm.stage.session.await.unwrap(), Over::Client);
    storm.open.retain(|_, (_, may_be_silent)| !*may_be_silent);
    assert!(storm.open.is_empty(), "without an answer: {:?}", storm.open);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn each_request_has_one_answer_of_its_server(steps in steps(), is_modern in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(local(storm(steps, is_modern)));
    }
}
