//! The counters' file: what they were, and how far in each session's journal, in one transaction.
//!
//! It is not the index, which may be deleted: a counter never falls.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::families::{ALL, Family, Kind};
use super::session::Session;
use super::tally::{Labels, Tally, Value};
use crate::audits::Place;
use crate::database;

/// In the manager's folder.
pub(super) const FILE: &str = "counters.db";

/// What the tables mean. A file of a later berth is left alone.
const SCHEMA: i32 = 1;

const TABLES: &str = "
    CREATE TABLE counters (
        name TEXT NOT NULL, labels TEXT NOT NULL, value REAL NOT NULL, buckets TEXT NOT NULL,
        PRIMARY KEY (name, labels)
    ) WITHOUT ROWID;
    CREATE TABLE sessions (session TEXT PRIMARY KEY, seq INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE audit (one INTEGER PRIMARY KEY CHECK (one = 1), place TEXT NOT NULL);
    PRAGMA user_version = 1;
";

/// An earlier berth passes over it.
const BEGAN: &str =
    "CREATE TABLE IF NOT EXISTS began (one INTEGER PRIMARY KEY CHECK (one = 1), time TEXT NOT NULL)";

#[derive(Debug)]
pub(super) struct Store(Connection);

/// What the file has.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) values: Tally,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) audit: Place,
}

impl Store {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let mut file = database::connect(&folder.join(FILE))?;
        database::prepare(&mut file, SCHEMA, TABLES, |_| Ok(()))?;
        file.execute_batch(BEGAN)?;
        let place = folder.join(FILE);
        // A file of a berth that did not note it is as old as the file system says.
        let began = std::fs::metadata(place).and_then(|metadata| metadata.created());
        let began = began.ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now);
        file.execute("INSERT OR IGNORE INTO began VALUES (1, ?)", [began.to_string()])?;
        Ok(Self(file))
    }

    /// When it was made.
    pub(super) fn began(&self) -> anyhow::Result<Timestamp> {
        let began = self.0.query_row("SELECT time FROM began", [], |row| row.get::<_, String>(0))?;
        Ok(began.parse()?)
    }

    pub(super) fn load(&self) -> anyhow::Result<Kept> {
        let mut kept = Kept::default();
        let mut rows = self.0.prepare("SELECT name, labels, value, buckets FROM counters")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (name, labels, buckets): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(3)?);
            // What a later berth counts, or counted in other buckets, stays where it is.
            let Some(family) = ALL.iter().find(|family| family.name() == name) else { continue };
            let (labels, counts): (Labels, Vec<u64>) =
                (serde_json::from_str(&labels)?, serde_json::from_str(&buckets)?);
            if labels.len() == family.labels.len() && counts.len() == buckets_of(family) {
                kept.values.set(family, labels, Value { sum: row.get(2)?, counts });
            }
        }
        let mut rows = self.0.prepare("SELECT session, seq, state FROM sessions")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (session, seq, state): (String, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // Another berth may have written it: how far it came is what counts.
            let mut state: Session = serde_json::from_str(&state).unwrap_or_default();
            state.seq = u64::try_from(seq)?;
            kept.sessions.insert(session, state);
        }
        let place = self.0.query_row("SELECT place FROM audit", [], |row| row.get::<_, String>(0));
        if let Some(place) = place.optional()? {
            kept.audit = serde_json::from_str(&place)?;
        }
        Ok(kept)
    }

    /// All or nothing.
    pub(super) fn save<'a>(
        &mut self,
        values: &Tally,
        sessions: impl Iterator<Item = (&'a String, Option<&'a Session>)>,
        audit: &Place,
    ) -> anyhow::Result<()> {
        let saving = self.0.transaction()?;
        save_values(&saving, values)?;
        save_sessions(&saving, sessions)?;
        saving.execute("INSERT OR REPLACE INTO audit VALUES (1, ?)", [serde_json::to_string(audit)?])?;
        Ok(saving.commit()?)
    }
}

fn save_values(saving: &Transaction<'_>, values: &Tally) -> anyhow::Result<()> {
    let mut insert = saving.prepare("INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?)")?;
    for (family, labels, value) in values.each(ALL) {
        let (labels, buckets) = (serde_json::to_string(labels)?, serde_json::to_string(&value.counts)?);
        insert.execute(params![family.name(), labels, value.sum, buckets])?;
    }
    Ok(())
}

/// `None`: it is gone.
fn save_sessions<'a>(
    saving: &Transaction<'_>,
    sessions: impl Iterator<Item = (&'a String, Option<&'a Session>)>,
) -> anyhow::Result<()> {
    let mut insert = saving.prepare("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)")?;
    let mut delete = saving.prepare("DELETE FROM sessions WHERE session = ?")?;
    for (session, state) in sessions {
        match state {
            Some(state) => {
                insert.execute(params![session, i64::try_from(state.seq)?, serde_json::to_string(state)?])?
            }
            None => delete.execute([session])?,
        };
    }
    Ok(())
}

fn buckets_of(family: &Family) -> usize {
    match family.kind {
        Kind::Histogram(bounds) => bounds.len() + 1,
        Kind::Counter | Kind::Gauge | Kind::Info => 0,
    }
}
