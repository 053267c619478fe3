//! What must hold before a server starts: its mounts are the folders that berth looked at, and its user has a home.
//!
//! The daemon resolves a mount's source later than berth does, and in its own file system. A process that may write
//! there can put a link to anything of the daemon's in between. Then the container has that mount, but no server ever
//! sees it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::within::{self, Within};
use super::{Failure, Words};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Whether the container has a kernel of its own, which gives files numbers of its own. The daemon's runtime has compared
    /// the real ones then, and a process of its watches what must stay as it is (`guard.rs`).
    own_kernel: bool,
    mounts: Vec<Expected>,
    /// Those that lie in another.
    within: Vec<Within>,
    /// Whether the server may write to the person's folders, so that no file there may become another user's program.
    plain_modes: bool,
    /// For a user who has none: the runtime takes it from the image's list of users, and gives `/` to strangers.
    home: Option<OsString>,
}

/// A folder or a file, and where it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) path: PathBuf,
}

impl Needs {
    /// Takes an option with its value, if it is one of ours.
    pub(super) fn takes<I>(&mut self, flag: &str, words: &mut Words<I>) -> Result<bool, Failure>
    where
        I: Iterator<Item = OsString>,
    {
        match flag {
            "--mount" => {
                const WHAT: &str = "a mount such as `1:2:/workspace`";
                let word = words.text(WHAT)?;
                let mount = Expected::parse(&word);
                self.mounts
                    .push(mount.ok_or_else(|| Failure::usage(format_args!("`{word}` is not {WHAT}")))?);
            }
            "--within" => {
                const WHAT: &str = "a mount such as `ro:1:2:/workspace/.git`";
                let word = words.text(WHAT)?;
                let within = Within::parse(&word);
                self.within
                    .push(within.ok_or_else(|| Failure::usage(format_args!("`{word}` is not {WHAT}")))?);
            }
            "--own-kernel" => self.own_kernel = true,
            "--plain-modes" => self.plain_modes = true,
            "--home" => self.home = Some(words.next("a folder")?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.own_kernel {
            return within::check_places(&self.within);
        }
        self.mounts.iter().try_for_each(Expected::check)?;
        within::check(&self.within)
    }

    pub(super) fn plain_modes(&self) -> bool {
        self.plain_modes
    }

    /// The mounts that must stay as they are.
    pub(super) fn watch(&self) -> io::Result<Option<within::Watch>> {
        if self.own_kernel { Ok(None) } else { within::Watch::open(&self.within) }
    }

    /// The variable to set, if any.
    pub(super) fn home(&self) -> Option<(&'static str, &OsStr)> {
        let has_one = || env::var_os("HOME").is_some_and(|home| !home.is_empty() && home != "/");
        self.home.as_deref().filter(|_| !has_one()).map(|home| ("HOME", home))
    }
}

impl Expected {
    pub(super) fn parse(word: &str) -> Option<Self> {
        let mut parts = word.splitn(3, ':');
        let mut number = || parts.next()?.parse().ok();
        let (device, inode) = (number()?, number()?);
        let path = parts.next().filter(|path| path.starts_with('/'))?.into();
        Some(Self { device, inode, path })
    }

    fn check(&self) -> Result<(), Failure> {
        let refused = |why: &str| {
            Failure::new(
                Failure::CONFIGURATION,
                format_args!("what is mounted at `{}` {why}", self.path.display()),
            )
        };
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(Failure::new(Failure::CONFIGURATION, not_as_asked(&self.path))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(refused("is out of its user's reach: choose a place in the container that all can reach"))
            }
            Err(error) => Err(refused(&format!("cannot be looked at: {error}"))),
        }
    }
}

pub(super) fn not_as_asked(path: &Path) -> String {
    format!(
        "what is mounted at `{}` is not what was to be: its source was replaced a moment ago, or the daemon has another \
         there (where `share` has changed, type `berth up`)",
        path.display()
    )
}
