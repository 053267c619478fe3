//! What the records of a session's journal add to the counters, and what has to be remembered of a session for that.

use jiff::Timestamp;
use mcp_berth::failure::Code;
use mcp_berth::history::Record;
use serde::{Deserialize, Serialize};

use super::families::{
    DROPPED, ERRORS, EVENTS, Family, MESSAGE_BYTES, OPERATIONS, ORPHANS, OVERHEAD, PHASES, RECORDS,
    RECOVERIES, SERVER_ENDS, SESSION_DURATION, SESSIONS_STARTED, STANDBY_HITS, STANDBY_MISSES, STARTS,
};
use super::labels::UNKNOWN;

/// Of a start so many steps are remembered until it is known what start it is.
const STEPS: usize = 40;

/// A step of the start, as `up` comes to know it.
const LOOKED: &str = "look for a container on standby";

/// What sessions meet, as their notes call it. The others are the ordinary course of a session.
const EVENTS_OF_NOTES: [&str; 12] = [
    "answer to a lost server",
    "call timed out",
    "invalid JSON",
    "late answer",
    "left out",
    "line too long",
    "other capabilities",
    "port in use",
    "refused",
    "repaired",
    "stray output",
    "unasked answer",
];

/// Ends the start of a container that stood by, and is recorded when the server is there already.
const TAKEN: &str = "take over the container";

/// The kind of a start that the first call to need the server has begun, whatever container it found.
const LAZY: &str = "lazy";

/// The name of the note of a container that a crash had left.
const LEFTOVER: &str = "leftover removed";

/// Who adds up. Each text is somebody's: it is bounded there.
pub(super) trait Count {
    fn add(&mut self, family: &'static Family, labels: &[&str], number: f64);
    fn observe(&mut self, family: &'static Family, labels: &[&str], seen: f64);
}

/// What of a session is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// Nothing: it is not known yet whose it is.
    #[default]
    New,
    /// That it began.
    Begun,
    /// That it ended, too.
    Ended,
}

/// What is remembered of a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    /// The number of the last record.
    pub(super) seq: u64,
    pub(super) server: String,
    pub(super) client: String,
    began: Option<Timestamp>,
    last: Option<Timestamp>,
    stage: Stage,
    /// How its server was started, while it is there.
    up: Option<String>,
    /// It began at the first call that needs its server, and that server has not come yet.
    lazy: bool,
    /// It has looked for a container on standby.
    looked: bool,
    steps: Vec<(String, f64)>,
    /// Nobody writes its journal any more.
    pub(super) over: bool,
}

impl Session {
    pub(super) fn take(&mut self, seq: u64, record: &Record, count: &mut impl Count) {
        count.add(&RECORDS, &[], 1.0);
        let missing = seq.saturating_sub(self.seq + 1);
        if missing > 0 {
            count.add(&DROPPED, &[], number(missing));
        }
        self.seq = seq;
        self.began = self.began.or(Some(record.time));
        self.last = Some(record.time);
        match record.kind.as_str() {
            "start" => {
                self.know(record);
                self.lazy = record.lazy;
                if !self.client.is_empty() {
                    self.count_start(count);
                }
            }
            "step" => self.step(record, count),
            "up" => self.is_up(record, count),
            "note" => self.note(record, count),
            "call" => self.call(record, count),
            "end" => self.end(record, count),
            _ => {}
        }
    }

    /// Nobody writes its journal any more.
    pub(super) fn is_over(&mut self, count: &mut impl Count) {
        if std::mem::replace(&mut self.over, true) || self.stage == Stage::Ended || self.began.is_none() {
            return;
        }
        self.count_start(count);
        self.lasted("killed", count);
    }

    fn know(&mut self, record: &Record) {
        self.server = record.server.clone().unwrap_or_else(|| std::mem::take(&mut self.server));
        self.client = record.client.clone().unwrap_or_else(|| std::mem::take(&mut self.client));
    }

    /// Once it is known whose session it is, or never will be.
    fn count_start(&mut self, count: &mut impl Count) {
        if self.stage == Stage::New {
            self.stage = Stage::Begun;
            count.add(&SESSIONS_STARTED, &[known(&self.client), known(&self.server)], 1.0);
        }
    }

    fn step(&mut self, record: &Record, count: &mut impl Count) {
        let (Some(name), Some(ms)) = (&record.name, record.duration_ms) else { return };
        self.looked |= name == LOOKED;
        if let Some(how) = &self.up {
            let kind = if name == TAKEN { how } else { "later" };
            count.observe(&PHASES, &[name, kind], ms / 1e3);
        } else if self.steps.len() < STEPS {
            self.steps.push((name.clone(), ms));
        }
    }

