//! Where the time of starts goes, and how servers were had.

use rusqlite::Connection;

use super::milliseconds;

/// Of more steps than these, the newest count.
const MOST: u32 = 50_000;

/// A step of a start, and how long it took (milliseconds).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// How the session had its server: `cold`, `standby` or `prestarted`.
    pub(crate) how: String,
    pub(crate) name: String,
    pub(crate) ms: f64,
}

/// A session's start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Start {
    pub(crate) how: String,
    pub(crate) server: String,
    pub(crate) ms: f64,
}

/// The steps up to each session's first server, of sessions that began since then.
pub(crate) fn steps(connection: &Connection, since: i64) -> rusqlite::Result<Vec<Step>> {
    // What is written down a moment after the server was there belongs to no start.
    let ask = "SELECT how, name, took FROM steps JOIN sessions ON key = steps.session \
        WHERE started >= ?1 AND how IS NOT NULL AND start_took IS NOT NULL AND steps.ended <= started + start_took \
        ORDER BY started DESC LIMIT ?2";
    connection
        .prepare(ask)?
        .query_map((since, MOST), |row| {
            Ok(Step { how: row.get(0)?, name: row.get(1)?, ms: milliseconds(row.get(2)?) })
        })?
        .collect()
}

/// The starts of sessions that began since then.
pub(crate) fn list(connection: &Connection, since: i64) -> rusqlite::Result<Vec<Start>> {
    let ask = "SELECT how, coalesce(server, '–'), start_took FROM sessions \
        WHERE started >= ?1 AND how IS NOT NULL AND start_took IS NOT NULL ORDER BY started DESC LIMIT ?2";
    connection
        .prepare(ask)?
        .query_map((since, MOST), |row| {
            Ok(Start { how: row.get(0)?, server: row.get(1)?, ms: milliseconds(row.get(2)?) })
        })?
        .collect()
}
