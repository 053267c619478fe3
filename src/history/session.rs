//! The sessions that left a history: the list of them, and the choice of one by its name.
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lines::Lines;
use super::record::Record;
use crate::observe::journal::{self, FOLDER};

/// Of each file, so much of its beginning and of its end is read for the list (bytes).
const BEGINNING: u64 = 64 << 10;
const END: u64 = 16 << 10;

/// A container's id as Docker shows it.
const SHORT_ID: usize = 12;

/// Whether a session is over, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Live,
    Ended,
    /// Its history has no end: it was killed, or its machine stopped.
    Killed,
}

/// What is known of a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Past {
    pub session: String,
    pub state: State,
    pub started: Timestamp,
    /// Of the last record, where it ended without one.
    pub ended: Option<Timestamp>,
    pub server: Option<String>,
    pub client: Option<String>,
    pub client_session: Option<String>,
    /// The names and ids of its containers.
    pub containers: Vec<String>,
    /// Of its first server.
    pub how: Option<String>,
    /// Why it ended.
    pub why: Option<String>,
    /// The exit code.
    pub code: Option<i64>,
    pub requests: Option<u64>,
    pub errors: Option<u64>,
    pub lost: Option<u64>,
    pub unanswered: Option<u64>,
    #[serde(skip)]
    pub path: PathBuf,
}

/// All sessions in the state folder, the newest first. What can't be read is not there.
pub fn all(state: &Path) -> Vec<Past> {
    let Ok(entries) = std::fs::read_dir(state.join(FOLDER)) else { return Vec::new() };
    let mut all: Vec<Past> =
        entries.flatten().filter_map(|entry| Past::read(&entry.path()).ok().flatten()).collect();
    all.sort_by(|one, other| (other.started, &other.session).cmp(&(one.started, &one.session)));
    all
}

/// Which one is meant by `last`, an id, the beginning of one, or a container's name; of `all`, the newest first.
///
/// # Errors
/// The ids of those that it could be, or none.
pub fn find<'a>(all: &'a [Past], meant: &str) -> Result<&'a Past, Vec<&'a str>> {
    if meant == "last" {
        return all.first().ok_or_else(Vec::new);
    }
    // A container's name is used again and again.
    let is_meant = |name: &String| {
        name == meant || (meant.len() >= SHORT_ID && name.len() == 64 && name.starts_with(meant))
    };
    let named = |past: &&Past| past.session == meant || past.containers.iter().any(is_meant);
    if let Some(past) = all.iter().find(named) {
        return Ok(past);
    }
    let begins = |past: &&Past| !meant.is_empty() && past.session.starts_with(meant);
    match all.iter().filter(begins).collect::<Vec<_>>().as_slice() {
        [past] => Ok(past),
        several => Err(several.iter().map(|past| past.session.as_str()).collect()),
    }
}

