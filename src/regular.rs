//! Opens files under whose names somebody else may have put anything: a pipe that nobody writes to, a device. Puts whole
//! files in their place.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// To be read; `None` if it is not a regular file. It never waits for whoever writes to a pipe.
///
/// # Errors
/// As of open(2) and fstat(2).
pub fn open(path: &Path) -> io::Result<Option<File>> {
    let file = File::from(rustix::fs::open(path, FLAGS, Mode::empty())?);
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Puts a file in the place of what is there, in one step: a reader has the one or the other, whole, and so does a machine
/// that loses its power. Its owner's alone (mode 0600).
///
/// # Errors
/// As of open(2), write(2), fsync(2) and rename(2). What was there is there then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// [`open`] of a file in a folder, where no link leads out of the folder.
///
/// # Errors
/// As of openat2(2) and fstat(2).
pub fn open_beneath(folder: &Path, name: &str) -> io::Result<Option<File>> {
    let folder =
        rustix::fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(&folder, name, FLAGS, Mode::empty(), resolve) {
        // A kernel or a filter that doesn't know the question: then no link is followed at all.
        Err(Errno::NOSYS | Errno::PERM) => {
            rustix::fs::openat(&folder, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())
        }
        opened => opened,
    };
    let file = File::from(opened?);
    Ok(file.metadata()?.is_file().then_some(file))
}
