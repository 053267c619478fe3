//! Ceilings: how many sessions may be there at once, and how much memory their containers may have together.
//!
//! Each container takes a place before it is made: a file of the state folder, locked as long as its session holds it. Places
//! are counted and taken under one lock, so that of any number of starts exactly as many are admitted as there is room for.
//! The kernel frees a killed session's places at once. Nothing is counted where no ceiling is set.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::config::{Ceiling, Limits};
use crate::failure::{Code, Failure};
use crate::human::{Bytes, count};
use crate::values::OverLimit;

/// In the folder of berth's state.
const FOLDER: &str = "places";
const LOCK: &str = "lock";

/// A session waits for room no longer.
const WAITS: Duration = Duration::from_mins(10);
/// And looks so often; each a little differently.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// Who holds the lock longer stands still.
const LOCKED_WITHIN: Duration = Duration::from_secs(2);

/// A place file is short (bytes).
const LONGEST: u64 = 4096;

/// Who asks for a place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asks {
    /// The process, by an id of its own: a session of several servers is one.
    pub process: String,
    pub client: String,
    pub server: String,
    /// The container's limit (bytes).
    pub memory: u64,
}

/// A place that was taken, until it is dropped.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Locked.
    _file: File,
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

/// The ceilings of a home.
#[derive(Debug, Clone)]
pub struct Ceilings {
    limits: Limits,
    state: PathBuf,
}

impl Ceilings {
    pub fn new(limits: Limits, state: PathBuf) -> Self {
        Self { limits, state }
    }

    /// Takes a place; `None` where no ceiling is set. Waits for one where the configuration says so.
    ///
    /// # Errors
    /// Which ceiling there is no room below.
    pub async fn admit(&self, asks: &Asks) -> Result<Option<Place>, Failure> {
        let ceilings = self.over(&asks.client);
        if ceilings.is_empty() {
            return Ok(None);
        }
        let began = Instant::now();
        let folder = self.state.join(FOLDER);
        loop {
            let why = match take(&folder, asks, &ceilings).await {
                Ok(Ok(place)) => return Ok(Some(place)),
                Ok(Err(why)) => why,
                // Who cannot count does not refuse.
                Err(error) => {
                    tracing::warn!(
                        "cannot count sessions in `{}`: {error}; no ceiling holds",
                        folder.display()
                    );
                    return Ok(None);
                }
            };
            if self.limits.over == OverLimit::Refuse || began.elapsed() >= WAITS {
                return Err(Failure {
                    code: Code::Unavailable,
                    text: why,
                    next: Some(
                        "end a session (`berth ps` lists them, `berth kill` ends them), or raise the ceiling in [limits]"
                            .to_owned(),
                    ),
                });
            }
            let differently = u32::from(asks.process.bytes().fold(0_u8, u8::wrapping_add)) % 16;
            tokio::time::sleep(LOOKS_EVERY + LOOKS_EVERY * differently / 16).await;
        }
    }

    /// The ceilings that a client is under, and which sessions count.
    fn over(&self, client: &str) -> Vec<(Ceiling, Option<String>)> {
        let all = Some((self.limits.all, None));
        let own = self.limits.clients.get(client).map(|ceiling| (*ceiling, Some(client.to_owned())));
        all.into_iter().chain(own).filter(|(ceiling, _)| ceiling.is_any()).collect()
    }
}

