//! What is done to the index besides taking records: the audit file is followed, and what is old is forgotten.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mcp_berth::observe::audit;
use rusqlite::Connection;

use super::audit::Follower;
use super::{Index, prune};

/// What is old is looked for so often.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Keeper {
    connection: Connection,
    index: Index,
    audit: Follower,
    state: PathBuf,
    retention: Duration,
    /// When nothing old was left.
    pruned: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(connection: Connection, index: Index, state: &Path, retention: Duration) -> Self {
        let audit = Follower::new(state.join(audit::FILE));
        Self { connection, index, audit, state: state.to_owned(), retention, pruned: None }
    }

    /// Does a part of what there is to do, after each look at the journals.
    ///
    /// # Errors
    /// Where the index cannot be written. The next time does what is left.
    pub(crate) fn tend(&mut self) -> anyhow::Result<()> {
        let (new, is_all) = self.audit.look(&mut self.connection)?;
        if new > 0 {
            self.index.tell();
        }
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
