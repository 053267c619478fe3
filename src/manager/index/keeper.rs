//! What is done to the index besides taking records: what is old is forgotten.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;

use super::{Index, prune};

/// What is old is looked for so often.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Keeper {
    connection: Connection,
    index: Index,
    state: PathBuf,
    retention: Duration,
    /// When nothing old was left.
    pruned: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(connection: Connection, index: Index, state: &Path, retention: Duration) -> Self {
        Self { connection, index, state: state.to_owned(), retention, pruned: None }
    }

    /// Does a part of what there is to do, after each look at the journals and the audit file; `is_all`: they have no more.
    ///
    /// # Errors
    /// Where the index cannot be written. The next time does what is left.
    pub(crate) fn tend(&mut self, is_all: bool) -> anyhow::Result<()> {
        if is_all {
            self.index.complete();
        }
        if self.pruned.is_some_and(|pruned| pruned.elapsed() < PRUNE_EVERY) {
            return Ok(());
        }
        let since = Timestamp::now().checked_sub(self.retention).unwrap_or(Timestamp::MIN);
        let pruned = prune::prune(&mut self.connection, &self.state, since)?;
        if pruned.killed > 0 {
            self.index.tell();
        }
        self.pruned = (!pruned.is_more).then(Instant::now);
        Ok(())
    }
}
