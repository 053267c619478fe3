//! `keeper serve`: a server whose stream may be cut. It holds the server's pipes, and outlives its own exec's stream.
//!
//! Bytes are numbered in both directions (`numbered.rs`), so another exec's stream (`keeper resume`, `handover.rs`) goes
//! on where the last one stopped. Each stream has an epoch: the newest wins, and an older one is closed or refused. When no
//! stream has been there for the time that berth has set, the server is given up: it is ended in order, and no stream is
//! taken any more. The helper ends when berth has passed on how the server ended, or when nobody is there to be told.
//!
//! One thread waits for everything at once. What berth says is read whatever the server does, and the other way round.
//! What the server says is thrown away once nobody can ever hear it: so a full window keeps nobody from his end. The server
//! runs as the same user and may harm the helper; it harms its own session, and PID 1 sees to the end.

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
/// Once PID 1 ends the container, a server's last words may take so long to a berth that reads them slowly, or not at all.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Gives the exit code: 0, for how the server ended is told by the stream.
pub(super) fn serve() -> Result<u8, Failure> {
    // The server is the same user, and is not to reach our memory or files.
    sys::forbid_dumping()?;
    let mut helper = Helper::new(Handover::open(handover::secret()?)?, Stream::own()?);
    let served = helper.serve();
    if served.is_err()
        && let Some(child) = &helper.child
    {
        child.signal(sys::SIGKILL);
    }
    served.map(|()| 0)
}

/// Hands this process's own stream to the helper of its secret, and stays for as long as it has it.
pub(super) fn resume(epoch: u64) -> Result<u8, Failure> {
    hand_over(epoch)
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
    ends: Ends,
    /// How much of the first record is with the server already.
    given: usize,
    /// The server's input has no room for the rest.
    is_full: bool,
    /// How much of what was heard has been looked through for a wish that must not wait.
    skimmed: usize,
}

/// Why the server ends, beside what it does itself and what berth says.
#[derive(Default)]
struct Ends {
    /// Nobody came for too long, or PID 1 says that the owner is gone: the server's input is closed.
    is_given_up: bool,
    /// PID 1 ends the container, and all signals are its own: a server that has two of a kind may leave without its end in
    /// order.
    is_leaving: bool,
    /// Until when the last words may take then.
    last_words: Option<Instant>,
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
            ends: Ends::default(),
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
            if handed {
                self.take_over();
            }
            if signal {
                self.signalled();
            }
            self.obey()?;
            self.skim();
            let is_unheard = self.is_unheard();
            if let Some(child) = &mut self.child {
                for which in (0..2).filter(|which| [out, errors][*which]) {
                    if is_unheard {
                        child.throw_away(which);
                    } else {
                        child.read(which, &mut self.line);
                    }
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
        let may_be_read = self.is_unheard() || Child::may_be_read(&self.line);
        let read = child.filter(|child| child.ending().is_none() && may_be_read);
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

    fn take_over(&mut self) {
        // What would come of it vanished: the input is closed already, or some of the output was thrown away.
        let too_late = self.ends.is_given_up || self.is_unheard();
        if let Some((epoch, stream)) = self.handover.take(self.line.epoch(), too_late) {
            // The older one is closed at once.
            (self.stream, self.cut) = (Some(stream), None);
            self.line.begin(epoch);
        }
    }

    /// Nobody hears the server any more, and nobody will.
    fn is_unheard(&self) -> bool {
        self.stream.is_none() && (self.ends.is_given_up || self.ends.is_leaving)
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
                (self.ends.is_leaving, self.ends.is_given_up) = (true, true);
                self.happened(Event::OwnerGone);
            }
            Some(Signal { number: sys::SIGTERM, .. }) => {
                self.ends.is_leaving = true;
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
            _ if self.ends.is_leaving => {}
            Phase::Stopping(_) => child.signal(sys::SIGTERM),
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
        if self.given_up_at().is_some_and(|until| until <= now) {
            self.ends.is_given_up = true;
            self.happened(Event::OwnerGone);
        }
        if self.phase.deadline().is_some_and(|until| until <= now) {
            self.happened(Event::TimeUp);
        }
        if self.ends.is_leaving && self.is_ended() {
            self.ends.last_words.get_or_insert(now + LAST_WORDS);
        }
    }

    /// Nobody will have come until then for as long as the server may be without a stream.
    fn given_up_at(&self) -> Option<Instant> {
        self.cut.map(|since| since + self.reconnect).filter(|_| !self.ends.is_given_up)
    }

    fn deadline(&self) -> Option<Instant> {
        [self.phase.deadline(), self.given_up_at(), self.ends.last_words].into_iter().flatten().min()
    }

    /// The server has ended, or was never started.
    fn is_ended(&self) -> bool {
        self.child.as_ref().is_none_or(|child| child.ending().is_some())
    }

    fn is_over(&self) -> bool {
        // Before the start nothing was said, and all of it is passed on.
        let is_heard = self.is_told && self.line.is_all_passed_on();
        let is_written = self.ends.is_leaving
            && self.is_told
            && self.line.is_all_framed()
            && !self.stream.as_ref().is_some_and(Stream::is_full);
        let is_late = self.ends.last_words.is_some_and(|until| until <= Instant::now());
        is_heard || is_written || is_late || (self.is_unheard() && self.is_ended())
    }
}

fn broken() -> Failure {
    Failure::new(Failure::SOFTWARE, "keeper: berth and its helper do not understand each other")
}