impl Past {
    /// `None` for what is no journal.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let is_journal = path.extension().is_some_and(|extension| extension == "jsonl");
        let Some(session) = path.file_stem().and_then(|name| name.to_str()).filter(|_| is_journal) else {
            return Ok(None);
        };
        // Before its records are read: one that ends in this moment is better shown as live than as killed.
        let live = journal::is_live(path);
        let mut file = File::open(path)?;
        let mut text = Vec::new();
        file.by_ref().take(BEGINNING).read_to_end(&mut text)?;
        let length = file.seek(SeekFrom::End(0))?;
        if length > BEGINNING {
            file.seek(SeekFrom::Start(BEGINNING.max(length.saturating_sub(END))))?;
            // Lines that are cut at the seam are no records.
            text.push(b'\n');
            file.take(END).read_to_end(&mut text)?;
        }
        Ok(Self::of(session, path, &text, live))
    }

    /// All servers that it started. Nothing but the whole journal has those that a call started late.
    pub fn servers(&self) -> io::Result<BTreeSet<String>> {
        let mut lines = Lines::new(BufReader::new(File::open(&self.path)?));
        let mut servers = BTreeSet::new();
        while let Some(line) = lines.next_line()? {
            let Some(record) = Record::parse(line) else { continue };
            if matches!(record.kind.as_str(), "start" | "up") {
                servers.extend(record.server);
            }
        }
        Ok(servers)
    }

    fn of(session: &str, path: &Path, text: &[u8], live: bool) -> Option<Self> {
        let mut records = text.split(|byte| *byte == b'\n').filter_map(Record::parse).peekable();
        let started = records.peek()?.time;
        let mut past = Self {
            session: session.to_owned(),
            state: if live { State::Live } else { State::Killed },
            started,
            ended: None,
            server: None,
            client: None,
            client_session: None,
            containers: Vec::new(),
            how: None,
            why: None,
            code: None,
            requests: None,
            errors: None,
            lost: None,
            unanswered: None,
            path: path.to_owned(),
        };
        for record in records {
            past.ended = Some(record.time);
            past.take(record);
        }
        if past.state == State::Live {
            past.ended = None;
        }
        Some(past)
    }

    fn take(&mut self, record: Record) {
        match (record.kind.as_str(), record.name.as_deref()) {
            ("start" | "up", _) => {
                self.server = record.server.or(self.server.take());
                self.client = record.client.or(self.client.take());
                self.client_session = record.client_session.or(self.client_session.take());
                self.how = self.how.take().or(record.how);
                self.has_container(record.container);
            }
            ("step", Some("take a name" | "claim a container on standby")) => {
                self.has_container(record.detail);
            }
            ("end", _) => {
                self.state = State::Ended;
                self.why = record.detail;
                self.code = record.code;
                self.requests = record.requests;
                self.errors = record.errors;
                self.lost = record.lost;
                self.unanswered = record.unanswered;
            }
            _ => {}
        }
    }

    /// A name may be taken again and again.
    fn has_container(&mut self, name: Option<String>) {
        let new = name.filter(|name| !self.containers.contains(name));
        self.containers.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(session: &str, text: &str, live: bool) -> Past {
        Past::of(session, Path::new("x.jsonl"), text.as_bytes(), live).unwrap()
    }

    const BEGUN: &str = r#"{"time":"2026-11-22T10:00:00Z","kind":"start","server":"time","image":"mcp/time"}
{"time":"2026-11-22T10:00:01Z","kind":"up","how":"cold","server":"time","client":"codex","container":"abc"}
{"time":"2026-11-22T10:00:02Z","kind":"step","name":"take a name","detail":"mcp-codex-1"}
"#;
    const END: &str =
        r#"{"time":"2026-11-22T10:00:09Z","kind":"end","detail":"the client closed its output","code":0}"#;

    #[test]
    fn a_session_is_live_ended_or_killed() {
        let [live, killed] = [true, false].map(|live| past("a", BEGUN, live));
        assert_eq!((live.state, live.ended), (State::Live, None));
        assert_eq!(killed.state, State::Killed);
        assert_eq!(killed.ended, Some("2026-11-22T10:00:02Z".parse().unwrap()), "when it last said a word");
        // Its lock goes a moment after its last record.
        let ended = past("a", &format!("{BEGUN}{BEGUN}{END}\n{{\"time\":"), true);
        assert_eq!((ended.state, ended.code), (State::Ended, Some(0)));
        assert_eq!(ended.why.as_deref(), Some("the client closed its output"));
        assert_eq!((ended.server.as_deref(), ended.client.as_deref()), (Some("time"), Some("codex")));
        assert_eq!(ended.containers, ["abc", "mcp-codex-1"]);
        assert!(Past::of("a", Path::new("x.jsonl"), b"no\nrecord\n", true).is_none());
    }

    #[test]
    fn a_session_is_found_by_its_id_its_beginning_or_its_container() {
        let mut all = vec![past("abc2", BEGUN, false), past("abd1", BEGUN, false), past("ab", BEGUN, false)];
        all[0].containers.clear();
        let found = |meant: &str| find(&all, meant).map(|past| past.session.as_str());
        assert_eq!(found("last"), Ok("abc2"));
        assert_eq!(found("abd1"), Ok("abd1"));
        assert_eq!(found("abc"), Ok("abd1"), "the container's id goes before the beginning of an id");
        assert_eq!(found("ab"), Ok("ab"), "it is one, and the beginning of others");
        assert_eq!(found("a"), Err(vec!["abc2", "abd1", "ab"]));
        assert_eq!(found("abc2x"), Err(vec![]));
        assert_eq!(found(""), Err(vec![]));
        assert_eq!(found("mcp-codex-1"), Ok("abd1"), "the newest of that name");
    }
}
