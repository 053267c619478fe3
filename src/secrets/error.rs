//! Why a secret could not be read: cause, object, and the next command. Never a part of the secret.

use std::io;
use std::time::Duration;

use super::command::CommandError;
use super::keyring::{self, KeyringError};
use crate::config::{Kept, SecretKeeper};
use crate::failure::{Code, Explain};
use crate::human::Plain;
use crate::observe::redact::Redactor;

/// A secret of a server's that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("server `{server}` cannot have its secret `{variable}`: {object} {why}")]
pub struct SecretError {
    server: String,
    variable: String,
    object: String,
    /// Where it is configured.
    line: String,
    /// What would be typed for the same.
    typed: String,
    why: Why,
}

/// Completes «the file `…` …», «the command `…` …», «the keyring's `…` …».
#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("is no regular file")]
    NoFile,
    #[error("is longer than 64 KiB")]
    TooLong,
    #[error("is empty")]
    Empty,
    #[error("is no text")]
    NotText,
    #[error("was not read within {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

impl SecretError {
    pub(super) fn new(server: &str, variable: &str, kept: &Kept, why: Why) -> Self {
        let (object, typed) = match &kept.keeper {
            SecretKeeper::File(path) => (format!("the file `{}`", path.display()), String::new()),
            SecretKeeper::Command(words) => {
                let line = command_line(words);
                (format!("the command `{line}`"), line)
            }
            SecretKeeper::Keyring(name) => {
                let line = command_line(&["berth".into(), "secret".into(), "set".into(), name.clone()]);
                (format!("the keyring's `{name}`"), line)
            }
        };
        let (server, variable, line) = (server.to_owned(), variable.to_owned(), kept.line.clone());
        Self { server, variable, object, line, typed, why }
    }
}

/// As it would be typed. What looks like a credential is hidden.
fn command_line(words: &[String]) -> String {
    let line = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "));
    Redactor::new([]).text(&Plain(&line).to_string())
}

impl Explain for SecretError {
    fn code(&self) -> Code {
        match &self.why {
            Why::Slow(_) => Code::Unavailable,
            Why::Command(error) => error.code(),
            Why::Keyring(error) => error.code(),
            _ => Code::Configuration,
        }
    }

    fn next(&self) -> Option<String> {
        let Self { line, typed, why, .. } = self;
        let or_correct = |first: &str| format!("{first}, or correct {line}");
        Some(match why {
            Why::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => {
                or_correct("write the secret into this file, and type `chmod 600` with its name")
            }
            Why::Command(CommandError::Start(_)) => {
                or_correct("write the program's absolute path (a client may have a short PATH)")
            }
            Why::Command(CommandError::Slow { .. }) => {
                or_correct(&format!("type `{typed}` once to unlock what it reads, raise `timeout`"))
            }
            Why::Command(CommandError::Asks) => or_correct(&format!(
                "type `{typed}` once in a terminal to unlock what it reads, let it ask in a window"
            )),
            Why::Command(CommandError::Failed { .. }) => or_correct(&format!("type `{typed}` to see why")),
            Why::Keyring(KeyringError::Missing) => or_correct(&format!("type `{typed}`")),
            Why::Keyring(error) => keyring::next(error),
            _ => format!("correct {line}"),
        })
    }
}
