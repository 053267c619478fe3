//! One client, its server, and the loop between them.
//!
//! The loop owns the client's input (our standard output, `downstream`) and is the only one that writes to it; what it
//! writes, `judge` decides. The other direction runs in a task of its own ([`relay::ClientToServer`]); neither waits for
//! the other.

mod burst;
mod downstream;
mod housekeeping;
pub mod identity;
pub mod inflight;
mod judge;
pub mod relay;
pub mod start;
mod stderr_tail;
pub mod stdio;
mod upstream;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use crate::dock::exec::Chunk;
use crate::failure::Failure;
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::Trace;
use crate::rpc::FrameCodec;
use burst::Burst;
use downstream::{Downstream, Turn, at};
use inflight::InFlight;
use judge::{Verdict, judge};
use relay::{BURST, ClientToServer, Phase, Shared};
use stderr_tail::StderrTail;
use stdio::Hangup;
pub use upstream::DockUpstream;

/// Answers of our own that wait for the client to read; the pump that makes them waits when it is full.
const REPLIES: usize = 64;

/// After the last means has been used, this long until we leave.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);

/// What a session needs of the server's side; `dock` for real, pipes in tests.
pub trait Upstream: Send {
    type Input: AsyncWrite + Unpin + Send + 'static;

    /// The server's standard input, once.
    fn take_input(&mut self) -> Option<Self::Input>;
    /// The next piece of output; `None` when it has ended or nothing more can come. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<io::Result<Chunk>>> + Send;
    /// Asks the server to end now.
    fn terminate(&mut self) -> impl Future<Output = ()> + Send;
    /// Why the output has ended.
    fn post_mortem(&mut self) -> impl Future<Output = Exit> + Send;
    /// Lets go; resolves when nothing is left of it, or after a moment.
    fn release(self) -> impl Future<Output = ()> + Send;
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Code(i64),
    /// It was killed for using more memory than its limit, in bytes.
    OutOfMemory(u64),
    /// The container or the daemon is gone, and the server with it.
    Lost,
}

/// What a session is told at its beginning.
#[derive(Debug)]
pub struct Options {
    /// The server's name, for messages.
    pub server: String,
    /// Longest line of either direction, in bytes.
    pub max_line: usize,
    /// From the end of the client's input to `SIGKILL`.
    pub stop_grace: Duration,
    /// Whether a person sits at the terminal.
    pub interactive: bool,
    pub trace: Trace,
    pub stderr: StderrSink,
    pub redactor: Redactor,
    /// Tells that nobody reads our standard output any more.
    pub hangup: Hangup,
    /// Cancelled by a signal.
    pub stop: CancellationToken,
}

/// Runs a session to its end. `start` gives the server's side; it gets what the first message says of the client.
///
/// # Errors
/// Why there was no server for the client. It has been told.
pub async fn run<R, W, U, S, F>(
    from_client: R,
    to_client: W,
    options: Options,
    start: S,
) -> Result<(), Failure>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
    U: Upstream,
    S: FnOnce(oneshot::Receiver<Option<String>>) -> F,
    F: Future<Output = Result<U, Failure>>,
{
    let shared = Arc::new(Shared {
        in_flight: InFlight::default(),
        trace: options.trace.clone(),
        client_left: AtomicBool::new(false),
    });
    let (hello, said) = oneshot::channel();
    let (phase, phases) = mpsc::channel(2);
    let (reply, replies) = mpsc::channel(REPLIES);
    let (to_server, for_server) = mpsc::channel(REPLIES);
    let pump = ClientToServer {
        frames: FramedRead::with_capacity(from_client, FrameCodec::new(options.max_line), BURST),
        phases,
        replies: reply,
        for_server,
        hangup: options.hangup.clone(),
        hello: Some(hello),
        shared: Arc::clone(&shared),
        stop: options.stop.clone(),
        interactive: options.interactive,
        burst: BytesMut::new(),
    };
    let client = Downstream {
        out: Some(to_client),
        replies,
        pump: tokio::spawn(pump.run()),
        end: None,
        end_is_told: false,
        deadline: None,
        patience: options.stop_grace + GIVE_UP_AFTER,
        stop: options.stop.clone(),
    };
    Session { client, shared, phase, to_server, options }.run(start(said)).await
}

