//! What `berth restore` needs to be done within a volume, while its lock keeps every session out.
//!
//! Content that is on its way has a mark: the mode of the volume's own folder. It is set before the first of the former
//! content goes, and goes itself when all of the new one is on the disk. No session that may write has a volume with
//! the mark (`locks.rs`); one without capabilities cannot even look into it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::protocol::content::{DONE, EMPTY, MEASURE, OPEN, UNFINISHED};
use super::{Failure, Words, sys};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Tells the mode, how many bytes the files take, and how many more there is room for.
    Measure(PathBuf),
    /// Sets the mark, and removes all that is there.
    Empty(PathBuf),
    /// Sees to it that all is on the disk, and sets this mode instead of the mark.
    Open(u32, PathBuf),
}

impl Content {
    pub(super) fn parse<I: Iterator<Item = OsString>>(words: &mut Words<I>) -> Result<Self, Failure> {
        let folder = |words: &mut Words<I>| words.next("a folder").map(PathBuf::from);
        match words.text("what to do")?.as_str() {
            MEASURE => folder(words).map(Self::Measure),
            EMPTY => folder(words).map(Self::Empty),
            OPEN => {
                let mode: u32 = words.parsed("a mode")?;
                folder(words).map(|folder| Self::Open(mode, folder))
            }
            other => Err(Failure::usage(format_args!("`{other}` is nothing to do with a volume"))),
        }
    }

    pub(super) fn execute(self) -> Result<(), Failure> {
        let said = match self {
            Self::Measure(folder) => {
                let mode = fs::metadata(&folder)?.mode() & 0o7777;
                let used = used(&folder, &mut HashSet::new())?;
                format!("{DONE} {mode} {used} {}", sys::room(&File::open(&folder)?)?)
            }
            Self::Empty(folder) => {
                fs::set_permissions(&folder, Permissions::from_mode(UNFINISHED))?;
                sys::settle(&File::open(&folder)?)?;
                clear(&folder)?;
                DONE.to_owned()
            }
            Self::Open(mode, folder) => {
                let open = File::open(&folder)?;
                sys::settle(&open)?;
                fs::set_permissions(&folder, Permissions::from_mode(mode))?;
                open.sync_all()?;
                DONE.to_owned()
            }
        };
        Ok(writeln!(io::stdout(), "{said}")?)
    }
}

/// Whether a volume's content is on its way.
pub(super) fn is_unfinished(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| found.mode() & 0o7777 == UNFINISHED)
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            // In a sticky folder stays what the daemon has not yet given to a user of containers. A folder that it has not
            // given either is not sticky.
            let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
            clear(&entry.path())?;
            fs::remove_dir(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A file with several names counts once.
fn used(folder: &Path, counted: &mut HashSet<u64>) -> io::Result<u64> {
    const BLOCK: u64 = 512;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            bytes += used(&entry.path(), counted)?;
        }
        if found.nlink() < 2 || found.is_dir() || counted.insert(found.ino()) {
            bytes += found.blocks() * BLOCK;
        }
    }
    Ok(bytes)
}
