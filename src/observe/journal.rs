//! A session's history for `berth logs`: its start, the words of berth and of the server's standard error, its end. It
//! has no messages. Requests have a line each where the setting asks for it (`calls`), written some together.
//!
//! Each session has one file, `sessions/SESSION.jsonl` in the state folder, in the form of a trace ([`record`]). Its
//! additional kinds are `start`, `log` (a line of berth), `stderr` (a line of the server) and `end`. Local state is
//! history only: nothing reads it to decide anything. Each record has its number in the session (`seq`, from 1), so that a
//! reader who comes later knows which records it has and how many it will never see.
//!
//! Nothing here makes a session wait or fail. A thread of its own touches the disk, and only once there is something to
//! write. A record that cannot be written is counted, and the count is written later if possible. The file is locked
//! while the session lives, so a missing lock shows a killed session.
//!
//! [`record`]: super::trace::record
mod calls;
mod file;
mod idle;
mod prune;

pub use idle::idle;
pub use prune::is_live;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Redactor;
use super::event::{Direction, Up};
use super::outcome::CallRecord;
use super::queue::{Drain, Limits, Queue};
use calls::Waiting;
use file::JournalFile;

/// What the records mean. A reader passes over what it does not know; a higher number says that it may misread what it knows.
pub const SCHEMA: u32 = 1;

/// In the state folder.
pub const FOLDER: &str = "sessions";

const LIMITS: Limits = Limits { entries: 1024, bytes: 2 << 20 };

/// Of a line or a detail, so much is shown (bytes).
const TEXT: usize = 2 << 10;

/// A server that talks without end has this much of it kept each second, and as much as [`BURST`] at once (bytes).
const RATE: u32 = 64 << 10;
const BURST: u32 = 512 << 10;

/// A handle on a session's history; clones share it.
#[derive(Debug, Clone)]
pub struct Journal(Arc<OpenJournal>);

#[derive(Debug)]
struct OpenJournal {
    queue: Queue<Entry>,
    session: String,
    /// Says how much is copied behind what is shown.
    redactor: Redactor,
    tidied: AtomicBool,
    /// `None`: requests leave no lines.
    calls: Option<Waiting>,
}

/// What is known of a session before its server.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    pub server: &'a str,
    pub image: &'a str,
    /// `None`: its first message will say.
    pub client: Option<&'a str>,
    pub client_session: Option<&'a str>,
    /// The folder that the client works in.
    pub project: Option<&'a str>,
    /// It is a lane of several, which began at the first call that needs it.
    pub is_lazy: bool,
}

/// What a manager may choose for the sessions of a kind: how many containers stand by.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Of client and container.
    pub kind: &'a str,
    pub least: u32,
    pub most: u32,
    /// What each of them needs (bytes).
    pub memory: u64,
}

/// How a session ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    pub why: String,
    /// The exit code.
    pub code: u8,
    /// It is the server's own, not one of berth's.
    pub is_servers: bool,
    /// What the client has asked.
    pub requests: u64,
    /// How many of these were answered with an error of the server's.
    pub errors: u64,
    /// How many a server that was lost has left unanswered; berth answered them.
    pub lost: u64,
    /// How many nobody has answered.
    pub unanswered: u64,
}

impl Journal {
    /// Of the session with this id, whose file will be in `state`. `with_calls`: each request has a line.
    pub fn begin(state: &Path, session: &str, redactor: Redactor, with_calls: bool) -> Self {
        let folder = state.join(FOLDER);
        let writer = Writer {
            file: JournalFile::new(folder.join(format!("{session}.jsonl"))),
            folder,
            session: session.to_owned(),
            redactor: redactor.clone(),
            allowance: BURST,
            allowed_at: Timestamp::now(),
            calls: calls::Allowance::new(Timestamp::now()),
            seq: 0,
            missing: 0,
            lines: Vec::new(),
        };
        Self(Arc::new(OpenJournal {
            queue: Queue::start("berth-journal", LIMITS, writer),
            session: session.to_owned(),
            redactor,
            tidied: AtomicBool::new(false),
            calls: with_calls.then(Waiting::default),
        }))
    }

    pub fn session(&self) -> &str {
        &self.0.session
    }

    pub fn start(&self, start: &Start<'_>) {
        let text = |text: Option<&str>| text.map(|text| self.text(text.as_bytes()));
        self.record(
            "start",
            [
                ("server", text(Some(start.server))),
                ("image", text(Some(start.image))),
                ("client", text(start.client)),
                ("client_session", text(start.client_session)),
                ("project", text(start.project)),
                ("calls", self.has_calls().then(|| Field::Value(true.into()))),
                ("lazy", start.is_lazy.then(|| Field::Value(true.into()))),
                ("version", Some(Field::Value(env!("CARGO_PKG_VERSION").into()))),
                ("schema", Some(Field::Value(SCHEMA.into()))),
                ("pid", Some(Field::Value(std::process::id().into()))),
            ],
        );
    }

