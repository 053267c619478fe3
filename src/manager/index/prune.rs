//! Forgets what is old, in small steps: nobody who reads or writes waits for long.
//!
//! A session that is forgotten keeps its line without the rest as long as its journal is there, so that it is not read
//! again.

use std::path::Path;

use jiff::Timestamp;
use mcp_berth::observe::journal;
use rusqlite::{Connection, Transaction, params};

use super::batch::ADD_EVENT;
use super::event::Kind;
use super::micros;
use super::row::{KILLED, LIVE, PRUNED};

/// So many sessions, and so many lines of a table, are forgotten at once.
const SESSIONS: i64 = 50;
const LINES: i64 = 5000;

/// There are no more of them, whatever their age.
const MOST_CALLS: i64 = 5_000_000;
const MOST_EVENTS: i64 = 1_000_000;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pruned {
    /// Sessions that were found to be over.
    pub(super) killed: usize,
    /// There may be more that is old.
    pub(super) is_more: bool,
}

/// Forgets some of the sessions that have ended before `since`, with all that is known of them.
pub(super) fn prune(connection: &mut Connection, state: &Path, since: Timestamp) -> anyhow::Result<Pruned> {
    let transaction = connection.transaction()?;
    let killed = over(&transaction, state)?;
    let since = micros(since);
    let forgotten = transaction.execute(
        "UPDATE sessions SET state = ?1, server = NULL, client = NULL, client_session = NULL, project = NULL, \
         image = NULL, containers = '[]', why = NULL WHERE key IN \
         (SELECT key FROM sessions WHERE state NOT IN (?1, ?2) AND ended < ?3 LIMIT ?4)",
        params![PRUNED, LIVE, since, SESSIONS],
    )?;
    let of_pruned = "session IN (SELECT key FROM sessions WHERE state = ?1) LIMIT ?2";
    let calls = transaction.execute(
        &format!("DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE {of_pruned})"),
        params![PRUNED, LINES],
    )?;
    let steps = transaction.execute(
        &format!(
            "DELETE FROM steps WHERE (session, seq) IN (SELECT session, seq FROM steps WHERE {of_pruned})"
        ),
        params![PRUNED, LINES],
    )?;
    let events = transaction.execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time < ?1 AND (session IS NULL OR session NOT IN \
         (SELECT id FROM sessions WHERE state <> ?2)) LIMIT ?3)",
        params![since, PRUNED, LINES],
    )?;
    let too_many: usize = [("calls", MOST_CALLS), ("events", MOST_EVENTS)]
        .into_iter()
        .map(|(table, most)| {
            transaction.execute(
                &format!(
                    "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id <= \
                     (SELECT max(id) FROM {table}) - ?1 ORDER BY id LIMIT ?2)"
                ),
                params![most, LINES],
            )
        })
        .sum::<Result<_, _>>()?;
    forget_lines(&transaction, state)?;
    transaction.commit()?;
    let lines = [calls, steps, events, too_many];
    let is_more = forgotten == usize::try_from(SESSIONS)? || lines.iter().any(|lines| *lines > 0);
    Ok(Pruned { killed, is_more })
}

fn has_journal(state: &Path, session: &str) -> bool {
    state.join(journal::FOLDER).join(format!("{session}.jsonl")).exists()
}

/// Sessions that lived when their journal was last seen. It is gone: nobody will say how they ended.
fn over(transaction: &Transaction<'_>, state: &Path) -> rusqlite::Result<usize> {
    let mut ask =
        transaction.prepare("SELECT key, id, last, server, client FROM sessions WHERE state = ?1")?;
    let mut mark = transaction.prepare("UPDATE sessions SET state = ?1, ended = last WHERE key = ?2")?;
    let mut add = transaction.prepare(ADD_EVENT)?;
    let mut rows = ask.query([LIVE])?;
    let mut gone = Vec::new();
    while let Some(row) = rows.next()? {
        let (key, id, last): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if !has_journal(state, &id) {
            gone.push((key, id, last, row.get::<_, Option<String>>(3)?, row.get::<_, Option<String>>(4)?));
        }
    }
    for (key, id, last, server, client) in &gone {
        let kind = Kind::Killed.as_str();
        mark.execute(params![KILLED, key])?;
        add.execute(params![last, kind, kind, id, None::<i64>, server, client, None::<String>])?;
    }
    Ok(gone.len())
}

/// The lines of forgotten sessions whose journals are gone.
fn forget_lines(transaction: &Transaction<'_>, state: &Path) -> rusqlite::Result<()> {
    let mut ask = transaction.prepare(
        "SELECT key, id FROM sessions WHERE state = ?1 AND NOT EXISTS (SELECT 1 FROM calls WHERE session = key) \
         AND NOT EXISTS (SELECT 1 FROM steps WHERE session = key)",
    )?;
    let mut delete = transaction.prepare("DELETE FROM sessions WHERE key = ?1")?;
    let mut rows = ask.query([PRUNED])?;
    let mut gone: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        if !has_journal(state, row.get_ref(1)?.as_str()?) {
            gone.push(row.get(0)?);
        }
    }
    gone.into_iter().try_for_each(|key| delete.execute([key]).map(drop))
}
