//! A server's bytes over exec streams that may be cut: one link for the server's life, one stream of it after another.
//!
//! Both sides number their bytes (`dock::numbered`), and keep what the other one has not passed on. So a cut loses nothing,
//! and says nothing twice. Neither direction waits for the other: there is always room for what a stream may bring.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, Stream, StreamExt};
use mcp_berth::dock::numbered::{FIRST, Numbered};
use mcp_berth::dock::records::{self, Ending, Record};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Instant;

/// Between two tries to open a stream.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What the session has for its server.
#[derive(Debug)]
pub(crate) enum ToServer {
    Input(Bytes),
    InputEnd,
    Terminate,
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
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// Another try may have one.
    Passing(String),
    /// Nobody is there any more to go on with.
    Gone(String),
}

/// Opens streams to the server's helper.
pub(crate) trait Streams: Send {
    type To: Sink<Bytes, Error = io::Error> + Send + Unpin;
    type From: Stream<Item = io::Result<Bytes>> + Send + Unpin;

    /// The stream of this epoch. [`FIRST`] starts the helper, and every later one is handed to it.
    fn open(&mut self, epoch: u64) -> impl Future<Output = Result<(Self::To, Self::From), NotOpened>> + Send;
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Over {
    /// The server's end was told.
    Told,
    /// Nobody listens any more.
    Left,
    /// There was no stream for too long, or nobody to go on with.
    Lost(String),
}

/// A sink whose item waits here until it is taken: whoever asks may stop asking at any moment.
struct Outgoing<T> {
    to: T,
    item: Option<Bytes>,
    is_flushed: bool,
}

impl<T: Sink<Bytes, Error = io::Error> + Unpin> Outgoing<T> {
    fn new(to: T) -> Self {
        Self { to, item: None, is_flushed: true }
    }

    fn is_idle(&self) -> bool {
        self.item.is_none() && self.is_flushed
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.item.is_some() {
            ready!(Pin::new(&mut self.to).poll_ready(context))?;
            if let Some(item) = self.item.take() {
                self.is_flushed = false;
                Pin::new(&mut self.to).start_send(item)?;
            }
        }
        ready!(Pin::new(&mut self.to).poll_flush(context))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    /// Resolves when the item is on its way. Cancel safe.
    async fn sent(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll(context)).await
    }
}

/// The link's account, which outlives its streams.
struct Line {
    numbered: Numbered,
    /// A record that there was no room for yet.
    waiting: VecDeque<u8>,
    is_told: bool,
}

impl Line {
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
    }

    fn take(&mut self, said: &ToServer) {
        let mut bytes = Vec::new();
        let record = match said {
            ToServer::Input(bytes) => Record::Input(bytes),
            ToServer::InputEnd => Record::InputEnd,
            ToServer::Terminate => Record::Terminate,
        };
        // Whoever gives input gives no more than a record holds.
        if records::encode(&mut bytes, &record).is_ok() {
            self.waiting.extend(bytes);
        }
        self.say();
    }

    /// The next thing the server has said, and how many bytes it took.
    fn next(&self) -> io::Result<Option<(usize, Said)>> {
        let broken = |_| io::Error::new(io::ErrorKind::InvalidData, "the keeper does not keep to its words");
        let Some((length, record)) = records::decode(self.numbered.heard()).map_err(broken)? else {
            return Ok(None);
        };
        let said = match record {
            Record::Output(bytes) => Said::Output(Bytes::copy_from_slice(bytes)),
            Record::Errors(bytes) => Said::Errors(Bytes::copy_from_slice(bytes)),
            Record::Ended(ending) => Said::Ended(ending),
            Record::NotStarted { code, why } => {
                Said::NotStarted { code, why: String::from_utf8_lossy(why).into_owned() }
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "the keeper says what berth says")),
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
}

/// Carries the bytes until the server's end is told. `start` is the first record; `reconnect` as it is said there.
pub(crate) async fn run<S: Streams>(
    mut streams: S,
    start: &[u8],
    mut input: Receiver<ToServer>,
    output: Sender<Said>,
    (start_within, reconnect): (Duration, Duration),
) -> Over {
    let mut line =
        Line { numbered: Numbered::new(), waiting: start.iter().copied().collect(), is_told: false };
    line.say();
    let mut until = Instant::now() + start_within;
    for epoch in FIRST.. {
        let (to, from) = match open(&mut streams, epoch, until).await {
            Ok(stream) => stream,
            Err(why) => return Over::Lost(why),
        };
        line.numbered.begin(epoch);
        match carry(&mut line, Outgoing::new(to), from, &mut input, &output).await {
            Ok(over) => return over,
            Err(error) => {
                tracing::debug!("the stream to the server was cut: {error}");
                if line.is_told {
                    return Over::Told;
                }
                until = Instant::now() + reconnect;
            }
        }
    }
    Over::Lost("there were too many cuts".to_owned())
}

async fn open<S: Streams>(streams: &mut S, epoch: u64, until: Instant) -> Result<(S::To, S::From), String> {
    let mut pause = FIRST_PAUSE;
    loop {
        let why = match streams.open(epoch).await {
            Ok(stream) => return Ok(stream),
            Err(NotOpened::Gone(why)) => return Err(why),
            Err(NotOpened::Passing(why)) => why,
        };
        if Instant::now() + pause > until {
            return Err(why);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One stream, to its cut or to the end.
async fn carry<T, F>(
    line: &mut Line,
    mut to: Outgoing<T>,
    mut from: F,
    input: &mut Receiver<ToServer>,
    output: &Sender<Said>,
) -> io::Result<Over>
where
    T: Sink<Bytes, Error = io::Error> + Unpin,
    F: Stream<Item = io::Result<Bytes>> + Unpin,
{
    // What is taken apart, and waits for room.
    let mut said = None;
    loop {
        if to.is_idle() {
            let mut frames = Vec::new();
            line.numbered.frames(&mut frames);
            to.item = (!frames.is_empty()).then(|| frames.into());
            if to.item.is_none() && line.is_told {
                return Ok(Over::Told);
            }
        }
        if said.is_none() {
            said = line.next()?;
        }
        tokio::select! {
            sent = to.sent(), if !to.is_idle() => sent?,
            heard = from.next() => {
                let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
                let bytes = heard.ok_or_else(ended)??;
                let broken = |_| io::Error::from(io::ErrorKind::InvalidData);
                line.numbered.hear(&bytes).map_err(broken)?;
                line.say();
            }
            room = output.reserve(), if said.is_some() => {
                let Ok(room) = room else { return Ok(Over::Left) };
                if let Some((length, said)) = said.take() {
                    line.pass_on(length, &said);
                    room.send(said);
                }
            }
            given = input.recv(), if line.waiting.is_empty() && !input.is_closed() => {
                if let Some(given) = given {
                    line.take(&given);
                }
            }
        }
    }
}
