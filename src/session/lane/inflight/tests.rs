use serde_json::json;

use super::*;
use crate::rpc::raw::Raw;
use crate::rpc::{Look, look};

fn insert(table: &InFlight, line: &str) {
    let Look::One(envelope) = look(line.as_bytes()).unwrap() else { panic!("one message") };
    table.insert(&envelope, None);
}

fn key(json: &str) -> RequestId {
    RequestId::from_raw(Raw::parse(json).unwrap()).unwrap()
}

#[test]
fn an_answer_completes_its_request_however_the_id_is_spelt() {
    let table = InFlight::default();
    insert(&table, r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#);
    insert(&table, r#"{"jsonrpc":"2.0","id":"1","method":"b"}"#);
    assert_eq!(table.complete(&key("1.0")).unwrap().id.as_bytes(), b"1");
    assert!(table.complete(&key("1")).is_none(), "answered once");
    assert_eq!(table.drain().len(), 1, "the string id is another request");
}

#[test]
fn only_what_is_known_to_be_something_else_is_no_list_of_tools() {
    let table = InFlight::default();
    insert(&table, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    insert(&table, r#"{"jsonrpc":"2.0","id":"1","method":"tools/call"}"#);
    insert(&table, r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    insert(&table, r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#);
    let may = |json: &str| table.may_list_tools(Some(&key(json)));
    assert!(may("1") && may("1.0"));
    assert!(!may(r#""1""#), "a call");
    assert!(may("2"), "either of two");
    assert!(may("3") && table.may_list_tools(None), "unasked");
}

#[test]
fn a_late_answer_to_what_was_cancelled_is_known_once() {
    let table = InFlight::default();
    insert(&table, r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#);
    table.cancel(&key("1"));
    table.cancel(&key("2"));
    assert!(table.drain().is_empty());
    assert!(table.was_cancelled(&key("1")));
    assert!(!table.was_cancelled(&key("1")), "what comes then is a second answer");
    assert!(!table.was_cancelled(&key("2")), "was never asked");
}

#[test]
fn draining_gives_the_oldest_first_and_leaves_nothing() {
    let table = InFlight::default();
    for id in 0..50 {
        insert(&table, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#));
    }
    let ids: Vec<String> = table.drain().iter().map(|pending| pending.id.to_string()).collect();
    assert_eq!(ids, (0..50).map(|id| id.to_string()).collect::<Vec<_>>());
    assert!(table.drain().is_empty());
}

#[test]
fn only_a_subscription_that_held_is_over_in_order_and_with_its_session_alone() {
    let table = InFlight::default();
    for id in [1, 2] {
        insert(&table, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen"}}"#));
    }
    table.acknowledge(&key("2"));
    let failure = Failure { code: crate::failure::Code::Unavailable, text: "gone".into(), next: None };
    let lost = table.pending.get(&key("2")).unwrap().answer(&failure);
    assert!(String::from_utf8_lossy(&lost).contains("\"error\""), "{lost:?}");
    let answers: Vec<Bytes> = table.drain().iter().map(|pending| pending.farewell(&failure)).collect();
    let text = |n: usize| String::from_utf8_lossy(&answers[n]).into_owned();
    assert!(text(0).contains("\"error\""), "{}", text(0));
    let error = &serde_json::from_slice::<serde_json::Value>(&answers[0]).unwrap()["error"];
    assert_eq!(
        error,
        &json!({ "code": 69, "message": "berth: gone", "data": { "cause": "gone", "next": null } })
    );
    assert!(text(1).contains("\"complete\""), "{}", text(1));
}

#[test]
fn what_a_lost_server_still_owed_is_forgotten_with_it() {
    let table = InFlight::default();
    for id in 0..CANCELLED + 2 {
        insert(&table, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#));
        table.cancel(&key(&id.to_string()));
    }
    assert!(
        table.was_cancelled(&key(&CANCELLED.to_string())),
        "the last ones are known, however many there were"
    );
    table.forget();
    assert!(!table.was_cancelled(&key(&(CANCELLED + 1).to_string())));
    insert(&table, r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#);
    assert!(!table.has_answered());
    table.complete(&key("1"));
    assert!(table.has_answered());
}

#[test]
fn it_is_bounded() {
    let table = InFlight::default();
    for id in 0..CAPACITY {
        assert!(table.has_room());
        insert(&table, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#));
    }
    assert!(!table.has_room());
}
