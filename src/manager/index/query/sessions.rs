//! Sessions: the list of them, and all that is known of one.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Conditions, Page, Place, as_time, milliseconds, time};
use crate::index::row::{PRUNED, containers};

/// Whether a session is over, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Live,
    Ended,
    /// It was killed, or its machine stopped.
    Killed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Killed => "killed",
        }
    }

    fn of(text: &str) -> Self {
        [Self::Live, Self::Ended].into_iter().find(|state| state.as_str() == text).unwrap_or(Self::Killed)
    }
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the words of the journals and of `berth sessions`")]
pub(crate) struct Session {
    /// Its id.
    pub(crate) session: String,
    pub(crate) state: State,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started: Timestamp,
    /// When it ended; of one that was killed, when it was last heard of.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended: Option<Timestamp>,
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) client_session: Option<String>,
    /// The folder that the client worked in.
    pub(crate) project: Option<String>,
    pub(crate) image: Option<String>,
    /// Of berth.
    pub(crate) version: Option<String>,
    /// The names and ids of its containers.
    pub(crate) containers: Vec<String>,
    /// How its first server was had: `cold`, `standby` or `prestarted`.
    pub(crate) how: Option<String>,
    /// How long that took, in milliseconds.
    pub(crate) start_ms: Option<f64>,
    /// Servers after the first.
    pub(crate) recoveries: i64,
    /// Why it ended.
    pub(crate) why: Option<String>,
    /// Its exit code.
    pub(crate) code: Option<i64>,
    /// Whose the code is: `server`, or berth's own.
    pub(crate) code_of: Option<String>,
    pub(crate) requests: Option<i64>,
    /// Requests that the server has answered with an error.
    pub(crate) errors: Option<i64>,
    /// Requests whose server was lost.
    pub(crate) lost: Option<i64>,
    pub(crate) unanswered: Option<i64>,
    /// The number of its last record that the index knows of: so many were written.
    pub(crate) last_seq: i64,
    /// So many of these are in the index.
    pub(crate) indexed: i64,
    /// And so many are not, and never will be.
    pub(crate) dropped: i64,
}

/// A step of a session's starts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Step {
    pub(crate) name: String,
    #[schema(value_type = String, format = DateTime)]
    pub(crate) ended: Timestamp,
    pub(crate) ms: f64,
    pub(crate) detail: Option<String>,
}

/// A session, with its steps and the number of its calls.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct One {
    #[serde(flatten)]
    pub(crate) session: Session,
    pub(crate) steps: Vec<Step>,
    /// Calls in the index.
    pub(crate) calls: i64,
    /// Those among them that came to nothing.
    pub(crate) failed: i64,
}

/// Which sessions, and how many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) state: Option<State>,
    /// Those that have lived since then.
    pub(crate) since: Option<i64>,
    /// An id, the beginning of one, or a container's name or id.
    pub(crate) name: Option<String>,
    pub(crate) after: Option<Place<String>>,
    pub(crate) limit: u32,
}

const COLUMNS: &str = "id, state, started, ended, server, client, client_session, project, image, version, containers, how, \
    start_took, recoveries, why, code, code_of, requests, errors, lost, unanswered, last_seq, indexed";

/// A container's id may be cut short, to as many digits as Docker shows.
const NAMED: &str = "(id = ?1 OR substr(id, 1, length(?1)) = ?1 OR EXISTS (SELECT 1 FROM json_each(containers) \
    WHERE value = ?1 OR (length(?1) >= 12 AND length(value) = 64 AND substr(value, 1, length(?1)) = ?1)))";

/// The newest first.
pub(crate) fn list(
    connection: &Connection,
    wanted: Wanted,
) -> rusqlite::Result<Page<Session, Place<String>>> {
    let mut conditions = Conditions::default();
    // The first, for it is used by its number.
    if let Some(name) = wanted.name.filter(|name| !name.is_empty()) {
        conditions.and(NAMED, [name.into()]);
    }
    conditions.and("state <> ?", [PRUNED.to_owned().into()]);
    conditions.and_if("state = ?", wanted.state.map(|state| state.as_str().to_owned()));
    conditions.and_if("server = ?", wanted.server);
    conditions.and_if("client = ?", wanted.client);
    conditions.and_if("(ended IS NULL OR ended >= ?)", wanted.since);
    if let Some(Place { by, id }) = wanted.after {
        conditions.and("(started, id) < (?, ?)", [by.into(), id.into()]);
    }
    let Conditions { text, mut values } = conditions;
    values.push((i64::from(wanted.limit) + 1).into());
    let ask = format!("SELECT {COLUMNS} FROM sessions {text} ORDER BY started DESC, id DESC LIMIT ?");
    let found = connection
        .prepare(&ask)?
        .query_map(params_from_iter(values), Session::from_row)?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Page::of(found, wanted.limit, |session| Place {
        by: session.started.as_microsecond(),
        id: session.session.clone(),
    }))
}

pub(crate) fn one(connection: &Connection, id: &str) -> rusqlite::Result<Option<One>> {
    let ask = format!("SELECT {COLUMNS}, key FROM sessions WHERE id = ?1 AND state <> ?2");
    let found = connection
        .prepare(&ask)?
        .query_row(params![id, PRUNED], |row| Ok((Session::from_row(row)?, row.get::<_, i64>("key")?)))
        .optional()?;
    let Some((session, key)) = found else { return Ok(None) };
    let steps = connection
        .prepare("SELECT name, ended, took, detail FROM steps WHERE session = ?1 ORDER BY seq")?
        .query_map([key], |row| {
            Ok(Step {
                name: row.get(0)?,
                ended: time(row, 1)?,
                ms: milliseconds(row.get(2)?),
                detail: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let (calls, failed) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE outcome <> 'ok') FROM calls WHERE session = ?1",
        [key],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(Some(One { session, steps, calls, failed }))
}

impl Session {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (last_seq, indexed): (i64, i64) = (row.get("last_seq")?, row.get("indexed")?);
        Ok(Self {
            session: row.get("id")?,
            state: State::of(row.get_ref("state")?.as_str()?),
            started: time(row, "started")?,
            ended: row.get::<_, Option<i64>>("ended")?.map(as_time).transpose()?,
            server: row.get("server")?,
            client: row.get("client")?,
            client_session: row.get("client_session")?,
            project: row.get("project")?,
            image: row.get("image")?,
            version: row.get("version")?,
            containers: containers(row.get_ref("containers")?.as_str()?),
            how: row.get("how")?,
            start_ms: row.get::<_, Option<i64>>("start_took")?.map(milliseconds),
            recoveries: row.get("recoveries")?,
            why: row.get("why")?,
            code: row.get("code")?,
            code_of: row.get("code_of")?,
            requests: row.get("requests")?,
            errors: row.get("errors")?,
            lost: row.get("lost")?,
            unanswered: row.get("unanswered")?,
            last_seq,
            indexed,
            dropped: last_seq - indexed,
        })
    }
}
