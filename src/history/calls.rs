//! The requests of all sessions that left a history.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::session::Past;
use super::{Lines, Record, show};
use crate::human::Bytes;
use crate::human::table::{self, Cut};

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// When it ended.
    pub time: Timestamp,
    pub session: String,
    pub client: Option<String>,
    pub server: Option<String>,
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    pub latency_ms: f64,
    pub bytes: u64,
    pub answer_bytes: u64,
    /// `ok`, `tool_error`, `error`, `timeout`, `cancelled` or `lost`.
    pub outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
}

/// Which requests, and how many.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub since: Option<Timestamp>,
    /// The slowest first; otherwise the last ones, in their order.
    pub slowest: bool,
    /// Only those that came to nothing.
    pub failed: bool,
    pub number: usize,
}

/// The requests of these sessions. What can't be read is not there.
pub fn of(sessions: &[Past], wanted: Wanted) -> Vec<Call> {
    let mut all = Vec::new();
    for past in sessions {
        _ = read(past, wanted, &mut all);
        // More than twice as many as are wanted are kept of no history.
        if all.len() > wanted.number.saturating_mul(2).max(1024) {
            choose(&mut all, wanted);
        }
    }
    choose(&mut all, wanted);
    all
}

fn choose(calls: &mut Vec<Call>, wanted: Wanted) {
    if wanted.slowest {
        calls.sort_by(|one, other| other.latency_ms.total_cmp(&one.latency_ms));
        calls.truncate(wanted.number);
    } else {
        calls.sort_by_key(|call| call.time);
        calls.drain(..calls.len().saturating_sub(wanted.number));
    }
}

fn read(past: &Past, wanted: Wanted, all: &mut Vec<Call>) -> io::Result<()> {
    let file = File::open(&past.path)?;
    if is_older(&past.path, wanted.since) {
        return Ok(());
    }
    let mut lines = Lines::new(BufReader::new(file));
    while let Some(line) = lines.next_line()? {
        // Most lines of a history that has others are read for nothing.
        if memchr::memmem::find(line, b"\"call\"").is_none() {
            continue;
        }
        let Some(record) = Record::parse(line).filter(|record| record.kind == "call") else { continue };
        let outcome = record.outcome.unwrap_or_default();
        let is_wanted =
            wanted.since.is_none_or(|since| record.time >= since) && !(wanted.failed && outcome == "ok");
        if !is_wanted {
            continue;
        }
        all.push(Call {
            time: record.time,
            session: past.session.clone(),
            client: past.client.clone(),
            server: past.server.clone(),
            method: record.method.unwrap_or_default(),
            tool: record.tool,
            latency_ms: record.latency_ms.unwrap_or_default(),
            bytes: record.bytes.unwrap_or_default(),
            answer_bytes: record.answer_bytes.unwrap_or_default(),
            outcome,
            code: record.code,
        });
    }
    Ok(())
}

/// Whether nothing was written to the file since then.
fn is_older(path: &Path, since: Option<Timestamp>) -> bool {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    match (modified, since) {
        (Ok(modified), Some(since)) => modified < SystemTime::from(since),
        _ => false,
    }
}

/// For a person; no line is wider than `width`.
pub fn write(out: &mut impl io::Write, calls: &[Call], width: Option<usize>) -> io::Result<()> {
    let titles = ["TIME", "SESSION", "CLIENT", "SERVER", "CALL", "TOOK", "ASKED", "ANSWER", "OUTCOME"];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(calls.iter().map(|call| {
        let known = |text: &Option<String>| show::plain(text.as_deref().unwrap_or("-"));
        let what = call.tool.as_deref().unwrap_or(&call.method);
        let outcome =
            call.code.map_or_else(|| call.outcome.clone(), |code| format!("{} {code}", call.outcome));
        [
            show::local(call.time, "%Y-%m-%d %H:%M:%S"),
            call.session.clone(),
            known(&call.client),
            known(&call.server),
            show::plain(what),
            show::took(call.latency_ms),
            Bytes(call.bytes).to_string(),
            Bytes(call.answer_bytes).to_string(),
            show::plain(&outcome),
        ]
    }));
    let cuts = [
        Cut::Never,
        Cut::Never,
        Cut::End,
        Cut::End,
        Cut::End,
        Cut::Never,
        Cut::Never,
        Cut::Never,
        Cut::Never,
    ];
    table::write(out, &rows, cuts, width)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::history::session;

    fn journal(state: &Path, session: &str, calls: &[(&str, f64, &str)]) {
        let folder = state.join("sessions");
        std::fs::create_dir_all(&folder).unwrap();
        let mut text = "{\"time\":\"2026-11-22T10:00:00Z\",\"kind\":\"start\",\"server\":\"time\",\"client\":\"codex\"}\n".to_owned();
        for (time, latency, outcome) in calls {
            writeln!(
                text,
                "{{\"time\":\"2026-11-22T{time}Z\",\"kind\":\"call\",\"method\":\"tools/call\",\"tool\":\"t\",\"latency_ms\":{latency},\"outcome\":\"{outcome}\"}}"
            )
            .unwrap();
        }
        text += "{\"time\":\"2026-11-22T10:00:09Z\",\"kind\":\"log\",\"detail\":\"a \\\"call\\\" of nobody's\"}\nno record";
        std::fs::write(folder.join(format!("{session}.jsonl")), text).unwrap();
    }

    #[test]
    fn the_last_the_slowest_and_the_failed_ones_of_all_sessions() {
        let folder = tempfile::tempdir().unwrap();
        journal(folder.path(), "aaaaaaaaaaaa", &[("10:00:01", 5.0, "ok"), ("10:00:04", 1.0, "error")]);
        journal(folder.path(), "bbbbbbbbbbbb", &[("10:00:02", 9.0, "ok"), ("10:00:03", 2.0, "lost")]);
        let sessions = session::all(folder.path());
        let all = Wanted { number: 10, ..Wanted::default() };
        let latencies = |wanted| of(&sessions, wanted).iter().map(|call| call.latency_ms).collect::<Vec<_>>();
        assert_eq!(latencies(all), [5.0, 9.0, 2.0, 1.0]);
        assert_eq!(latencies(Wanted { number: 1, ..all }), [1.0]);
        assert_eq!(latencies(Wanted { slowest: true, number: 2, ..all }), [9.0, 5.0]);
        assert_eq!(latencies(Wanted { failed: true, ..all }), [2.0, 1.0]);
        let since = Some("2026-11-22T10:00:03Z".parse().unwrap());
        assert_eq!(latencies(Wanted { since, ..all }), [2.0, 1.0]);
        let call = &of(&sessions, all)[0];
        assert_eq!((call.client.as_deref(), call.server.as_deref()), (Some("codex"), Some("time")));
    }
}
