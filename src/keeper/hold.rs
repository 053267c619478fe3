//! PID 1: the lease of the container, from the claim to the end of its last other process.
//!
//! [`Phase::next`] alone decides what follows (`phase.rs`).
//!
//! A claim is one line: `c`, the owner's session, and other words of the owner. The session becomes our process name,
//! and all of the line our command line (`docker top`): labels cannot tell the owner of a container that was there
//! before. After the claim come commands: `t` ends, `l` tries again for the volumes, `n` and a line are the new words
//! to show. If the server was started ahead of its session, its input comes instead, unless a line before the claim has
//! asked for its pipes (`d` and the token; `door.rs`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use super::locks::Locks;
use super::phase::{Event, Phase};
use super::protocol;
use super::server::Server;
use super::sys::{self, Signal, Wanted};
use super::within::Watch;
use super::{Failure, Hold, door};

/// An owner that is alive and has closed the server's input asks for the end itself, after half of the grace; so that
/// it knows why. With the lifeline apart from the server's input that is no question.
const OWNER_ASKS_FIRST: Duration = Duration::from_millis(500);

/// While this much time passes without the server reading any of what waits for it, the owner is taken to be gone. Behind
/// more bytes than pipes hold, its end does not reach us: it stands behind them.
const UNREAD_AT_MOST: Duration = Duration::from_mins(5);

/// What an owner says of itself is shorter.
const LINE: usize = 512;

/// How often the end of the other processes is looked for while the container is being stopped: they are
/// not our children, so that no signal tells.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who forks faster than he is killed is left to the kernel.
const CLEARED_WITHIN: Duration = Duration::from_millis(500);

/// Gives the exit code: of the server, if it was started ahead and has ended.
pub(super) fn hold(options: &Hold) -> Result<u8, Failure> {
    // The server runs as the same user and is not trusted. Were we dumpable, it could open
    // /proc/1/fd/0 for writing, and the lifeline would never end; or trace us. So this comes first.
    sys::forbid_dumping()?;
    // Elsewhere than at the root of a pid namespace «all others» are the user's whole machine.
    if process::id() != 1 {
        return Err(Failure::new(Failure::SOFTWARE, "keeper: `hold` runs as PID 1 of a container only"));
    }
    let mut lines = Lines::open(options)?;
    let mut phase = Phase::Unclaimed(Instant::now() + options.claim_within);
    // Its end came before anybody listened for it.
    if lines.server.as_mut().is_some_and(Server::reap) {
        phase = Phase::Over;
    }
    while phase != Phase::Over {
        if phase.is_ending() && !sys::signal_others(sys::NO_SIGNAL) {
            break;
        }
        let event = lines.wait(phase);
        let before = phase;
        let now = Instant::now();
        phase = phase.next(event, now, options.grace);
        if let (Phase::Unclaimed(_) | Phase::Awaited(_) | Phase::Claimed, Phase::Draining(until), Some(_)) =
            (before, phase, &lines.server)
        {
            phase = Phase::Draining(until + OWNER_ASKS_FIRST);
        }
        if phase.deadline().is_some_and(|until| until <= now) {
            phase = phase.next(Event::TimeUp, now, options.grace);
        }
        if matches!(phase, Phase::Stopping(_)) && !matches!(before, Phase::Stopping(_)) {
            sys::signal_others(sys::SIGTERM);
        }
    }
    if !lines.locks.is_empty() {
        clear_out();
    }
    // Whoever is left gets SIGKILL from the kernel when PID 1 ends. It forbids new processes first, so
    // that nobody can fork away from it, as they could from a kill(-1, SIGKILL) of ours.
    let ended = if lines.is_ended { protocol::ENDED } else { 0 };
    Ok(lines.server.filter(|_| !lines.is_ended).map_or(ended, |mut server| server.exit_code()))
}

/// Our files are closed before the kernel kills the others, and whoever has the volumes next would meet them.
fn clear_out() {
    let until = Instant::now() + CLEARED_WITHIN;
    while sys::signal_others(sys::SIGKILL) && Instant::now() < until {
        thread::sleep(LOOK_EVERY);
    }
}

/// The ways in which the keeper hears of anything.
struct Lines {
    /// What we are called where processes are listed. Our arguments are another text once that has been changed.
    program: Vec<u8>,
    lifeline: Option<File>,
    signals: File,
    watch: Option<Watch>,
    /// The server that was started ahead.
    server: Option<Server>,
    /// As much as has come of the claim; `None` once it is made.
    claim: Option<Vec<u8>>,
    locks: Locks,
    /// As much as has come of what is to be shown instead, after its `n`.
    shown: Option<Vec<u8>>,
    /// Somebody else than the owner has ended the session.
    is_ended: bool,
    /// The lifeline's other end is closed, but the server has not read all that came before.
    hung_up: bool,
    /// Since when the server has read nothing of what waits for it.
    full_since: Option<Instant>,
}

