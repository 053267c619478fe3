//! Lines of requests.

use super::*;
use crate::observe::{Arrival, Call, Returning, TraceContext};

fn call(journal: &Journal, line: &str) -> Option<Call> {
    arrives(journal, line, Arrival::default())
}

fn arrives(journal: &Journal, line: &str, arrival: Arrival<'_>) -> Option<Call> {
    let look = crate::rpc::look(line.as_bytes()).unwrap();
    let trace = crate::observe::Trace::off().with_journal(Some(journal.clone()));
    trace.call(&look.envelopes()[0], line.len(), arrival)
}

const ASKS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t-hunter2","arguments":{"a":"secret"}}}"#;

#[tokio::test(start_paused = true)]
async fn each_request_has_a_line_with_its_end_and_none_of_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    let answers = [
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"content"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"content"}}"#,
    ];
    for answer in answers {
        let look = crate::rpc::look(answer.as_bytes()).unwrap();
        Returning::default().add(call(&journal, ASKS).unwrap(), &look.envelopes()[0], answer.len());
    }
    call(&journal, ASKS).unwrap().ended(crate::observe::Outcome::TimedOut);
    drop(call(&journal, ASKS));
    flush(&journal);
    assert!(!path(folder.path(), "abc").exists(), "they wait for others");
    tokio::time::sleep(SECOND).await;
    flush(&journal);
    let records = records(folder.path(), "abc");
    let outcomes: Vec<_> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["ok", "tool_error", "error", "timeout", "lost"]);
    assert_eq!((&records[2]["code"], &records[0]["bytes"]), (&json!(-32602), &json!(ASKS.len())));
    assert_eq!(records[0]["answer_bytes"], answers[0].len());
    let text = fs::read_to_string(path(folder.path(), "abc")).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("content") && !text.contains("\"a\""), "{text}");
}

#[test]
fn a_request_says_of_which_trace_it_is_a_part() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let asks = |method: &str, trace: &str| {
        let params = json!({ "name": "t", "_meta": { "a": {}, "traceparent": trace }, "uri": "u" });
        drop(call(&journal, &json!({ "id": 1, "method": method, "params": params }).to_string()));
    };
    asks("tools/call", trace);
    asks("resources/read", trace);
    asks("tools/call", &trace.to_uppercase());
    asks("tools/call", &trace.replace("-01", "-01-content"));
    flush(&journal);
    let records = records(folder.path(), "abc");
    let traces: Vec<_> = records.iter().map(|record| record["traceparent"].as_str()).collect();
    assert_eq!(traces, [Some(trace), Some(trace), None, None]);
    let tools: Vec<_> = records.iter().map(|record| record["tool"].as_str()).collect();
    assert_eq!(tools, [Some("t"), None, Some("t"), Some("t")]);
}

#[test]
fn a_request_says_how_long_berth_took_beside_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let look = crate::rpc::look(answer.as_bytes()).unwrap();
    let now = Instant::now();
    let ago = |seconds: u64| now.checked_sub(Duration::from_secs(seconds));
    let begins = |handed: bool| {
        let call = arrives(&journal, ASKS, Arrival { at: ago(1000), context: None }).unwrap();
        let mut handing = crate::observe::Handing::default();
        handing.add(Some(&call));
        if !handed {
            handing.forget();
        }
        (call, handing)
    };
    let answers = |call, came: Option<Instant>| {
        let mut returning = Returning::default();
        returning.at = came;
        returning.add(call, &look.envelopes()[0], answer.len());
        returning.leave();
        returning.done();
    };
    // Asked 1000 s ago and answered 400 s ago, by a server that had it just now; so all of the time was berth's.
    let (call, mut handing) = begins(true);
    handing.done();
    answers(call, ago(400));
    // It waited for its server; it was lost.
    answers(begins(false).0, ago(400));
    let (call, mut handing) = begins(true);
    handing.done();
    drop(call);
    flush(&journal);
    let records = records(folder.path(), "abc");
    let seconds: Vec<_> =
        records.iter().map(|it| it["relay_us"].as_f64().map(|us| (us / 1e6).floor())).collect();
    assert_eq!(seconds, [Some(1400.0), None, None]);
    let latency: Vec<_> =
        records.iter().map(|it| (it["latency_ms"].as_f64().unwrap() / 1e3).floor()).collect();
    assert_eq!(latency, [600.0, 600.0, 1000.0], "up to the answer, or to what ended it");
}

#[test]
fn a_request_names_berths_span_and_the_trace_that_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for of_client in [Some(parent), None] {
        let context = TraceContext::new(of_client, (0xab, 0xcd));
        drop(arrives(&journal, ASKS, Arrival { at: None, context: Some(&context) }));
    }
    drop(call(&journal, ASKS));
    flush(&journal);
    let records = records(folder.path(), "abc");
    let members: Vec<_> = records.iter().map(|it| (it["span"].as_str(), it["trace"].as_str())).collect();
    let (span, trace) = (format!("{:016x}", 0xab), format!("{:032x}", 0xcd));
    assert_eq!(members, [(Some(&*span), None), (Some(&*span), Some(&*trace)), (None, None)]);
}

#[test]
fn requests_before_the_end_stand_before_it_and_a_flood_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    let asked = 20_000;
    // Without a runtime nobody comes back for them: each is written at once, or counted.
    for _ in 0..asked {
        drop(call(&journal, ASKS));
    }
    flush(&journal);
    journal.end(&End::default());
    flush(&journal);
    let records = records(folder.path(), "abc");
    assert_eq!(records.last().unwrap()["kind"], "end");
    let written = records.iter().filter(|record| record["kind"] == "call").count() as u64;
    let missing: u64 = records
        .iter()
        .filter(|record| record["kind"] == "dropped")
        .map(|record| record["count"].as_u64().unwrap())
        .sum();
    assert_eq!(written + missing, asked);
    assert!(missing > 0 && written > 0, "{written} {missing}");
}

#[test]
fn a_history_of_events_alone_has_no_requests() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::begin(folder.path(), "abc", Redactor::new([]), false);
    assert!(call(&journal, ASKS).is_none());
}
