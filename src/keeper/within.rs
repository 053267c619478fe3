//! Mounts that lie in another mount: that each is there, of its own, and read-only where it should be.
//!
//! A mount over a part of what is mounted already has that part's device and inode. They look the same where nothing
//! is mounted at all. So the kernel's list of mounts is asked, too. A path with a link in it is refused: a server that
//! may write the outer mount could lead it elsewhere.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Failure;
use super::sys::{self, Links};

const MOUNTS: &str = "/proc/self/mountinfo";

const REPLACED: &str = "it was replaced a moment ago";

/// What should be mounted, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Within {
    read_only: bool,
    device: u64,
    inode: u64,
    path: PathBuf,
}

impl Within {
    /// `ro:DEVICE:INODE:PATH`, or `rw` in its place.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let (mode, rest) = word.split_once(':')?;
        let read_only = match mode {
            "ro" => true,
            "rw" => false,
            _ => return None,
        };
        let mut parts = rest.splitn(3, ':');
        let mut number = || parts.next()?.parse().ok();
        let (device, inode) = (number()?, number()?);
        let path = parts.next().filter(|path| path.starts_with('/'))?.into();
        Some(Self { read_only, device, inode, path })
    }

    fn check(&self, mounts: &[Mounted]) -> Result<(), Failure> {
        let found = fs::symlink_metadata(&self.path).map_err(|error| self.refused(&error.to_string()))?;
        if (found.dev(), found.ino()) != (self.device, self.inode) {
            return Err(self.refused(REPLACED));
        }
        self.check_place(mounts)
    }

    /// That something is mounted there as it should be, whatever it is.
    fn check_place(&self, mounts: &[Mounted]) -> Result<(), Failure> {
        if fs::canonicalize(&self.path).ok().as_deref() != Some(&self.path) {
            return Err(self.refused(REPLACED));
        }
        self.check_mount(mounts)
    }

    fn check_mount(&self, mounts: &[Mounted]) -> Result<(), Failure> {
        // The last is the one on top.
        match mounts.iter().rev().find(|mounted| mounted.path == self.path) {
            Some(mounted) if mounted.read_only || !self.read_only => Ok(()),
            Some(_) => Err(self.refused("its mount can be written")),
            None => Err(self.refused("nothing is mounted there")),
        }
    }

    /// The same from outside of the container, whose root and mounts these are.
    fn check_in(&self, root: &File, mounts: &[Mounted]) -> Result<(), Failure> {
        let found = sys::open_beneath(root.as_fd(), &self.path, Links::Refused);
        let found = found.and_then(|found| found.metadata());
        let found = found.map_err(|error| self.refused(&error.to_string()))?;
        if (found.dev(), found.ino()) != (self.device, self.inode) {
            return Err(self.refused(REPLACED));
        }
        self.check_mount(mounts)
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::new(
            Failure::CONFIGURATION,
            format_args!("`{}` is not protected: {why}", self.path.display()),
        )
    }
}

/// Whether all of them are as they should be.
pub(super) fn check(all: &[Within]) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    let mounts = Mounted::all(&fs::read(MOUNTS)?);
    all.iter().try_for_each(|within| within.check(&mounts))
}

/// Whether something is mounted at the place of each, as far as a kernel of the container's own can tell.
pub(super) fn check_places(all: &[Within]) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    let mounts = Mounted::all(&fs::read(MOUNTS)?);
    all.iter().try_for_each(|within| within.check_place(&mounts))
}

/// Whether all of them are as they should be in another process's root and list of mounts.
pub(super) fn check_in(all: &[Within], root: &File, mounts: &[u8]) -> Result<(), Failure> {
    let mounts = Mounted::all(mounts);
    all.iter().try_for_each(|within| within.check_in(root, &mounts))
}

/// Hears of changes. A program of the host that replaces what is protected takes the mount along: then a server could
/// write the new one, and must not live to do it.
#[derive(Debug)]
pub(super) struct Watch {
    list: File,
    all: Vec<Within>,
}

impl Watch {
    /// None where there is nothing to watch.
    pub(super) fn open(all: &[Within]) -> io::Result<Option<Self>> {
        if all.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { list: File::open(MOUNTS)?, all: all.to_vec() }))
    }

    pub(super) fn is_broken(&self) -> bool {
        check(&self.all).is_err()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.list.as_fd()
    }
}

/// A line of the kernel's list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) path: PathBuf,
    pub(super) read_only: bool,
}

impl Mounted {
    fn all(list: &[u8]) -> Vec<Self> {
        list.split(|byte| *byte == b'\n').filter_map(Self::parse).collect()
    }

    /// `proc_pid_mountinfo(5)`: the fifth field is the place, the sixth the mount's own options.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let path = Path::new(&unescaped(fields.next()?)).to_owned();
        let read_only = fields.next()?.split(|byte| *byte == b',').any(|option| option == b"ro");
        Some(Self { path, read_only })
    }
}

/// The kernel writes spaces, tabs, line ends and backslashes as three octal digits.
fn unescaped(mut text: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let digits = rest.first_chunk::<3>().filter(|digits| *first == b'\\' && is_octal(**digits));
        if let Some(digits) = digits {
            let byte = digits.iter().fold(0u8, |byte, digit| byte.wrapping_mul(8).wrapping_add(digit - b'0'));
            plain.push(byte);
            text = &rest[3..];
        } else {
            plain.push(*first);
            text = rest;
        }
    }
    OsString::from_vec(plain)
}

fn is_octal(digits: [u8; 3]) -> bool {
    digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
}
