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

#[cfg(test)]
pub(crate) mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A program of a test's, written by a process of its own. What this process writes itself, a child that another test
    /// starts meanwhile holds open until it becomes its program, and execve(2) refuses a file that is open for writing.
    pub(crate) fn program(path: &Path, text: &[u8]) {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
            .arg(path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(text).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    #[test]
    fn what_is_replaced_is_whole_and_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for text in ["one", "two and more"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(replace(&folder.path().join("none/a"), b"x").is_err());
    }
}
