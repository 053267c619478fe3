//! How a request ended, as a session's history has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::TraceContext;
use super::redact::Redactor;

/// Of a method or a tool's name, so much is shown (bytes).
pub(super) const NAME: usize = 128;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// The tool says that it failed (`isError`).
    ToolError,
    /// An error object of the server's, with its code.
    Error(Option<i64>),
    /// berth answered in the place of a server that took too long.
    TimedOut,
    Cancelled,
    /// Its server was lost.
    Lost,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::ToolError => "tool_error",
            Self::Error(_) => "error",
            Self::TimedOut => "timeout",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

#[derive(Debug)]
pub(super) struct CallRecord {
    pub(super) method: String,
    pub(super) tool: Option<String>,
    /// Where the client's trace has it.
    pub(super) traceparent: Option<Box<str>>,
    /// What its server hears of that trace, where berth says it.
    pub(super) context: Option<TraceContext>,
    /// When the client's line came.
    pub(super) since: Instant,
    /// When it was written to the server, since then (ns); 0: it waited for one.
    pub(super) handed: Arc<AtomicU64>,
    /// When the server's answer came.
    pub(super) answered_at: Option<Instant>,
    /// Of the request (bytes).
    pub(super) asked: usize,
    /// Of the answer (bytes).
    pub(super) answered: usize,
    pub(super) outcome: Outcome,
    /// From the client's line to the server's answer, or to what ended it instead.
    pub(super) took: Duration,
    /// From the server's answer to its being written to the client.
    pub(super) returned: Option<Duration>,
    pub(super) ended: jiff::Timestamp,
}

impl CallRecord {
    /// About so much is kept in memory (bytes).
    pub(super) fn size(&self) -> usize {
        let traceparent = self.traceparent.as_ref().map_or(0, |text| text.len());
        let context = self.context.as_ref().map_or(0, |context| context.traceparent().len());
        size_of::<Self>()
            + self.method.len()
            + self.tool.as_ref().map_or(0, String::len)
            + traceparent
            + context
    }

    /// What berth itself added. `None` where the server has not answered, or has not been there from the beginning.
    fn relay(&self) -> Option<Duration> {
        let handed = self.handed.load(Ordering::Relaxed);
        let there = (handed > 0).then(|| Duration::from_nanos(handed));
        Some(there? + self.returned?)
    }

    pub(super) fn shown(&self, redactor: &Redactor) -> Shown<'_> {
        let text = |text: &str| redactor.hide(text, NAME, false);
        Shown {
            method: text(&self.method),
            tool: self.tool.as_deref().map(text),
            traceparent: self.traceparent.as_deref().map(text),
            span: self.context.as_ref().map(TraceContext::span),
            trace: self.context.as_ref().and_then(TraceContext::trace),
            latency_ms: (self.took.as_secs_f64() * 1e6).round() / 1e3,
            relay_us: self.relay().map(|took| (took.as_secs_f64() * 1e7).round() / 10.0),
            bytes: self.asked,
            answer_bytes: self.answered,
            outcome: self.outcome.as_str(),
            code: match self.outcome {
                Outcome::Error(code) => code,
                _ => None,
            },
        }
    }
}

/// What a line of the history says of a request.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a str>,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay_us: Option<f64>,
    bytes: usize,
    answer_bytes: usize,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i64>,
}
