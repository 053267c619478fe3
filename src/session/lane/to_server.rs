//! The client->server pump: frames from the client go to the server, byte for byte.
//!
//! It alone adds to the in-flight table. So when the server is gone, it alone knows which requests had no answer. It
//! never writes to the client: its answers go through the bounded `replies` to the session's loop.

mod admission;
mod apology;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use super::burst::BURST;
use super::close;
use super::inflight::Asker;
use super::outcome::{Last, Loss, Phase};
use super::shared::{Shared, lock};
use crate::failure::Failure;
use crate::observe::Handing;
use crate::observe::event::Direction;
use crate::rpc::{Frame, FrameCodec, FrameError};
use crate::session::client::ClientEnd;
use crate::session::client::stdio::Hangup;

/// A server that takes no input any more is seen to end by then, or it goes on without: its end is looked into for some
/// seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What a client says without asking waits for its next request, up to so many bytes.
const MOST_HELD: usize = 64 << 10;

/// The pump, before it runs.
#[derive(Debug)]
pub struct ClientToServer<R, I> {
    pub frames: FramedRead<R, FrameCodec>,
    pub phases: mpsc::Receiver<Phase<I>>,
    pub replies: mpsc::Sender<Bytes>,
    /// Our own answers to the server's requests.
    pub for_server: mpsc::Receiver<Bytes>,
    /// A client that dies while the server doesn't read shows here alone: the end of its output stands behind what is
    /// still unread of it.
    pub hangup: Hangup,
    /// Gets what the first message says of the client.
    pub hello: Option<oneshot::Sender<Option<String>>>,
    pub shared: Arc<Shared>,
    pub stop: CancellationToken,
    /// A person who typed the command sees the error on the terminal; no request is waited for.
    pub interactive: bool,
    /// What the next server gets first: the `initialize` that a lost one has left unanswered, or what asks for no answer.
    pub beginning: Option<Bytes>,
    /// Hears of the next request: only that starts another server.
    pub wanted: Option<oneshot::Sender<()>>,
    /// There is a request among the lines that are gathered.
    pub asks: bool,
    /// The requests among them, for their lines of the history.
    pub handing: Handing,
    /// Lines that go to the server in one write; used again and again.
    pub burst: BytesMut,
}

