//! Who was refused what, what a person did by hand, and which settings have changed: an append-only file in the state folder, which berth never prunes.
//!
//! JSON lines, one schema, no value of an argument. A session writes so many lines a minute at the most and counts the others,
//! so that a client that is refused all the time fills no disk; so does the manager.

use std::fmt::Display;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Redactor;

/// In the state folder.
pub const FILE: &str = "audit.jsonl";

/// What the lines mean.
pub const SCHEMA: u32 = 1;

/// The event of a setting that has another value. Its name is told, its value never.
pub const CHANGED: &str = "setting changed";

/// Of a detail so much is kept (characters).
pub const DETAIL: usize = 512;

/// A session writes so many lines at once, and one more each second.
const BURST: u32 = 60;
const EVERY: Duration = Duration::from_secs(1);

/// A line of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(default)]
    pub schema: u32,
    pub time: Timestamp,
    /// What happened: `tool refused`, `definition held`, `over a ceiling`, `ended by hand`, `definition accepted`,
    /// `ended by the API`, `ended by the page`, `log-in refused`, `setting changed`.
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// So many events before this one are not in the file.
    #[serde(default, skip_serializing_if = "is_none")]
    pub missing: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Entry {
    pub fn new(event: &str, detail: &str) -> Self {
        Self {
            schema: SCHEMA,
            time: Timestamp::now(),
            event: event.to_owned(),
            detail: detail.chars().take(DETAIL).collect(),
            ..Self::default()
        }
    }
}

/// Puts a line behind all others.
///
/// # Errors
/// Where the file cannot be written.
pub fn append(state: &Path, entry: &Entry) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(state.join(FILE))?;
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    // One write: lines of several processes do not mix.
    file.write_all(&line)
}

/// Notes what was done. What cannot be noted is done all the same, and said.
pub fn note(state: &Path, entry: &Entry) {
    if let Err(error) = append(state, entry) {
        tracing::warn!("cannot write to `{}`: {error}", state.join(FILE).display());
    }
}

/// Notes settings that a command of a person's has changed: a line for each of `changes`.
pub fn note_changes<C: Display>(state: &Path, command: &str, changes: impl IntoIterator<Item = C>) {
    for change in changes {
        note(state, &Entry::new(CHANGED, &format!("`{command}`: {change}")));
    }
}

/// The way to the file of one session, or of the manager; clones share it.
#[derive(Debug, Clone)]
pub struct Audit(Arc<OpenAudit>);

#[derive(Debug)]
struct OpenAudit {
    state: PathBuf,
    session: Option<String>,
    server: Option<String>,
    redactor: Redactor,
    /// How many lines may be written at `.1`, and how many were not.
    allowance: Mutex<(u32, Instant, u64)>,
}

impl Audit {
    pub fn new(state: &Path, session: &str, server: &str, redactor: Redactor) -> Self {
        Self::open(state, Some(session.to_owned()), Some(server.to_owned()), redactor)
    }

    /// Of no session; who uses it hands over no secret.
    pub fn of_manager(state: &Path) -> Self {
        Self::open(state, None, None, Redactor::new([]))
    }

    fn open(state: &Path, session: Option<String>, server: Option<String>, redactor: Redactor) -> Self {
        Self(Arc::new(OpenAudit {
            state: state.to_owned(),
            session,
            server,
            redactor,
            allowance: Mutex::new((BURST, Instant::now(), 0)),
        }))
    }

    /// Something was refused. It makes nobody wait.
    pub fn event(&self, event: &str, detail: &str) {
        let Some(missing) = self.allowed() else { return };
        let entry = Entry {
            session: self.0.session.clone(),
            server: self.0.server.clone(),
            missing,
            ..Entry::new(event, &self.0.redactor.text(detail))
        };
        let audit = self.clone();
        let write = move || note(&audit.0.state, &entry);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }

    /// Whether a line may be written now: how many were not before it.
    fn allowed(&self) -> Option<u64> {
        let mut allowance = self.0.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at, missing) = &mut *allowance;
        let more = u32::try_from(at.elapsed().as_millis() / EVERY.as_millis()).unwrap_or(BURST);
        if more > 0 {
            *left = left.saturating_add(more).min(BURST);
            *at = Instant::now();
        }
        if let Some(rest) = left.checked_sub(1) {
            *left = rest;
            return Some(std::mem::take(missing));
        }
        *missing += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn lines(state: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(state.join(FILE)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[test]
    fn lines_follow_one_another_and_only_this_user_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        append(&state, &Entry::new("ended by hand", "mcp-codex-1")).unwrap();
        Audit::new(&state, "abc", "files", Redactor::new([])).event("tool refused", &"x".repeat(5000));
        Audit::of_manager(&state).event("log-in refused", "a wrong token");
        let lines = lines(&state);
        assert_eq!((&lines[2].session, &lines[2].server), (&None, &None));
        assert_eq!((lines[0].event.as_str(), lines[0].schema), ("ended by hand", SCHEMA));
        assert_eq!((lines[1].session.as_deref(), lines[1].server.as_deref()), (Some("abc"), Some("files")));
        assert_eq!(lines[1].detail.len(), DETAIL);
        let mode = state.join(FILE).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn each_change_of_a_command_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let changes = ["Codex: `files` installed", "Codex: `git` installed"].map(str::to_owned);
        note_changes(folder.path(), "berth install", &changes);
        let lines = lines(folder.path());
        assert_eq!((lines.len(), lines[1].event.as_str()), (2, CHANGED));
        assert_eq!(lines[0].detail, "`berth install`: Codex: `files` installed");
    }

    #[test]
    fn a_flood_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::new(folder.path(), "abc", "files", Redactor::new([]));
        for _ in 0..1000 {
            audit.event("tool refused", "x");
        }
        audit.0.allowance.lock().unwrap().0 = 1;
        audit.event("tool refused", "the last");
        let lines = lines(folder.path());
        assert!(lines.len() <= BURST as usize + 20, "{}", lines.len());
        let missing: u64 = lines.iter().map(|line| line.missing).sum();
        assert_eq!(lines.len() as u64 + missing, 1001, "each is there or counted");
    }
}
