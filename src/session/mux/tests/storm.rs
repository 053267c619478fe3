//! For any order of calls, cancellations and deaths each request gets exactly one answer, from the right server.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Call(usize),
    Hang(usize),
    Crash(usize),
    Ask(usize),
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
            1 => (0..40_usize).prop_map(Step::Cancel),
            1 => Just(Step::List),
            2 => (0..9000_u64).prop_map(Step::Wait),
        ],
        1..40,
    )
}

async fn storm(steps: Vec<Step>) {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let mut set = Set::of(NAMES.map(|name| Played::new(name, &["x"])).into());
    set.idle = Some(Duration::from_secs(5));
    let mut stage = set.stage();
    stage.begins().await;
    stage.asks(1_000_000, "tools/list", json!({})).await;
    // By id: whose answer it has to be, and whether there may be none.
    let mut open: BTreeMap<u64, (Option<&str>, bool)> = BTreeMap::new();
    // Who may have ended before a call came.
    let mut has_crashed = [false; 3];
    for (step, id) in steps.iter().zip(1_u64..) {
        let call = |member: usize, arguments: Value| {
            json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
                "params": { "name": format!("{}__x", NAMES[member]), "arguments": arguments } })
        };
        match *step {
            Step::Call(member) => {
                open.insert(id, ((!has_crashed[member]).then_some(NAMES[member]), false));
                stage.says(call(member, json!({}))).await;
            }
            Step::Hang(member) => {
                open.insert(id, (None, true));
                stage.says(call(member, json!({ "do": "hang" }))).await;
            }
            Step::Crash(member) => {
                open.insert(id, (None, false));
                has_crashed[member] = true;
                stage.says(call(member, json!({ "do": "crash" }))).await;
            }
            Step::Ask(member) => {
                open.insert(id, (None, true));
                let params = json!({ "what": id });
                stage
                    .says(call(
                        member,
                        json!({ "do": "ask", "method": "sampling/createMessage", "params": params }),
                    ))
                    .await;
            }
            Step::Cancel(which) => {
                let id = which as u64;
                if let Some((_, may_be_silent)) = open.get_mut(&id) {
                    *may_be_silent = true;
                    stage.says(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } })).await;
                }
            }
            Step::List => {
                open.insert(id, (None, false));
                stage.says(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" })).await;
            }
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (said, over) = stage.leaves().await;
    assert_eq!(over, Over::Client);
    let mut questions = std::collections::BTreeSet::new();
    for message in said {
        if message.get("method").is_some() {
            if let Some(id) = message["id"].as_u64() {
                assert!(questions.insert(id), "one id for two questions: {message}");
            }
            continue;
        }
        let id = message["id"].as_u64().unwrap_or_else(|| panic!("whose is {message}?"));
        let (server, _) =
            open.remove(&id).unwrap_or_else(|| panic!("answered twice, or never asked: {message}"));
        if let Some(server) = server {
            assert_eq!(message["result"]["content"][0]["text"], format!("{server}:x"), "{message}");
        }
    }
    open.retain(|_, (_, may_be_silent)| !*may_be_silent);
    assert!(open.is_empty(), "without an answer: {open:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn each_request_has_one_answer_of_its_server(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(local(storm(steps)));
    }
}
