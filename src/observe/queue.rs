//! A bounded queue to one writer thread, for callers that must never wait.
//!
//! An entry that does not fit is dropped and counted. The writer gets the count at the place where the entries are
//! missing. The thread never keeps the process alive: it is detached, and ends with the last handle of its queue. The
//! process's end waits for it with [`Queue::flush`], which has a bound.
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a writer waits before it tries again to write to a file that takes nothing at the moment.
const RETRY: Duration = Duration::from_millis(2);

/// What the thread does with what arrives. It may block as long as it likes.
pub(super) trait Drain<T>: Send + 'static {
    fn write(&mut self, entry: T);
    /// `count` entries are missing here.
    fn dropped(&mut self, count: u64);
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: usize,
    /// Of all entries that wait, as their callers say.
    pub(super) bytes: usize,
}

/// A handle; clones share the queue.
pub(super) struct Queue<T> {
    sender: SyncSender<Item<T>>,
    state: Arc<State>,
}

struct Item<T> {
    /// `None` only carries the count.
    entry: Option<T>,
    size: usize,
    dropped_before: u64,
}

struct State {
    limits: Limits,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    accepted: AtomicU64,
    /// Dropped and not reported yet.
    dropped: AtomicU64,
    /// How many of the accepted entries are written; `u64::MAX` once the thread is gone.
    written: Mutex<u64>,
    progress: Condvar,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the thread. If the system has none to give, the queue takes entries and nothing is written.
    pub(super) fn start(name: &str, limits: Limits, drain: impl Drain<T>) -> Self {
        let (sender, receiver) = mpsc::sync_channel(limits.entries + 1);
        let state = Arc::new(State {
            limits,
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            written: Mutex::new(0),
            progress: Condvar::new(),
        });
        let writer = Arc::clone(&state);
        let thread = std::thread::Builder::new().name(name.to_owned());
        if thread.spawn(move || run(&receiver, &writer, drain)).is_err() {
            state.gone();
        }
        Self { sender, state }
    }

    /// Takes an entry of about `size` bytes, or counts it as dropped; then it isn't even made.
    pub(super) fn offer(&self, size: usize, entry: impl FnOnce() -> T) {
        self.offer_several(1, size, entry);
    }

    /// The same for an entry that is `count` records.
    pub(super) fn offer_several(&self, count: u64, size: usize, entry: impl FnOnce() -> T) {
        let state = &self.state;
        let entries = state.entries.fetch_add(1, Ordering::Relaxed);
        let bytes = state.bytes.fetch_add(size, Ordering::Relaxed);
        if entries >= state.limits.entries || bytes.saturating_add(size) > state.limits.bytes {
            state.release(size);
            state.dropped.fetch_add(count, Ordering::AcqRel);
            return;
        }
        let dropped_before = state.dropped.swap(0, Ordering::AcqRel);
        if self.sender.try_send(Item { entry: Some(entry()), size, dropped_before }).is_ok() {
            state.accepted.fetch_add(1, Ordering::AcqRel);
        } else {
            state.release(size);
            state.dropped.fetch_add(dropped_before + count, Ordering::AcqRel);
        }
    }

    /// Waits until what was accepted so far is written, at most `within`. Says whether it is.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let state = &self.state;
        let mut target = state.accepted.load(Ordering::Acquire);
        let deadline = Instant::now() + within;
        let dropped_before = state.dropped.swap(0, Ordering::AcqRel);
        if dropped_before > 0 {
            // The writer may be idle, and then nothing else would make it tell.
            let count = Item { entry: None, size: 0, dropped_before };
            if self.sender.try_send(count).is_ok() {
                target += 1;
                state.accepted.fetch_add(1, Ordering::AcqRel);
            } else {
                state.dropped.fetch_add(dropped_before, Ordering::AcqRel);
            }
        }
        let mut written = state.written();
        while *written < target || (*written != u64::MAX && state.dropped.load(Ordering::Acquire) > 0) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = state.progress.wait_timeout(written, left);
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), state: Arc::clone(&self.state) }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("limits", &self.state.limits).finish_non_exhaustive()
    }
}

impl State {
    fn release(&self, size: usize) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }

    fn written(&self) -> MutexGuard<'_, u64> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, entries: u64) {
        *self.written() += entries;
        self.progress.notify_all();
    }

    fn gone(&self) {
        *self.written() = u64::MAX;
        self.progress.notify_all();
    }
}

fn run<T>(receiver: &Receiver<Item<T>>, state: &State, mut drain: impl Drain<T>) {
    loop {
        let item = match receiver.try_recv() {
            Ok(item) => item,
            Err(TryRecvError::Disconnected) => break,
            // Idle: what was dropped since the last entry has no later one to be told with.
            Err(TryRecvError::Empty) => {
                report(state.dropped.swap(0, Ordering::AcqRel), &mut drain);
                state.wrote(0);
                match receiver.recv() {
                    Ok(item) => item,
                    Err(_) => break,
                }
            }
        };
        report(item.dropped_before, &mut drain);
        if let Some(entry) = item.entry {
            state.release(item.size);
            drain.write(entry);
        }
        state.wrote(1);
    }
    report(state.dropped.swap(0, Ordering::AcqRel), &mut drain);
    state.gone();
}

fn report<T>(dropped: u64, drain: &mut impl Drain<T>) {
    if dropped > 0 {
        drain.dropped(dropped);
    }
}

/// `write_all` that also waits for files which another process made non-blocking: a terminal's or a pipe's
/// description is shared with whoever started us.
pub(super) fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
