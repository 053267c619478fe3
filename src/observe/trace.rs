//! The trace: each message that passed and each step of the start, unchanged, with its time.
//!
//! Owns what is recorded and where it goes: lines for a person on standard error (`--trace`), or records for a program
//! in a file (`--trace=FILE`, see [`record`]). It never makes the data path wait and never ends a session. A record
//! that does not fit its queue is dropped and counted. A file that cannot be written ends only the trace. Nothing
//! leaves it before the [`Redactor`] saw it.
pub(crate) mod human;
pub mod record;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::audit::Audit;
use super::call::{Arrival, Call, code, tool};
use super::event::{Direction, Up};
use super::queue::{Drain, Limits, Queue, write_all};
use super::{Journal, Redactor, StderrSink};
use crate::rpc::envelope::{Envelope, Look};
use record::{Copied, Record, Shown, What};

const LIMITS: Limits = Limits { entries: 1024, bytes: 16 << 20 };

/// How long the end of the process waits for the trace to be written.
pub const FLUSH: Duration = Duration::from_secs(1);

/// Of a body, so much is shown (bytes).
pub const BODY: usize = 64 << 10;
/// Of a method, an id, a detail (bytes).
const TEXT: usize = 1 << 10;

/// Where a trace goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    Off,
    /// Lines for a person.
    Stderr,
    /// JSON, one record a line, appended.
    File(PathBuf),
}

/// A handle on the trace; clones share it. Off, it costs a branch. What is no message goes into the session's journal, too.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    shared: Option<Arc<OpenTrace>>,
    journal: Option<Journal>,
    audit: Option<Audit>,
    /// Where several servers share the trace: whose records these are.
    lane: Option<Arc<Lane>>,
}

/// One server of several, and its part of the session.
#[derive(Debug)]
struct Lane {
    server: Arc<str>,
    session: Arc<str>,
}

#[derive(Debug)]
struct OpenTrace {
    queue: Queue<Record>,
    session: OnceLock<Arc<str>>,
    bodies: bool,
    /// Says how much is copied behind what is shown.
    redactor: Redactor,
    stderr: StderrSink,
}

impl Trace {
    pub fn off() -> Self {
        Self::default()
    }

    /// Starts the thread that writes.
    ///
    /// # Errors
    /// Where the file can't be opened; the error names it.
    pub fn open(sink: Sink, bodies: bool, redactor: Redactor, stderr: StderrSink) -> io::Result<Self> {
        let out = match sink {
            Sink::Off => return Ok(Self::off()),
            Sink::Stderr => Out::Stderr(stderr.clone()),
            Sink::File(path) => Out::File { file: open(&path)?, path, stderr: stderr.clone() },
        };
        let writer = Writer { out, redactor: redactor.clone() };
        let queue = Queue::start("berth-trace", LIMITS, writer);
        let shared = OpenTrace { queue, session: OnceLock::new(), bodies, redactor, stderr };
        Ok(Self { shared: Some(Arc::new(shared)), ..Self::off() })
    }

    /// Has `journal` get what is no message.
    #[must_use]
    pub fn with_journal(self, journal: Option<Journal>) -> Self {
        Self { journal, ..self }
    }

    /// Has `audit` get what is refused.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// Something was refused, or is to be known for good.
    pub fn audit(&self, event: &str, detail: &str) {
        if let Some(audit) = &self.audit {
            audit.event(event, detail);
        }
    }

    /// The session's history, if it leaves one.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// The trace of one of several servers, whose part of the session is called so.
    #[must_use]
    pub fn of_lane(self, server: &str, session: &str) -> Self {
        Self { lane: Some(Arc::new(Lane { server: server.into(), session: session.into() })), ..self }
    }

    /// Names the session in all later records; the first name counts.
    pub fn session(&self, name: &str) {
        if let Some(shared) = &self.shared {
            shared.session.get_or_init(|| name.into());
        }
    }

    /// A step that ended now.
    pub fn step(&self, name: &'static str, began: Instant, detail: &str) {
        if let Some(journal) = &self.journal {
            journal.step(name, began.elapsed(), detail);
        }
        let Some(shared) = &self.shared else { return };
        let took = began.elapsed();
        shared.offer(TEXT, None, self.lane.as_deref(), || What::Step {
            name,
            took,
            detail: shared.copy(detail.as_bytes(), TEXT),
        });
    }

    /// A server is there for the client; its start began at `began`.
    pub fn up(&self, began: Instant, up: &Up<'_>) {
        let took = began.elapsed();
        if let Some(journal) = &self.journal {
            journal.up(took, up);
        }
        let Some(shared) = &self.shared else { return };
        shared.offer(TEXT, None, self.lane.as_deref(), || What::Up {
            how: up.how,
            took,
            server: shared.copy(up.server.as_bytes(), TEXT),
            client: shared.copy(up.client.as_bytes(), TEXT),
            container: up.container.to_owned(),
        });
    }

