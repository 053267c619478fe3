//! What of this machine a client's entry can mean: its folders, its variables, its programs.

use std::fmt;
use std::path::Path;

use super::{Kind, Surroundings};
use crate::values::Lookup;

/// The machine that the clients run on, for somebody in a folder.
pub struct Machine<'a> {
    pub around: &'a Surroundings,
    /// The environment's variables.
    pub lookup: Lookup<'a>,
    pub asked: Asked,
}

/// What an import was asked for, beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option or a fact of its own")]
pub struct Asked {
    pub client: Kind,
    /// The entry stands in a project's file, which others write, too.
    pub foreign: bool,
    /// Servers that work on a project get it.
    pub project: bool,
    /// Servers that live on log-ins in the home folder get them, read-only.
    pub credentials: bool,
    /// What the servers mount is shared with the daemon.
    pub share: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self { client: Kind::ClaudeCode, foreign: false, project: false, credentials: false, share: false }
    }
}

impl Machine<'_> {
    /// The person's home folder.
    pub fn home(&self) -> Option<&Path> {
        self.around.home.as_deref()
    }

    /// Whether a path leads to a folder, links followed.
    pub fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    /// Whether a path leads to a file, links followed.
    pub fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    /// Whether a path leads to a file that holds anything.
    pub fn is_file_with_content(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|found| found.is_file() && found.len() > 0)
    }

    /// Whether a path leads to anything.
    pub fn has(&self, path: &Path) -> bool {
        path.exists()
    }
}

impl fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A variable's value may be a secret.
        f.debug_struct("Machine")
            .field("around", self.around)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}
