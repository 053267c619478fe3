//! A server that was started ahead of its session: a child of PID 1.
//!
//! Where the container has a door, the server's pipes are handed to the session with the claim. Else its input is everything
//! after the claim, and its output is the container's own. Its input passes through PID 1 then: a process that shared the
//! lifeline with the server could not see its end, because the server can open its own input for writing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use super::needs::Needs;
use super::{Failure, door, exec, filter, protocol, sys};

/// Where the kernel counts what it killed for its memory: version 2 of control groups, and 1.
const OOM_COUNTS: [&str; 2] = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

pub(super) struct Server {
    pid: i32,
    /// `None` once one of both ends has closed it, or its session has it.
    input: Option<File>,
    /// With a door, until its session has it.
    output: Option<File>,
    /// Its session has its pipes.
    is_handed_over: bool,
    /// Its input had no room when it was last tried.
    full: bool,
    /// As wait(2) gives it.
    status: Option<i32>,
}

impl Server {
    pub(super) fn start(
        needs: &Needs,
        with_door: bool,
        program: &OsString,
        arguments: &[OsString],
    ) -> Result<Self, Failure> {
        needs.check()?;
        let mut command = Command::new(program);
        filter::apply_to(&mut command, needs.plain_modes());
        let mut child = command
            .args(arguments)
            .envs(needs.home())
            .stdin(Stdio::piped())
            .stdout(if with_door { Stdio::piped() } else { Stdio::inherit() })
            .spawn()
            .map_err(|error| exec::failure(program, &error))?;
        let input = child.stdin.take().map(|input| File::from(OwnedFd::from(input)));
        let output = child.stdout.take().map(|output| File::from(OwnedFd::from(output)));
        // A pid is positive and fits.
        let pid = child.id().cast_signed();
        Ok(Self { pid, input, output, is_handed_over: false, full: false, status: None })
    }

    /// Hands its pipes to the session; fails with the reason, in one line.
    pub(super) fn hand_over(&mut self, socket: &Path, token: &[u8]) -> Result<(), String> {
        let (Some(input), Some(output)) = (&self.input, &self.output) else {
            return Err("the server has no pipes".to_owned());
        };
        door::hand_over(socket, token, input, output)?;
        (self.input, self.output, self.is_handed_over) = (None, None, true);
        Ok(())
    }

    /// What comes on the lifeline is the owner's, not the server's.
    pub(super) fn is_handed_over(&self) -> bool {
        self.is_handed_over
    }

    pub(super) fn input(&self) -> Option<&File> {
        self.input.as_ref()
    }

    pub(super) fn is_full(&self) -> bool {
        self.full && self.input.is_some()
    }

    pub(super) fn has_room(&mut self) {
        self.full = false;
    }

    pub(super) fn close_input(&mut self) {
        self.input = None;
    }

    /// Gives the server what `from` has: how many bytes, 0 at its end; `WouldBlock` without room. What a server
    /// doesn't want any more is thrown away, for the end behind it counts.
    pub(super) fn give(&mut self, mut from: &File) -> io::Result<usize> {
        let Some(input) = &self.input else { return from.read(&mut [0; 4096]) };
        let moved = sys::transfer(from.as_fd(), input.as_fd());
        match moved.as_ref().map_err(io::Error::kind) {
            // We were told that there is something to read.
            Err(io::ErrorKind::WouldBlock) => self.full = true,
            Err(io::ErrorKind::BrokenPipe) => {
                self.input = None;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            _ => {}
        }
        moved
    }

    /// Reaps whoever has ended; whether the server is among them.
    pub(super) fn reap(&mut self) -> bool {
        while let Some((pid, status)) = sys::reap() {
            if pid == self.pid {
                self.status = Some(status);
            }
        }
        self.status.is_some()
    }

    /// The server's own, or 128 and the signal's number as a shell has it; 0 if it was not waited for.
    pub(super) fn exit_code(&mut self) -> u8 {
        self.reap();
        let Some(status) = self.status else { return 0 };
        // As the macros of wait(2) have it: the signal in the low bits, the code above.
        match (status & 0x7f, status >> 8 & 0xff) {
            (0, code) => u8::try_from(code).unwrap_or(u8::MAX),
            (sys::SIGKILL, _) if is_short_of_memory() => protocol::OUT_OF_MEMORY,
            (sys::SIGKILL, _) => protocol::SERVER_KILLED,
            (signal, _) => 128 + u8::try_from(signal).unwrap_or_default(),
        }
    }
}

pub(super) fn is_short_of_memory() -> bool {
    let counted = |file: &str| {
        let text = fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok())
    };
    OOM_COUNTS.into_iter().find_map(counted).is_some_and(|count| count > 0)
}
