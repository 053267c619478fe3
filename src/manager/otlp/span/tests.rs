use std::collections::BTreeMap;

use super::*;

const OF: Of<'_> = Of { session: "aaaaaaaaaaaa", server: "files", client: "codex", client_session: "" };

fn record(members: &str) -> Record {
    let line = format!("{{\"time\":\"2026-11-28T10:00:00.5Z\",{members}}}");
    Record::parse(line.as_bytes()).expect("a record")
}

fn call_of(members: &str) -> Option<Span> {
    call(OF, 7, &record(&format!("\"kind\":\"call\",\"method\":\"tools/call\",\"tool\":\"read\",{members}")))
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let said = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    span.attributes.iter().map(|attribute| (attribute.key.as_str(), said(attribute))).collect()
}

#[test]
fn a_call_is_a_servers_span_that_ends_when_its_record_was_made() {
    let span =
        call_of("\"latency_ms\":250.5,\"bytes\":100,\"answer_bytes\":1000,\"outcome\":\"ok\"").unwrap();
    assert_eq!((span.name.as_str(), span.kind), ("tools/call read", SpanKind::Server.into()));
    assert_eq!(span.end_time_unix_nano, 1_795_860_000_500_000_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 250_500_000);
    assert_eq!((span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()), (16, 8, 0));
    assert_eq!((span.flags, span.status.clone()), (0x101, None));
    let expected = [
        ("berth.client", "codex"),
        ("berth.request.size", "100"),
        ("berth.response.size", "1000"),
        ("berth.server", "files"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "read"),
        ("mcp.method.name", "tools/call"),
        ("mcp.session.id", "aaaaaaaaaaaa"),
        ("network.transport", "pipe"),
    ];
    assert_eq!(attributes(&span), expected.map(|(key, value)| (key, value.to_owned())).into());
    let list = call(OF, 8, &record("\"kind\":\"call\",\"method\":\"tools/list\",\"latency_ms\":1")).unwrap();
    assert_eq!(list.name, "tools/list");
    assert!(!attributes(&list).contains_key("gen_ai.operation.name"));
    assert_ne!((list.trace_id, list.span_id), (span.trace_id, span.span_id), "each call is a trace");
}

#[test]
fn a_failure_has_a_status_and_its_kind() {
    for (outcome, error, code) in [
        ("\"tool_error\"", "tool_error", None),
        ("\"timeout\"", "timeout", None),
        ("\"error\",\"code\":-32602", "-32602", Some("-32602")),
    ] {
        let span = call_of(&format!("\"outcome\":{outcome}")).unwrap();
        let attributes = attributes(&span);
        assert_eq!(attributes.get("error.type").map(String::as_str), Some(error));
        assert_eq!(attributes.get("rpc.response.status_code").map(String::as_str), code);
        let status = span.status.unwrap();
        assert_eq!((status.code, status.message.as_str()), (StatusCode::Error.into(), error));
    }
}

#[test]
fn a_call_is_a_part_of_its_clients_trace() {
    let parent = "\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"";
    let span = call_of(parent).unwrap();
    assert_eq!(mcp_berth::human::hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(mcp_berth::human::hex(&span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(span.flags, 0x301, "the parent is elsewhere");
    let named =
        call_of(&format!("{parent},\"span\":\"00f067aa0ba902b7\",\"relay_us\":25.5,\"id\":\"x\"")).unwrap();
    assert_eq!(mcp_berth::human::hex(&named.span_id), "00f067aa0ba902b7", "the server knows it by that");
    let said = attributes(&named);
    assert_eq!(
        (said["berth.relay.overhead"].as_str(), said["jsonrpc.request.id"].as_str()),
        ("0.0000255", "x")
    );
    let begun = "\"trace\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"span\":\"00f067aa0ba902b7\",\"id\":3";
    let begun = call_of(begun).unwrap();
    assert_eq!(mcp_berth::human::hex(&begun.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((begun.parent_span_id.len(), attributes(&begun)["jsonrpc.request.id"].as_str()), (0, "3"));
}

#[test]
fn a_trace_that_its_client_does_not_keep_is_not_told() {
    let parent = |flags: &str| {
        format!("\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}\"")
    };
    assert!(call_of(&parent("00")).is_none());
    assert!(call_of(&parent("02")).is_none());
    assert!(call_of(&parent("03")).is_some());
}

#[test]
fn what_is_no_id_is_not_used() {
    let own = call_of("\"outcome\":\"ok\"").unwrap();
    for wrong in [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-é7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c",
        "",
    ] {
        let span = call_of(&format!("\"traceparent\":\"{wrong}\",\"span\":\"x\",\"trace\":\"ééé\"")).unwrap();
        assert_eq!((&span.trace_id, &span.span_id), (&own.trace_id, &own.span_id), "{wrong}");
        assert!(span.parent_span_id.is_empty());
    }
}

#[test]
fn names_are_short_and_times_cannot_be_wrong() {
    let long = "é".repeat(100_000);
    let call_of = |latency: &str| {
        let members =
            format!("\"kind\":\"call\",\"method\":\"{long}\",\"tool\":\"{long}\",\"latency_ms\":{latency}");
        call(OF, 7, &record(&members)).unwrap()
    };
    let span = call_of("1e300");
    assert_eq!(span.name.chars().count(), LONGEST);
    assert!(prost::Message::encoded_len(&span) < 2000);
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    let early = call_of("-5");
    assert_eq!(early.start_time_unix_nano, early.end_time_unix_nano);
}

#[test]
fn a_start_has_its_steps_as_children() {
    let up = record("\"kind\":\"up\",\"how\":\"cold\",\"duration_ms\":1000,\"container\":\"c0ffee\"");
    let start = start(OF, 9, &up);
    assert_eq!((start.name.as_str(), start.kind), ("start files", SpanKind::Internal.into()));
    assert_eq!(start.end_time_unix_nano - start.start_time_unix_nano, 1_000_000_000);
    assert_eq!(attributes(&start)["berth.start.kind"], "cold");
    let step = step(OF, 9, 5, "start the server", up.time, 20.0);
    assert_eq!((&step.trace_id, &step.parent_span_id), (&start.trace_id, &start.span_id));
    assert_ne!(step.span_id, start.span_id);
}
