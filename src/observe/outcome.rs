//! How a request ended, as a session's history has it.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

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
    pub(super) since: Instant,
    /// Of the request (bytes).
    pub(super) asked: usize,
    /// Of the answer (bytes).
    pub(super) answered: usize,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    pub(super) ended: jiff::Timestamp,
}

impl CallRecord {
    /// About so much is kept in memory (bytes).
    pub(super) fn size(&self) -> usize {
        let traceparent = self.traceparent.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + self.method.len() + self.tool.as_ref().map_or(0, String::len) + traceparent
    }

    pub(super) fn members(&self, redactor: &Redactor) -> Map<String, Value> {
        let text = |text: &str| Value::from(redactor.hide(text, NAME, false));
        let mut members = Map::new();
        members.insert("method".to_owned(), text(&self.method));
        if let Some(tool) = &self.tool {
            members.insert("tool".to_owned(), text(tool));
        }
        if let Some(traceparent) = &self.traceparent {
            members.insert("traceparent".to_owned(), text(traceparent));
        }
        members.insert("latency_ms".to_owned(), json!((self.took.as_secs_f64() * 1e6).round() / 1e3));
        members.insert("bytes".to_owned(), self.asked.into());
        members.insert("answer_bytes".to_owned(), self.answered.into());
        members.insert("outcome".to_owned(), self.outcome.as_str().into());
        if let Outcome::Error(Some(code)) = self.outcome {
            members.insert("code".to_owned(), code.into());
        }
        members
    }
}
