//! A server's bytes over exec streams that may be cut: one link for the server's life, one stream of it after another.
//!
//! Both sides number their bytes (`dock::numbered`), and keep what the other one has not passed on. So a cut loses nothing,
//! and says nothing twice. Neither direction waits for the other: there is always room for what a stream may bring.
//!
//! A cut that nobody tells of is a silence. Whoever hears nothing asks, and the helper answers at once, whatever its server
//! does. Nothing that comes is trusted: a server may become its own helper. It can say of itself what it says by its output
//! and its end, and nothing else is believed of it.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Sink, Stream, StreamExt};
use mcp_berth::dock::numbered::{FIRST, Numbered};
use mcp_berth::dock::records::{self, Ending, Record};
use mcp_berth::failure::Failure;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::outgoing::Outgoing;
use super::pause::Pause;

/// How often the stream's silence is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many looks without a byte, and the helper is asked: while it owes us something, and while it does not.
const ASKED_AFTER: u32 = 1;
const ASKED_IDLE_AFTER: u32 = 3;
/// So many more, and the stream is cut.
const ANSWERED_WITHIN: u32 = 3;
/// A batch of so many bytes has a question behind it: on a slow way its answers are the signs of life (bytes).
const BULK: usize = 32 << 10;
/// For so long the helper may take to go once all is told.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// A stream that lasted so long is a good one: the next is opened without delay.
const GOOD: Duration = Duration::from_secs(5);
/// A last try that gets no answer has no more time than this.
const LAST_TRY: Duration = Duration::from_millis(500);
/// The longest reason of the keeper's that is shown (characters).
const LONGEST_REASON: usize = 500;

/// What the session has for its server.
#[derive(Debug)]
pub(crate) enum ToServer {
    /// It is held whole until it has gone, beside a window.
    Input(Bytes),
    InputEnd,
}

/// What the server says, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Output(Bytes),
    Errors(Bytes),
    Ended(Ending),
    NotStarted { code: u8, why: String },
}

/// Why there is no stream.
#[derive(Debug, Clone)]
pub(crate) enum NotOpened {
    /// Another try may have one.
    Passing(String),
    /// Nobody is there any more to go on with.
    Gone(String),
    /// Nobody may have one.
    Denied(Failure),
}

/// Opens streams to the server's helper.
pub(crate) trait Streams: Send {
    type To: Sink<Bytes, Error = io::Error> + Send + Unpin;
    type From: Stream<Item = io::Result<Bytes>> + Send + Unpin;

    /// The stream of this epoch. [`FIRST`] starts a helper, and every later one is handed to it. Until a helper has said its
    /// hello nothing is said to it, and so another one may be started instead.
    fn open(&mut self, epoch: u64) -> impl Future<Output = Result<(Self::To, Self::From), NotOpened>> + Send;

    /// Resolves when it is known that no stream can come any more, for the server has ended.
    fn ended(&self) -> BoxFuture<'static, ()>;
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Over {
    /// The server's end was told.
    Told,
    /// Nobody listens any more.
    Left,
    /// There is nobody to go on with.
    Lost(String),
    /// There was no stream for too long.
    Away(String),
    /// A right lacks.
    Denied(Failure),
}

/// Why a stream is over before the server's end was told.
enum Cut {
    /// Another stream may go on.
    Passing(io::Error),
    /// What came on it makes no sense, and would not on another.
    Broken(&'static str),
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Passing(error)
    }
}

/// The link's account, which outlives its streams.
struct Line {
    numbered: Numbered,
    /// A record that there was no room for yet.
    waiting: VecDeque<u8>,
    is_told: bool,
    /// So many looks at the stream have found no byte since this time.
    silent: u32,
    heard: Instant,
}

impl Line {
    fn new(start: &[u8]) -> Self {
        let waiting = start.iter().copied().collect();
        let mut line =
            Self { numbered: Numbered::new(), waiting, is_told: false, silent: 0, heard: Instant::now() };
        line.say();
        line
    }

    /// Says what waits, as far as there is room.
    fn say(&mut self) {
        while !self.waiting.is_empty() {
            let (first, _) = self.waiting.as_slices();
            let said = self.numbered.say(first);
            if said == 0 {
                return;
            }
            self.waiting.drain(..said);
        }
        // A long one is no reason to hold its room for ever.
        self.waiting.shrink_to(records::LONGEST);
    }

