//! `berth secret`: keeps secrets in the person's keyring. Shows names, never a secret.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::{SecretArgs, SecretCommand};
use crate::failure::{Code, Failure};
use crate::secrets::LONGEST;
use crate::secrets::keyring::{KeyringError, ask};

/// A person unlocks the keyring meanwhile.
const WITHIN: Duration = Duration::from_mins(2);

/// As a shell has it for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

pub async fn run(args: &SecretArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        SecretCommand::Set { name } => {
            let Some(secret) = secret(name).await? else { return Ok(ExitCode::from(INTERRUPTED)) };
            ask(&["set", name], Some(&secret), WITHIN).await.map_err(|error| about(name, error))?;
        }
        SecretCommand::List => {
            let names = ask(&["list"], None, WITHIN).await.map_err(|error| about("", error))?;
            io::stdout().lock().write_all(&names)?;
        }
        SecretCommand::Remove { name } => {
            ask(&["remove", name], None, WITHIN).await.map_err(|error| about(name, error))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn about(name: &str, error: KeyringError) -> Failure {
    let object = if name.is_empty() { "the keyring".to_owned() } else { format!("the keyring's `{name}`") };
    let failure = Failure::from(error);
    Failure { text: format!("{object} {}", failure.text), ..failure }
}

/// From a person, without an echo, or from standard input; `None`: interrupted.
async fn secret(name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let asks = io::stdin().is_terminal();
    // What is typed is not shown until this is dropped.
    let _unseen = if asks { Some(Unseen::begin()?) } else { None };
    if asks {
        write!(io::stderr().lock(), "secret `{name}`: ")?;
    }
    let reading = tokio::task::spawn_blocking(move || read(asks));
    let read = tokio::select! {
        read = reading => Some(read??),
        _ = tokio::signal::ctrl_c() => None,
    };
    if asks {
        writeln!(io::stderr().lock())?;
    }
    let Some(mut secret) = read else { return Ok(None) };
    if secret.ends_with(b"\n") {
        secret.pop();
    }
    let why = match secret.len() {
        0 => "is empty",
        1..=LONGEST if std::str::from_utf8(&secret).is_ok_and(|text| !text.contains('\0')) => {
            return Ok(Some(secret));
        }
        1..=LONGEST => "is no text",
        _ => "is longer than 64 KiB",
    };
    let next = Some(format!("type `berth secret set {name}` again"));
    Err(Failure { code: Code::Usage, text: format!("the secret `{name}` {why}"), next }.into())
}

fn read(line: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut stdin = io::stdin().lock().take(LONGEST as u64 + 2);
    if line {
        io::BufRead::read_until(&mut stdin, b'\n', &mut bytes)?;
    } else {
        stdin.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// A terminal that does not show what is typed.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // A terminal that has gone shows nothing either.
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
