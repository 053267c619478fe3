//! A secret that a program prints. No shell, no standard input; its standard error is told when it fails. The program
//! and what it has started are killed when nobody waits for them any more.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::LONGEST;
use crate::failure::Code;
use crate::observe::redact::Redactor;

/// Of a failed program's standard error (bytes): the reason stands at its end.
const TAIL: usize = 1 << 10;

/// Why a program gave nothing. Completes «the command …».
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot be started: {0}")]
    Start(io::Error),
    #[error("failed ({status}){}", told(.said))]
    Failed { status: ExitStatus, said: String },
    #[error("gave no answer within {within:?}{}", told(.said))]
    Slow { within: Duration, said: String },
    #[error("printed more than 64 KiB")]
    TooLong,
    #[error("cannot be heard: {0}")]
    Lost(io::Error),
}

impl CommandError {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Start(_) | Self::TooLong => Code::Configuration,
            Self::Failed { .. } | Self::Slow { .. } | Self::Lost(_) => Code::Unavailable,
        }
    }
}

fn told(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// What the program of `words` prints in `folder`: no project that a client works in.
pub(super) async fn output(
    words: &[String],
    folder: &Path,
    within: Duration,
) -> Result<Vec<u8>, CommandError> {
    let (program, args) = words.split_first().ok_or_else(|| {
        CommandError::Start(io::Error::new(io::ErrorKind::InvalidInput, "it has no program"))
    })?;
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    let Ended { status, out, err } = run(command, None, within).await?;
    if status.success() {
        return Ok(out);
    }
    // A program that fails late has perhaps told the secret already.
    let redactor = Redactor::new(String::from_utf8(out));
    Err(CommandError::Failed { status, said: redactor.text(&err) })
}

/// A program that has come to its end.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) out: Vec<u8>,
    /// The end of its standard error, in one line, with whatever it tells.
    pub(super) err: String,
}

/// Runs a program until its output ends; `input` is written to its standard input, which is closed otherwise.
pub(super) async fn run(
    mut command: Command,
    input: Option<&[u8]>,
    within: Duration,
) -> Result<Ended, CommandError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.kill_on_drop(true).spawn().map_err(CommandError::Start)?;
    // Dropped before the child: until then nobody has reaped it, and its number is its own.
    let mut group = Group::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut tail = Tail::default();
    let writing = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that needs none may have closed it.
            drop(stdin.write_all(input).await);
        }
        Ok(())
    };
    let running = async { tokio::try_join!(writing, all_of(stdout), tail.fill(stderr)) };
    let ((), out, ()) = match tokio::time::timeout(within, running).await {
        Ok(ended) => ended?,
        Err(_) => return Err(CommandError::Slow { within, said: tail.shown() }),
    };
    let status = match tokio::time::timeout(within, child.wait()).await {
        Ok(status) => status.map_err(CommandError::Lost)?,
        Err(_) => return Err(CommandError::Slow { within, said: tail.shown() }),
    };
    group.forget();
    Ok(Ended { status, out, err: tail.line() })
}

/// A program and what it has started, to be killed.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// It has ended; what stays of it may be meant to (an agent).
    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended in this moment.
            _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn all_of(stdout: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    if let Some(stdout) = stdout {
        let mut stdout = stdout.take(LONGEST as u64 + 1);
        stdout.read_to_end(&mut bytes).await.map_err(CommandError::Lost)?;
    }
    if bytes.len() > LONGEST { Err(CommandError::TooLong) } else { Ok(bytes) }
}

/// The last bytes of what is said.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    async fn fill(&mut self, stderr: Option<impl AsyncRead + Unpin>) -> Result<(), CommandError> {
        let Some(mut stderr) = stderr else { return Ok(()) };
        let mut chunk = [0; 1 << 10];
        loop {
            let n = stderr.read(&mut chunk).await.map_err(CommandError::Lost)?;
            if n == 0 {
                return Ok(());
            }
            self.0.extend_from_slice(chunk.get(..n).unwrap_or_default());
            let surplus = self.0.len().saturating_sub(TAIL);
            self.0.drain(..surplus);
        }
    }

    /// The same without what looks like a credential.
    fn shown(&self) -> String {
        Redactor::new([]).text(&self.line())
    }

    /// Its lines in one, without what only a terminal understands.
    fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let text: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join(" / ")
    }
}

/// A program beside this one.
pub(super) fn beside(name: impl AsRef<OsStr>) -> io::Result<std::path::PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name.as_ref()))
}