    /// A line that passed: one record for each message in it. `latency` is what an answer took.
    pub fn message(&self, direction: Direction, look: &Look<'_>, line: &[u8], latency: Option<Duration>) {
        let Some(shared) = &self.shared else { return };
        let batch = match look {
            Look::One(_) => None,
            Look::Batch(envelopes) => Some(envelopes.len()),
        };
        // An empty batch has no message to speak for it.
        let empty = look.envelopes().is_empty().then_some(None);
        for (at, envelope) in look.envelopes().iter().map(Some).chain(empty).enumerate() {
            let with_body = shared.bodies && at == 0;
            let size = TEXT + if with_body { line.len().min(BODY + shared.redactor.margin()) } else { 0 };
            shared.offer(size, Some(direction), self.lane.as_deref(), || What::Message {
                kind: envelope.map_or("other", |envelope| envelope.kind.as_str()),
                method: envelope.and_then(|it| Some(shared.copy(it.method.as_deref()?.as_bytes(), TEXT))),
                tool: envelope.and_then(tool).map(|tool| shared.copy(tool.as_bytes(), TEXT)),
                id: envelope.and_then(|it| Some(shared.copy(it.id?.get().as_bytes(), TEXT))),
                code: envelope.and_then(code),
                bytes: line.len(),
                batch,
                latency,
                body: with_body.then(|| shared.copy(line, BODY)),
            });
        }
    }

    /// The time, where the session's history has a line for each request.
    pub fn clock(&self) -> Option<Instant> {
        self.journal.as_ref().filter(|journal| journal.has_calls()).map(|_| Instant::now())
    }

    /// A request of the client's, in a line of so many bytes, where the session's history has a line for each.
    pub fn call(&self, request: &Envelope<'_>, bytes: usize, arrival: Arrival<'_>) -> Option<Call> {
        let journal = self.journal.as_ref().filter(|journal| journal.has_calls())?;
        // It lasts as long as its session, and has no answer to be measured.
        if request.method.as_deref() == Some("subscriptions/listen") {
            return None;
        }
        Some(Call::begin(journal.clone(), request, bytes, arrival))
    }

    /// Something that is no message: a stray print, a framing error, an answer of our own, the end of the session.
    pub fn note(&self, direction: Option<Direction>, what: &'static str, detail: &str, bytes: u64) {
        if let Some(journal) = &self.journal {
            journal.note(direction, what, detail, bytes);
        }
        let Some(shared) = &self.shared else { return };
        shared.offer(TEXT, direction, self.lane.as_deref(), || {
            let detail = shared.copy(detail.as_bytes(), TEXT);
            What::Note { name: what, detail, bytes }
        });
    }

    /// Waits until all that was recorded so far is written, at most [`FLUSH`].
    pub async fn flush(&self) {
        let trace = self.clone();
        // It fails only while the runtime ends, and then there is nobody to wait.
        _ = tokio::task::spawn_blocking(move || trace.close()).await;
    }

    /// As [`flush`](Self::flush), for the end of the process: it blocks.
    pub fn close(self) {
        let began = Instant::now();
        if let Some(journal) = &self.journal {
            journal.flush(FLUSH);
        }
        let Some(shared) = self.shared else { return };
        shared.queue.flush(FLUSH.saturating_sub(began.elapsed()));
        shared.stderr.flush(FLUSH.saturating_sub(began.elapsed()));
    }
}

impl OpenTrace {
    fn offer(
        &self,
        size: usize,
        direction: Option<Direction>,
        lane: Option<&Lane>,
        what: impl FnOnce() -> What,
    ) {
        self.queue.offer(size, || Record {
            time: Timestamp::now(),
            session: lane.map(|lane| lane.session.clone()).or_else(|| self.session.get().cloned()),
            lane: lane.map(|lane| lane.server.clone()),
            direction,
            what: what(),
        });
    }

    fn copy(&self, text: &[u8], limit: usize) -> Copied {
        let copied = text.get(..limit.saturating_add(self.redactor.margin())).unwrap_or(text);
        Copied { bytes: copied.to_vec(), limit, cut: text.len() > limit }
    }
}

/// For appending: each record is one write, so that several sessions can share a file.
fn open(path: &Path) -> io::Result<File> {
    // Non-blocking for the sake of named pipes: without a reader, opening one would wait for ever.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    opened.map_err(|source| io::Error::new(source.kind(), OpenError { path: path.into(), source }))
}

#[derive(Debug, thiserror::Error)]
#[error("cannot open the trace file `{}`", path.display())]
struct OpenError {
    path: PathBuf,
    source: io::Error,
}

struct Writer {
    out: Out,
    redactor: Redactor,
}

enum Out {
    Stderr(StderrSink),
    File {
        file: File,
        path: PathBuf,
        stderr: StderrSink,
    },
    /// The file failed.
    Stopped,
}

impl Writer {
    fn show(&mut self, shown: &Shown<'_>, time: Timestamp) {
        match &mut self.out {
            Out::Stderr(stderr) => stderr.unrecorded(human::line(shown, time)),
            Out::File { file, path, stderr } => {
                let Err(error) = write_all(file, &record::line(shown)) else { return };
                stderr.line(format!("berth: trace stopped: cannot write to `{}`: {error}", path.display()));
                self.out = Out::Stopped;
            }
            Out::Stopped => {}
        }
    }
}

impl Drain<Record> for Writer {
    fn write(&mut self, record: Record) {
        if !matches!(self.out, Out::Stopped) {
            let shown = Shown::new(&record, &self.redactor);
            self.show(&shown, record.time);
        }
    }

    fn dropped(&mut self, count: u64) {
        let time = Timestamp::now();
        self.show(&Shown::dropped(time, count), time);
    }
}

#[cfg(test)]
mod tests;
