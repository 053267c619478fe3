//! A session as the index has it, and what its records make of it.

use jiff::Timestamp;
use mcp_berth::history::Record;
use mcp_berth::observe::journal;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::{micros, micros_of, number};

/// So many containers of a session are listed.
const CONTAINERS: usize = 64;

pub(super) const LIVE: &str = "live";
pub(super) const ENDED: &str = "ended";
pub(super) const KILLED: &str = "killed";
/// Only its numbers are kept.
pub(super) const PRUNED: &str = "pruned";

/// A line of the table `sessions`.
#[derive(Debug, Clone)]
pub(super) struct SessionRow {
    /// `None`: it has no line yet.
    pub(super) key: Option<i64>,
    pub(super) id: String,
    pub(super) state: String,
    schema: i64,
    started: i64,
    /// Of its last record.
    pub(super) last: i64,
    ended: Option<i64>,
    pub(super) server: Option<String>,
    pub(super) client: Option<String>,
    client_session: Option<String>,
    project: Option<String>,
    image: Option<String>,
    version: Option<String>,
    containers: Vec<String>,
    how: Option<String>,
    start_took: Option<i64>,
    /// Servers after the first.
    recoveries: i64,
    why: Option<String>,
    code: Option<i64>,
    code_of: Option<String>,
    requests: Option<i64>,
    errors: Option<i64>,
    lost: Option<i64>,
    unanswered: Option<i64>,
    pub(super) last_seq: i64,
    indexed: i64,
}

const LOAD: &str = "SELECT key, id, state, schema, started, last, ended, server, client, client_session, project, image, \
    version, containers, how, start_took, recoveries, why, code, code_of, requests, errors, lost, unanswered, last_seq, \
    indexed FROM sessions WHERE id = ?1";

pub(super) const SAVE: &str = "INSERT OR REPLACE INTO sessions (key, id, state, schema, started, last, ended, server, client, \
    client_session, project, image, version, containers, how, start_took, recoveries, why, code, code_of, requests, errors, \
    lost, unanswered, last_seq, indexed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
    ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26)";

impl SessionRow {
    pub(super) fn new(id: &str, time: Timestamp) -> Self {
        Self {
            key: None,
            id: id.to_owned(),
            state: LIVE.to_owned(),
            schema: 0,
            started: micros(time),
            last: micros(time),
            ended: None,
            server: None,
            client: None,
            client_session: None,
            project: None,
            image: None,
            version: None,
            containers: Vec::new(),
            how: None,
            start_took: None,
            recoveries: 0,
            why: None,
            code: None,
            code_of: None,
            requests: None,
            errors: None,
            lost: None,
            unanswered: None,
            last_seq: 0,
            indexed: 0,
        }
    }

    pub(super) fn load(connection: &Connection, id: &str) -> rusqlite::Result<Option<Self>> {
        connection.prepare(LOAD)?.query_row([id], Self::from_row).optional()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            id: row.get(1)?,
            state: row.get(2)?,
            schema: row.get(3)?,
            started: row.get(4)?,
            last: row.get(5)?,
            ended: row.get(6)?,
            server: row.get(7)?,
            client: row.get(8)?,
            client_session: row.get(9)?,
            project: row.get(10)?,
            image: row.get(11)?,
            version: row.get(12)?,
            containers: containers(row.get_ref(13)?.as_str()?),
            how: row.get(14)?,
            start_took: row.get(15)?,
            recoveries: row.get(16)?,
            why: row.get(17)?,
            code: row.get(18)?,
            code_of: row.get(19)?,
            requests: row.get(20)?,
            errors: row.get(21)?,
            lost: row.get(22)?,
            unanswered: row.get(23)?,
            last_seq: row.get(24)?,
            indexed: row.get(25)?,
        })
    }

    /// Writes it; gives its key.
    pub(super) fn save(&self, save: &mut Statement<'_>) -> rusqlite::Result<i64> {
        let containers = serde_json::to_string(&self.containers).unwrap_or_default();
        save.insert(params![
            self.key,
            self.id,
            self.state,
            self.schema,
            self.started,
            self.last,
            self.ended,
            self.server,
            self.client,
            self.client_session,
            self.project,
            self.image,
            self.version,
            containers,
            self.how,
            self.start_took,
            self.recoveries,
            self.why,
            self.code,
            self.code_of,
            self.requests,
            self.errors,
            self.lost,
            self.unanswered,
            self.last_seq,
            self.indexed,
        ])
    }

    /// How many servers it has had.
    pub(super) fn servers(&self) -> i64 {
        if self.start_took.is_none() { 0 } else { self.recoveries + 1 }
    }

    /// Takes note of a record; whether anything may be made of it.
    pub(super) fn take(&mut self, seq: u64, record: &Record) -> bool {
        (self.last_seq, self.last) = (number(seq), micros(record.time));
        if let Some(schema) = record.schema {
            self.schema = schema.into();
        }
        // A later berth's records may mean something else. They count as those that are missing.
        let is_known = self.schema <= i64::from(journal::SCHEMA) && self.state != PRUNED;
        if is_known {
            self.indexed += 1;
            self.learn(record);
        }
        is_known
    }

    fn learn(&mut self, record: &Record) {
        let take = |new: &Option<String>, old: &mut Option<String>| {
            if let Some(new) = new {
                *old = Some(new.clone());
            }
        };
        match (record.kind.as_str(), record.name.as_deref()) {
            ("start" | "up", _) => {
                take(&record.server, &mut self.server);
                take(&record.client, &mut self.client);
                take(&record.client_session, &mut self.client_session);
                take(&record.project, &mut self.project);
                take(&record.image, &mut self.image);
                take(&record.version, &mut self.version);
                self.has_container(record.container.as_deref());
                if record.kind == "up" {
                    self.is_up(record);
                }
            }
            ("step", Some("take a name" | "claim a container on standby")) => {
                self.has_container(record.detail.as_deref());
            }
            ("end", _) => {
                ENDED.clone_into(&mut self.state);
                self.ended = Some(self.last);
                self.why.clone_from(&record.detail);
                self.code = record.code;
                self.code_of.clone_from(&record.code_of);
                self.requests = record.requests.map(number);
                self.errors = record.errors.map(number);
                self.lost = record.lost.map(number);
                self.unanswered = record.unanswered.map(number);
            }
            _ => {}
        }
    }

    fn is_up(&mut self, record: &Record) {
        if self.start_took.is_some() {
            self.recoveries += 1;
            return;
        }
        self.start_took = Some(record.duration_ms.map_or(0, micros_of));
        self.how.clone_from(&record.how);
    }

    fn has_container(&mut self, name: Option<&str>) {
        let new = name.filter(|name| !self.containers.iter().any(|known| known == name));
        if self.containers.len() < CONTAINERS {
            self.containers.extend(new.map(str::to_owned));
        }
    }

    /// Nobody writes it any more; whether it was killed.
    pub(super) fn over(&mut self) -> bool {
        let was_killed = self.state == LIVE;
        if was_killed {
            KILLED.clone_into(&mut self.state);
            self.ended = Some(self.last);
        }
        was_killed
    }
}

pub(super) fn containers(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}
