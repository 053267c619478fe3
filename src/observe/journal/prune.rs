//! Removes old sessions' histories.
use std::fs::{self, DirEntry, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::file::NEW;

/// So many are kept, the newest ones,
pub(super) const KEPT: usize = 200;
/// and none that is older.
pub(super) const OLDEST: Duration = Duration::from_hours(14 * 24);

/// Removes all but the newest `kept` files, and those older than `oldest`; never a living session's. Best effort: what can't
/// be removed stays.
pub(super) fn prune(folder: &Path, kept: usize, oldest: Duration) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, DirEntry)> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            // Nothing else is berth's to remove.
            name.to_str().is_some_and(is_own)
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry)))
        .collect();
    files.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
    let limit = SystemTime::now().checked_sub(oldest).unwrap_or(SystemTime::UNIX_EPOCH);
    for (at, (modified, entry)) in files.into_iter().enumerate() {
        if (at >= kept || modified < limit) && !is_live(&entry.path()) {
            _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether this is what berth calls a history: the session's twelve hex digits.
fn is_own(name: &str) -> bool {
    let session = name.strip_suffix(NEW).and_then(|name| name.strip_suffix('.'));
    let session = session.or_else(|| name.strip_suffix(".jsonl"));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    session.is_some_and(|session| session.len() == 12 && session.bytes().all(is_digit))
}

/// Whether the session of this file lives: it holds the file's lock.
pub fn is_live(path: &Path) -> bool {
    let locked = File::open(path).map(|file| file.try_lock_shared());
    matches!(locked, Ok(Err(fs::TryLockError::WouldBlock)))
}
