//! A request and what became of it: a line of the session's history.
//!
//! Whoever holds a [`Call`] says how it ended; one that is let go without a word was lost.

use std::time::{Duration, Instant};

use super::Journal;
use super::outcome::{CallRecord, NAME, Outcome};
use crate::rpc::envelope::{Envelope, Kind};
use crate::rpc::raw::{self, Raw};

/// A longer result is not searched for `isError` (bytes).
const SEARCHED: usize = 64 << 10;

/// A request that is open.
#[derive(Debug)]
pub struct Call {
    journal: Journal,
    record: Option<Box<CallRecord>>,
}

impl Call {
    pub(super) fn begin(journal: Journal, request: &Envelope<'_>, bytes: usize) -> Self {
        // What follows may belong to a secret that begins before.
        let kept = NAME + journal.margin();
        let cut = |text: &str| text.chars().take(kept).collect();
        let (tool, traceparent) = said(request);
        let record = CallRecord {
            method: cut(request.method.as_deref().unwrap_or_default()),
            tool: tool.as_deref().map(cut),
            traceparent,
            since: Instant::now(),
            asked: bytes,
            answered: 0,
            outcome: Outcome::Lost,
            took: Duration::ZERO,
            ended: jiff::Timestamp::UNIX_EPOCH,
        };
        Self { journal, record: Some(Box::new(record)) }
    }

    /// The server's answer, in a line of so many bytes.
    pub fn answered(mut self, answer: &Envelope<'_>, bytes: usize) {
        let outcome = match answer.kind {
            Kind::ErrorResponse => Outcome::Error(code(answer)),
            _ if is_error(answer) => Outcome::ToolError,
            _ => Outcome::Answered,
        };
        if let Some(record) = &mut self.record {
            (record.outcome, record.answered) = (outcome, bytes);
        }
    }

    /// It ended without the server.
    pub fn ended(mut self, outcome: Outcome) {
        if let Some(record) = &mut self.record {
            record.outcome = outcome;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.took = record.since.elapsed();
            record.ended = jiff::Timestamp::now();
            self.journal.call(*record);
        }
    }
}

/// Which tool a request calls, and of which trace it is a part (SEP-414): its parameters are read once.
fn said(request: &Envelope<'_>) -> (Option<String>, Option<Box<str>>) {
    let (mut name, mut meta) = (None, None);
    let read = |params| {
        raw::members(params, |key, value| match raw::string(key).as_deref() {
            Some("name") => name = Some(value),
            Some("_meta") => meta = Some(value),
            _ => {}
        })
    };
    if request.params.and_then(read).is_none() {
        return (None, None);
    }
    let is_call = request.kind == Kind::Request && request.method.as_deref() == Some("tools/call");
    let tool = name.filter(|_| is_call).and_then(|name| serde_json::from_str(name.get()).ok());
    let traceparent = meta.and_then(|meta| raw::string(raw::member(meta, "traceparent")?));
    (tool, traceparent.filter(|text| is_traceparent(text)).map(Into::into))
}

/// W3C's form, `VERSION-TRACE-SPAN-FLAGS` in hexadecimal digits.
fn is_traceparent(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([2, 32, 16, 2])
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
        && !text.starts_with("ff")
}

/// Which tool is called: its name is no more of a content than its method is.
pub(super) fn tool(envelope: &Envelope<'_>) -> Option<String> {
    if envelope.kind != Kind::Request || envelope.method.as_deref() != Some("tools/call") {
        return None;
    }
    serde_json::from_str(raw::member(envelope.params?, "name")?.get()).ok()
}

/// The code of an error object.
pub(super) fn code(envelope: &Envelope<'_>) -> Option<i64> {
    raw::member(envelope.error?, "code").map(Raw::get)?.parse().ok()
}

fn is_error(answer: &Envelope<'_>) -> bool {
    let result = answer.result.filter(|result| result.get().len() <= SEARCHED);
    result.and_then(|result| raw::member(result, "isError")).is_some_and(|flag| flag.get() == "true")
}
