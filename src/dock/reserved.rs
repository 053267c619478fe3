//! Places for names that a project doesn't have, so that no server can make them: an empty folder of berth's at each,
//! for as long as a container has it mounted.
//!
//! A mount needs a place on the host, and a removed place takes its mount along. So a place stays while any container
//! has it. **The record** of a folder, in berth's state, is locked by each session that uses places there, and names
//! them. Who clears a record has it alone, and asks the daemon whether a container's label still names the folder: a
//! container may outlive its session for a moment. The kernel frees the lock at any death. One clears at a time: what
//! is locked then is a session's, who sees to it later; never another's who clears, and has just been told that the
//! container is still there.
//!
//! Another home of berth has records of its own. So each session also locks the places themselves, and a locked one is
//! left to whoever has it.
//!
//! A record is written before the place is made. What is removed is an empty folder of berth's own mode, with the
//! device and inode that were noted; `rmdir` itself refuses any other. A place that a person has filled stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::path::Arg;

use super::docker::{DockerError, Engine};
use super::labels::{LABEL_RESERVED, managed_by_filter};
use crate::config::within::{RESERVED_MODE, Within, is_reserved};
use crate::failure::{Code, Explain};

/// In berth's state.
const FOLDER: &str = "reserved";
/// Locked by whoever clears. No folder's key begins with a dot.
const CLEARING: &str = ".clearing";
/// Whoever clears a record asks the daemon meanwhile.
const CLEARED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a person makes of a place by filling it has a folder's usual mode.
const USUAL_MODE: u32 = 0o755;
/// All but setgid, which a folder hands down.
const MODE: u32 = 0o5777;

/// Why a name has no place.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    #[error("cannot make `{}`, so that no server does", path.display())]
    Place { path: PathBuf, source: io::Error },
    #[error("cannot note `{}`", path.display())]
    Record { path: PathBuf, source: io::Error },
    #[error("`{}` was made a moment ago", .0.display())]
    Made(PathBuf),
}

impl Explain for ReserveError {
    fn code(&self) -> Code {
        Code::Configuration
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Place { .. } => {
                "make the folder writable for you, mount it without `:rw`, or set `protect` to a list of names".to_owned()
            }
            Self::Record { .. } => "correct the folder's owner and permissions".to_owned(),
            Self::Made(_) => "try again".to_owned(),
        })
    }
}

/// The places that a session uses. Dropping it lets them go; [`clear`] removes them.
#[derive(Debug)]
pub struct Reserved {
    /// Each locked. They are let go first: whoever clears looks at the record's lock.
    places: Vec<File>,
    /// Of each folder, locked.
    records: BTreeMap<String, File>,
}

impl Reserved {
    /// For the container's label: the folders' keys.
    pub fn label(&self) -> String {
        self.records.keys().cloned().collect::<Vec<_>>().join(" ")
    }
}

/// Makes a place for each name that is missing, or uses what another session has made.
pub async fn reserve(state: &Path, within: &mut Within) -> Result<Reserved, ReserveError> {
    let mut reserved = Reserved { places: Vec::new(), records: BTreeMap::new() };
    for path in within.missing.clone() {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            continue;
        };
        let failed = |source: io::Error| ReserveError::Place { path: path.clone(), source };
        let opened = open(CWD, folder).map_err(failed)?;
        let key = key(&opened.metadata().map_err(failed)?);
        if !reserved.records.contains_key(&key) {
            let record = hold(&state.join(FOLDER), &key, folder).await;
            let noted = |source| ReserveError::Record { path: state.join(FOLDER).join(&key), source };
            reserved.records.insert(key.clone(), record.map_err(noted)?);
        }
        let Some(record) = reserved.records.get(&key) else { continue };
        match make(record, &opened, &path, name) {
            Ok((place, identity)) => {
                within.fill(&path, identity);
                reserved.places.push(place);
            }
            Err(ReserveError::Place { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                within.leave_out(&path);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(reserved)
}

/// Never by a link at its end.
fn open(at: impl AsFd, folder: impl Arg) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, folder, flags, Mode::empty())?.into())
}

fn key(folder: &fs::Metadata) -> String {
    format!("{:x}-{:x}", folder.dev(), folder.ino())
}