    /// A line of somebody's.
    pub(super) fn line(&self, kind: &'static str, text: &[u8]) {
        self.record(kind, [("detail", Some(self.text(text)))]);
    }

    pub(super) fn step(&self, name: &'static str, took: Duration, detail: &str) {
        self.record(
            "step",
            [
                ("name", Some(Field::Value(name.into()))),
                ("duration_ms", Some(milliseconds(took))),
                ("detail", self.text_if_any(detail)),
            ],
        );
    }

    pub(super) fn up(&self, took: Duration, up: &Up<'_>) {
        self.record(
            "up",
            [
                ("how", Some(Field::Value(up.how.into()))),
                ("duration_ms", Some(milliseconds(took))),
                ("server", self.text_if_any(up.server)),
                ("client", self.text_if_any(up.client)),
                ("container", Some(Field::Value(up.container.into()))),
                ("lost", Some(Field::Value(up.lost.into()))),
            ],
        );
    }

    /// A session of this kind is up, and a manager may choose for the next ones.
    pub fn standby(&self, choice: &Choice<'_>) {
        let number = |number: u64| Some(Field::Value(number.into()));
        self.record(
            "standby",
            [
                ("name", Some(self.text(choice.kind.as_bytes()))),
                ("min", number(choice.least.into())),
                ("max", number(choice.most.into())),
                ("bytes", number(choice.memory)),
            ],
        );
    }

    pub(super) fn note(&self, direction: Option<Direction>, name: &'static str, detail: &str, bytes: u64) {
        self.record(
            "note",
            [
                ("direction", direction.map(|direction| Field::Value(direction.as_str().into()))),
                ("name", Some(Field::Value(name.into()))),
                ("bytes", (bytes > 0).then(|| Field::Value(bytes.into()))),
                ("detail", self.text_if_any(detail)),
            ],
        );
    }

    /// The last record of a session.
    pub fn end(&self, end: &End) {
        self.pass_calls_on();
        let number = |number: u64| Some(Field::Value(number.into()));
        self.record(
            "end",
            [
                ("detail", self.text_if_any(&end.why)),
                ("code", Some(Field::Value(end.code.into()))),
                ("code_of", end.is_servers.then(|| Field::Value("server".into()))),
                ("requests", number(end.requests)),
                ("errors", number(end.errors)),
                ("lost", number(end.lost)),
                ("unanswered", number(end.unanswered)),
            ],
        );
        self.tidy();
    }

    /// Removes what is left of old sessions; once. Not to be called before the session has its first answer or its end.
    pub fn tidy(&self) {
        if !self.0.tidied.swap(true, Ordering::Relaxed) {
            self.0.queue.offer(0, || Entry::Tidy);
        }
    }

    /// Waits until all that was recorded so far is written, at most `within`; blocks.
    pub fn flush(&self, within: Duration) {
        self.pass_calls_on();
        self.0.queue.flush(within);
    }

    fn record<const N: usize>(&self, kind: &'static str, fields: [(&'static str, Option<Field>); N]) {
        let fields = fields.into_iter().filter_map(|(name, field)| Some((name, field?)));
        self.0.queue.offer(TEXT, || Entry::Record { time: Timestamp::now(), kind, fields: fields.collect() });
    }

    fn text(&self, text: &[u8]) -> Field {
        let copied = text.get(..TEXT.saturating_add(self.0.redactor.margin())).unwrap_or(text);
        Field::Text { bytes: copied.to_vec(), cut: text.len() > TEXT }
    }

    fn text_if_any(&self, text: &str) -> Option<Field> {
        (!text.is_empty()).then(|| self.text(text.as_bytes()))
    }
}

fn milliseconds(duration: Duration) -> Field {
    Field::Value(json!((duration.as_secs_f64() * 1e6).round() / 1e3))
}

enum Entry {
    Record { time: Timestamp, kind: &'static str, fields: Vec<(&'static str, Field)> },
    Calls(Vec<CallRecord>),
    Tidy,
}

enum Field {
    /// Somebody else's text, not redacted yet.
    Text {
        bytes: Vec<u8>,
        cut: bool,
    },
    Value(Value),
}

/// Owns the file; runs on the thread.
struct Writer {
    folder: PathBuf,
    file: JournalFile,
    session: String,
    redactor: Redactor,
    /// What may be written at once (bytes), as of `allowed_at`.
    allowance: u32,
    allowed_at: Timestamp,
    calls: calls::Allowance,
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

#[cfg(test)]
mod tests;