    fn take(&mut self, said: &ToServer) {
        let mut bytes = Vec::new();
        let mut put = |record: &Record<'_>| {
            // Each is no longer than a record may be.
            let _ = records::encode(&mut bytes, record);
        };
        match said {
            ToServer::Input(input) => {
                input.chunks(records::LONGEST).for_each(|part| put(&Record::Input(part)));
            }
            ToServer::InputEnd => put(&Record::InputEnd),
        }
        self.waiting.extend(bytes);
        self.say();
    }

    /// The next thing the server has said, and how many bytes it took.
    fn next(&self) -> Result<Option<(usize, Said)>, Cut> {
        let broken = |_| Cut::Broken("it says what is no record");
        let Some((length, record)) = records::decode(self.numbered.heard()).map_err(broken)? else {
            return Ok(None);
        };
        let said = match record {
            Record::Output(bytes) => Said::Output(Bytes::copy_from_slice(bytes)),
            Record::Errors(bytes) => Said::Errors(Bytes::copy_from_slice(bytes)),
            Record::Ended(ending) => Said::Ended(ending),
            Record::NotStarted { code, why } => Said::NotStarted { code, why: readable(why) },
            _ => return Err(Cut::Broken("it says what berth says")),
        };
        Ok(Some((length, said)))
    }

    fn pass_on(&mut self, length: usize, said: &Said) {
        self.numbered.pass_on(length);
        if matches!(said, Said::Ended(_) | Said::NotStarted { .. }) {
            self.is_told = true;
            // The helper stays until it knows that its last word has come.
            self.numbered.tell_now();
        }
    }