/// The record of a folder, locked with others.
async fn hold(records: &Path, key: &str, folder: &Path) -> io::Result<File> {
    fs::create_dir_all(records)?;
    let path = records.join(key);
    let until = Instant::now() + CLEARED_WITHIN;
    loop {
        let file = File::options().create(true).append(true).read(true).mode(0o600).open(&path)?;
        match file.try_lock_shared() {
            // It may have been cleared before it was locked.
            Ok(()) if is_at(&file, &path) => {
                note(&file, &format!("folder {}", folder.display()))?;
                return Ok(file);
            }
            Ok(()) | Err(TryLockError::WouldBlock) if Instant::now() < until => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(()) | Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// One call: sessions that start at once write to one record, and a line in another's would name what is not there.
fn note(mut record: &File, line: &str) -> io::Result<()> {
    record.write_all(format!("{line}\n").as_bytes())
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// Makes a place, or uses one. Gives it locked, with device and inode.
fn make(record: &File, folder: &File, path: &Path, name: &str) -> Result<(File, (u64, u64)), ReserveError> {
    let failed = |source: io::Error| ReserveError::Place { path: path.to_owned(), source };
    note(record, &format!("about {name}")).map_err(failed)?;
    let is_new = match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(RESERVED_MODE)) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(error) => return Err(failed(error.into())),
    };
    // A person's, or another program's, or gone again: the next look tells.
    let made = || ReserveError::Made(path.to_owned());
    let place = open(folder, name).map_err(|_| made())?;
    let found = place.metadata().map_err(failed)?;
    if !is_reserved(path, &found) || place.try_lock_shared().is_err() || !is_at(&place, path) {
        return Err(made());
    }
    let (device, inode) = (found.dev(), found.ino());
    if is_new {
        note(record, &format!("made {device} {inode} {} {name}", found.mode() & MODE)).map_err(failed)?;
    }
    Ok((place, (device, inode)))
}

/// What a record says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    folder: PathBuf,
    /// What was to be made.
    about: BTreeSet<String>,
    /// What was made: device, inode, mode, name.
    made: BTreeSet<(u64, u64, u32, String)>,
}

impl Record {
    /// A line that was cut off says nothing.
    fn parse(text: &str) -> Self {
        let mut record = Self::default();
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        for line in lines {
            match line.split_once(' ') {
                Some(("folder", folder)) => record.folder = folder.into(),
                Some(("about", name)) => drop(record.about.insert(name.to_owned())),
                Some(("made", rest)) => {
                    let mut parts = rest.splitn(4, ' ');
                    let mut number = || parts.next()?.parse::<u64>().ok();
                    let (device, inode, mode) = (number(), number(), number());
                    let mode = mode.and_then(|mode| u32::try_from(mode).ok());
                    if let (Some(device), Some(inode), Some(mode), Some(name)) =
                        (device, inode, mode, parts.next())
                    {
                        record.made.insert((device, inode, mode, name.to_owned()));
                    }
                }
                _ => {}
            }
        }
        record
    }

    /// Whether what is there now is what was made.
    fn is_ours(&self, name: &str, found: &fs::Metadata) -> bool {
        let mode = found.mode() & MODE;
        let mut notes = self.made.iter().filter(|(.., other)| other == name).peekable();
        if notes.peek().is_none() {
            // Cut off between the making and the noting.
            return mode == RESERVED_MODE;
        }
        notes.any(|(device, inode, noted, _)| (*device, *inode, *noted) == (found.dev(), found.ino(), mode))
    }

    /// Removes what is there.
    fn remove(&self, key: &str) -> io::Result<Removed> {
        let mut removed = Removed::default();
        let folder = match open(CWD, &self.folder) {
            Ok(folder) if self::key(&folder.metadata()?) == key => folder,
            // The project was moved or removed; what was in it went along.
            Ok(_) => return Ok(removed),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(removed);
            }
            Err(error) => return Err(error),
        };
        for name in &self.about {
            let Ok(place) = open(&folder, name) else { continue };
            if !self.is_ours(name, &place.metadata()?) {
                continue;
            }
            if place.try_lock().is_err() {
                removed.is_whole = false;
                continue;
            }
            match rustix::fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
                Ok(()) => removed.paths.push(self.folder.join(name)),
                Err(rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) => {
                    let _ = rustix::fs::fchmod(&place, Mode::from_raw_mode(USUAL_MODE));
                }
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(removed)
    }
}

/// What was removed of a record's places.
#[derive(Debug, PartialEq, Eq)]
struct Removed {
    paths: Vec<PathBuf>,
    /// `false`: another home's session has one of them, or a process that is just ending.
    is_whole: bool,
}

impl Default for Removed {
    fn default() -> Self {
        Self { paths: Vec::new(), is_whole: true }
    }
}

/// What was removed, and what is left to clear.
#[derive(Debug, Default)]
pub struct Cleared {
    pub removed: Vec<PathBuf>,
    /// Folders' keys whose places containers use.
    pub in_use: Vec<String>,
    /// Of those that sessions use.
    pub locked: Vec<String>,
}

/// The lock of whoever clears, as soon as it is free; `None` where there is nothing to clear.
async fn alone(records: &Path) -> Option<File> {
    let file = File::options().create(true).append(true).mode(0o600).open(records.join(CLEARING)).ok()?;
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Some(file)
}

/// By a record that nobody else has. It stays as long as somebody has one of its places.
fn clear_one(key: String, path: &Path, mut file: &File, cleared: &mut Cleared) {
    let mut text = String::new();
    match file.read_to_string(&mut text).and_then(|_| Record::parse(&text).remove(&key)) {
        Ok(removed) => {
            cleared.removed.extend(removed.paths);
            if removed.is_whole {
                drop(fs::remove_file(path));
            } else {
                cleared.locked.push(key);
            }
        }
        Err(error) => tracing::warn!("cannot remove what `{}` names: {error}", path.display()),
    }
}

/// Removes all places that no session and no container uses. Waits for whoever is clearing.
pub async fn clear(state: &Path, engine: &Engine) -> Result<Cleared, DockerError> {
    let mut cleared = Cleared::default();
    let records = state.join(FOLDER);
    let Some(_alone) = alone(&records).await else { return Ok(cleared) };
    let mut free = Vec::new();
    for entry in fs::read_dir(&records).into_iter().flatten().flatten() {
        let (path, Ok(key)) = (entry.path(), entry.file_name().into_string()) else { continue };
        if key == CLEARING {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock() {
            Ok(()) if is_at(&file, &path) => free.push((key, path, file)),
            _ => cleared.locked.push(key),
        }
    }
    if free.is_empty() {
        return Ok(cleared);
    }
    // After the locks: whoever wants a place from now on waits.
    let rows = engine.list(&managed_by_filter()).await?;
    let used: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row.labels.get(LABEL_RESERVED))
        .flat_map(|keys| keys.split(' '))
        .collect();
    for (key, path, file) in free {
        if used.contains(key.as_str()) {
            cleared.in_use.push(key);
        } else {
            clear_one(key, &path, &file, &mut cleared);
        }
    }
    Ok(cleared)
}

#[cfg(test)]
mod tests;