impl Lines {
    fn open(options: &Hold) -> Result<Self, Failure> {
        // A duplicate, because std's own stdin reads ahead into a buffer where poll sees nothing.
        // Before anything is checked, so that nothing is missed.
        let watch = options.needs.watch()?;
        let lifeline = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let command = options.command.split_first();
        let server = command
            .map(|(program, arguments)| Server::start(&options.needs, options.door, program, arguments))
            .transpose()?;
        if server.is_none() {
            sys::disown_children();
        }
        // After the server, which would inherit that they are blocked.
        let signals = sys::signals(server.is_some())?;
        Ok(Self {
            program: env::args_os().next().unwrap_or_default().into_vec(),
            lifeline: Some(lifeline),
            signals,
            watch,
            server,
            claim: Some(Vec::new()),
            locks: Locks::new(options.locks.clone()),
            shown: None,
            is_ended: false,
            hung_up: false,
            full_since: None,
        })
    }

    fn wait(&mut self, phase: Phase) -> Event {
        let mut timeout = phase.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        if phase.is_ending() {
            timeout = timeout.map(|left| left.min(LOOK_EVERY));
        }
        // What the server has no room for is not read; that the owner has gone is seen all the same.
        let is_full = self.claim.is_none() && self.server.as_ref().is_some_and(Server::is_full);
        self.full_since = is_full.then(|| self.full_since.unwrap_or_else(Instant::now));
        let given_up = self.full_since.filter(|_| !self.hung_up).map(|since| since + UNREAD_AT_MOST);
        if given_up.is_some_and(|until| until <= Instant::now()) {
            self.hung_up = true;
            return Event::OwnerGone;
        }
        let given_up = given_up.map(|until| until.saturating_duration_since(Instant::now()));
        timeout = timeout.into_iter().chain(given_up).min();
        let lifeline = self.lifeline.as_ref().filter(|_| !(is_full && self.hung_up));
        let room = self.server.as_ref().filter(|_| is_full).and_then(Server::input);
        let polled = sys::poll(
            [
                lifeline.map(|file| (file.as_fd(), if is_full { Wanted::Hangup } else { Wanted::Input })),
                Some((self.signals.as_fd(), Wanted::Input)),
                room.map(|file| (file.as_fd(), Wanted::Room)),
                self.watch.as_ref().map(|watch| (watch.as_fd(), Wanted::Change)),
            ],
            timeout,
        );
        match polled {
            Ok([.., true]) if self.watch.as_ref().is_some_and(Watch::is_broken) => {
                if self.server.is_none() {
                    let _ = write!(io::stdout(), "{}", protocol::UNPROTECTED_LINE);
                }
                Event::Unprotected
            }
            Ok([lifeline, signal, room, _]) => {
                let told = if signal { self.signalled() } else { Event::Nothing };
                // A server that floods us with signals must not keep us from seeing the lifeline's end. What the lifeline has
                // is a claim, and whoever is claimed is no surplus.
                if !lifeline || !matches!(told, Event::Nothing | Event::Surplus) {
                    if room && let Some(server) = &mut self.server {
                        server.has_room();
                    }
                    return told;
                }
                if room && let Some(server) = &mut self.server {
                    server.has_room();
                }
                if is_full {
                    self.hung_up = true;
                    return Event::OwnerGone;
                }
                self.read()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Event::Nothing,
            Err(_) => {
                // The same user may lower our limits with prlimit(2), below what poll needs: then we are
                // blind, and end. The sleep keeps the way there from spinning.
                thread::sleep(LOOK_EVERY);
                Event::OwnerGone
            }
        }
    }

    /// Takes one signal, so that it does not wake us again. What a process of the container sends counts for nothing: it
    /// could put off the end of a container that nobody has claimed, or pass for `berth kill`.
    fn signalled(&mut self) -> Event {
        let signal = sys::take_signal(&self.signals);
        match signal.filter(|signal| signal.is_from_outside || signal.number == sys::SIGCHLD) {
            Some(Signal { number: sys::SIGUSR1, .. }) => Event::Announced,
            Some(Signal { number: sys::SIGWINCH, .. }) => Event::Surplus,
            Some(Signal { number: sys::SIGCHLD, .. }) => {
                let ended = self.server.as_mut().is_some_and(Server::reap);
                if ended { Event::ServerEnded } else { Event::Nothing }
            }
            Some(Signal { number: sys::SIGUSR2, .. }) => {
                let was_ended = std::mem::replace(&mut self.is_ended, true);
                // Who reads the server's own streams is told by the exit code.
                if self.server.is_some() {
                    return Event::StopAsked;
                }
                if was_ended {
                    return Event::Nothing;
                }
                match write!(io::stdout(), "{}", protocol::ENDED_LINE) {
                    Ok(()) => Event::StopTold,
                    // An owner who can't be told is gone.
                    Err(_) => Event::StopAsked,
                }
            }
            Some(_) => Event::StopAsked,
            None => Event::Nothing,
        }
    }

    fn read(&mut self) -> Event {
        let Some(mut lifeline) = self.lifeline.as_ref() else { return Event::Nothing };
        let mut bytes = [0; 64];
        // How many bytes have come for us.
        let read = match (&self.claim, &mut self.server) {
            // Byte by byte: what follows the line is not ours.
            (Some(_), _) => lifeline.read(&mut bytes[..1]),
            // Only that something has, for these are not.
            (None, Some(server)) if !server.is_handed_over() => server.give(lifeline),
            (None, _) => lifeline.read(&mut bytes),
        };
        match read {
            Ok(count @ 1..) => self.meaning(&bytes[..count.min(bytes.len())]),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                Event::Nothing
            }
            Ok(0) | Err(_) => {
                self.lifeline = None;
                if let Some(server) = &mut self.server {
                    server.close_input();
                }
                if self.hung_up { Event::Nothing } else { Event::OwnerGone }
            }
        }
    }

