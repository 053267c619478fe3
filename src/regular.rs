//! Opens files under whose names somebody else may have put anything: a pipe that nobody writes to, a device.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// To be read; `None` if it is not a regular file. It never waits for whoever writes to a pipe.
///
/// # Errors
/// As of open(2) and fstat(2).
pub fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    Ok(file.metadata()?.is_file().then_some(file))
}