struct Session<W, I> {
    client: Downstream<W>,
    shared: Arc<Shared>,
    phase: mpsc::Sender<Phase<I>>,
    /// Our answers to what the server asks, through the pump that writes to it.
    to_server: mpsc::Sender<Bytes>,
    options: Options,
}

/// What the relay waits for besides the client.
enum Event {
    Output(Option<io::Result<Chunk>>),
    Terminate,
    GiveUp,
}

impl<W, I> Session<W, I>
where
    W: AsyncWrite + Unpin,
    I: AsyncWrite + Unpin + Send + 'static,
{
    async fn run<U, F>(mut self, start: F) -> Result<(), Failure>
    where
        U: Upstream<Input = I>,
        F: Future<Output = Result<U, Failure>>,
    {
        let mut start = std::pin::pin!(start);
        let mut upstream = match self.client.serve_until(&mut start).await {
            Turn::Came(Ok(upstream)) => upstream,
            Turn::Came(Err(failure)) => return self.apologise(failure).await,
            // It left before there was a server; dropping `start` gives back what it has got so far.
            Turn::ClientEnded => return Ok(()),
        };
        if let Some(input) = upstream.take_input() {
            let _ = self.phase.send(Phase::Up(input)).await;
        }
        let mut tail = StderrTail::new(self.options.stderr.clone());
        let terminated = self.relay(&mut upstream, &mut tail).await;
        let exit = upstream.post_mortem().await;
        if self.client.end.is_none() && self.shared.client_left.load(Ordering::Acquire) {
            // The server ended because the client had left, and its pump is about to.
            let _: Turn<()> = self.client.serve_until(std::future::pending()).await;
        }
        tail.finish();
        self.shared.trace.note(None, "server ended", &format!("{exit:?}"), 0);
        let failure = if terminated { self.ended_late() } else { self.failure(&exit, &tail) };
        if self.client.end.is_none() {
            // The container goes at once, however long the client takes to ask again.
            return tokio::join!(self.apologise(failure), upstream.release()).0;
        }
        // The client has said goodbye. A server that then ends in order has answered what it wanted to.
        if terminated || exit != Exit::Code(0) {
            for pending in self.shared.in_flight.drain() {
                self.client.write([&failure.answer(Some(&pending.id)), &[]]).await;
            }
        }
        upstream.release().await;
        Ok(())
    }

    /// Moves the server's output to the client until it ends; true if the server had to be told to end.
    async fn relay<U: Upstream<Input = I>>(&mut self, upstream: &mut U, tail: &mut StderrTail) -> bool {
        let mut codec = FrameCodec::new(self.options.max_line);
        let mut burst = Burst::default();
        let (mut terminate_at, mut terminated) = (None, false);
        loop {
            let deadline = self.client.deadline;
            // One event, so that what the client is being written is never cut off by a timer.
            let event = async {
                tokio::select! {
                    chunk = upstream.next() => Event::Output(chunk),
                    () = at(terminate_at) => Event::Terminate,
                    () = at(deadline) => Event::GiveUp,
                }
            };
            let chunk = match self.client.serve_until(event).await {
                Turn::Came(Event::Output(chunk)) => chunk,
                Turn::Came(Event::Terminate) => {
                    (terminate_at, terminated) = (None, true);
                    upstream.terminate().await;
                    continue;
                }
                Turn::Came(Event::GiveUp) => return terminated,
                Turn::ClientEnded => {
                    // Its input is closed: a well-behaved server ends by itself within half of the grace.
                    terminate_at = Some(Instant::now() + self.options.stop_grace / 2);
                    continue;
                }
            };
            match chunk {
                Some(Ok(Chunk::Stdout(mut piece))) => {
                    // What has come in one piece leaves in one.
                    burst.begin(&piece);
                    while let Some(item) = codec.next(&mut piece) {
                        self.pass(judge(item, &self.shared), &mut burst, tail).await;
                    }
                    self.client.write(burst.parts()).await;
                    burst.end();
                }
                Some(Ok(Chunk::Stderr(bytes))) => tail.push(&bytes),
                Some(Err(error)) => {
                    tracing::debug!("the server's stream broke: {error}");
                    break;
                }
                None => break,
            }
        }
        if let Some(item) = codec.last() {
            self.pass(judge(item, &self.shared), &mut burst, tail).await;
            self.client.write(burst.parts()).await;
        }
        terminated
    }

    /// Carries a verdict out; what is to be written is gathered in `burst`, unless it is long enough by itself.
    async fn pass(&mut self, verdict: Verdict, burst: &mut Burst, tail: &mut StderrTail) {
        match verdict {
            Verdict::Forward(line) | Verdict::Replace(line) if line.len() < BURST => {
                burst.add(&line);
                if burst.len() >= BURST {
                    self.client.write(burst.parts()).await;
                    burst.clear();
                }
            }
            Verdict::Forward(line) | Verdict::Replace(line) => {
                self.client.write(burst.parts()).await;
                burst.clear();
                self.client.write([&line, &[]]).await;
            }
            Verdict::Stray(frame) => tail.push(frame.wire()),
            Verdict::Refuse(line) => {
                // Never waits: a server that doesn't read must not hold up what it says.
                if self.to_server.try_send(line).is_err() {
                    tracing::warn!("the server does not read; an answer to it was dropped");
                }
            }
            Verdict::Drop => {}
        }
    }

    /// Has the pump tell the client why there is no server, and serves its answers until it is done.
    async fn apologise(mut self, failure: Failure) -> Result<(), Failure> {
        let failure = Arc::new(failure);
        self.options.stderr.line(failure.message());
        let _ = self.phase.send(Phase::Down(Arc::clone(&failure))).await;
        let _: Turn<()> = self.client.serve_until(std::future::pending()).await;
        self.client.serve_rest().await;
        Err(Arc::unwrap_or_clone(failure))
    }

    fn ended_late(&self) -> Failure {
        let (server, grace) = (&self.options.server, self.options.stop_grace);
        Failure {
            code: crate::rpc::Code::Unavailable,
            text: format!(
                "the client closed its side, and the server `{server}` had no answer within {:?}",
                grace / 2
            ),
            next: Some(
                "keep the connection open until the answer is there, or raise `stop_grace`".to_owned(),
            ),
        }
    }

    fn failure(&self, exit: &Exit, tail: &StderrTail) -> Failure {
        let server = &self.options.server;
        let said = tail.last_lines();
        // The client passes it on to its model.
        let said = self.options.redactor.text(&said);
        let said = if said.is_empty() { String::new() } else { format!("; its last words: {said}") };
        let text = match exit {
            Exit::Code(code) => format!("the server `{server}` exited with code {code}{said}"),
            Exit::OutOfMemory(limit) => format!(
                "the server `{server}` was killed because it used more than its memory limit of {} MiB{said}",
                limit >> 20
            ),
            Exit::Lost => format!("the container of the server `{server}` is gone{said}"),
        };
        let next = match exit {
            Exit::Code(_) => "look at what it runs with `berth run --dry-run`",
            Exit::OutOfMemory(_) => "raise `memory` in the configuration",
            Exit::Lost => "look at the DinD daemon with `berth status`",
        };
        Failure { code: crate::rpc::Code::Unavailable, text, next: Some(next.to_owned()) }
    }
}

#[cfg(test)]
mod tests;
