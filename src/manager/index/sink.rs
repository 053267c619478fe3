//! Puts what the journals' records say into the index, each once.

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::batch::Batch;
use super::row::{LIVE, SessionRow};
use crate::journals::{self, Line};

/// The journals' way into the index. What it has taken is in memory until it is committed, with the records' numbers.
#[derive(Debug)]
pub(crate) struct Sink {
    connection: Connection,
    news: watch::Sender<()>,
    batch: Batch,
}

impl Sink {
    pub(super) fn new(connection: Connection, news: watch::Sender<()>) -> Self {
        Self { connection, news, batch: Batch::default() }
    }

    /// The session's place in the batch, where it is read to if the index knows it.
    fn place(&mut self, session: &str) -> rusqlite::Result<Option<usize>> {
        if let Some(place) = self.batch.place(session) {
            return Ok(Some(place));
        }
        let row = SessionRow::load(&self.connection, session)?;
        Ok(row.map(|row| self.batch.add(row)))
    }

    fn write(&mut self) -> rusqlite::Result<()> {
        // Whatever becomes of it: after an error its records come again.
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        batch.write(&transaction)?;
        transaction.commit()?;
        if batch.has_events() {
            self.news.send_replace(());
        }
        Ok(())
    }
}

impl journals::Sink for Sink {
    fn has(&mut self, session: &str) -> anyhow::Result<u64> {
        let seq = match self.batch.place(session) {
            Some(place) => self.batch.session(place).last_seq,
            None => SessionRow::load(&self.connection, session)?.map_or(0, |row| row.last_seq),
        };
        Ok(seq.try_into().unwrap_or(0))
    }

    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        let place = match self.place(line.session)? {
            Some(place) => place,
            None => self.batch.add(SessionRow::new(line.session, line.record.time)),
        };
        self.batch.take(place, line.seq, line.record);
        Ok(())
    }

    fn over(&mut self, session: &str) -> anyhow::Result<()> {
        let place = match self.batch.place(session) {
            Some(place) => Some(place),
            // Of most it is known.
            None => SessionRow::load(&self.connection, session)?
                .filter(|row| row.state == LIVE)
                .map(|row| self.batch.add(row)),
        };
        if let Some(place) = place {
            self.batch.over(place);
        }
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        Ok(self.write()?)
    }
}
