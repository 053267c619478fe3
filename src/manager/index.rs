//! The index: an `SQLite` database of the sessions that left a journal, of their calls and of what happened in them.
//!
//! [`Sink`] writes what the journals and the audit file say, in one transaction with how far they are read; [`Keeper`] forgets
//! what is old. Both run on the thread that reads the journals. Everybody else reads, each on a connection of their own,
//! within a time. Losing the index costs history that no journal holds any more.

mod batch;
pub(crate) mod event;
mod file;
mod keeper;
mod prune;
pub(crate) mod query;
mod row;
mod sink;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mcp_berth::failure::Failure;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::database;
pub(crate) use keeper::Keeper;
pub(crate) use sink::Sink;

/// In the manager's folder.
const FILE: &str = "index.db";

/// So many questions are answered at once.
const READERS: usize = 4;

/// A question has an answer within this time.
const WITHIN: Duration = Duration::from_secs(5);

/// So many clients follow the events at once.
const FOLLOWERS: usize = 16;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("the index cannot be read: {0}")]
    Unreadable(#[from] rusqlite::Error),
    #[error("the index takes too long; ask for less")]
    TooLong,
}

/// An event of the manager's own: no journal has it.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    /// Microseconds.
    pub(crate) time: i64,
    pub(crate) kind: event::Kind,
    pub(crate) name: String,
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) detail: String,
}

/// What questions are put to; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Index(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    places: Arc<Semaphore>,
    /// Connections that nobody uses at the moment.
    free: Mutex<Vec<Connection>>,
    followers: Arc<Semaphore>,
    /// Changes with each new event.
    news: watch::Sender<()>,
    is_complete: AtomicBool,
}

impl Index {
    /// The index in the manager's folder, which is made if there is none that this berth knows.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        drop(file::open(&path)?);
        Ok(Self(Arc::new(Shared {
            path,
            places: Arc::new(Semaphore::new(READERS)),
            free: Mutex::default(),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            news: watch::Sender::new(()),
            is_complete: AtomicBool::new(false),
        })))
    }

    /// What takes the journals' records.
    ///
    /// # Errors
    /// Where the index cannot be written.
    pub(crate) fn sink(&self) -> rusqlite::Result<Sink> {
        Ok(Sink::new(database::connect(&self.0.path)?, self.0.news.clone()))
    }

    /// What does the rest of the writing, for the journals in `state`.
    ///
    /// # Errors
    /// Where the index cannot be written.
    pub(crate) fn keeper(&self, state: &Path, retention: Duration) -> rusqlite::Result<Keeper> {
        Ok(Keeper::new(database::connect(&self.0.path)?, self.clone(), state, retention))
    }

    /// Keeps events of the manager's own, all or none.
    ///
    /// # Errors
    /// Where the index cannot be written.
    pub(crate) async fn note(&self, events: Vec<Noted>) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.0);
        let noting = tokio::task::spawn_blocking(move || {
            let mut connection = database::connect(&shared.path)?;
            let transaction = connection.transaction()?;
            for Noted { time, kind, name, server, client, detail } in events {
                let (session, seq) = (None::<String>, None::<i64>);
                let row = params![time, kind.as_str(), name, session, seq, server, client, detail];
                transaction.execute(batch::ADD_EVENT, row)?;
            }
            transaction.commit()
        });
        noting.await??;
        self.tell();
        Ok(())
    }

    /// Whether all that the journals held when the manager started is in the index.
    pub(crate) fn is_complete(&self) -> bool {
        self.0.is_complete.load(Ordering::Acquire)
    }

    /// Tells of each new event.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// A place among those who follow the events, as long as it is held. `None`: all are taken.
    pub(crate) fn follow(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.followers).try_acquire_owned().ok()
    }

    /// Answers a question, on a thread that may wait.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, IndexError> {
        let place = Arc::clone(&self.0.places).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(WITHIN, place).await else {
            return Err(IndexError::TooLong);
        };
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Nothing is read yet: it takes no time.
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(&self.0.path, flags)
        };
        let connection = free.map_or_else(open, Ok)?;
        let interrupt = connection.get_interrupt_handle();
        let shared = Arc::clone(&self.0);
        let answer = tokio::task::spawn_blocking(move || {
            let answer = ask(&connection);
            // One that failed is not used again.
            if answer.is_ok() {
                shared.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            drop(place);
            answer
        });
        match tokio::time::timeout(WITHIN, answer).await {
            Ok(Ok(Err(error))) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                Err(IndexError::TooLong)
            }
            Ok(Ok(answer)) => Ok(answer?),
            _ => {
                interrupt.interrupt();
                Err(IndexError::TooLong)
            }
        }
    }

    fn tell(&self) {
        self.0.news.send_replace(());
    }

    fn complete(&self) {
        self.0.is_complete.store(true, Ordering::Release);
    }
}

/// A time as the index has it: microseconds since 1970.
pub(crate) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A time of milliseconds as the index has it.
fn micros_of(milliseconds: f64) -> i64 {
    let micros = Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default().as_micros();
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// A number as `SQLite` has it.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
