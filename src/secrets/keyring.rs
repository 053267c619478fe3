//! Secrets in the person's keyring (Secret Service). A program of its own speaks with it, `berth-keyring`: D-Bus and its
//! cryptography are no part of `berth run`. Here is what both programs agree on, and how that one is asked.

use std::io;
use std::time::Duration;

use tokio::process::Command;

use super::command::{self, CommandError, Ended};
use crate::failure::{Code, Explain};
use crate::observe::redact::Redactor;

/// The attribute `service` of all that is kept for berth; `username` is the name.
pub const SERVICE: &str = "mcp-berth";

/// Exit codes of the program: no such name; locked, and nobody has unlocked it; there is no keyring.
pub const MISSING: u8 = 3;
pub const LOCKED: u8 = 4;
pub const NOBODY: u8 = 5;

/// What the program says before it waits for a person.
pub const WAITS: &str = "the keyring is locked";

const PROGRAM: &str = "berth-keyring";

/// Why the keyring gave nothing. Completes «the keyring's `…` …».
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("is not there")]
    Missing,
    #[error("cannot be read: the keyring is locked")]
    Locked,
    #[error("cannot be read: no keyring answers ({0})")]
    Nobody(String),
    #[error("cannot be read: `{PROGRAM}`, which should be beside `berth`, cannot be started ({0})")]
    NoProgram(io::Error),
    #[error("cannot be read: {0}")]
    Other(String),
}

impl Explain for KeyringError {
    fn code(&self) -> Code {
        match self {
            Self::Missing | Self::NoProgram(_) => Code::Configuration,
            Self::Locked | Self::Nobody(_) | Self::Other(_) => Code::Unavailable,
        }
    }

    fn next(&self) -> Option<String> {
        Some(next(self))
    }
}

pub(super) fn next(error: &KeyringError) -> String {
    match error {
        KeyringError::Missing => "type `berth secret list` for the names that are there",
        KeyringError::Locked => "unlock it, or type `berth secret list` in a terminal of your desktop",
        KeyringError::Nobody(_) => {
            "start a Secret Service such as gnome-keyring or KWallet, or keep the secret in a file"
        }
        KeyringError::NoProgram(_) => "install berth again with `cargo install`, which installs both",
        KeyringError::Other(_) => "type `berth secret list` to see whether the keyring answers",
    }
    .to_owned()
}

/// The secret of that name.
pub(super) async fn get(name: &str, within: Duration) -> Result<Vec<u8>, KeyringError> {
    ask(&["get", name], None, within).await
}

/// What the program says to `words`; `input` is a secret for it.
///
/// # Errors
/// As the program has it, or where it gives no answer within that time.
pub async fn ask(words: &[&str], input: Option<&[u8]>, within: Duration) -> Result<Vec<u8>, KeyringError> {
    let program = command::beside(PROGRAM).map_err(KeyringError::NoProgram)?;
    let mut command = Command::new(program);
    command.args(words).current_dir("/");
    judge(command::run(command, input, within, &Redactor::new([])).await)
}

fn judge(ended: Result<Ended, CommandError>) -> Result<Vec<u8>, KeyringError> {
    let Ended { status, out, err } = ended.map_err(|error| match error {
        CommandError::Start(error) => KeyringError::NoProgram(error),
        CommandError::Slow { said, .. } if said.contains(WAITS) => KeyringError::Locked,
        CommandError::Slow { within, .. } => KeyringError::Other(format!("no answer within {within:?}")),
        error => KeyringError::Other(error.to_string()),
    })?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(out),
        Some(MISSING) => Err(KeyringError::Missing),
        Some(LOCKED) => Err(KeyringError::Locked),
        Some(NOBODY) => Err(KeyringError::Nobody(err)),
        _ => Err(KeyringError::Other(if err.is_empty() { status.to_string() } else { err })),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn what_the_program_says_is_told_apart() {
        let ended = |code: i32, err: &str| {
            let status = ExitStatus::from_raw(code << 8);
            judge(Ok(Ended { status, out: b"x".to_vec(), err: err.to_owned() }))
        };
        assert_eq!(ended(0, "noise").unwrap(), b"x");
        assert!(matches!(ended(3, ""), Err(KeyringError::Missing)));
        assert!(matches!(ended(4, ""), Err(KeyringError::Locked)));
        assert!(matches!(ended(5, "no bus"), Err(KeyringError::Nobody(why)) if why == "no bus"));
        assert!(matches!(ended(1, "odd"), Err(KeyringError::Other(why)) if why == "odd"));
        assert!(matches!(ended(1, ""), Err(KeyringError::Other(why)) if why == "exit status: 1"));
        let slow = |said: &str| {
            judge(Err(CommandError::Slow { within: Duration::from_secs(1), said: said.to_owned() }))
        };
        assert!(matches!(slow(WAITS), Err(KeyringError::Locked)), "it waited for a person");
        assert!(matches!(slow(""), Err(KeyringError::Other(_))));
    }
}
