//! The manager as others see it: who it is, where it listens, and what its index has.

mod ask;

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use ask::{Among, Asked};

/// The manager's folder, in the state folder, and what it has there: who the manager is, and its token.
pub const FOLDER: &str = "manager";
pub const LOCK: &str = "manager.lock";
pub const TOKEN: &str = "token";

/// Of the lock's text so much is read (bytes).
const LONGEST: u64 = 4096;

/// What the lock's file says of its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub version: String,
    /// In which its number counts: a container has its own.
    #[serde(default)]
    pub namespace: String,
    /// `None`: it does not listen yet.
    pub api: Option<SocketAddr>,
    pub monitor: Option<SocketAddr>,
}

impl Holder {
    /// Whether its number is another process here, or none.
    pub fn is_elsewhere(&self) -> bool {
        !self.namespace.is_empty() && self.namespace != namespace()
    }

    pub fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.rewind().ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// The kernel's name of what this process's number counts in; empty where it does not tell.
pub fn namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

/// The file that a manager of this state folder holds locked.
pub fn lock(state: &Path) -> PathBuf {
    state.join(FOLDER).join(LOCK)
}

/// The manager of this state folder that runs now.
pub fn running(state: &Path) -> io::Result<Option<Holder>> {
    let mut file = match File::open(lock(state)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock_shared() {
        // The lock goes with the file.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder::read(&mut file).unwrap_or_default())),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
