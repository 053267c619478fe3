//! What a command did with clients' files: each change as a value, and what a person is told, in its order.
//!
//! A change is put in here once it is written, never before.

use std::fmt;
use std::path::PathBuf;

use super::Place;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    Installed,
    Updated,
    TakenOut,
}

/// Something that is in a file now, and was not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// A client's entry.
    Entry { place: Place, name: String, became: Became },
    /// A whole file, as it was before an import.
    Restored(PathBuf),
    /// A file that an import had made.
    Gone(PathBuf),
    /// A profile of berth's configuration, as it was before an import.
    Profile { file: PathBuf, name: String },
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { place, name, became } => {
                let became = match became {
                    Became::Installed => "installed",
                    Became::Updated => "brought up to date",
                    Became::TakenOut => "taken out",
                };
                write!(f, "{}: `{name}` {became}", place.title())
            }
            Self::Restored(path) => write!(f, "{} is as it was", path.display()),
            Self::Gone(path) => write!(f, "{} is gone again", path.display()),
            Self::Profile { file, name } => write!(f, "{}: [profiles.{name}] is as it was", file.display()),
        }
    }
}

/// What was done so far, whatever comes after it.
#[derive(Debug, Default)]
pub struct Changes {
    /// All that a person is told, the changes among it.
    pub said: Vec<String>,
    pub made: Vec<Changed>,
}

impl Changes {
    pub(super) fn made(&mut self, changed: Changed) {
        self.said.push(changed.to_string());
        self.made.push(changed);
    }

    pub(super) fn entry(&mut self, place: &Place, name: &str, became: Became) {
        self.made(Changed::Entry { place: place.clone(), name: name.to_owned(), became });
    }

    /// What a file was is kept beside it, if it was there.
    pub(super) fn kept(&mut self, backup: Option<PathBuf>) {
        self.said.extend(backup.map(|backup| format!("kept {}", backup.display())));
    }
}
