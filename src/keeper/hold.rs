//! PID 1: the lease of the container, from the claim to the end of whoever else is in it.
//!
//! [`Phase::next`] alone decides what follows; it waits for nothing and asks nobody.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use std::{process, thread};

use super::{Failure, sys};

/// How often the end of the other processes is looked for while the container is being stopped: they are
/// not our children, so that no signal tells.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What has happened to the lease. Nothing is the commonest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Nothing,
    Claimed,
    /// The owner asks for the end: a byte `t`, or SIGTERM or SIGINT from the daemon.
    StopAsked,
    /// The lifeline is at its end: the owner is dead or has left.
    OwnerGone,
    TimeUp,
}

/// Where the lease stands, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Unclaimed(Instant),
    Claimed,
    /// The server's stdin ended together with the lifeline; now it may end by itself.
    Draining(Instant),
    /// Everybody has had SIGTERM.
    Stopping(Instant),
    Over,
}

impl Phase {
    /// What follows. An orderly end takes `grace` at most, half of it before SIGTERM and half after.
    pub(super) fn next(self, event: Event, now: Instant, grace: Duration) -> Self {
        match (self, event) {
            (Self::Unclaimed(_), Event::Claimed) => Self::Claimed,
            (Self::Unclaimed(_) | Self::Claimed, Event::OwnerGone) => Self::Draining(now + grace / 2),
            // Nobody closed the stdin of a server in an unclaimed container: no use to wait for it.
            (Self::Unclaimed(_) | Self::Draining(_), Event::TimeUp)
            | (Self::Unclaimed(_) | Self::Claimed | Self::Draining(_), Event::StopAsked) => {
                Self::Stopping(now + grace / 2)
            }
            (Self::Stopping(_), Event::TimeUp) => Self::Over,
            (phase, _) => phase,
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Unclaimed(until) | Self::Draining(until) | Self::Stopping(until) => Some(until),
            Self::Claimed | Self::Over => None,
        }
    }

    fn is_ending(self) -> bool {
        matches!(self, Self::Draining(_) | Self::Stopping(_))
    }
}

pub(super) fn hold(claim_within: Duration, grace: Duration) -> Result<(), Failure> {
    // The server runs as the same user and is not trusted. Were we dumpable, it could open
    // /proc/1/fd/0 for writing, and the lifeline would never end; or trace us. So this comes first.
    sys::forbid_dumping()?;
    // Elsewhere than at the root of a pid namespace «all others» are the user's whole machine.
    if process::id() != 1 {
        return Err(Failure::new(Failure::SOFTWARE, "keeper: `hold` runs as PID 1 of a container only"));
    }
    sys::disown_children();
    let mut lines = Lines::open()?;
    let mut phase = Phase::Unclaimed(Instant::now() + claim_within);
    while phase != Phase::Over {
        if phase.is_ending() && !sys::signal_others(sys::NO_SIGNAL) {
            break;
        }
        let event = lines.wait(phase);
        let before = phase;
        let now = Instant::now();
        phase = phase.next(event, now, grace);
        if phase.deadline().is_some_and(|until| until <= now) {
            phase = phase.next(Event::TimeUp, now, grace);
        }
        if matches!(phase, Phase::Stopping(_)) && !matches!(before, Phase::Stopping(_)) {
            sys::signal_others(sys::SIGTERM);
        }
    }
    // Whoever is left gets SIGKILL from the kernel when PID 1 ends. It forbids new processes first, so
    // that nobody can fork away from it, as they could from a kill(-1, SIGKILL) of ours.
    Ok(())
}

/// The two ways in which the keeper hears of anything.
struct Lines {
    lifeline: Option<File>,
    signals: File,
}

impl Lines {
    fn open() -> io::Result<Self> {
        // A duplicate, because std's own stdin reads ahead into a buffer where poll sees nothing.
        let lifeline = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        Ok(Self { lifeline: Some(lifeline), signals: sys::stop_signals()? })
    }

    fn wait(&mut self, phase: Phase) -> Event {
        let mut timeout = phase.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        if phase.is_ending() {
            timeout = timeout.map(|left| left.min(LOOK_EVERY));
        }
        let lifeline = self.lifeline.as_ref().map(AsFd::as_fd);
        match sys::poll([lifeline, Some(self.signals.as_fd())], timeout) {
            Ok([_, true]) => {
                // Taken, so that it does not wake us again; both signals mean the same.
                let _ = self.signals.read(&mut [0; sys::SIGNAL_RECORD]);
                Event::StopAsked
            }
            Ok([true, false]) => self.read(),
            Ok([false, false]) => Event::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Event::Nothing,
            Err(_) => {
                // The same user may lower our limits with prlimit(2), below what poll needs: then we are
                // blind, and end. The sleep keeps the way there from spinning.
                thread::sleep(LOOK_EVERY);
                Event::OwnerGone
            }
        }
    }

    fn read(&mut self) -> Event {
        let mut bytes = [0; 64];
        match self.lifeline.as_ref().map_or(Ok(0), |mut lifeline| lifeline.read(&mut bytes)) {
            Ok(1..) => meaning(&bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                Event::Nothing
            }
            Ok(0) | Err(_) => {
                self.lifeline = None;
                Event::OwnerGone
            }
        }
    }
}

/// `c` claims, `t` asks for the end; anything else means nothing.
pub(super) fn meaning(bytes: &[u8]) -> Event {
    if bytes.contains(&b't') {
        Event::StopAsked
    } else if bytes.contains(&b'c') {
        Event::Claimed
    } else {
        Event::Nothing
    }
}
