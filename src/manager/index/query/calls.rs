//! Calls: the last, the slowest, or those that came to nothing.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Conditions, Page, Place, milliseconds, time};

/// A request of a client's, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Call {
    #[serde(skip)]
    id: i64,
    #[serde(skip)]
    latency: i64,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) time: Timestamp,
    /// The session's id.
    pub(crate) session: String,
    pub(crate) client: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) method: String,
    pub(crate) tool: Option<String>,
    pub(crate) latency_ms: f64,
    /// Of the request.
    pub(crate) bytes: i64,
    pub(crate) answer_bytes: i64,
    /// `ok`, `tool_error`, `error`, `timeout`, `cancelled` or `lost`.
    pub(crate) outcome: String,
    /// Of the error.
    pub(crate) code: Option<i64>,
}

/// Which calls, and how many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) session: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) since: Option<i64>,
    /// The slowest first; otherwise the newest.
    pub(crate) slow: bool,
    /// Only those that came to nothing.
    pub(crate) failed: bool,
    pub(crate) after: Option<Place<i64>>,
    pub(crate) limit: u32,
}

const COLUMNS: &str = "calls.id, latency, time, sessions.id, client, server, method, tool, bytes, answer_bytes, outcome, \
    calls.code";

pub(crate) fn list(connection: &Connection, wanted: Wanted) -> rusqlite::Result<Page<Call, Place<i64>>> {
    let mut conditions = Conditions::default();
    conditions.and_if("calls.session = (SELECT key FROM sessions WHERE id = ?)", wanted.session);
    conditions.and_if("server = ?", wanted.server);
    conditions.and_if("client = ?", wanted.client);
    conditions.and_if("time >= ?", wanted.since);
    if wanted.failed {
        conditions.and("outcome <> 'ok'", []);
    }
    let by = if wanted.slow { "latency" } else { "time" };
    if let Some(place) = wanted.after {
        conditions.and(&format!("({by}, calls.id) < (?, ?)"), [place.by.into(), place.id.into()]);
    }
    let Conditions { text, mut values } = conditions;
    values.push((i64::from(wanted.limit) + 1).into());
    // Of sessions that are forgotten, some calls may still be there.
    let ask = format!(
        "SELECT {COLUMNS} FROM calls JOIN sessions ON key = calls.session AND state <> 'pruned' {text} \
         ORDER BY {by} DESC, calls.id DESC LIMIT ?"
    );
    let found = connection
        .prepare(&ask)?
        .query_map(params_from_iter(values), Call::from_row)?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Page::of(found, wanted.limit, |call| Place {
        by: if wanted.slow { call.latency } else { call.time.as_microsecond() },
        id: call.id,
    }))
}

impl Call {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let latency = row.get(1)?;
        Ok(Self {
            id: row.get(0)?,
            latency,
            time: time(row, 2)?,
            session: row.get(3)?,
            client: row.get(4)?,
            server: row.get(5)?,
            method: row.get(6)?,
            tool: row.get(7)?,
            latency_ms: milliseconds(latency),
            bytes: row.get(8)?,
            answer_bytes: row.get(9)?,
            outcome: row.get(10)?,
            code: row.get(11)?,
        })
    }
}
