//! `keeper serve`: a server whose stream may be cut. It holds the server's pipes, and outlives its own exec's stream.
//!
//! Bytes are numbered in both directions (`numbered.rs`), so another exec's stream (`keeper resume`, `handover.rs`) goes
//! on where the last one stopped. Each stream has an epoch: the newest wins, and an older one is closed or refused. When no
//! stream has been there for the time that berth has set, the server is ended in order. The helper ends when berth has
//! passed on how the server ended, or when nobody is there to be told.
//!
//! One thread waits for everything at once. What berth says is read whatever the server does, and the other way round.
//! The server runs as the same user and may harm the helper; it harms its own session, and PID 1 sees to the end.

#[path = "serve/child.rs"]
mod child;
#[path = "serve/handover.rs"]
pub(super) mod handover;
#[path = "serve/stream.rs"]
mod stream;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::Failure;
use super::numbered::{self, Numbered};
use super::phase::{Event, Phase};
use super::records::{self, Record, Start};
use super::sys::{self, Signal, Wanted};
use child::Child;
use handover::{Handover, hand_over};
use stream::Stream;

/// Until berth has said another time.
const RECONNECT: Duration = Duration::from_secs(15);

/// Gives the exit code: 0, for how the server ended is told by the stream.
pub(super) fn serve(token: &[u8]) -> Result<u8, Failure> {
    // The server is the same user, and is not to reach our memory or files.
    sys::forbid_dumping()?;
    sys::show_command_line(b"keeper serve");
    let mut helper = Helper::new(Handover::open(token)?, Stream::own()?);
    let served = helper.serve();
    if served.is_err()
        && let Some(child) = &helper.child
    {
        child.signal(sys::SIGKILL);
    }
    served.map(|()| 0)
}

/// Hands this process's own stream to the helper of this token, and stays for as long as it has it.
pub(super) fn resume(token: &[u8], epoch: u64) -> Result<u8, Failure> {
    hand_over(token, epoch)
}

struct Helper {
    line: Numbered,
    handover: Handover,
    stream: Option<Stream>,
    /// Since when there is none.
    cut: Option<Instant>,
    reconnect: Duration,
    grace: Duration,
    /// `None` before the start, and where that failed.
    child: Option<Child>,
    /// From the start on.
    signals: Option<File>,
    phase: Phase,
    /// How it ended, or why it was not started, has been said.
    is_told: bool,
    /// PID 1 ends the container.
    is_leaving: bool,
    /// How much of the first record is with the server already.
    given: usize,
    /// The server's input has no room for the rest.
    is_full: bool,
    /// How much of what was heard has been looked through for a wish that must not wait.
    skimmed: usize,
}

impl Helper {
    fn new(handover: Handover, stream: Stream) -> Self {
        let mut line = Numbered::new();
        line.begin(numbered::FIRST);
        Self {
            line,
            handover,
            stream: Some(stream),
            cut: None,
            reconnect: RECONNECT,
            grace: Duration::ZERO,
            child: None,
            signals: None,
            phase: Phase::Claimed,
            is_told: false,
            is_leaving: false,
            given: 0,
            is_full: false,
            skimmed: 0,
        }
    }

    fn serve(&mut self) -> Result<(), Failure> {
        loop {
            self.say();
            if self.is_over() {
                return Ok(());
            }
            let [hung_up, heard, _, out, errors, signal, handed] = self.wait()?;
            if heard {
                self.hear();
            }
            if hung_up {
                self.lose();
            }
            if handed && let Some((epoch, stream)) = self.handover.take(self.line.epoch()) {
                // The older one is closed at once.
                (self.stream, self.cut) = (Some(stream), None);
                self.line.begin(epoch);
            }
            if signal {
                self.signalled();
            }
            self.obey()?;
            self.skim();
            if let Some(child) = &mut self.child {
                for which in (0..2).filter(|which| [out, errors][*which]) {
                    child.read(which, &mut self.line);
                }
            }
            self.tell_the_end();
            self.keep_time();
        }
    }

