//! Volumes that a session may write: PID 1 locks the folder of each for its whole life, so that one session at a time
//! has it. Where several may, each has the same lock with the others, so that none comes in that wants it alone.
//!
//! No process inherits the lock, and no server can open our files, so a server can neither keep it nor give it back.
//! The kernel frees it when PID 1 ends, for any reason.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use super::content::is_unfinished;
use super::limits::{field, write_in};
use super::protocol::volumes;

/// How a folder is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Alone,
    /// With others that say the same.
    Together,
    /// To fill it: with content that is unfinished, too.
    ToRestore,
}

impl Mode {
    /// Of the option that names the folder.
    pub(super) fn of(flag: &str) -> Option<Self> {
        match flag {
            volumes::LOCK => Some(Self::Alone),
            volumes::LOCK_TOGETHER => Some(Self::Together),
            volumes::LOCK_TO_RESTORE => Some(Self::ToRestore),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Locks {
    folders: Vec<(Mode, PathBuf)>,
    /// All of them or none, so that two sessions never wait for each other.
    held: Vec<File>,
}

/// How it went; a line for the owner (`dock/volume/enter.rs`).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    Ready,
    /// By another container.
    Held(&'a Path),
    /// Its content is on its way.
    Unfinished(&'a Path),
    /// It is empty, and we may not write to it.
    Foreign {
        uid: u32,
        gid: u32,
        folder: &'a Path,
    },
    Unusable(&'a Path, String),
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str(volumes::READY),
            Self::Held(folder) => write!(f, "{} {}", volumes::HELD, folder.display()),
            Self::Unfinished(folder) => write!(f, "{} {}", volumes::UNFINISHED, folder.display()),
            Self::Foreign { uid, gid, folder } => {
                write!(f, "{} {uid}:{gid} {}", volumes::FOREIGN, folder.display())
            }
            Self::Unusable(folder, why) => write!(f, "{} {why}: {}", volumes::UNUSABLE, folder.display()),
        }
    }
}

impl Locks {
    pub(super) fn new(folders: Vec<(Mode, PathBuf)>) -> Self {
        Self { folders, held: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Tries to have them all; waits for nobody.
    pub(super) fn take(&mut self) -> Outcome<'_> {
        if self.held.is_empty() {
            for (mode, folder) in &self.folders {
                let failed = match lock(*mode, folder) {
                    Ok(Lock::Ours(lock)) => {
                        self.held.push(lock);
                        continue;
                    }
                    Ok(Lock::Held) => Outcome::Held(folder),
                    Ok(Lock::Unfinished) => Outcome::Unfinished(folder),
                    Err(error) => Outcome::Unusable(folder, reason(&error)),
                };
                self.held.clear();
                return failed;
            }
        }
        for (_, folder) in &self.folders {
            let Err(error) = write_in(folder) else { continue };
            // A volume that Docker has just made is root's.
            if is_empty(folder) {
                return match ids() {
                    Some((uid, gid)) => Outcome::Foreign { uid, gid, folder },
                    None => Outcome::Unusable(folder, "our own user is unknown".to_owned()),
                };
            }
            // A full one is the server's to tidy up.
            if error.kind() == io::ErrorKind::PermissionDenied {
                return Outcome::Unusable(folder, "it is another user's, and not empty".to_owned());
            }
        }
        Outcome::Ready
    }
}

/// What became of an attempt to lock a folder.
pub(super) enum Lock {
    Ours(File),
    /// Somebody else has it.
    Held,
    Unfinished,
}

pub(super) fn lock(mode: Mode, folder: &Path) -> io::Result<Lock> {
    let file = match File::open(folder) {
        Ok(file) => file,
        // Whoever has no capabilities gets no further.
        Err(_) if is_unfinished(folder) => return Ok(Lock::Unfinished),
        Err(error) => return Err(error),
    };
    let locked = match mode {
        Mode::Alone | Mode::ToRestore => file.try_lock(),
        Mode::Together => file.try_lock_shared(),
    };
    match locked {
        // Nobody else changes it from here on.
        Ok(()) if mode != Mode::ToRestore && is_unfinished(folder) => Ok(Lock::Unfinished),
        Ok(()) => Ok(Lock::Ours(file)),
        Err(TryLockError::WouldBlock) => Ok(Lock::Held),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Who we are: the effective user and group.
fn ids() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let effective = |name| field(&status, name)?.split_whitespace().nth(1)?.parse().ok();
    Some((effective("Uid")?, effective("Gid")?))
}

fn reason(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}
