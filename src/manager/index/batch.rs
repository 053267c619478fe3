//! What was made of records and is not in the index yet.

use std::collections::HashMap;

use mcp_berth::history::Record;
use rusqlite::{Transaction, params};

use super::event::Kind;
use super::row::{SAVE, SessionRow};
use super::{micros, micros_of, number};

/// So many steps of a session are kept.
const STEPS: u64 = 256;

pub(super) const ADD_EVENT: &str = "INSERT INTO events (time, kind, name, session, seq, server, client, detail) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Lines of the tables, each with the place of its session in `sessions`.
#[derive(Debug, Default)]
pub(super) struct Batch {
    sessions: Vec<SessionRow>,
    places: HashMap<String, usize>,
    calls: Vec<(usize, i64, Call)>,
    steps: Vec<(usize, i64, Step)>,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Call {
    time: i64,
    method: String,
    tool: Option<String>,
    latency: i64,
    bytes: i64,
    answer_bytes: i64,
    outcome: String,
    code: Option<i64>,
}

#[derive(Debug)]
struct Step {
    ended: i64,
    name: String,
    took: i64,
    detail: Option<String>,
}

#[derive(Debug)]
struct Event {
    time: i64,
    kind: Kind,
    name: String,
    session: usize,
    seq: Option<i64>,
    detail: Option<String>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether an event is among it.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn place(&self, session: &str) -> Option<usize> {
        self.places.get(session).copied()
    }

    pub(super) fn session(&self, place: usize) -> &SessionRow {
        &self.sessions[place]
    }

    pub(super) fn add(&mut self, row: SessionRow) -> usize {
        let place = self.sessions.len();
        self.places.insert(row.id.clone(), place);
        self.sessions.push(row);
        place
    }

    pub(super) fn take(&mut self, place: usize, seq: u64, record: &Record) {
        let row = &mut self.sessions[place];
        let servers = row.servers();
        if !row.take(seq, record) {
            return;
        }
        let (time, at) = (micros(record.time), number(seq));
        match record.kind.as_str() {
            "call" => {
                let call = Call {
                    time,
                    method: record.method.clone().unwrap_or_default(),
                    tool: record.tool.clone(),
                    latency: record.latency_ms.map_or(0, micros_of),
                    bytes: record.bytes.map_or(0, number),
                    answer_bytes: record.answer_bytes.map_or(0, number),
                    outcome: record.outcome.clone().unwrap_or_default(),
                    code: record.code,
                };
                self.calls.push((place, at, call));
            }
            "step" if seq <= STEPS => {
                let step = Step {
                    ended: time,
                    name: record.name.clone().unwrap_or_default(),
                    took: record.duration_ms.map_or(0, micros_of),
                    detail: record.detail.clone(),
                };
                self.steps.push((place, at, step));
            }
            _ => {}
        }
        if let Some(kind) = Kind::of(record, servers) {
            let (name, detail) = (kind.name(record).to_owned(), record.detail.clone());
            self.events.push(Event { time, kind, name, session: place, seq: Some(at), detail });
        }
    }

    pub(super) fn over(&mut self, place: usize) {
        let row = &mut self.sessions[place];
        if row.over() {
            let (time, kind) = (row.last, Kind::Killed);
            let name = kind.as_str().to_owned();
            self.events.push(Event { time, kind, name, session: place, seq: None, detail: None });
        }
    }

    pub(super) fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut save = transaction.prepare(SAVE)?;
        let keys = self.sessions.iter().map(|row| row.save(&mut save)).collect::<Result<Vec<_>, _>>()?;
        let mut add = transaction.prepare(
            "INSERT INTO calls (session, seq, time, method, tool, latency, bytes, answer_bytes, outcome, code) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        for (place, seq, call) in &self.calls {
            let Call { time, method, tool, latency, bytes, answer_bytes, outcome, code } = call;
            let key = keys[*place];
            add.execute(params![key, seq, time, method, tool, latency, bytes, answer_bytes, outcome, code])?;
        }
        let mut add = transaction.prepare(
            "INSERT INTO steps (session, seq, ended, name, took, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (place, seq, Step { ended, name, took, detail }) in &self.steps {
            add.execute(params![keys[*place], seq, ended, name, took, detail])?;
        }
        let mut add = transaction.prepare(ADD_EVENT)?;
        for event in &self.events {
            let SessionRow { id, server, client, .. } = &self.sessions[event.session];
            let Event { time, kind, name, seq, detail, .. } = event;
            add.execute(params![time, kind.as_str(), name, id, seq, server, client, detail])?;
        }
        Ok(())
    }
}
