//! The sessions that there are, and the end of one of them by hand.

use serde_json::{Value, json};

use crate::harness::{Place, expect_gone};

#[test]
#[ignore = "needs a cluster"]
fn ps_shows_a_session_and_kill_ends_it_and_no_other() {
    let place = Place::new("roster");
    let mut ended = place.run("fixture").client("roster").started();
    let mut other = place.run("fixture").client("roster-bystander").started();
    let pod = ended.container();
    let (code, out, err) = place.says(&["ps", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<Value> = serde_json::from_str(&out).expect("JSON");
    let row = rows.iter().find(|row| row["client"] == "roster").unwrap_or_else(|| panic!("{out}"));
    assert!(row.to_string().contains(&pod), "{row}");
    let call = json!({ "name": "sleep", "arguments": { "ms": 60_000 } });
    ended.send(&json!({ "jsonrpc": "2.0", "id": "in flight", "method": "tools/call", "params": call }));
    let (code, out, err) = place.says(&["kill", &pod]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(&pod), "{out}");
    let answer = ended.answer("in flight");
    let why = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("was ended by `berth kill`"), "{answer}");
    assert_eq!(ended.exit_code(), Some(69));
    expect_gone("roster");
    assert_eq!(other.call_text("echo", json!({ "text": "untouched" })), "untouched");
}
