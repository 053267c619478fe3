//! The part of a trace that a replay repeats, in its order.
use std::collections::HashMap;
use std::io::{self, BufRead};

use serde_json::Value;

use crate::history::{Lines, Record};
use crate::observe::redact::MARK;

/// A recording is held in memory: bodies of no more than this in all (bytes).
const LARGEST: usize = 256 << 20;

#[derive(Debug)]
pub enum Event {
    /// A request or a notification of the client's, as it was sent.
    Send { body: String, is_request: bool },
    /// The client's answer to what the server asks.
    Reply { method: String, body: Value },
    /// An answer that the client had before its next message.
    Answer { id: Value, method: String, tool: Option<String>, body: Value },
    /// One that is not compared; the client waited for it all the same.
    Await { id: Value },
}

#[derive(Debug, Default)]
pub struct Recording {
    pub session: String,
    /// As its start says.
    pub server: Option<String>,
    pub events: Vec<Event>,
    /// Ids of requests with redacted values.
    pub redacted: Vec<Value>,
    pub not_compared: usize,
    /// The client's answers to the server, by the method that was asked.
    pub expected: HashMap<String, usize>,
    size: usize,
    /// Requests without an answer yet: of the client's, and of the server's.
    open: HashMap<(bool, String), (String, Option<String>)>,
}

/// Why a trace can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("cannot read the trace")]
    Read(#[from] io::Error),
    #[error("the trace has no messages")]
    Empty,
    #[error("the trace has no bodies; record it with `--trace-bodies`")]
    NoBodies,
    #[error("the message `{0}` is longer than 64 KiB, so the trace cut it")]
    Cut(String),
    #[error("the trace has more than {} MiB of messages", LARGEST >> 20)]
    TooLarge,
}

impl Recording {
    /// Of the first session in the trace.
    pub fn read(input: impl BufRead) -> Result<Self, RecordingError> {
        let mut recording = Self::default();
        let mut session = None;
        let mut lines = Lines::new(input);
        while let Some(line) = lines.next_line()? {
            let Some(record) = Record::parse(line) else { continue };
            if session.is_none() && record.session.is_some() {
                session.clone_from(&record.session);
            }
            if record.session == session {
                recording.take(record)?;
            }
        }
        if recording.events.is_empty() {
            return Err(RecordingError::Empty);
        }
        recording.session = session.unwrap_or_default();
        Ok(recording)
    }

    fn take(&mut self, record: Record) -> Result<(), RecordingError> {
        if record.kind == "up" {
            self.server = self.server.take().or(record.server);
            return Ok(());
        }
        if record.name.as_deref() == Some("our answer") {
            self.not_compared += 1;
            let said = record.detail.as_deref().and_then(|said| serde_json::from_str::<Value>(said).ok());
            if let Some(id) = said.map(|said| said["id"].clone())
                && self.open.remove(&(true, id.to_string())).is_some()
            {
                self.events.push(Event::Await { id });
            }
            return Ok(());
        }
        // A batch's body stands with the first of its messages.
        let body = record.body.as_ref().map(|body| body.get().to_owned());
        self.size += body.as_ref().map_or(0, String::len);
        if self.size > LARGEST {
            return Err(RecordingError::TooLarge);
        }
        let from_client = record.is_from_client();
        let id = record.id.clone().unwrap_or_default();
        let is_request = record.kind == "request";
        if is_request {
            let asked = (record.method.clone().unwrap_or_default(), record.tool.clone());
            self.open.insert((from_client, id.to_string()), asked);
        }
        match (record.kind.as_str(), from_client) {
            ("request" | "notification", true) => {
                let method = record.method.unwrap_or_default();
                let Some(body) = body else {
                    // The rest of a batch.
                    return if record.batch.is_some() { Ok(()) } else { Err(RecordingError::NoBodies) };
                };
                if record.truncated {
                    return Err(RecordingError::Cut(method));
                }
                if body.contains(MARK) {
                    self.redacted.push(id);
                }
                self.events.push(Event::Send { body, is_request });
            }
            ("response" | "error", true) => {
                let Some((method, _)) = self.open.remove(&(false, id.to_string())) else { return Ok(()) };
                let body = body.ok_or(RecordingError::NoBodies)?;
                if record.truncated {
                    return Err(RecordingError::Cut(format!("answer to {method}")));
                }
                let body = serde_json::from_str(&body).unwrap_or_default();
                *self.expected.entry(method.clone()).or_default() += 1;
                self.events.push(Event::Reply { method, body });
            }
            ("response" | "error", false) => {
                let Some((method, tool)) = self.open.remove(&(true, id.to_string())) else { return Ok(()) };
                let body: Option<Value> = body.and_then(|body| serde_json::from_str(&body).ok());
                if let Some(body) = body.filter(|body| body.is_object() && !record.truncated) {
                    self.events.push(Event::Answer { id, method, tool, body });
                } else {
                    self.not_compared += 1;
                    self.events.push(Event::Await { id });
                }
            }
            _ => {}
        }
        Ok(())
    }
}
