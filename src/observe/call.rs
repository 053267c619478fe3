//! A request and what became of it: a line of the session's history.
//!
//! Whoever holds a [`Call`] says how it ended; one that is let go without a word was lost. One that the server has answered
//! is held until its answer is on the way to the client: its line tells how long berth itself took. The writes do not count,
//! for whoever is woken by one may run before it returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Journal;
use super::context::{TraceContext, is_traceparent};
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

/// How a request came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrival<'a> {
    /// When its line came from the client.
    pub at: Option<Instant>,
    /// Where berth gives it one.
    pub context: Option<&'a TraceContext>,
}

/// Requests on their way to the server: when they are written, each is told.
#[derive(Debug, Default)]
pub struct Handing(Vec<(Instant, Arc<AtomicU64>)>);

/// Calls whose answers are on their way to the client; they end when this lets them go.
#[derive(Debug, Default)]
pub struct Returning {
    /// When the server's answers came.
    pub at: Option<Instant>,
    calls: Vec<Call>,
}

impl Call {
    pub(super) fn begin(
        journal: Journal,
        request: &Envelope<'_>,
        bytes: usize,
        Arrival { at, context }: Arrival<'_>,
    ) -> Self {
        // What follows may belong to a secret that begins before.
        let kept = NAME + journal.margin();
        let cut = |text: &str| text.chars().take(kept).collect();
        let (tool, traceparent) = said(request);
        let record = CallRecord {
            method: cut(request.method.as_deref().unwrap_or_default()),
            tool: tool.as_deref().map(cut),
            traceparent,
            context: context.cloned(),
            since: at.unwrap_or_else(Instant::now),
            handed: Arc::default(),
            answered_at: None,
            asked: bytes,
            answered: 0,
            outcome: Outcome::Lost,
            took: Duration::ZERO,
            returned: None,
            ended: jiff::Timestamp::UNIX_EPOCH,
        };
        Self { journal, record: Some(Box::new(record)) }
    }

    /// The server's answer, in a line of so many bytes that came at `at`. The call ends when it is let go.
    fn is_answered(&mut self, answer: &Envelope<'_>, bytes: usize, at: Option<Instant>) {
        let outcome = match answer.kind {
            Kind::ErrorResponse => Outcome::Error(code(answer)),
            _ if is_error(answer) => Outcome::ToolError,
            _ => Outcome::Answered,
        };
        if let Some(record) = &mut self.record {
            (record.outcome, record.answered) = (outcome, bytes);
            record.answered_at = at.or_else(|| Some(Instant::now()));
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
            let until = record.answered_at.unwrap_or_else(Instant::now);
            record.took = until.saturating_duration_since(record.since);
            record.ended = jiff::Timestamp::now();
            self.journal.call(*record);
        }
    }
}

impl Handing {
    /// The next line that goes to the server has this request.
    pub fn add(&mut self, call: Option<&Call>) {
        if let Some(record) = call.and_then(|call| call.record.as_ref()) {
            self.0.push((record.since, Arc::clone(&record.handed)));
        }
    }

    /// They are written now.
    pub fn done(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let now = Instant::now();
        for (since, handed) in self.0.drain(..) {
            let took = now.saturating_duration_since(since).as_nanos();
            handed.store(u64::try_from(took).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        }
    }

    /// They have to wait for a server: that is not berth's own time.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

impl Returning {
    /// A call has its answer, in a line of so many bytes.
    pub fn add(&mut self, mut call: Call, answer: &Envelope<'_>, bytes: usize) {
        call.is_answered(answer, bytes, self.at);
        self.calls.push(call);
    }

    /// The answers are written now.
    pub fn leave(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let now = Instant::now();
        for record in self.calls.iter_mut().filter_map(|call| call.record.as_mut()) {
            record.returned = record.answered_at.map(|at| now.saturating_duration_since(at));
        }
    }

    /// They are.
    pub fn done(&mut self) {
        self.calls.clear();
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
