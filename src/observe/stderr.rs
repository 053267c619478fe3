//! The process's standard error: lines of berth and of the servers, whole and in order.
//!
//! A writer never waits here, even if standard error is a pipe without a reader. Lines wait in a bounded queue. Lines
//! that do not fit are dropped, and a line gives their number.
//!
//! Bytes pass unchanged, except to a terminal: a terminal gets text and colours, and no other command.
//!
//! Invariant: nothing else in the crate writes to standard error while a session runs.
mod terminal;

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::Journal;
use super::queue::{Drain, Limits, Queue, write_all};
use crate::human;

const LIMITS: Limits = Limits { entries: 4096, bytes: 4 << 20 };

/// How long the end of the process waits for a reader of standard error.
pub const FLUSH: Duration = Duration::from_secs(1);

/// A handle on standard error; clones share it.
#[derive(Clone)]
pub struct StderrSink {
    queue: Queue<Entry>,
    /// What is said here is in the session's history, too.
    journal: Arc<OnceLock<Journal>>,
}

impl StderrSink {
    /// Writes to this process's standard error.
    pub fn new() -> Self {
        // A duplicate, because the library's own handle has a lock, and a writer that blocks with it would block whoever
        // reports a panic.
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(fd) => {
                let out = File::from(fd);
                let is_terminal = out.is_terminal();
                Self::start(out, is_terminal)
            }
            Err(_) => Self::to(io::sink()),
        }
    }

    /// Writes to `out` instead.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self::start(out, false)
    }

    fn start(out: impl Write + Send + 'static, is_terminal: bool) -> Self {
        let writer = Writer { out, is_terminal, in_line: false, broken: false };
        Self { queue: Queue::start("berth-stderr", LIMITS, writer), journal: Arc::default() }
    }

    /// From now on, `journal` gets berth's own lines and the server's. The first one counts.
    pub fn record_in(&self, journal: &Journal) {
        _ = self.journal.set(journal.clone());
    }

    /// The same standard error for a part of the session that has a history of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { queue: self.queue.clone(), journal: Arc::default() }
    }

    /// One line of berth's own, its end added; at most 4 MiB.
    pub fn line(&self, text: impl Into<Vec<u8>>) {
        let text = text.into();
        self.record("log", &text);
        self.unrecorded(text);
    }

    /// The same, of the server's.
    pub fn server_line(&self, text: impl Into<Vec<u8>>) {
        let text = text.into();
        self.record("stderr", &text);
        self.unrecorded(text);
    }

    /// A line that is no part of the session's history.
    pub(super) fn unrecorded(&self, text: impl Into<Vec<u8>>) {
        let text = text.into();
        self.queue.offer(text.len(), || Entry::Line(text));
    }

    fn record(&self, kind: &'static str, text: &[u8]) {
        if let Some(journal) = self.journal.get() {
            journal.line(kind, text);
        }
    }

    /// Bytes of berth's own as they are. Should they not end with a newline, the next [`line`](Self::line) begins with one.
    pub fn raw(&self, bytes: Bytes) {
        self.record("log", bytes.trim_ascii_end());
        self.queue.offer(bytes.len(), || Entry::Raw(bytes));
    }

    /// Waits until all that was given so far is written, at most `within`. Says whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        self.queue.flush(within)
    }
}

impl Default for StderrSink {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StderrSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StderrSink")
    }
}

enum Entry {
    Line(Vec<u8>),
    Raw(Bytes),
}

struct Writer<W> {
    out: W,
    is_terminal: bool,
    /// What was written last did not end its line.
    in_line: bool,
    /// The other end is closed: the rest is taken and thrown away.
    broken: bool,
}

impl<W: Write> Writer<W> {
    fn put(&mut self, bytes: &[u8]) {
        if let (Some(last), false) = (bytes.last(), self.broken) {
            self.in_line = *last != b'\n';
            let bytes = if self.is_terminal { terminal::shown(bytes) } else { bytes.into() };
            self.broken = write_all(&mut self.out, &bytes).is_err();
        }
    }

    fn put_line(&mut self, mut text: Vec<u8>) {
        if self.in_line {
            text.insert(0, b'\n');
        }
        text.push(b'\n');
        // In one write: other processes may write to the same terminal.
        self.put(&text);
    }
}

impl<W: Write + Send + 'static> Drain<Entry> for Writer<W> {
    fn write(&mut self, entry: Entry) {
        match entry {
            Entry::Line(text) => self.put_line(text),
            Entry::Raw(bytes) => self.put(&bytes),
        }
    }

    fn dropped(&mut self, count: u64) {
        let lines = human::count(count, "line");
        self.put_line(format!("berth: {lines} of standard error dropped: the reader was too slow").into());
    }
}

#[cfg(test)]
pub(crate) mod tests;
