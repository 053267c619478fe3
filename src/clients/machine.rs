//! What of this machine a client's entry can mean: its folders, its variables, its programs.

use std::fmt;
use std::path::{Component, Path, PathBuf};

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

    /// Where a path leads: links followed, and no `..` in it. What is not there lies where its folder leads.
    pub fn real(&self, path: &Path) -> PathBuf {
        let mut plain = PathBuf::new();
        for part in path.components() {
            if part == Component::ParentDir {
                // A link's folder is not the one above what it leads to.
                plain = plain.canonicalize().unwrap_or(plain);
                plain.pop();
            } else {
                plain.push(part);
            }
        }
        for folder in plain.ancestors() {
            if let (Ok(real), Ok(rest)) = (folder.canonicalize(), plain.strip_prefix(folder)) {
                return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
            }
        }
        plain
    }

    /// The hidden folder of the home that a path lies in, or leads to.
    pub fn hidden(&self, path: &Path) -> Option<String> {
        let home = self.home()?;
        let of = |path: &Path, home: &Path| {
            let first = path.strip_prefix(home).ok()?.components().next()?;
            first.as_os_str().to_str().filter(|first| first.starts_with('.')).map(str::to_owned)
        };
        of(path, home).filter(|folder| folder != "..").or_else(|| of(&self.real(path), &self.real(home)))
    }

    /// Whether a path holds the whole home folder.
    pub fn holds_home(&self, path: &Path) -> bool {
        self.home().is_some_and(|home| home.starts_with(path) || self.real(home).starts_with(self.real(path)))
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
