use std::fmt::Write;

use super::*;
use crate::history::Lines;

const RECOVERY: &str = include_str!("../../../fixtures/transcripts/recovery.jsonl");

fn summary(text: &str) -> Summary {
    let mut timeline = Timeline::default();
    let mut lines = Lines::new(text.as_bytes());
    timeline.read(&mut lines, |_| Ok(())).unwrap();
    timeline.rest(&mut lines);
    timeline.summary()
}

#[test]
fn a_recorded_session_comes_to_what_happened_in_it() {
    let summary = summary(RECOVERY);
    assert_eq!((summary.records, summary.broken, summary.dropped, summary.sessions), (22, 2, 5, 1));
    let names: Vec<&str> = summary.starts[0].steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["connect for the container", "create, start and attach"]);
    assert_eq!((summary.starts[0].ms, summary.starts[0].lost_ms), (100.0, None));
    assert_eq!(summary.later.len(), 1, "what comes after it is no part of the start");
    assert_eq!((summary.starts.len(), summary.starts[1].lost_ms), (2, Some(250.0)));
    assert_eq!((summary.recoveries, summary.recovering_ms), (1, 250.0));

    // A batch's bytes are counted once.
    assert_eq!(summary.client_to_server, Passed { messages: 8, bytes: 100 + 50 + 70 + 300 + 70 + 70 + 40 });
    assert_eq!(summary.server_to_client, Passed { messages: 5, bytes: 200 + 80 + 60 + 40 + 90 });

    let slowest: Vec<_> =
        summary.slowest.iter().map(|call| (call.tool.as_deref(), call.ms.unwrap().round())).collect();
    assert_eq!(slowest[0], (Some("quick"), 1001.0), "answered by berth, when its server was gone");
    assert_eq!(slowest[1], (Some("slow"), 1000.0), "the server's own request has the same id");
    assert_eq!((slowest[2], slowest[3]), ((None, 150.0), (None, 5.0)));
    let codes: Vec<_> = summary.last_errors.iter().map(|call| call.code.unwrap()).collect();
    assert_eq!((summary.errors, codes), (2, vec![-32601, 69]));
    let unanswered: Vec<String> = summary.first_unanswered.iter().map(|call| call.id.to_string()).collect();
    assert_eq!((summary.unanswered, unanswered), (2, vec!["2".to_owned(), "5".to_owned()]));
    assert_eq!(summary.cancellations, 1);
    assert_eq!(summary.notes, BTreeMap::from([("our answer".to_owned(), 1), ("server ended".to_owned(), 1)]));

    let mut shown = Vec::new();
    show::write(&mut shown, &summary).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    for line in [
        "2 broken lines skipped",
        "client -> server: 8 messages, 700 B",
        "start of time: cold, 100.0 ms",
        "  create, start and attach           |   =============================|    90.0 ms  c0ffee",
        "  250.0 ms after the loss of the one before",
        "recoveries: 1, 250.0 ms without a server",
        "tools/call slow id=2",
        "unanswered: 2 (cancellations: 1), the first",
    ] {
        assert!(shown.contains(line), "{line:?} in\n{shown}");
    }
}

#[test]
fn percentiles_are_right_to_a_twentieth() {
    let mut text = String::new();
    for n in 1..=1000 {
        let time = "2026-11-22T10:00:00Z";
        let call = r#""direction":"client->server","kind":"request","method":"m""#;
        let answer = r#""direction":"server->client","kind":"response""#;
        writeln!(text, r#"{{"time":"{time}",{call},"id":{n}}}"#).unwrap();
        writeln!(text, r#"{{"time":"{time}",{answer},"id":{n},"latency_ms":{n}}}"#).unwrap();
    }
    let row = summary(&text).methods.remove(0);
    let near = |found: Option<f64>, right: f64| (found.unwrap() / right - 1.0).abs() < 0.05;
    assert!(near(row.p50_ms, 500.0) && near(row.p99_ms, 990.0), "{row:?}");
    assert_eq!((row.count, row.max_ms), (1000, Some(1000.0)));
}

#[test]
fn what_is_kept_of_a_trace_without_end_is_bounded() {
    let mut timeline = Timeline::default();
    for n in 0..40_000 {
        let common = format!(r#""time":"2026-11-22T10:00:00Z","session":"s{n}""#);
        for rest in [
            format!(r#""direction":"client->server","kind":"request","method":"m{n}","id":{n}"#),
            format!(r#""kind":"step","name":"s{n}""#),
            format!(r#""kind":"note","name":"n{n}""#),
            format!(r#""direction":"client->server","kind":"notification","method":"o{n}""#),
            r#""kind":"up","how":"cold""#.to_owned(),
        ] {
            timeline.take(Record::parse(format!("{{{common},{rest}}}").as_bytes()).unwrap());
        }
    }
    assert!(timeline.waiting.len() <= WAITING && timeline.sessions.len() <= WAITING + 1);
    let summary = timeline.summary();
    assert_eq!(summary.unanswered, 40_000, "each is counted");
    assert!(summary.methods.len() <= 201 && summary.notes.len() <= NOTES && summary.starts.len() <= STARTS);
    assert_eq!(summary.first_unanswered.len(), LISTED);
}
