//! Sums up a trace: where the start's time went, which calls were slow, what went wrong. It reads record by record and
//! keeps a bounded amount of each kind, so a trace may have any length.
pub mod methods;
pub mod show;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Lines, Record};
use methods::{Methods, Row};

/// So many starts of servers are kept,
const STARTS: usize = 20;
/// with so many steps each;
const STEPS: usize = 40;
/// so many of the slowest calls, the last errors and the last notes;
const LISTED: usize = 10;
/// so many kinds of notes;
const NOTES: usize = 50;
/// so many requests that wait for their answers, and sessions.
const WAITING: usize = 16 << 10;

/// A step of a start, or of what follows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    pub name: String,
    pub ended: Timestamp,
    pub ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A server that was started for the session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Start {
    pub session: String,
    pub how: String,
    pub server: String,
    pub up: Timestamp,
    pub ms: f64,
    /// Since the server before it was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_ms: Option<f64>,
    pub steps: Vec<Step>,
}

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    pub time: Timestamp,
    pub direction: String,
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    pub id: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Note {
    pub time: Timestamp,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Messages and their bytes, of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Passed {
    pub messages: u64,
    pub bytes: u64,
}

/// The summary, as `berth trace --json` prints it.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub began: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub sessions: usize,
    pub records: u64,
    /// Lines that are no records.
    pub broken: u64,
    /// Records that berth had to drop when it wrote the trace.
    pub dropped: u64,
    pub starts: Vec<Start>,
    /// Steps after the start.
    pub later: Vec<Step>,
    pub client_to_server: Passed,
    pub server_to_client: Passed,
    pub methods: Vec<Row>,
    pub slowest: Vec<Call>,
    pub errors: u64,
    /// The last of them.
    pub last_errors: Vec<Call>,
    pub unanswered: u64,
    /// The first of them. A request that was cancelled is never answered.
    pub first_unanswered: Vec<Call>,
    pub cancellations: u64,
    pub notes: BTreeMap<String, u64>,
    pub last_notes: Vec<Note>,
    pub recoveries: u64,
    /// From the losses of servers until there were others.
    pub recovering_ms: f64,
}

#[derive(Debug, Default)]
pub struct Timeline {
    summary: Summary,
    methods: Methods,
    sessions: HashMap<String, Session>,
    waiting: HashMap<(String, bool, String), Call>,
    /// Requests that there was no room to wait for.
    unknown: u64,
    /// So many records of a batch are still to come; its bytes are counted.
    batch: u64,
}

#[derive(Debug, Default)]
struct Session {
    /// Since the last start.
    steps: Vec<Step>,
    is_up: bool,
    lost: Option<Timestamp>,
}

impl Timeline {
    /// Takes the lines that are there, and shows each record to `see` first.
    pub fn read<R: BufRead>(
        &mut self,
        lines: &mut Lines<R>,
        mut see: impl FnMut(&Record) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(line) = lines.next_line()? {
            match Record::parse(line) {
                Some(record) => {
                    see(&record)?;
                    self.take(record);
                }
                None => self.summary.broken += u64::from(!line.trim_ascii().is_empty()),
            }
        }
        Ok(())
    }

    /// Takes what stands behind the last line's end, when no more can come.
    pub fn rest<R: BufRead>(&mut self, lines: &mut Lines<R>) {
        match lines.rest().map(Record::parse) {
            Some(Some(record)) => self.take(record),
            Some(None) => self.summary.broken += 1,
            None => {}
        }
        self.summary.broken += lines.skipped();
    }

    pub fn take(&mut self, record: Record) {
        self.summary.records += 1;
        self.summary.began = self.summary.began.or(Some(record.time));
        self.summary.ended = Some(record.time);
        match record.kind.as_str() {
            "step" => self.step(record),
            "up" => self.up(record),
            "note" => self.note(record),
            "dropped" => self.summary.dropped += record.count.unwrap_or_default(),
            "request" | "notification" | "response" | "error" | "other" => self.message(record),
            // A journal's.
            _ => {}
        }
    }

    /// The whole, once the last record is taken.
    pub fn summary(mut self) -> Summary {
        let mut unanswered: Vec<Call> = self.waiting.into_values().collect();
        self.summary.unanswered = unanswered.len() as u64 + self.unknown;
        unanswered.sort_by_key(|call| call.time);
        unanswered.truncate(LISTED);
        self.summary.first_unanswered = unanswered;
        self.summary.sessions = self.sessions.len();
        self.summary.methods = self.methods.rows();
        self.summary
    }

    fn session(&mut self, record: &Record) -> &mut Session {
        let name = record.session.clone().unwrap_or_default();
        // Those beyond are taken for one.
        let name = if self.sessions.len() < WAITING { name } else { String::new() };
        self.sessions.entry(name).or_default()
    }