    /// Not for as long as this process itself stood still.
    fn silence(&self) -> Duration {
        self.heard.elapsed().min(LOOK_EVERY * (self.silent + 1))
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Cut> {
        self.numbered.hear(bytes).map_err(|_| Cut::Broken("its frames make no sense"))?;
        self.say();
        Ok(())
    }

    /// What the stream is to have next.
    fn frames(&mut self) -> Option<Bytes> {
        let mut frames = Vec::new();
        self.numbered.frames(&mut frames);
        if frames.len() >= BULK {
            self.numbered.ask();
            self.numbered.frames(&mut frames);
        }
        (!frames.is_empty()).then(|| frames.into())
    }
}

/// One line for a person, whoever has written it.
fn readable(why: &[u8]) -> String {
    let text = String::from_utf8_lossy(why);
    text.chars().take(LONGEST_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Carries the bytes until the server's end is told. `start` is the first record; `start_within` is for the first stream,
/// and `reconnect`, as it is said in the record, for each later one. Of either direction no more than a window is kept, and
/// of the session's one item beside it.
pub(crate) async fn run<S: Streams>(
    mut streams: S,
    start: &[u8],
    mut input: Receiver<ToServer>,
    output: Sender<Said>,
    (start_within, reconnect): (Duration, Duration),
) -> Over {
    let mut line = Line::new(start);
    let mut until = Instant::now() + start_within;
    let mut pause = Pause::new();
    let mut epoch = FIRST;
    loop {
        let ended = streams.ended();
        let is_cut = epoch > FIRST;
        let opened = tokio::select! {
            opened = open(&mut streams, &mut epoch, until, &pause) => opened,
            () = ended, if is_cut => return Over::Lost("the server's container has ended".to_owned()),
            () = output.closed() => return Over::Left,
        };
        let (to, from) = match opened {
            Ok(stream) => stream,
            Err(NotOpened::Gone(why)) => return Over::Lost(why),
            Err(NotOpened::Denied(failure)) => return Over::Denied(failure),
            Err(NotOpened::Passing(why)) => {
                let time = if epoch == FIRST { start_within } else { reconnect };
                return Over::Away(format!("no stream to the server for {} s: {why}", time.as_secs_f32()));
            }
        };
        line.numbered.begin(epoch);
        let began = Instant::now();
        let cut = match carry(&mut line, Outgoing::new(to), from, &mut input, &output).await {
            Ok(over) => return over,
            Err(Cut::Broken(why)) => {
                return Over::Lost(format!("the keeper does not keep to its words: {why}"));
            }
            Err(Cut::Passing(_)) if line.is_told => return Over::Told,
            Err(Cut::Passing(error)) => error,
        };
        tracing::debug!("the stream {epoch} to the server was cut: {cut}");
        // Whoever was never met has heard nothing.
        if epoch > FIRST || line.numbered.is_met() {
            epoch += 1;
            // The keeper hears nobody since then, too.
            until = Instant::now() + reconnect.saturating_sub(line.silence());
        }
        if began.elapsed() >= GOOD {
            pause = Pause::new();
        } else {
            pause.wait().await;
        }
    }
}

/// Each try has an epoch of its own: one that was given up here may still come to the helper, and is an older one then.
async fn open<S: Streams>(
    streams: &mut S,
    epoch: &mut u64,
    until: Instant,
    pause: &Pause,
) -> Result<(S::To, S::From), NotOpened> {
    loop {
        let late = until.max(Instant::now()) + LAST_TRY;
        let unanswered = |_| Err(NotOpened::Passing("nobody answers".to_owned()));
        let opened = timeout_at(late, streams.open(*epoch)).await.unwrap_or_else(unanswered);
        let may_pass = match &opened {
            Err(NotOpened::Passing(_)) => true,
            // An API server that has just begun refuses what it has not read the rules of.
            Err(NotOpened::Denied(_)) => *epoch > FIRST,
            _ => false,
        };
        if !may_pass || Instant::now() >= until {
            return opened;
        }
        pause.wait_until(until).await;
        *epoch += u64::from(*epoch > FIRST);
    }
}

/// One stream, to its cut or to the end.
async fn carry<T, F>(
    line: &mut Line,
    mut to: Outgoing<T>,
    mut from: F,
    input: &mut Receiver<ToServer>,
    output: &Sender<Said>,
) -> Result<Over, Cut>
where
    T: Sink<Bytes, Error = io::Error> + Unpin,
    F: Stream<Item = io::Result<Bytes>> + Unpin,
{
    // What is taken apart, and waits for room.
    let mut said = None;
    let mut has_input = true;
    let mut asked = None;
    (line.silent, line.heard) = (0, Instant::now());
    let mut looks = interval(LOOK_EVERY);
    // A process that was stopped for a while has not listened, and nobody was silent.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.reset();
    loop {
        if to.is_idle() {
            match line.frames() {
                Some(frames) => to.put(frames),
                None if line.is_told => return Ok(told(from).await),
                None => {}
            }
        }
        if said.is_none() {
            said = line.next()?;
        }
        tokio::select! {
            sent = to.sent(), if !to.is_idle() => sent?,
            heard = from.next() => {
                (line.silent, line.heard, asked) = (0, Instant::now(), None);
                let bytes = heard.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))??;
                line.hear(&bytes)?;
            }
            room = output.reserve(), if said.is_some() => {
                let Ok(room) = room else { return Ok(Over::Left) };
                if let Some((length, said)) = said.take() {
                    line.pass_on(length, &said);
                    room.send(said);
                }
            }
            given = input.recv(), if has_input && line.waiting.is_empty() => match given {
                Some(given) => line.take(&given),
                None => has_input = false,
            },
            () = output.closed(), if said.is_none() => return Ok(Over::Left),
            _ = looks.tick() => {
                line.silent += 1;
                let owes = !line.numbered.is_all_passed_on() || !line.numbered.is_met();
                let asked_after = if owes { ASKED_AFTER } else { ASKED_IDLE_AFTER };
                if asked.is_none() && line.silent >= asked_after {
                    line.numbered.ask();
                    asked = Some(line.silent);
                }
                if asked.is_some_and(|since| line.silent > since + ANSWERED_WITHIN) {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answers").into());
                }
            }
        }
    }
}

/// The helper ends its exec once it knows that all has come. Nothing else that comes is of any account.
async fn told<F: Stream<Item = io::Result<Bytes>> + Unpin>(mut from: F) -> Over {
    let end = async { while let Some(Ok(_)) = from.next().await {} };
    let _ = timeout(GONE_WITHIN, end).await;
    Over::Told
}

#[cfg(test)]
mod tests;
