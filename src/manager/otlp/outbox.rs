//! What waits for the collector, and how far in each session's journal it comes: a file, so that neither the manager's
//! end nor the collector's loses a span.
//!
//! Each change is one transaction. There are spans of a bounded number; the oldest go first.

use std::path::Path;

use mcp_berth::failure::{Code, Failure};
use mcp_berth::human;
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, params};

use crate::database;

/// In the manager's folder.
const FILE: &str = "otlp.db";

/// What the tables mean. A file of a later berth is left alone.
const SCHEMA: i32 = 1;

/// So many spans wait.
pub(super) const MOST: i64 = 20_000;

const TABLES: &str = "
    CREATE TABLE spans (id INTEGER PRIMARY KEY, span BLOB NOT NULL);
    CREATE TABLE sessions (session TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE about (one INTEGER PRIMARY KEY CHECK (one = 1), instance TEXT NOT NULL, dropped INTEGER NOT NULL);
    PRAGMA user_version = 1;
";

#[derive(Debug)]
pub(super) struct Outbox {
    file: Connection,
    instance: String,
    dropped: u64,
    /// The last span that is on its way: whether it arrives is not known. 0: none is.
    sending: i64,
}

/// The oldest spans, encoded.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) spans: Vec<Vec<u8>>,
    last: i64,
}

impl Outbox {
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        Self::opened(&path).map_err(|error| Failure {
            code: Code::Unavailable,
            text: format!("cannot use the spans in `{}`: {error:#}", path.display()),
            next: Some("move the file away: what waits in it is not sent then".to_owned()),
        })
    }

    fn opened(path: &Path) -> anyhow::Result<Self> {
        let mut file = database::connect(path)?;
        database::prepare(&mut file, SCHEMA, TABLES, |tables| {
            tables.execute("INSERT INTO about VALUES (1, ?, 0)", [instance()?])?;
            Ok(())
        })?;
        let about = file.query_row("SELECT instance, dropped FROM about", [], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?))
        });
        let (instance, dropped) = about?;
        Ok(Self { file, instance, dropped: dropped.try_into().unwrap_or_default(), sending: 0 })
    }

    /// Names this state folder, and nothing of it.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Spans that nobody will ever get.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What is remembered of each session.
    pub(super) fn sessions(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut rows = self.file.prepare("SELECT session, state FROM sessions")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds spans, and what is remembered of sessions now; `None`: the session is gone. All or nothing.
    pub(super) fn keep<'a>(
        &mut self,
        spans: &[Vec<u8>],
        sessions: impl Iterator<Item = (&'a str, Option<String>)>,
    ) -> anyhow::Result<()> {
        let keeping = self.file.transaction()?;
        let mut insert_span = keeping.prepare("INSERT INTO spans (span) VALUES (?)")?;
        for span in spans {
            insert_span.execute([span])?;
        }
        drop(insert_span);
        let mut insert = keeping.prepare("INSERT OR REPLACE INTO sessions VALUES (?, ?)")?;
        for (session, state) in sessions {
            match state {
                Some(state) => insert.execute([session, &state])?,
                None => keeping.execute("DELETE FROM sessions WHERE session = ?", [session])?,
            };
        }
        drop(insert);
        // What is on its way may have arrived: nobody can say that it was dropped.
        let dropped = keeping.execute(
            "DELETE FROM spans WHERE id > ?1 AND id <= (SELECT max(id) FROM spans) - ?2",
            [self.sending, MOST],
        )?;
        let dropped = add_dropped(&keeping, self.dropped, dropped as u64)?;
        keeping.commit()?;
        self.dropped = dropped;
        Ok(())
    }

    /// At most `most` spans, which are on their way then; `None`: nothing waits.
    pub(super) fn take(&mut self, most: usize) -> anyhow::Result<Option<Batch>> {
        let mut rows = self.file.prepare("SELECT id, span FROM spans ORDER BY id LIMIT ?")?;
        let rows = rows
            .query_map([i64::try_from(most)?], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)));
        let rows = rows?.collect::<Result<Vec<_>, _>>()?;
        let (ids, spans): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        self.sending = ids.last().copied().unwrap_or_default();
        Ok(ids.last().map(|last| Batch { spans, last: *last }))
    }

    /// A batch is not on its way any longer; it waits again.
    pub(super) fn put_back(&mut self) {
        self.sending = 0;
    }

    /// The collector has had a batch, and refused so many of its spans.
    pub(super) fn done(&mut self, batch: &Batch, refused: u64) -> anyhow::Result<()> {
        self.sending = 0;
        let done = self.file.transaction()?;
        done.execute("DELETE FROM spans WHERE id <= ?", [batch.last])?;
        let dropped = add_dropped(&done, self.dropped, refused)?;
        done.commit()?;
        self.dropped = dropped;
        Ok(())
    }
}

fn add_dropped(file: &Connection, before: u64, more: u64) -> anyhow::Result<u64> {
    let dropped = before.saturating_add(more);
    if more > 0 {
        file.execute("UPDATE about SET dropped = ?", params![i64::try_from(dropped)?])?;
    }
    Ok(dropped)
}

/// A random UUID.
fn instance() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the kernel has no random numbers"))?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = human::hex(&bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Ok(parts.join("-"))
}
