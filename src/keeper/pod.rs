//! `keeper hold-pod`: PID 1 of a pod's container. Like `hold`, but a cut is no end.
//!
//! Its standard input is the lifeline, and another attach goes on with it, so its end says nothing. It is a heartbeat: a
//! byte each second or so while the owner lives. The owner's commands are among them: `t` ends, and `g` says that the
//! client has left. Any other byte is a sign of life and nothing else. The container ends in order after a silence, and if
//! nobody has ever spoken.
//!
//! It never writes anything: that would land in the node's logs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::phase::{Event, Phase};
use super::sys::{self, Signal, Wanted};
use super::{Failure, Words, protocol};

/// So long an owner may be silent, unless another time is given.
const RECONNECT: Duration = Duration::from_secs(15);
/// How often the end of the other processes is looked for while the container is being stopped.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What it is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pod {
    /// So long nobody need have spoken.
    claim_within: Duration,
    reconnect: Duration,
    grace: Duration,
}

impl Pod {
    pub(super) fn parse<I: Iterator<Item = OsString>>(words: &mut Words<I>) -> Result<Self, Failure> {
        let (mut claim_within, mut grace, mut reconnect) = (None, None, RECONNECT);
        while let Some(flag) = words.0.next() {
            match flag.to_str() {
                Some("--claim-within") => claim_within = Some(words.milliseconds("--claim-within")?),
                Some("--grace") => grace = Some(words.milliseconds("--grace")?),
                Some("--reconnect") => reconnect = words.milliseconds("--reconnect")?,
                _ => return Err(Failure::usage(format_args!("unexpected `{}`", flag.display()))),
            }
        }
        let missing = |flag| move || Failure::usage(format_args!("`{flag}` is missing"));
        Ok(Self {
            claim_within: claim_within.ok_or_else(missing("--claim-within"))?,
            reconnect,
            grace: grace.ok_or_else(missing("--grace"))?,
        })
    }

    /// Gives the exit code; a word for a person would be written.
    pub(super) fn hold(&self) -> u8 {
        self.held().unwrap_or(Failure::SYSTEM)
    }

    fn held(&self) -> io::Result<u8> {
        // As with `hold`: before the server, which is the same user.
        sys::forbid_dumping()?;
        // Elsewhere «all others» are the user's whole machine.
        if process::id() != 1 {
            return Ok(Failure::SOFTWARE);
        }
        sys::disown_children();
        let mut lease = Lease {
            lifeline: Some(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
            signals: sys::ending_signals()?,
            phase: Phase::Unclaimed(Instant::now() + self.claim_within),
            grace: self.grace,
            heard: None,
        };
        while lease.phase != Phase::Over {
            if lease.phase.is_ending() && !sys::signal_others(sys::NO_SIGNAL) {
                break;
            }
            lease.wait(self.reconnect);
            let now = Instant::now();
            let is_silent = lease.heard.is_some_and(|last| now.duration_since(last) >= self.reconnect);
            if is_silent && matches!(lease.phase, Phase::Claimed | Phase::Leaving(_)) {
                lease.happened(Event::OwnerGone);
            }
            if lease.phase.deadline().is_some_and(|until| until <= now) {
                lease.happened(Event::TimeUp);
            }
        }
        // Whoever is left gets SIGKILL from the kernel when PID 1 ends.
        Ok(0)
    }
}

struct Lease {
    lifeline: Option<File>,
    signals: File,
    phase: Phase,
    grace: Duration,
    /// When the owner was heard last.
    heard: Option<Instant>,
}

impl Lease {
    fn wait(&mut self, reconnect: Duration) {
        let silent = self.heard.filter(|_| matches!(self.phase, Phase::Claimed | Phase::Leaving(_)));
        let until = self.phase.deadline().into_iter().chain(silent.map(|last| last + reconnect)).min();
        let mut timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        if self.phase.is_ending() {
            timeout = timeout.map(|left| left.min(LOOK_EVERY));
        }
        let polled = sys::poll(
            [
                self.lifeline.as_ref().map(|file| (file.as_fd(), Wanted::Input)),
                Some((self.signals.as_fd(), Wanted::Input)),
            ],
            timeout,
        );
        match polled {
            Ok([lifeline, signal]) => {
                if signal {
                    self.signalled();
                }
                if lifeline {
                    self.listen();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                // We are blind, and end. The sleep keeps the way there from spinning.
                thread::sleep(LOOK_EVERY);
                self.happened(Event::OwnerGone);
            }
        }
    }

    /// Whatever the image calls its stop signal, the kubelet's ends. What a process of the container sends counts for
    /// nothing.
    fn signalled(&mut self) {
        if let Some(Signal { is_from_outside: true, .. }) = sys::take_signal(&self.signals) {
            self.happened(Event::StopAsked);
        }
    }

    fn listen(&mut self) {
        let Some(mut lifeline) = self.lifeline.as_ref() else { return };
        let mut bytes = [0; 64];
        match lifeline.read(&mut bytes) {
            Ok(count @ 1..) => {
                self.heard = Some(Instant::now());
                self.happened(Event::Claimed);
                for byte in &bytes[..count] {
                    match *byte {
                        protocol::TERMINATE => self.happened(Event::StopAsked),
                        protocol::LEAVE => self.happened(Event::OwnerLeaves),
                        _ => {}
                    }
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            // Nobody will speak any more, and silence sees to the rest.
            Ok(0) | Err(_) => self.lifeline = None,
        }
    }

    fn happened(&mut self, event: Event) {
        let before = self.phase;
        self.phase = before.next(event, Instant::now(), self.grace);
        match (before, self.phase) {
            (Phase::Stopping(_), Phase::Stopping(_)) | (Phase::Draining(_), Phase::Draining(_)) => {}
            // `keeper serve` ends its server's input then. Others ignore this signal, unless they have asked for it.
            (_, Phase::Draining(_)) => _ = sys::signal_others(sys::SIGWINCH),
            (_, Phase::Stopping(_)) => _ = sys::signal_others(sys::SIGTERM),
            _ => {}
        }
    }
}
