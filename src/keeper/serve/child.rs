//! The helper's server: its process, its three pipes, and how it ended.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::egress::near::Wanted;
use crate::needs::Needs;
use crate::numbered::{self, Numbered};
use crate::records::{self, Ending, HEAD, Record, Start};
use crate::sys::descriptors::{never_wait, widen};
use crate::{Failure, Words, exec, filter, server, sys};

/// What is read of a pipe at once (bytes): with both heads as much as goes at once. Less is worth no record while the window
/// is nearly full.
const AT_ONCE: usize = numbered::AT_ONCE - numbered::HEAD - HEAD;
const AT_LEAST: usize = 4 << 10;
/// As much as a pipe ever holds without privileges: more is not its server's, which has ended.
const LEFT_BEHIND: usize = 1 << 20;

pub(super) struct Child {
    pid: i32,
    input: Option<File>,
    /// Standard output and error.
    pipes: [Pipe; 2],
    status: Option<i32>,
    /// What was read of a pipe.
    bytes: Box<[u8]>,
}

struct Pipe {
    file: Option<File>,
    /// How much may still come once the server has ended.
    left: usize,
}

/// What a look at a pipe has given.
#[derive(PartialEq, Eq)]
enum Look {
    Some,
    Nothing,
    /// There is no room for what it may have.
    NoRoom,
}

fn is_the_clusters(name: &OsStr) -> bool {
    [&b"KUBERNETES_SERVICE_"[..], b"KUBERNETES_PORT"].iter().any(|known| name.as_bytes().starts_with(known))
}

impl Child {
    /// Starts it in a group of its own, so that what it has started itself can be ended with it. Signals must not be blocked
    /// yet: it would inherit that.
    pub(super) fn start(start: &Start) -> Result<Self, Failure> {
        let (needs, names) = wanted(&start.options)?;
        needs.check()?;
        let word = |bytes: &Vec<u8>| OsString::from_vec(bytes.clone());
        let (program, arguments) =
            start.argv.split_first().ok_or_else(|| Failure::usage("a command is missing"))?;
        let program = word(program);
        let mut command = Command::new(&program);
        if !start.folder.is_empty() {
            let folder = OsStr::from_bytes(&start.folder);
            // What cannot be entered would be told of the program.
            fs::metadata(folder).map_err(|error| cannot_enter(folder, &error))?;
            command.current_dir(folder);
        }
        // What a kubelet says of the cluster to every container is nothing that a server was given.
        for (name, _) in env::vars_os().filter(|(name, _)| is_the_clusters(name)) {
            command.env_remove(name);
        }
        for variable in &start.env {
            let at = variable.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
            let at = at.ok_or_else(|| Failure::usage("a variable has no name"))?;
            command.env(OsStr::from_bytes(&variable[..at]), OsStr::from_bytes(&variable[at + 1..]));
        }
        if !start.env.iter().any(|variable| variable.starts_with(b"HOME=")) {
            command.envs(needs.home());
        }
        filter::apply_to(&mut command, needs.plain_modes());
        let (errors, into_errors) = io::pipe()?;
        // Before the server, which may ask for a name at once.
        names.start(&into_errors)?;
        let mut child = command
            .args(arguments.iter().map(word))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(into_errors)
            .spawn()
            .map_err(|error| exec::failure(&program, &error))?;
        // It has the other end of the pipe.
        drop(command);
        let input = ready(child.stdin.take())?;
        let pipe = |file| Pipe { file, left: usize::MAX };
        let pipes = [pipe(ready(child.stdout.take())?), pipe(ready(Some(errors))?)];
        // A pid is positive and fits.
        Ok(Self { pid: child.id().cast_signed(), input, pipes, status: None, bytes: vec![0; AT_ONCE].into() })
    }

    pub(super) fn input(&self) -> Option<&File> {
        self.input.as_ref()
    }

    pub(super) fn pipe(&self, which: usize) -> Option<&File> {
        self.pipes[which].file.as_ref()
    }

    pub(super) fn close_input(&mut self) {
        self.input = None;
    }

