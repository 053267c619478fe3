//! When each kind of container was last used, in this home: a file for each, which names the last session.
//!
//! A cache. Who loses it has a container on standby one session later. Sessions' histories are no help: they can be off,
//! and nothing decides by them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::turn::FOLDER;

/// In the folder of standby's own.
const USES: &str = "uses";

/// A use that is longer ago is no reason to expect another one.
const WITHIN: Duration = Duration::from_hours(1);

/// Notes that a session uses a container of a kind, which is a file's name; whether another session did so within the last
/// hour. What cannot be noted was never used.
pub(super) fn note(state: &Path, kind: &str, session: &str) -> bool {
    let noted = try_note(&state.join(FOLDER).join(USES), kind, session, SystemTime::now());
    noted.unwrap_or_else(|error| {
        tracing::debug!("cannot note the use of `{kind}`: {error}");
        false
    })
}

fn try_note(folder: &Path, kind: &str, session: &str, now: SystemTime) -> io::Result<bool> {
    let path = folder.join(kind);
    let last = fs::read_to_string(&path).ok().filter(|_| is_recent(&path, now));
    if last.is_none() {
        fs::create_dir_all(folder)?;
        forget(folder, now);
    }
    fs::write(&path, session)?;
    // A session that has lost its server starts another one.
    Ok(last.is_some_and(|last| last != session))
}

fn is_recent(path: &Path, now: SystemTime) -> bool {
    let modified = fs::metadata(path).and_then(|found| found.modified());
    // What is of the future was written before a clock was set back.
    modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age < WITHIN))
}

/// Removes what is too old to count. What can't be removed stays.
fn forget(folder: &Path, now: SystemTime) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !is_recent(&entry.path(), now) {
            _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_session_within_an_hour_counts() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("uses");
        let now = SystemTime::now() + Duration::from_secs(1);
        let after = |minutes: u64| now + Duration::from_secs(60 * minutes);
        let note = |kind: &str, session: &str, now| try_note(&folder, kind, session, now).unwrap();
        assert!(!note("codex-aa", "1", now));
        assert!(!note("codex-aa", "1", after(1)), "it has lost its server");
        assert!(!note("codex-bb", "2", after(1)), "another kind");
        assert!(note("codex-aa", "3", after(59)));
        assert!(!note("codex-aa", "4", after(61)), "the use before was an hour ago");
        assert!(!folder.join("codex-bb").exists(), "what is too old is forgotten");
    }

    #[test]
    fn what_cannot_be_noted_is_a_first_use() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FOLDER), "no folder").unwrap();
        assert!([1, 2].iter().all(|session| !note(state.path(), "codex-aa", &session.to_string())));
    }

    #[test]
    fn a_session_is_told_by_what_the_one_before_has_noted() {
        let state = tempfile::tempdir().unwrap();
        assert!(!note(state.path(), "codex-aa", "1"));
        assert!(note(state.path(), "codex-aa", "2"));
    }
}