    fn step(&mut self, record: Record) {
        let session = self.session(&record);
        let is_up = session.is_up;
        let step = Step {
            name: record.name.unwrap_or_default(),
            ended: record.time,
            ms: record.duration_ms.unwrap_or_default(),
            detail: record.detail,
        };
        let steps = if is_up { &mut self.summary.later } else { &mut session.steps };
        if steps.len() < STEPS {
            steps.push(step);
        }
    }

    fn up(&mut self, record: Record) {
        let session = self.session(&record);
        session.is_up = true;
        let steps = std::mem::take(&mut session.steps);
        let lost = session.lost.take();
        let lost_ms = lost.map(|lost| milliseconds(lost, record.time));
        if let Some(ms) = lost_ms {
            self.summary.recoveries += 1;
            self.summary.recovering_ms += ms;
        }
        if self.summary.starts.len() < STARTS {
            self.summary.starts.push(Start {
                session: record.session.unwrap_or_default(),
                how: record.how.unwrap_or_default(),
                server: record.server.unwrap_or_default(),
                up: record.time,
                ms: record.duration_ms.unwrap_or_default(),
                lost_ms,
                steps,
            });
        }
    }

    fn note(&mut self, record: Record) {
        let name = record.name.clone().unwrap_or_default();
        match name.as_str() {
            "server ended" => {
                let session = self.session(&record);
                (session.is_up, session.lost) = (false, Some(record.time));
            }
            "our answer" => {
                // To the client, for a server that can't.
                let answer: Value =
                    record.detail.as_deref().and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
                let key = (record.session.clone().unwrap_or_default(), true, answer["id"].to_string());
                if let Some(call) = self.waiting.remove(&key) {
                    let ms = milliseconds(call.time, record.time);
                    self.answered(call, Some(ms), Some(answer["error"]["code"].as_i64().unwrap_or_default()));
                }
            }
            _ => {}
        }
        if self.summary.notes.len() < NOTES || self.summary.notes.contains_key(&name) {
            *self.summary.notes.entry(name.clone()).or_default() += 1;
        }
        keep_last(&mut self.summary.last_notes, Note { time: record.time, name, detail: record.detail });
    }

    fn message(&mut self, record: Record) {
        let from_client = record.is_from_client();
        let passed =
            if from_client { &mut self.summary.client_to_server } else { &mut self.summary.server_to_client };
        passed.messages += 1;
        if self.batch == 0 {
            passed.bytes += record.bytes.unwrap_or_default();
            self.batch = record.batch.unwrap_or(1).max(1);
        }
        self.batch -= 1;
        self.session(&record);
        let session = record.session.unwrap_or_default();
        let id = record.id.unwrap_or_default();
        match record.kind.as_str() {
            "request" => {
                let call = Call {
                    time: record.time,
                    direction: record.direction.unwrap_or_default(),
                    method: record.method.unwrap_or_default(),
                    tool: record.tool,
                    id,
                    ms: None,
                    code: None,
                };
                if self.waiting.len() < WAITING {
                    self.waiting.insert((session, from_client, call.id.to_string()), call);
                } else {
                    self.unknown += 1;
                }
            }
            "notification" => {
                let method = record.method.unwrap_or_default();
                self.summary.cancellations += u64::from(method == "notifications/cancelled");
                self.methods.count(&method, None);
            }
            "response" | "error" => {
                let Some(call) = self.waiting.remove(&(session, !from_client, id.to_string())) else {
                    return;
                };
                let ms = record.latency_ms.unwrap_or_else(|| milliseconds(call.time, record.time));
                let code = (record.kind == "error").then(|| record.code.unwrap_or_default());
                self.answered(call, Some(ms), code);
            }
            _ => {}
        }
    }

    fn answered(&mut self, call: Call, ms: Option<f64>, code: Option<i64>) {
        let call = Call { ms, code, ..call };
        self.methods.answered(&call);
        if code.is_some() {
            self.summary.errors += 1;
            keep_last(&mut self.summary.last_errors, call.clone());
        }
        let slowest = &mut self.summary.slowest;
        let at = slowest.partition_point(|other| other.ms >= call.ms);
        if at < LISTED {
            slowest.insert(at, call);
            slowest.truncate(LISTED);
        }
    }
}

fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    // Whole microseconds, so that what was written as 2 ms is told as 2 ms.
    (to.duration_since(from).as_secs_f64() * 1e6).round() / 1e3
}

fn keep_last<T>(list: &mut Vec<T>, item: T) {
    if list.len() == LISTED {
        list.remove(0);
    }
    list.push(item);
}

#[cfg(test)]
mod tests;