/// Takes a place if there is room; otherwise says why there is none.
async fn take(
    folder: &Path,
    asks: &Asks,
    ceilings: &[(Ceiling, Option<String>)],
) -> io::Result<Result<Place, String>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let lock = open(&folder.join(LOCK))?;
    let began = Instant::now();
    // Held for some microseconds by each, but for one that stands still.
    while let Err(TryLockError::WouldBlock) = lock.try_lock() {
        if began.elapsed() >= LOCKED_WITHIN {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "another process counts and does not go on"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let taken = taken(folder)?;
    for (ceiling, client) in ceilings {
        if let Some(why) = is_over(*ceiling, client.as_deref(), &taken, asks) {
            return Ok(Err(why));
        }
    }
    let mut number = 0;
    let (path, mut file) = loop {
        let path = folder.join(format!("{}-{number}", asks.process));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    file.try_lock()?;
    file.write_all(&serde_json::to_vec(asks)?)?;
    Ok(Ok(Place { path, _file: file }))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The places that somebody holds; what a killed session left is removed.
fn taken(folder: &Path) -> io::Result<Vec<Asks>> {
    let mut taken = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if entry.file_name() == LOCK {
            continue;
        }
        let Ok(Some(file)) = crate::regular::open(&path) else { continue };
        match file.try_lock_shared() {
            Ok(()) => _ = fs::remove_file(&path),
            Err(TryLockError::WouldBlock) => {
                let mut text = Vec::new();
                file.take(LONGEST).read_to_end(&mut text)?;
                taken.extend(serde_json::from_slice::<Asks>(&text).ok());
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(taken)
}

/// Why one more would be too much.
fn is_over(ceiling: Ceiling, client: Option<&str>, taken: &[Asks], asks: &Asks) -> Option<String> {
    let counted = || taken.iter().filter(|place| client.is_none_or(|client| place.client == client));
    let (of, table) = match client {
        None => (String::new(), "[limits]".to_owned()),
        Some(client) => (format!(" of `{client}`"), format!("[limits.clients.{client}]")),
    };
    if let Some(most) = ceiling.sessions {
        let mut processes: Vec<&str> = counted().map(|place| place.process.as_str()).collect();
        processes.sort_unstable();
        processes.dedup();
        if !processes.contains(&asks.process.as_str()) && processes.len() >= most as usize {
            let sessions = count(most, "session");
            return Some(format!(
                "no room for another session{of}: {sessions} at once is the ceiling (`sessions` in {table})"
            ));
        }
    }
    if let Some(most) = ceiling.memory {
        let used: u64 = counted().map(|place| place.memory).sum();
        if used.saturating_add(asks.memory) > most {
            return Some(format!(
                "no room for the server `{}`{of}: it may use {}, and {} of {} is taken (`memory` in {table})",
                asks.server,
                Bytes(asks.memory),
                Bytes(used),
                Bytes(most)
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn asks(process: u32, client: &str, memory: u64) -> Asks {
        Asks { process: process.to_string(), client: client.to_owned(), server: "s".to_owned(), memory }
    }

    fn ceilings(state: &Path, all: Ceiling, codex: Option<u32>, over: OverLimit) -> Ceilings {
        let own = |sessions| (String::from("codex"), Ceiling { sessions: Some(sessions), memory: None });
        let clients = codex.map(own).into_iter().collect::<BTreeMap<_, _>>();
        Ceilings::new(Limits { standby: None, disk: None, all, clients, over }, state.to_owned())
    }

    const TWO: Ceiling = Ceiling { sessions: Some(2), memory: None };

    #[tokio::test]
    async fn a_session_counts_once_and_gives_its_place_back() {
        let folder = tempfile::tempdir().unwrap();
        let all = ceilings(folder.path(), TWO, Some(1), OverLimit::Refuse);
        let first = all.admit(&asks(1, "codex", 1)).await.unwrap().unwrap();
        let again = all.admit(&asks(1, "codex", 1)).await.unwrap().unwrap();
        let why = all.admit(&asks(2, "codex", 1)).await.unwrap_err().text;
        assert!(
            why.contains(
                "of `codex`: 1 session at once is the ceiling (`sessions` in [limits.clients.codex])"
            ),
            "{why}"
        );
        let other = all.admit(&asks(2, "claude-code", 1)).await.unwrap().unwrap();
        assert!(all.admit(&asks(3, "claude-code", 1)).await.is_err());
        drop(first);
        assert!(all.admit(&asks(3, "claude-code", 1)).await.is_err(), "it has another server");
        drop(again);
        assert!(all.admit(&asks(3, "claude-code", 1)).await.unwrap().is_some());
        drop(other);
    }

    #[tokio::test]
    async fn memory_is_that_of_all_containers() {
        let folder = tempfile::tempdir().unwrap();
        let most = Ceiling { sessions: None, memory: Some(100) };
        let all = ceilings(folder.path(), most, None, OverLimit::Refuse);
        let _one = all.admit(&asks(1, "a", 60)).await.unwrap();
        let why = all.admit(&asks(1, "a", 41)).await.unwrap_err().text;
        assert!(why.contains("60 B of 100 B is taken"), "{why}");
        assert!(all.admit(&asks(2, "b", 40)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_a_killed_session_left_takes_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let places = folder.path().join(FOLDER);
        fs::create_dir_all(&places).unwrap();
        for number in 0..5 {
            fs::write(places.join(format!("9-{number}")), serde_json::to_vec(&asks(number, "a", 1)).unwrap())
                .unwrap();
        }
        let all = ceilings(folder.path(), TWO, None, OverLimit::Refuse);
        assert!(all.admit(&asks(100, "a", 1)).await.unwrap().is_some());
    }

    #[test]
    fn of_many_at_once_as_many_are_admitted_as_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_owned();
        let threads: Vec<_> = (0..50)
            .map(|process| {
                let state = state.clone();
                std::thread::spawn(move || {
                    let ceiling = Ceiling { sessions: Some(10), memory: None };
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let asks = asks(process, "a", 1);
                    let folder = state.join(FOLDER);
                    let taken = runtime.block_on(take(&folder, &asks, &[(ceiling, None)]));
                    taken.unwrap().ok()
                })
            })
            .collect();
        let places: Vec<Place> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(places.len(), 10);
    }

    #[tokio::test]
    async fn who_waits_is_served_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let all = ceilings(folder.path(), TWO, None, OverLimit::Wait);
        let one = all.admit(&asks(1, "a", 1)).await.unwrap();
        let _two = all.admit(&asks(2, "a", 1)).await.unwrap();
        let (third, waits) = (asks(3, "a", 1), all.clone());
        let mut waiting = Box::pin(async move { waits.admit(&third).await });
        assert!(
            tokio::time::timeout(Duration::from_millis(600), &mut waiting).await.is_err(),
            "there is no room"
        );
        drop(one);
        assert!(waiting.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn without_a_ceiling_nothing_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let none = ceilings(folder.path(), Ceiling::default(), None, OverLimit::Refuse);
        assert!(none.admit(&asks(1, "a", 1)).await.unwrap().is_none());
        assert!(!folder.path().join(FOLDER).exists());
    }
}
