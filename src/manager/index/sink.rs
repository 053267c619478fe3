//! Puts what the journals' records and the audit file's lines say into the index, each once.

use mcp_berth::observe::audit::Entry;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::watch;

use super::batch::{ADD_EVENT, Batch};
use super::event::Kind;
use super::row::{LIVE, SessionRow};
use super::{micros, number};
use crate::audits::{News, Place};
use crate::journals::{self, Line};

/// How far the audit file is read.
const MARK: &str = "audit";

/// The journals' way into the index. What it has taken is in memory until it is committed, with the records' numbers.
#[derive(Debug)]
pub(crate) struct Sink {
    connection: Connection,
    news: watch::Sender<()>,
    batch: Batch,
    /// How far the audit file is read, as the index has it. `None`: it is to be asked.
    audited: Option<Place>,
}

impl Sink {
    pub(super) fn new(connection: Connection, news: watch::Sender<()>) -> Self {
        Self { connection, news, batch: Batch::default(), audited: None }
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

    fn audited(&mut self) -> anyhow::Result<Option<Place>> {
        if self.audited.is_none() {
            self.audited = Some(read_mark(&self.connection)?);
        }
        Ok(self.audited)
    }

    fn audit(&mut self, news: &News) -> anyhow::Result<()> {
        // It is asked again after an error.
        self.audited = None;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut add = transaction.prepare(ADD_EVENT)?;
            for Entry { time, event, session, client, server, detail, .. } in &news.entries {
                let (kind, seq) = (Kind::of_audit(event).as_str(), None::<i64>);
                add.execute(params![micros(*time), kind, event, session, seq, server, client, detail])?;
            }
        }
        let Place { inode, read } = news.place;
        transaction.execute(
            "INSERT OR REPLACE INTO marks (name, inode, passed) VALUES (?1, ?2, ?3)",
            params![MARK, number(inode), number(read)],
        )?;
        transaction.commit()?;
        self.audited = Some(news.place);
        if !news.entries.is_empty() {
            self.news.send_replace(());
        }
        Ok(())
    }
}

fn read_mark(connection: &Connection) -> rusqlite::Result<Place> {
    let mut ask = connection.prepare("SELECT inode, passed FROM marks WHERE name = ?1")?;
    let of = |number: i64| u64::try_from(number).unwrap_or(0);
    let mark = ask.query_row([MARK], |row| Ok(Place { inode: of(row.get(0)?), read: of(row.get(1)?) }));
    Ok(mark.optional()?.unwrap_or_default())
}
