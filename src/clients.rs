//! The AI clients' own configurations: where their files are, which servers they have, and how to add or remove an
//! entry while all else stays unchanged.
//!
//! Decisions here turn text into text; only [`mod@file`] and [`Draft`] read and write files. No message contains a variable's value.

mod berth;
mod changes;
mod claude_code;
mod cli;
mod codex;
mod credentials;
mod draft;
mod everywhere;
pub mod file;
mod handed;
mod import;
mod install;
mod machine;
mod meaning;
mod one_entry;
mod place;
mod restore;
mod translate;
pub mod undo;
mod variables;

use std::path::Path;

use clap::ValueEnum;

use crate::failure::{Code, Failure};

pub use berth::{is_berth, is_called_berth, of_berth, of_profile, profile_of, server_of};
pub use changes::{Became, Changed, Changes};
pub use cli::Cli;
pub use credentials::Moving;
use credentials::{can_move, fit_name, free, move_out, refusal};
pub use draft::Draft;
pub use everywhere::{Installed, installed};
pub use handed::Handed;
pub use import::{Change, Check, Import, Reading, Taken, Trials, Which};
pub use install::{Manner, install, uninstall};
pub use machine::{Asked, Machine};
pub use meaning::{Stated, carry_over, of_a_bridge, refuse_placeholders, understand};
pub use place::{Part, Place, Surroundings};
pub use translate::{Translated, translate};

/// A client whose configuration berth can edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    ClaudeCode,
    Codex,
}

impl Kind {
    /// As berth's commands have it.
    pub fn id(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
        }
    }

    /// As people have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
        }
    }
}

/// For whom an entry is: `user` for a person everywhere, `project` for everybody in a project, `local` for a person in a
/// project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    User,
    Project,
    Local,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::User, Self::Project, Self::Local];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Local => "local",
        }
    }
}

/// The entries of a client that something is to be done with.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub client: Kind,
    /// `None`: wherever they stand, or where they usually do.
    pub scope: Option<Scope>,
    /// For an import, none are all.
    pub servers: &'a [String],
    /// Whether an import moves credentials among arguments into the entries' `env`.
    pub move_secrets: bool,
}

/// A server on standard input and output, as a client has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub command: String,
    pub args: Vec<String>,
    /// Variables with their values.
    pub env: Vec<(String, String)>,
    /// Variables that are passed on from the client's own environment; only Codex needs them named.
    pub env_vars: Vec<String>,
    /// The folder it starts in.
    pub cwd: Option<String>,
    /// Seconds; only Codex has it in its configuration.
    pub startup_timeout: Option<u64>,
    /// Its client waits for it before it begins; only Codex has it in its configuration.
    pub required: bool,
    /// Its client does not start it. Read only.
    pub disabled: bool,
}

/// What stands under a server's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Stdio(Entry),
    /// By HTTP or the like, with its address: no matter of berth's.
    Remote,
    /// It has a command at the most, and is not what its client could start; why.
    Unknown {
        command: Option<String>,
        why: &'static str,
    },
}

/// A client's file with its servers. Whatever is done leaves the rest of the text as it was.
pub trait Document {
    fn servers(&self) -> Vec<(String, Found)>;
    /// Puts an entry in, or in the place of what has its name.
    fn put(&mut self, name: &str, entry: &Entry);
    /// Changes what is started, and adds variables; what else the entry has stays.
    fn rewire(&mut self, name: &str, entry: &Entry);
    /// Takes variables out of an entry's `env`.
    fn unset(&mut self, name: &str, variables: &[String]);
    fn remove(&mut self, name: &str);
    fn text(&self) -> String;
}

/// A file's text without a byte order mark, which Windows' editors put before it, and the mark or nothing.
fn without_mark(text: &str) -> (&'static str, &str) {
    const MARK: &str = "\u{feff}";
    text.strip_prefix(MARK).map_or(("", text), |rest| (MARK, rest))
}

fn broken(path: &Path, line: usize, what: &str) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("{}:{line}: {what}", path.display()),
        next: Some("correct the file; nothing was changed".to_owned()),
    }
}

#[cfg(test)]
mod tests;