    fn is_up(&mut self, record: &Record, count: &mut impl Count) {
        self.know(record);
        self.count_start(count);
        let how = record.how.as_deref().unwrap_or(UNKNOWN);
        // The first server alone: the next ones take the place of a lost one.
        let kind = if std::mem::take(&mut self.lazy) { LAZY } else { how };
        self.up = Some(kind.to_owned());
        if let Some(ms) = record.duration_ms {
            count.observe(&STARTS, &[known(&self.server), kind], ms / 1e3);
        }
        for (name, ms) in self.steps.drain(..) {
            count.observe(&PHASES, &[&name, kind], ms / 1e3);
        }
        let has_looked = std::mem::take(&mut self.looked);
        match how {
            "standby" | "prestarted" => count.add(&STANDBY_HITS, &[known(&self.server)], 1.0),
            _ if has_looked => count.add(&STANDBY_MISSES, &[known(&self.server)], 1.0),
            _ => {}
        }
        if record.lost.is_some_and(|lost| lost > 0) {
            count.add(&RECOVERIES, &[known(&self.server)], 1.0);
        }
    }

    fn note(&mut self, record: &Record, count: &mut impl Count) {
        let name = record.name.as_deref().unwrap_or_default();
        let server = known(&self.server);
        if name == "server ended" {
            self.up = None;
            count.add(&SERVER_ENDS, &[server, exit(record.detail.as_deref().unwrap_or_default())], 1.0);
        } else if name == LEFTOVER {
            count.add(&ORPHANS, &[], 1.0);
        } else if EVENTS_OF_NOTES.contains(&name) {
            count.add(&EVENTS, &[server, &name.replace(' ', "_")], 1.0);
        }
    }

    fn call(&mut self, record: &Record, count: &mut impl Count) {
        let server = known(&self.server);
        let method = record.method.as_deref().unwrap_or_default();
        let tool = record.tool.as_deref().unwrap_or_default();
        let outcome = record.outcome.as_deref().unwrap_or("ok");
        let code = record.code.filter(|_| outcome == "error").map(|code| code.to_string());
        let error = match outcome {
            "ok" => "",
            outcome => code.as_deref().unwrap_or(outcome),
        };
        let seconds = record.latency_ms.unwrap_or_default() / 1e3;
        count.observe(&OPERATIONS, &[server, method, tool, error], seconds);
        if let Some(us) = record.relay_us {
            count.observe(&OVERHEAD, &[server], us / 1e6);
        }
        if outcome != "ok" {
            count.add(&ERRORS, &[server, outcome], 1.0);
        }
        for (direction, bytes) in [("client->server", record.bytes), ("server->client", record.answer_bytes)]
        {
            if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
                count.add(&MESSAGE_BYTES, &[server, direction], number(bytes));
            }
        }
    }

    fn end(&mut self, record: &Record, count: &mut impl Count) {
        if self.stage == Stage::Ended {
            return;
        }
        self.count_start(count);
        self.stage = Stage::Ended;
        let is_servers = record.code_of.as_deref() == Some("server");
        let ours = |code: Code| !is_servers && record.code == Some(i64::from(code.exit_code()));
        let why = match record.code {
            None | Some(0) => "",
            Some(_) if ours(Code::Unavailable) => "unavailable",
            Some(_) if ours(Code::Configuration) => "configuration",
            Some(_) if ours(Code::Usage) => "usage",
            Some(_) if ours(Code::Internal) => "internal",
            Some(_) => "server",
        };
        if !why.is_empty() {
            count.add(&ERRORS, &[known(&self.server), &format!("session_{why}")], 1.0);
        }
        self.lasted(why, count);
    }

    fn lasted(&self, error: &str, count: &mut impl Count) {
        let Some((began, last)) = self.began.zip(self.last) else { return };
        let seconds = last.duration_since(began).as_secs_f64().max(0.0);
        count.observe(&SESSION_DURATION, &[known(&self.server), known(&self.client), error], seconds);
    }
}

fn known(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

/// How a server ended, as the note has it.
fn exit(detail: &str) -> &'static str {
    match detail.split('(').next().unwrap_or_default() {
        "Code" if detail == "Code(0)" => "success",
        "Code" => "error",
        "OutOfMemory" => "out_of_memory",
        "Silent" => "silent",
        "Lost" => "lost",
        "Ended" => "ended_by_hand",
        _ => UNKNOWN,
    }
}

/// Counts are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "so much is never counted")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}
