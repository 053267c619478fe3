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
mod writer;

pub use idle::idle;
pub use prune::is_live;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Redactor;
use super::event::{Direction, Up};
use super::outcome::CallRecord;
use super::queue::{Limits, Queue};
use calls::Waiting;
use writer::Writer;

/// What the records mean. A reader passes over what it does not know; a higher number says that it may misread what it knows.
pub const SCHEMA: u32 = 1;

/// In the state folder.
pub const FOLDER: &str = "sessions";

const LIMITS: Limits = Limits { entries: 1024, bytes: 2 << 20 };

/// Of a line or a detail, so much is shown (bytes).
const TEXT: usize = 2 << 10;

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
        let writer = Writer::new(state.join(FOLDER), session, redactor.clone());
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

#[cfg(test)]
mod tests;
