use std::collections::{BTreeMap, BTreeSet};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower_service::Service;

use super::*;
use crate::journals::Line;
use families::Kind;

/// A sample's name and labels, and its value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads `OpenMetrics` as the specification has it, as far as berth writes it; panics at anything else.
fn parse(text: &str) -> (BTreeMap<String, String>, Samples) {
    let body = text.strip_suffix("# EOF\n").expect("the end");
    let (mut types, mut samples) = (BTreeMap::new(), Samples::new());
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let [what, name, rest] = [(); 3].map(|()| words.next().expect("three words"));
            match what {
                "TYPE" => assert!(types.insert(name.to_owned(), rest.to_owned()).is_none(), "{line}"),
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                what => assert_eq!(what, "HELP"),
            }
            continue;
        }
        let named = line.find(['{', ' ']).expect("a name");
        let (name, mut rest) = line.split_at(named);
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, value) = rest.split_once("=\"").expect("a label");
                assert!(
                    !label.is_empty() && label.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                    "{line}"
                );
                let (mut text, mut chars) = (String::new(), value.char_indices());
                let end = loop {
                    match chars.next().expect("a quote").1 {
                        '"' => break chars.offset(),
                        '\\' => match chars.next().expect("a character").1 {
                            'n' => text.push('\n'),
                            c @ ('\\' | '"') => text.push(c),
                            c => panic!("`\\{c}`: {line}"),
                        },
                        c => text.push(c),
                    }
                };
                assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
                rest = &value[end..];
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            rest = &rest[1..];
        }
        let value = rest.strip_prefix(' ').expect("a blank").parse().expect("a number");
        assert!(samples.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
    }
    (types, samples)
}

fn metrics(folder: &std::path::Path) -> Arc<Metrics> {
    Metrics::open(folder, Arc::default(), Arc::default()).unwrap()
}

fn give(metrics: &Metrics, lines: &[&str]) {
    let mut sink = metrics.sink();
    for (seq, line) in (1..).zip(lines) {
        let record = mcp_berth::history::Record::parse(line.as_bytes()).expect(line);
        sink.take(Line { session: "aaaaaaaaaaaa", seq, record: &record }).unwrap();
    }
    sink.commit().unwrap();
}

const HOSTILE: &str = "a\"} 1\nmcp_server_operation_duration_seconds_count{x=\"\\";

#[test]
fn the_text_is_openmetrics_whatever_names_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = metrics(folder.path());
    let call = serde_json::json!({
        "time": "2026-11-28T10:00:00Z", "kind": "call", "method": "tools/call", "tool": HOSTILE, "latency_ms": 15.0,
        "outcome": "ok",
    });
    let start =
        "{\"time\":\"2026-11-28T10:00:00Z\",\"kind\":\"start\",\"server\":\"files\",\"client\":\"codex\"}";
    give(&metrics, &[start, &call.to_string(), &call.to_string()]);
    let (types, samples) = parse(&metrics.text(Format::OpenMetrics).unwrap());
    assert_eq!(types.len(), ALL.len());
    for family in ALL {
        let shown = family.shown();
        let name = ["_total", "_info"].iter().find_map(|end| shown.strip_suffix(end)).unwrap_or(&shown);
        assert_eq!(types[name], family.kind.metric_type().as_str(), "{name}");
    }
    let of = |end: &str| {
        let name = format!("mcp_server_operation_duration_seconds_{end}");
        samples.iter().filter(move |((sample, _), _)| *sample == name)
    };
    let ((_, labels), count) = of("count").next().unwrap();
    assert_eq!((*count, of("count").count(), of("bucket").count()), (2.0, 1, 15));
    assert_eq!(labels["gen_ai_tool_name"], HOSTILE.replace('\n', "\u{fffd}"));
    assert!(!labels.contains_key("error_type"), "an empty label is none");
    let bucket = |le: &str| of("bucket").find(|((_, labels), _)| labels["le"] == le).map(|(_, count)| *count);
    assert_eq!([bucket("0.01"), bucket("0.02"), bucket("+Inf")], [Some(0.0), Some(2.0), Some(2.0)]);
    for name in ["berth_daemon_up", "berth_orphans_removed_total"] {
        assert_eq!(samples.get(&(name.to_owned(), BTreeMap::new())), Some(&0.0), "{name}");
    }
    assert!(!format!("{samples:?}").contains("aaaaaaaaaaaa"), "no session is a label");
}

#[tokio::test]
async fn a_reader_gets_the_format_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let mut router = metrics(folder.path()).router();
    for (accept, kind, begins) in [
        (
            "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
            "application/openmetrics-text",
            "mcp_server",
        ),
        ("*/*", "text/plain", "mcp_server"),
    ] {
        let request = Request::get("/metrics").header("accept", accept).body(Body::empty()).unwrap();
        let answer = router.call(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(kind));
        let text = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.starts_with(&format!("# HELP {begins}")), "{text}");
        assert_eq!(text.ends_with("# EOF\n"), kind.contains("openmetrics"));
    }
}

/// The names of metrics in an expression: words that are neither a label, nor a function, nor in quotes.
fn named(expression: &str) -> BTreeSet<String> {
    let outside: String = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = outside.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("berth_") || word.starts_with("mcp_server_"))
        .map(str::to_owned)
        .collect()
}

fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().filter(|_| name == "expr") {
                    Some(expression) => found.push(expression.to_owned()),
                    None => expressions(value, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// What a person looks up in the manual rather than on a dashboard.
const NOT_SHOWN: [&str; 3] = ["berth_manager_info", "berth_message_bytes_total", "berth_otlp_dropped_total"];

#[test]
fn the_dashboard_shows_the_metrics_that_there_are() {
    let dashboard = include_str!("../../../fixtures/grafana/berth.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let shown: BTreeSet<String> = found.iter().flat_map(|expression| named(expression)).collect();
    let exposed: BTreeSet<String> = ALL
        .iter()
        .flat_map(|family| {
            let name = family.shown();
            match family.kind {
                Kind::Histogram(_) => {
                    ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec()
                }
                _ => vec![name],
            }
        })
        .collect();
    let unknown: Vec<_> = shown.difference(&exposed).collect();
    assert!(unknown.is_empty(), "nobody tells {unknown:?}");
    let missing: Vec<String> = ALL
        .iter()
        .map(|family| family.shown())
        .filter(|name| {
            !["", "_bucket", "_sum", "_count"].iter().any(|end| shown.contains(&format!("{name}{end}")))
        })
        .filter(|name| !NOT_SHOWN.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
}