    /// Whether the stream has hung up, whether it, the server's input (room), output and error, the signals and the handover
    /// have something.
    fn wait(&self) -> io::Result<[bool; 7]> {
        let stream = self.stream.as_ref();
        let child = self.child.as_ref();
        // Once it has ended, what is left in its pipes is read without waiting for more.
        let read = child.filter(|child| child.ending().is_none() && Child::may_be_read(&self.line));
        let gives = child.filter(|_| self.is_full).and_then(Child::input);
        let timeout = self.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        let files = [
            stream.map(|stream| {
                // A hang-up shows in any case.
                (stream.output().as_fd(), if stream.is_full() { Wanted::Room } else { Wanted::Hangup })
            }),
            stream.map(|stream| (stream.input().as_fd(), Wanted::Input)),
            gives.map(|file| (file.as_fd(), Wanted::Room)),
            read.and_then(|child| child.pipe(0)).map(|file| (file.as_fd(), Wanted::Input)),
            read.and_then(|child| child.pipe(1)).map(|file| (file.as_fd(), Wanted::Input)),
            self.signals.as_ref().map(|file| (file.as_fd(), Wanted::Input)),
            Some((self.handover.as_fd(), Wanted::Input)),
        ];
        match sys::poll(files, timeout) {
            // Where it was to have room, writing tells of its end.
            Ok(mut found) => {
                found[0] &= !stream.is_some_and(Stream::is_full);
                Ok(found)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok([false; 7]),
            Err(error) => Err(error),
        }
    }

    fn say(&mut self) {
        if self.stream.as_mut().is_some_and(|stream| stream.say(&mut self.line).is_err()) {
            self.lose();
        }
    }

    fn hear(&mut self) {
        let heard = self.stream.as_mut().map_or(Ok(()), |stream| stream.hear(&mut self.line));
        if heard.is_err() {
            self.lose();
        }
    }

    /// The stream is over: at its end, or by a word that does not belong there.
    fn lose(&mut self) {
        if self.stream.take().is_some() {
            self.cut = Some(Instant::now());
        }
    }

    /// A wish for the end does not wait behind input that the server does not read.
    fn skim(&mut self) {
        // How long an end may take, the start tells.
        while self.signals.is_some()
            && let Some((length, ends)) = records::skim(&self.line.heard()[self.skimmed..])
        {
            self.skimmed += length;
            if ends {
                self.happened(Event::StopAsked);
            }
        }
    }

    /// Does what has been asked, as far as the server has room.
    fn obey(&mut self) -> Result<(), Failure> {
        self.is_full = false;
        while let Some((length, said)) = records::decode(self.line.heard()).map_err(|_| broken())? {
            match said {
                Record::Start(start) if self.signals.is_none() => self.start(&start)?,
                // Whoever could not be started has no use for it.
                Record::Input(bytes) if self.signals.is_some() => {
                    if let Some(child) = &mut self.child {
                        self.given += child.give(&bytes[self.given..]);
                        if self.given < bytes.len() {
                            self.is_full = true;
                            return Ok(());
                        }
                    }
                }
                Record::InputEnd => {
                    if let Some(child) = &mut self.child {
                        child.close_input();
                    }
                }
                Record::Terminate => self.happened(Event::StopAsked),
                _ => return Err(broken()),
            }
            self.given = 0;
            self.line.pass_on(length);
            self.skimmed = self.skimmed.saturating_sub(length);
        }
        Ok(())
    }

    fn start(&mut self, start: &Start) -> io::Result<()> {
        (self.reconnect, self.grace) = (start.reconnect, start.grace);
        match Child::start(start) {
            Ok(child) => self.child = Some(child),
            Err(failure) => {
                let why = failure.message.as_bytes();
                child::say(&mut self.line, &Record::NotStarted { code: failure.code, why });
                self.is_told = true;
            }
        }
        // After the server, which would inherit that they are blocked.
        self.signals = Some(sys::signals(true)?);
        if let Some(child) = &mut self.child {
            // Its end came before anybody listened for it.
            child.reap();
        }
        Ok(())
    }

    /// PID 1 tells of the end: first so that the server's input ends, and later with SIGTERM, which the server has had, too.
    fn signalled(&mut self) {
        match self.signals.as_ref().and_then(sys::take_signal) {
            Some(Signal { number: sys::SIGCHLD, .. }) => {
                if let Some(child) = &mut self.child {
                    child.reap();
                }
            }
            Some(Signal { number: sys::SIGWINCH, .. }) => {
                self.is_leaving = true;
                self.happened(Event::OwnerGone);
            }
            Some(Signal { number: sys::SIGTERM, .. }) => {
                self.is_leaving = true;
                self.happened(Event::StopAsked);
            }
            _ => {}
        }
    }

    fn happened(&mut self, event: Event) {
        let before = self.phase;
        self.phase = before.next(event, Instant::now(), self.grace);
        let Some(child) = self.child.as_mut().filter(|_| self.phase != before) else { return };
        child.close_input();
        match self.phase {
            Phase::Stopping(_) if !(self.is_leaving && event == Event::StopAsked) => {
                child.signal(sys::SIGTERM);
            }
            Phase::Over => child.signal(sys::SIGKILL),
            _ => {}
        }
    }

    /// The server's last words, and then its end, as soon as there is room.
    fn tell_the_end(&mut self) {
        let Some(child) = self.child.as_mut().filter(|_| !self.is_told) else { return };
        let Some(ending) = child.ending() else { return };
        if child.read_rest(&mut self.line) && Child::may_be_read(&self.line) {
            child::say(&mut self.line, &Record::Ended(ending));
            self.is_told = true;
        }
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.phase == Phase::Claimed && self.is_given_up() {
            self.happened(Event::OwnerGone);
        }
        if self.phase.deadline().is_some_and(|until| until <= now) {
            self.happened(Event::TimeUp);
        }
    }

    /// Nobody has come for as long as the server may be without a stream.
    fn is_given_up(&self) -> bool {
        self.cut.is_some_and(|since| since.elapsed() >= self.reconnect)
    }

    fn deadline(&self) -> Option<Instant> {
        let given_up = self.cut.map(|since| since + self.reconnect).filter(|_| !self.is_given_up());
        self.phase.deadline().into_iter().chain(given_up).min()
    }

    fn is_over(&self) -> bool {
        // Nobody is there to be told of it, or it was never asked for.
        let is_of_no_use = self.is_told || self.child.is_none();
        let is_alone = self.stream.is_none() && (self.is_leaving || self.is_given_up());
        // Before the start nothing was said, and all of it is passed on.
        let is_heard = self.is_told && self.line.is_all_passed_on();
        let is_written = self.is_leaving
            && self.is_told
            && self.line.is_all_framed()
            && !self.stream.as_ref().is_some_and(Stream::is_full);
        is_heard || (is_of_no_use && is_alone) || is_written
    }
}

fn broken() -> Failure {
    Failure::new(Failure::SOFTWARE, "keeper: berth and its helper do not understand each other")
}