    /// Gives it as much of `bytes` as there is room for. What it doesn't want any more is thrown away.
    pub(super) fn give(&mut self, bytes: &[u8]) -> usize {
        let Some(input) = &mut self.input else { return bytes.len() };
        match input.write(bytes) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(_) => {
                self.input = None;
                bytes.len()
            }
        }
    }

    /// Whether there is room for what its pipes may have.
    pub(super) fn may_be_read(line: &Numbered) -> bool {
        line.room() >= HEAD + AT_LEAST
    }

    /// Says what a pipe has, if anything.
    pub(super) fn read(&mut self, which: usize, line: &mut Numbered) {
        let _ = self.look(which, line);
    }

    /// Takes what a pipe has and nobody hears any more.
    pub(super) fn throw_away(&mut self, which: usize) {
        let Some(file) = &mut self.pipes[which].file else { return };
        match file.read(&mut self.bytes) {
            Ok(1..) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => self.pipes[which].file = None,
        }
    }

    /// Says all that it has left in its pipes; whether that is so.
    pub(super) fn read_rest(&mut self, line: &mut Numbered) -> bool {
        (0..2).all(|which| {
            loop {
                match self.look(which, line) {
                    Look::Some => {}
                    Look::Nothing => break true,
                    Look::NoRoom => break false,
                }
            }
        })
    }

    fn look(&mut self, which: usize, line: &mut Numbered) -> Look {
        let pipe = &mut self.pipes[which];
        let Some(file) = &mut pipe.file else { return Look::Nothing };
        if !Self::may_be_read(line) {
            return Look::NoRoom;
        }
        let most = AT_ONCE.min(line.room() - HEAD).min(pipe.left);
        match file.read(&mut self.bytes[..most]) {
            Ok(count @ 1..) => {
                pipe.left -= if pipe.left == usize::MAX { 0 } else { count };
                let bytes = &self.bytes[..count];
                let said = if which == 0 { Record::Output(bytes) } else { Record::Errors(bytes) };
                say(line, &said);
                Look::Some
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Look::Nothing
            }
            Ok(0) | Err(_) => {
                pipe.file = None;
                Look::Nothing
            }
        }
    }

    /// Signals it, and all of its group.
    pub(super) fn signal(&self, signal: i32) {
        if self.status.is_none() {
            sys::signal_group(self.pid, signal);
        }
    }

    /// Reaps it if it has ended, and kills what it has left behind in its group.
    pub(super) fn reap(&mut self) {
        while let Some((pid, status)) = sys::reap() {
            if pid == self.pid {
                // Its number is nobody else's for as long as its group has a member.
                sys::signal_group(self.pid, sys::SIGKILL);
                self.status = Some(status);
                self.input = None;
                self.pipes.iter_mut().for_each(|pipe| pipe.left = LEFT_BEHIND);
            }
        }
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        // As the macros of wait(2) have it: the signal in the low bits, the code above.
        Some(match (self.status? & 0x7f, self.status? >> 8 & 0xff) {
            (0, code) => Ending::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
            (sys::SIGKILL, _) if server::is_short_of_memory() => Ending::OutOfMemory,
            (signal, _) => Ending::Killed(u8::try_from(signal).unwrap_or_default()),
        })
    }
}

/// Says a record for which there is room.
pub(super) fn say(line: &mut Numbered, said: &Record<'_>) {
    let mut bytes = Vec::new();
    // What we say is no longer than a record may be.
    if records::encode(&mut bytes, said).is_ok() {
        line.say(&bytes);
    }
}

fn ready<T: Into<OwnedFd>>(pipe: Option<T>) -> io::Result<Option<File>> {
    let pipe = pipe.map(|pipe| File::from(pipe.into()));
    if let Some(pipe) = &pipe {
        never_wait(pipe.as_fd())?;
        widen(pipe.as_fd());
    }
    Ok(pipe)
}

fn wanted(options: &[Vec<u8>]) -> Result<(Needs, Wanted), Failure> {
    let mut words = Words(options.iter().map(|word| OsString::from_vec(word.clone())));
    let (mut needs, mut names) = (Needs::default(), Wanted::default());
    while let Some(flag) = words.0.next() {
        let flag = flag.to_string_lossy();
        if !needs.takes(&flag, &mut words)? && !names.takes(&flag, &mut words)? {
            return Err(Failure::usage(format_args!("unexpected `{flag}`")));
        }
    }
    Ok((needs, names))
}

fn cannot_enter(folder: &OsStr, error: &io::Error) -> Failure {
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    Failure::new(Failure::CANNOT_EXECUTE, format_args!("cannot enter `{}`: {reason}", folder.display()))
}
