//! Writes a session's history, within its bounds: what is redacted, numbered, left out and counted.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::calls::Allowance;
use super::file::JournalFile;
use super::{Entry, Field, TEXT, prune};
use crate::observe::Redactor;
use crate::observe::outcome::CallRecord;
use crate::observe::queue::Drain;

/// A server that talks without end has this much of it kept each second, and as much as [`BURST`] at once (bytes).
const RATE: u32 = 64 << 10;
pub(super) const BURST: u32 = 512 << 10;

/// Owns the file; runs on the thread.
pub(super) struct Writer {
    folder: PathBuf,
    file: JournalFile,
    session: String,
    redactor: Redactor,
    /// What may be written at once (bytes), as of `allowed_at`.
    allowance: u32,
    allowed_at: Timestamp,
    calls: Allowance,
    /// Records so far, with those that are not in the file.
    seq: u64,
    /// Records that are not in the file, and that nothing in it counts yet.
    missing: u64,
    /// Records on their way into the file.
    lines: Vec<u8>,
}

/// A record as it is written.
#[derive(Serialize)]
struct Line<'a, M> {
    time: std::fmt::Arguments<'a>,
    session: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(flatten)]
    members: M,
}

impl Writer {
    /// Of a session's file in this folder.
    pub(super) fn new(folder: PathBuf, session: &str, redactor: Redactor) -> Self {
        Self {
            file: JournalFile::new(folder.join(format!("{session}.jsonl"))),
            folder,
            session: session.to_owned(),
            redactor,
            allowance: BURST,
            allowed_at: Timestamp::now(),
            calls: Allowance::new(Timestamp::now()),
            seq: 0,
            missing: 0,
            lines: Vec::new(),
        }
    }

    /// Whether so much more of what a server can make us write may be written now.
    fn allow(&mut self, time: Timestamp, bytes: usize) -> bool {
        let elapsed = time.duration_since(self.allowed_at).as_millis().clamp(0, 1 << 20);
        if elapsed > 0 {
            let more = u128::from(RATE) * elapsed.unsigned_abs() / 1000;
            self.allowance = u32::try_from(u128::from(self.allowance) + more).unwrap_or(BURST).min(BURST);
            self.allowed_at = time;
        }
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.allowance.checked_sub(bytes));
        self.allowance = left.unwrap_or(self.allowance);
        left.is_some()
    }

    /// Makes a record; [`flush`](Self::flush) writes it.
    fn put(&mut self, time: Timestamp, kind: &str, members: impl Serialize) {
        let missing = std::mem::take(&mut self.missing);
        if missing > 0 {
            self.line(time, "dropped", None, json!({ "count": missing }));
        }
        self.seq += 1;
        self.line(time, kind, Some(self.seq), members);
    }

    fn put_calls(&mut self, calls: &[CallRecord]) {
        for call in calls {
            if self.calls.allow(call.ended) {
                self.put(call.ended, "call", call.shown(&self.redactor));
            } else {
                self.miss(1);
            }
        }
    }

    /// So many records will not be written.
    fn miss(&mut self, count: u64) {
        self.seq += count;
        self.missing += count;
    }

    fn line(&mut self, time: Timestamp, kind: &str, seq: Option<u64>, members: impl Serialize) {
        let time = format_args!("{time:.6}");
        let line = Line { time, session: &self.session, kind, seq, members };
        let start = self.lines.len();
        if serde_json::to_writer(&mut self.lines, &line).is_ok() {
            self.lines.push(b'\n');
        } else {
            self.lines.truncate(start);
            self.missing += 1;
        }
    }

    /// All records so far, in one piece.
    fn flush(&mut self) {
        if !self.lines.is_empty() {
            self.missing += self.file.append(&self.lines);
            self.lines.clear();
        }
    }

    fn shown(&self, fields: Vec<(&'static str, Field)>) -> Map<String, Value> {
        let mut members = Map::new();
        let mut truncated = false;
        for (name, field) in fields {
            let value = match field {
                Field::Value(value) => value,
                Field::Text { bytes, cut } => {
                    truncated |= cut;
                    self.redactor.hide(&String::from_utf8_lossy(&bytes), TEXT, false).into()
                }
            };
            members.insert(name.to_owned(), value);
        }
        if truncated {
            members.insert("truncated".to_owned(), true.into());
        }
        members
    }
}

impl Drain<Entry> for Writer {
    fn write(&mut self, entry: Entry) {
        match entry {
            Entry::Calls(calls) => self.put_calls(&calls),
            Entry::Tidy => prune::prune(&self.folder, prune::KEPT, prune::OLDEST),
            Entry::Record { time, kind, fields } => {
                let text = |(_, field): &(_, Field)| match field {
                    Field::Text { bytes, .. } => bytes.len().min(TEXT),
                    Field::Value(_) => 0,
                };
                let floods = matches!(kind, "stderr" | "log" | "note");
                if floods && !self.allow(time, 100 + fields.iter().map(text).sum::<usize>()) {
                    return self.miss(1);
                }
                let members = self.shown(fields);
                self.put(time, kind, members);
            }
        }
        self.flush();
    }

    fn dropped(&mut self, count: u64) {
        self.miss(count);
    }
}