impl<R, I> ClientToServer<R, I>
where
    R: AsyncRead + Unpin,
    I: AsyncWrite + Unpin,
{
    /// Runs until the client or the server is gone, or `stop`; closes the server's input.
    pub async fn run(self) -> ClientEnd {
        let shared = Arc::clone(&self.shared);
        let end = self.pump().await;
        shared.trace.note(Some(Direction::ClientToServer), "client ended", end.as_str(), 0);
        *shared.client_end.get_or_init(|| end)
    }

    async fn pump(mut self) -> ClientEnd {
        let mut server = None;
        let end = loop {
            let has_room = self.shared.in_flight.has_room();
            let item = tokio::select! {
                biased;
                () = self.stop.cancelled() => break ClientEnd::Stopped,
                Some(phase) = self.phases.recv() => match phase {
                    Phase::Up(input) => {
                        server = Some(input);
                        // First what the one before it has left unanswered.
                        match self.beginning.take() {
                            Some(line) => Incoming::Ours(line),
                            None => continue,
                        }
                    }
                    Phase::Lost(loss) => { self.lost(loss).await; server = None; continue }
                    Phase::Down(failure, last) => return self.apologise(&failure, last).await,
                },
                Some(answer) = self.for_server.recv() => Incoming::Ours(answer),
                item = self.frames.next(), if has_room => Incoming::Client(item),
                // Until then the client's writes wait in the pipe.
                () = self.shared.in_flight.room(), if !has_room => continue,
                () = self.hangup.wait(), if !has_room => break ClientEnd::Stopped,
            };
            let line = match item {
                Incoming::Ours(answer) => answer,
                Incoming::Client(item) => match self.line(item).await {
                    Line::Forward(line) => line,
                    Line::Handled => continue,
                    Line::End => break ClientEnd::Closed,
                },
            };
            let ended = self.gather(&line).await;
            let burst = std::mem::take(&mut self.burst);
            let lines = if burst.is_empty() { &line[..] } else { &burst[..] };
            let asks = std::mem::take(&mut self.asks);
            let delivered =
                if self.is_unwanted(asks, lines) { Ok(()) } else { self.deliver(&mut server, lines).await };
            self.burst = burst;
            self.burst.clear();
            match delivered {
                Ok(()) if ended => break ClientEnd::Closed,
                Ok(()) => {}
                Err(Undelivered::Stopped) => break ClientEnd::Stopped,
                Err(Undelivered::Down(failure, last)) => return self.apologise(&failure, last).await,
            }
        };
        self.shared.client_left.store(true, Ordering::Release);
        if let Some(mut input) = server {
            close(&mut input).await;
        }
        end
    }

    /// Puts a line and what is there already into `burst`, so that it is one write; a line that comes alone is not copied,
    /// and `burst` stays empty. Tells whether the client's output ended behind it.
    async fn gather(&mut self, first: &Bytes) -> bool {
        while first.len().max(self.burst.len()) < BURST
            && self.shared.in_flight.has_room()
            && let Some(item) = self.frames.next().now_or_never()
        {
            match self.line(item).await {
                Line::Forward(line) => {
                    if self.burst.is_empty() {
                        self.burst.extend_from_slice(first);
                    }
                    self.burst.extend_from_slice(&line);
                }
                Line::Handled => {}
                Line::End => return true,
            }
        }
        false
    }

    /// Whether lines wait for a server that nobody needs yet, for there is no request among them. A server that does not
    /// come never gets them, and nobody waits for an answer.
    fn is_unwanted(&mut self, asks: bool, lines: &[u8]) -> bool {
        let Some(wanted) = self.wanted.take() else { return false };
        let held = self.beginning.as_deref().unwrap_or_default();
        if asks || held.len() + lines.len() > MOST_HELD {
            let _ = wanted.send(());
            return false;
        }
        self.beginning = Some([held, lines].concat().into());
        self.wanted = Some(wanted);
        true
    }

    /// What an item from the client comes to; answers what may not pass.
    async fn line(&mut self, item: Option<Item>) -> Line {
        match item {
            None => Line::End,
            Some(Ok(Ok(frame))) => self.admit(&frame).await,
            Some(Ok(Err(error))) => self.refuse_frame(&error).await,
            Some(Err(error)) => {
                tracing::warn!("cannot read from the client: {error}");
                Line::End
            }
        }
    }

    /// Writes to the server, once there is one. What a server was lost with is not written again: it may have been read
    /// in part, and its requests have been answered with the reason.
    async fn deliver(&mut self, server: &mut Option<I>, line: &[u8]) -> Result<(), Undelivered> {
        if server.is_none() {
            self.handing.forget();
            let changed = tokio::select! {
                changed = next_phase(&mut self.phases, &self.stop) => changed?,
                // What a client asked that is gone is nobody's any more.
                () = self.hangup.wait() => return Err(Undelivered::Stopped),
            };
            match changed {
                Changed::Up(input) => *server = Some(input),
                Changed::Lost(loss) => {
                    self.lost(loss).await;
                    return Ok(());
                }
            }
        }
        let begun;
        let line = match self.beginning.take() {
            Some(first) => {
                begun = [&first[..], line].concat();
                &begun[..]
            }
            None => line,
        };
        self.handing.done();
        let changed = tokio::select! {
            biased;
            written = write(server, line) => match written {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // The session's loop sees the same end from the other side, and knows why; but for a server that goes on.
                    tracing::debug!("cannot write to the server: {error}");
                    let deaf = async {
                        tokio::time::sleep(ENDS_WITHIN).await;
                        self.shared.is_deaf.notify_one();
                        std::future::pending().await
                    };
                    tokio::select! {
                        changed = next_phase(&mut self.phases, &self.stop) => changed?,
                        () = self.hangup.wait() => return Err(Undelivered::Stopped),
                        never = deaf => never,
                    }
                }
            },
            () = self.hangup.wait() => return Err(Undelivered::Stopped),
            changed = next_phase(&mut self.phases, &self.stop) => changed?,
        };
        match changed {
            Changed::Up(input) => *server = Some(input),
            Changed::Lost(loss) => {
                self.lost(loss).await;
                *server = None;
            }
        }
        Ok(())
    }

    /// Answers what a server that is gone leaves unanswered. A client that was just beginning hears nothing of it: the next
    /// server is asked.
    async fn lost(&mut self, loss: Loss) {
        let _ = loss.script.send(lock(&self.shared.handshake).script());
        self.wanted = loss.wanted;
        self.shared.in_flight.forget();
        // An answer of ours to what it asked is nobody's any more.
        while self.for_server.try_recv().is_ok() {}
        self.beginning = None;
        for pending in self.shared.in_flight.drain() {
            let begun = (pending.asker == Asker::Beginner)
                .then(|| lock(&self.shared.handshake).unanswered(&pending.id))
                .flatten();
            if begun.is_some() && self.beginning.is_none() {
                self.beginning = begun;
                self.shared.in_flight.wait_on(pending);
                // It was asked when the server was gone already.
                self.wanted.take().map(|wanted| wanted.send(()));
            } else {
                self.reply(pending.answer(&loss.failure)).await;
            }
        }
    }

    async fn reply(&mut self, line: Bytes) {
        let text = String::from_utf8_lossy(&line);
        self.shared.trace.note(
            Some(Direction::ServerToClient),
            "our answer",
            text.trim_end(),
            line.len() as u64,
        );
        // Fails only when the session's loop is over, and then nobody can be told.
        let _ = self.replies.send(line).await;
    }

    fn note(&self, what: &'static str, detail: &str, bytes: usize) {
        self.shared.trace.note(Some(Direction::ClientToServer), what, detail, bytes as u64);
    }
}

type Item = std::io::Result<Result<Frame, FrameError>>;

enum Incoming {
    Client(Option<Item>),
    Ours(Bytes),
}

/// What an item from the client comes to.
enum Line {
    Forward(Bytes),
    /// It was answered, or needs no answer.
    Handled,
    End,
}

enum Undelivered {
    Stopped,
    Down(Arc<Failure>, Last),
}

/// What has become of the server while the pump was waiting.
enum Changed<I> {
    Up(I),
    Lost(Loss),
}

async fn next_phase<I>(
    phases: &mut mpsc::Receiver<Phase<I>>,
    stop: &CancellationToken,
) -> Result<Changed<I>, Undelivered> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Undelivered::Stopped),
        phase = phases.recv() => match phase {
            Some(Phase::Up(input)) => Ok(Changed::Up(input)),
            Some(Phase::Lost(loss)) => Ok(Changed::Lost(loss)),
            Some(Phase::Down(failure, last)) => Err(Undelivered::Down(failure, last)),
            None => Err(Undelivered::Stopped),
        },
    }
}

async fn write<I: AsyncWrite + Unpin>(server: &mut Option<I>, bytes: &[u8]) -> std::io::Result<()> {
    let Some(input) = server else { return Ok(()) };
    input.write_all(bytes).await?;
    input.flush().await
}
