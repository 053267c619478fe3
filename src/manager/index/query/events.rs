//! Events: the newest, or those behind one.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Conditions, Page, time};
use crate::index::event::Kind;

/// Something that a person would look for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Event {
    /// Its number. Later events have higher ones, after a new start of the manager and in a new index, too.
    pub(crate) id: i64,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) time: Timestamp,
    #[schema(value_type = Kind)]
    pub(crate) kind: String,
    pub(crate) name: String,
    /// The session's id.
    pub(crate) session: Option<String>,
    /// The record's number in the session's journal.
    pub(crate) seq: Option<i64>,
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) detail: Option<String>,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) session: Option<String>,
    pub(crate) kind: Option<Kind>,
    pub(crate) since: Option<i64>,
}

const COLUMNS: &str = "id, time, kind, name, session, seq, server, client, detail";

impl Wanted {
    fn conditions(self) -> Conditions {
        let mut conditions = Conditions::default();
        conditions.and_if("session = ?", self.session);
        conditions.and_if("kind = ?", self.kind.map(|kind| kind.as_str().to_owned()));
        conditions.and_if("time >= ?", self.since);
        conditions
    }
}

/// The newest first: those with a number below `before`.
pub(crate) fn list(
    connection: &Connection,
    wanted: Wanted,
    before: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Page<Event, i64>> {
    let mut conditions = wanted.conditions();
    conditions.and_if("id < ?", before);
    let found = ask(connection, conditions, "DESC", i64::from(limit) + 1)?;
    Ok(Page::of(found, limit, |event| event.id))
}

/// Those with a number above `id`, the oldest first; and the number behind which the next ones are.
pub(crate) fn after(
    connection: &Connection,
    wanted: Wanted,
    id: i64,
    limit: u32,
) -> rusqlite::Result<(Vec<Event>, i64)> {
    let newest = newest(connection)?;
    let mut conditions = wanted.conditions();
    conditions.and("id > ? AND id <= ?", [id.into(), newest.into()]);
    let found = ask(connection, conditions, "ASC", limit.into())?;
    let is_all = found.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    let last = if is_all { newest.max(id) } else { found.last().map_or(id, |event| event.id) };
    Ok((found, last))
}

/// The highest number; the next event has a higher one.
pub(crate) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'events'", [], |row| row.get(0))
}

fn ask(
    connection: &Connection,
    conditions: Conditions,
    order: &str,
    limit: i64,
) -> rusqlite::Result<Vec<Event>> {
    let Conditions { text, mut values } = conditions;
    values.push(limit.into());
    let ask = format!("SELECT {COLUMNS} FROM events {text} ORDER BY id {order} LIMIT ?");
    connection.prepare(&ask)?.query_map(params_from_iter(values), Event::from_row)?.collect()
}

impl Event {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            time: time(row, 1)?,
            kind: row.get(2)?,
            name: row.get(3)?,
            session: row.get(4)?,
            seq: row.get(5)?,
            server: row.get(6)?,
            client: row.get(7)?,
            detail: row.get(8)?,
        })
    }
}
