//! What a journal's record is as a span, by OpenTelemetry's conventions for MCP. Pure: the same record is the same span.
//!
//! A span's id comes from its session and its record's number. So a span that is sent twice is still one span. A request
//! is a part of its client's trace if it says so. Else it is a trace of its own: a session lasts for days, and a trace as
//! long is of no use to anybody. `mcp.session.id` holds a session's traces together.

use jiff::{SignedDuration, Timestamp};
use mcp_berth::history::Record;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};
use sha2::{Digest, Sha256};

/// Of a name so much is told (characters).
const LONGEST: usize = 128;

/// W3C's flag of a trace that somebody keeps.
const SAMPLED: u32 = 1;

/// Whose spans they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    /// The session's id.
    pub(super) session: &'a str,
    pub(super) server: &'a str,
    pub(super) client: &'a str,
    pub(super) client_session: &'a str,
}

/// Where a request stands in its client's trace.
#[derive(Debug, PartialEq, Eq)]
struct Parent {
    trace: Vec<u8>,
    span: Vec<u8>,
    is_sampled: bool,
}

/// A request that has ended; `None`: its client's trace is not recorded.
pub(super) fn call(of: Of<'_>, seq: u64, record: &Record) -> Option<Span> {
    let parent = record.traceparent.as_deref().and_then(parent);
    if parent.as_ref().is_some_and(|parent| !parent.is_sampled) {
        return None;
    }
    let method = record.method.as_deref().unwrap_or_default();
    let tool = record.tool.as_deref();
    let name = tool.map_or_else(|| method.to_owned(), |tool| format!("{method} {tool}"));
    let outcome = record.outcome.as_deref().unwrap_or("ok");
    let code = record.code.map(|code| code.to_string());
    let error = (outcome != "ok").then(|| code.as_deref().unwrap_or(outcome));
    let mut attributes = about(of);
    let mut say = |key, value| attributes.extend(attribute(key, value));
    say("mcp.method.name", text(method));
    say("gen_ai.operation.name", tool.map(|_| Value::StringValue("execute_tool".to_owned())));
    say("gen_ai.tool.name", tool.and_then(text));
    say("jsonrpc.request.id", record.id.as_ref().and_then(|id| text(&id_of(id))));
    say("error.type", error.and_then(text));
    say("rpc.response.status_code", code.as_deref().and_then(text));
    say("berth.request.size", number(record.bytes));
    say("berth.response.size", number(record.answer_bytes));
    say("berth.relay.overhead", record.relay_us.map(|us| Value::DoubleValue(us / 1e6)));
    let named = |name: &Option<String>, length| name.as_deref().and_then(|name| id_from(name, length));
    let (remote, trace, parent) = match parent {
        Some(parent) => (SpanFlags::ContextIsRemoteMask as u32, parent.trace, parent.span),
        None => (0, named(&record.trace, 16).unwrap_or_else(|| trace_id(of.session, seq)), Vec::new()),
    };
    let mut span = Span {
        trace_id: trace,
        span_id: named(&record.span, 8).unwrap_or_else(|| span_id(of.session, seq)),
        parent_span_id: parent,
        name: clip(&name),
        kind: SpanKind::Server.into(),
        attributes,
        status: error.map(|error| Status { message: clip(error), code: StatusCode::Error.into() }),
        ..Span::default()
    };
    span.flags |= remote;
    Some(ended(span, record.time, record.latency_ms.unwrap_or_default()))
}

/// A server that was there: the record says how, and how long it took.
pub(super) fn start(of: Of<'_>, seq: u64, record: &Record) -> Span {
    let mut attributes = about(of);
    let mut say = |key, value| attributes.extend(attribute(key, value));
    say("berth.start.kind", record.how.as_deref().and_then(text));
    say("container.id", record.container.as_deref().and_then(text));
    let span = Span {
        trace_id: trace_id(of.session, seq),
        span_id: span_id(of.session, seq),
        name: clip(format!("start {}", of.server).trim_end()),
        kind: SpanKind::Internal.into(),
        attributes,
        ..Span::default()
    };
    ended(span, record.time, record.duration_ms.unwrap_or_default())
}

/// A step of the start that the record `start` ended, or one that came after it.
pub(super) fn step(of: Of<'_>, start: u64, seq: u64, name: &str, time: Timestamp, took_ms: f64) -> Span {
    let span = Span {
        trace_id: trace_id(of.session, start),
        span_id: span_id(of.session, seq),
        parent_span_id: span_id(of.session, start),
        name: clip(name),
        kind: SpanKind::Internal.into(),
        attributes: about(of),
        ..Span::default()
    };
    ended(span, time, took_ms)
}

/// Records are written when something has ended.
fn ended(span: Span, time: Timestamp, took_ms: f64) -> Span {
    let took = SignedDuration::try_from_secs_f64(took_ms.max(0.0) / 1e3).unwrap_or_default();
    let nanoseconds = |time: Timestamp| u64::try_from(time.as_nanosecond()).unwrap_or_default();
    Span {
        start_time_unix_nano: nanoseconds(time.checked_sub(took).unwrap_or(time)),
        end_time_unix_nano: nanoseconds(time),
        flags: span.flags | SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32,
        ..span
    }
}

fn about(of: Of<'_>) -> Vec<KeyValue> {
    let said = [
        ("mcp.session.id", of.session),
        ("network.transport", "pipe"),
        ("berth.server", of.server),
        ("berth.client", of.client),
        ("berth.client_session", of.client_session),
    ];
    said.into_iter().filter_map(|(key, value)| attribute(key, text(value))).collect()
}

/// What does not apply is not said.
fn attribute(key: &str, value: Option<Value>) -> Option<KeyValue> {
    let value = AnyValue { value: Some(value?) };
    Some(KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() })
}

fn text(said: &str) -> Option<Value> {
    (!said.is_empty()).then(|| Value::StringValue(clip(said)))
}

fn number(count: Option<u64>) -> Option<Value> {
    count.and_then(|count| i64::try_from(count).ok()).map(Value::IntValue)
}

fn clip(said: &str) -> String {
    said.chars().take(LONGEST).collect()
}

/// A string without its quotes.
fn id_of(id: &serde_json::Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// W3C Trace Context, of any version.
fn parent(traceparent: &str) -> Option<Parent> {
    let mut parts = traceparent.split('-');
    let [_, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let flags = u32::from_str_radix(flags, 16).ok()?;
    Some(Parent { trace: id_from(trace, 16)?, span: id_from(span, 8)?, is_sampled: flags & SAMPLED != 0 })
}

/// An id of so many bytes; zeros alone are none.
fn id_from(digits: &str, length: usize) -> Option<Vec<u8>> {
    if digits.len() != 2 * length || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    let id = (0..digits.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    id.iter().any(|byte| *byte != 0).then_some(id)
}

fn trace_id(session: &str, seq: u64) -> Vec<u8> {
    hash("trace", session, seq)[..16].to_vec()
}

fn span_id(session: &str, seq: u64) -> Vec<u8> {
    hash("span", session, seq)[..8].to_vec()
}

fn hash(what: &str, session: &str, seq: u64) -> [u8; 32] {
    Sha256::digest(format!("mcp-berth {what} {session} {seq}")).into()
}

#[cfg(test)]
mod tests;