    /// What has come: a byte of the claim, commands, or zeros for what the server was given.
    fn meaning(&mut self, bytes: &[u8]) -> Event {
        let Some(line) = &mut self.claim else {
            // The end outdoes all else.
            let mut asked = Event::Nothing;
            for byte in bytes {
                match self.command(*byte) {
                    Event::Nothing => {}
                    event if asked != Event::StopAsked => asked = event,
                    _ => {}
                }
            }
            return asked;
        };
        line.extend(bytes.first());
        if let Some(token) = opening(line) {
            let handed = self.server.as_mut().ok_or_else(|| "no server runs".to_owned());
            let socket = door::socket(Path::new(OsStr::from_bytes(&self.program)));
            let handed = handed.and_then(|server| server.hand_over(&socket, token));
            line.clear();
            return match handed {
                // The claim is the owner's next word; what this has taken is none of its time.
                Ok(()) => Event::Announced,
                Err(why) => {
                    // An owner who can't be told is gone, and the lifeline tells us.
                    let _ = door::tell(&why);
                    Event::Nothing
                }
            };
        }
        let owner = claimant(line);
        if owner.is_some() || line.len() > LINE || line.ends_with(b"\n") {
            let owner = owner.map(<[u8]>::to_owned);
            line.clear();
            if let Some(owner) = owner {
                self.claim = None;
                self.show(&owner);
                self.take_locks();
                return Event::Claimed;
            }
        }
        Event::Nothing
    }

    /// Takes a byte of the owner's commands: what it asks for.
    fn command(&mut self, byte: u8) -> Event {
        match &mut self.shown {
            Some(line) if byte == b'\n' => {
                let line = std::mem::take(line);
                self.show(&line);
                self.shown = None;
            }
            Some(line) if line.len() < LINE => line.push(byte),
            None if byte == protocol::INTRODUCE => self.shown = Some(Vec::new()),
            None if byte == protocol::AGAIN => self.take_locks(),
            None if byte == protocol::LEAVE => return Event::OwnerLeaves,
            None if byte == protocol::TERMINATE => return Event::StopAsked,
            Some(_) | None => {}
        }
        Event::Nothing
    }
}

impl Lines {
    /// Shows where processes are listed whom the container is held for. The first word is the session.
    fn show(&self, owner: &[u8]) {
        sys::show_as(owner.split(|byte| *byte == b' ').next().unwrap_or_default());
        sys::show_command_line(&[&self.program[..], protocol::HELD_FOR.as_bytes(), owner].concat());
    }

    /// Tries to have the volumes, and tells the owner how it went.
    fn take_locks(&mut self) {
        if !self.locks.is_empty() {
            // An owner who can't be told is gone, and the lifeline tells us.
            let _ = writeln!(io::stdout(), "{}", self.locks.take());
        }
    }
}

/// The token of a line that asks for the server's pipes, if it is a whole one.
fn opening(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(&[protocol::door::OPEN])?.strip_suffix(b"\n")
}

/// Whose claim this is, if it is a whole one.
pub(super) fn claimant(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(&[protocol::CLAIM])?.strip_suffix(b"\n")
}
