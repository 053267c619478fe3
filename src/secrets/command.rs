//! A secret that a program prints. No shell, no standard input; its standard error is told when it fails. The program
//! and what it has started are killed when nobody waits for them any more.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::LONGEST;
use crate::failure::Code;
use crate::observe::redact::Redactor;

/// Of a failed program's standard error (bytes): the reason stands at its end.
const TAIL: usize = 1 << 10;
/// What is kept of it, to know the secrets in it by their whole length.
const KEPT: usize = 8 << 10;
const CHUNK: usize = 1 << 10;
/// As much as a pipe holds.
const PIPE: usize = 64 << 10;

/// Why a program gave nothing. Completes «the command …».
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot be started: {0}")]
    Start(io::Error),
    #[error("failed ({status}){}", told(.said))]
    Failed { status: ExitStatus, said: String },
    #[error("gave no answer within {within:?}{}", told(.said))]
    Slow { within: Duration, said: String },
    #[error("asks on a terminal, where it is not heard")]
    Asks,
    #[error("printed more than 64 KiB")]
    TooLong,
    #[error("cannot be heard: {0}")]
    Lost(io::Error),
}

impl CommandError {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Start(_) | Self::TooLong => Code::Configuration,
            Self::Failed { .. } | Self::Slow { .. } | Self::Asks | Self::Lost(_) => Code::Unavailable,
        }
    }
}

fn told(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// What the program of `words` prints in `folder`: no project that a client works in. `session` hides what that knows.
pub(super) async fn output(
    words: &[String],
    folder: &Path,
    within: Duration,
    session: &Redactor,
) -> Result<Vec<u8>, CommandError> {
    let command = prepared(words, folder).ok_or_else(|| {
        CommandError::Start(io::Error::new(io::ErrorKind::InvalidInput, "it has no program"))
    })?;
    let Ended { status, out, err } = run(command, None, within, session).await?;
    if status.success() { Ok(out) } else { Err(CommandError::Failed { status, said: err }) }
}

pub(super) fn prepared(words: &[String], folder: &Path) -> Option<Command> {
    let (program, args) = words.split_first()?;
    let mut command = Command::new(program);
    // By this a `gpg` would have a terminal asked that is the client's.
    command.args(args).current_dir(folder).env_remove("GPG_TTY");
    Some(command)
}

/// A program that has come to its end.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    /// The end of its standard error, in one line, as it may be shown.
    pub(crate) err: String,
}

/// Runs a program to its own end: nobody waits for what it leaves behind, even if that holds its pipes. `input` is written
/// to its standard input, which is closed otherwise.
pub(crate) async fn run(
    mut command: Command,
    input: Option<&[u8]>,
    within: Duration,
    session: &Redactor,
) -> Result<Ended, CommandError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.kill_on_drop(true).spawn().map_err(CommandError::Start)?;
    // Dropped before the child: until then nobody has reaped it, and its number is its own.
    let mut group = Group::of(&child);
    let (stdin, mut stdout, mut stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut tail) = (Output::default(), Tail::default());
    let asks = stopped_by_a_terminal(group.0);
    let ended = {
        let writing = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A program that needs none may have closed it.
                drop(stdin.write_all(input).await);
            }
            Ok(())
        };
        let hearing =
            async { tokio::try_join!(writing, hear(&mut stdout, &mut out), hear(&mut stderr, &mut tail)) };
        let running = async {
            let mut hearing = std::pin::pin!(hearing);
            tokio::select! {
                heard = &mut hearing => heard.map(drop)?,
                status = child.wait() => return status.map_err(CommandError::Lost),
            }
            // It has closed its output, and goes on.
            child.wait().await.map_err(CommandError::Lost)
        };
        tokio::select! {
            biased;
            ended = tokio::time::timeout(within, running) => ended,
            () = asks => Ok(Err(CommandError::Asks)),
        }
    };
    let status = match ended {
        Ok(status) => status?,
        Err(_) => return Err(CommandError::Slow { within, said: tail.shown(&out.0, session) }),
    };
    // Its number may be somebody else's from here on.
    group.forget();
    rest(stdout, &mut out)?;
    rest(stderr, &mut tail)?;
    let err = tail.shown(&out.0, session);
    Ok(Ended { status, out: out.0, err })
}

/// Ends when a terminal has stopped the program. It is in the background there: whoever asks on it waits for ever.
async fn stopped_by_a_terminal(program: Option<Pid>) {
    let signals = (program, signal(SignalKind::child()));
    let (Some(program), Ok(mut children)) = signals else { return std::future::pending().await };
    // Who waits for its end still hears of it.
    let now = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        let stopped = waitid(WaitId::Pid(program), now).ok().flatten();
        let by = stopped.and_then(|status| status.stopping_signal());
        if by.is_some_and(|by| [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&by)) {
            return;
        }
        if children.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
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

/// Takes what a program says.
trait Hear {
    fn take(&mut self, bytes: &[u8]) -> Result<(), CommandError>;
}

/// To the end of what is said.
async fn hear(pipe: &mut Option<impl AsyncRead + Unpin>, ear: &mut impl Hear) -> Result<(), CommandError> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut chunk = [0; CHUNK];
    loop {
        match pipe.read(&mut chunk).await.map_err(CommandError::Lost)? {
            0 => return Ok(()),
            n => ear.take(&chunk[..n])?,
        }
    }
}

/// What a program that has ended had said before: no more than a pipe holds, and nothing is waited for.
fn rest(pipe: Option<impl AsFd>, ear: &mut impl Hear) -> Result<(), CommandError> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut chunk = [0; CHUNK];
    for _ in 0..PIPE / CHUNK {
        // It doesn't block: so the pipes of programs are opened. What cannot be read is as good as unsaid.
        match rustix::io::read(&pipe, &mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(n) => ear.take(&chunk[..n])?,
        }
    }
    Ok(())
}

/// All that it prints.
#[derive(Default)]
struct Output(Vec<u8>);

impl Hear for Output {
    fn take(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.0.extend_from_slice(bytes);
        if self.0.len() > LONGEST { Err(CommandError::TooLong) } else { Ok(()) }
    }
}

/// The last bytes of what it says, and whether something stood before them.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Hear for Tail {
    fn take(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(KEPT);
        self.is_cut |= surplus > 0;
        self.bytes.drain(..surplus);
        Ok(())
    }
}

impl Tail {
    /// Its last lines in one, without secrets and without what only a terminal understands. A program that fails late, or waits,
    /// has perhaps told the secret already, in `out` or here.
    fn shown(&self, out: &[u8], session: &Redactor) -> String {
        let bytes = match memchr::memchr(b'\n', &self.bytes) {
            // The cut may go through a secret, of which nobody would know the rest.
            Some(end) if self.is_cut => &self.bytes[end..],
            None if self.is_cut => b"[a long line]",
            _ => &self.bytes[..],
        };
        let text = String::from_utf8_lossy(bytes);
        // It may have come to the middle of a character.
        let out = String::from_utf8_lossy(out);
        let own = out.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned();
        let text = session.and([own]).text(&text);
        let text: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let line = lines.join(" / ");
        line[line.ceil_char_boundary(line.len().saturating_sub(TAIL))..].to_owned()
    }
}

/// A program beside this one.
pub(crate) fn beside(name: impl AsRef<OsStr>) -> io::Result<std::path::PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name.as_ref()))
}
