//! One client, its server, and the loop between them.
//!
//! The loop owns the client's input (our standard output, `downstream`) and is the only one that writes to it; what it
//! writes, `judge` decides. The other direction runs in a task of its own ([`relay::ClientToServer`]); neither waits for
//! the other.

mod asked;
mod burst;
mod downstream;
mod failures;
mod handshake;
mod housekeeping;
pub mod identity;
pub mod inflight;
mod judge;
mod recovery;
pub mod relay;
pub mod rewrite;
mod serving;
pub mod start;
mod stderr_tail;
pub mod stdio;
mod upstream;

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::dock::exec::Chunk;
use crate::failure::Failure;
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::Trace;
use crate::rpc::{Frame, FrameCodec, Kind, Look, look};
use crate::values::OnFailure;
use asked::Asked;
use downstream::{Downstream, Turn};
use handshake::Script;
use inflight::InFlight;
use recovery::{Recovery, Tries};
use relay::{BURST, ClientToServer, Loss, Phase, Shared, lock};
use rewrite::Rules;
use serving::{Ending, Served};
use stderr_tail::StderrTail;
use stdio::Hangup;
pub use upstream::DockUpstream;

/// Answers of our own that wait for the client to read; the pump that makes them waits when it is full.
const REPLIES: usize = 64;

/// A new server takes in what is repeated to it within this time, or it doesn't read.
const REPEATED_WITHIN: Duration = Duration::from_secs(5);

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
    /// The client has said what it calls its session.
    fn introduce(&mut self, client_session: &str) -> impl Future<Output = ()> + Send;
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
    /// Somebody has ended the session from outside (`berth kill`).
    Ended,
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
    pub on_failure: OnFailure,
    /// How long a lost server's replacement is tried for.
    pub recover_within: Duration,
    /// From the first request to the server's first answer to anything.
    pub answer_timeout: Duration,
    /// From a request to its answer.
    pub call_timeout: Option<Duration>,
    /// What is changed in messages; by default nothing.
    pub rules: Rules,
}

impl Options {
    /// Takes over what a server's settings say of its sessions.
    pub fn apply(&mut self, settings: &Settings) {
        self.max_line = settings.max_line;
        self.stop_grace = settings.stop_grace;
        self.on_failure = settings.on_failure;
        self.recover_within = settings.recover_within;
        self.answer_timeout = settings.answer_timeout;
        self.call_timeout = settings.call_timeout;
        self.rules = Rules::of(&self.server, settings);
    }
}

/// Runs a session to its end. `start` gives the server's side, again after each loss; it gets what the first message says
/// of the client.
///
/// # Errors
/// Why there was no server for the client. It has been told.
pub async fn run<R, W, U, S, F>(
    from_client: R,
    to_client: W,
    mut options: Options,
    mut start: S,
) -> Result<(), Failure>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
    U: Upstream,
    S: FnMut(oneshot::Receiver<Option<String>>) -> F,
    F: Future<Output = Result<U, Failure>>,
{
    let shared = Arc::new(Shared {
        rules: std::mem::take(&mut options.rules),
        in_flight: InFlight::default(),
        asked: Asked::default(),
        handshake: Mutex::default(),
        said: OnceLock::new(),
        client_session: watch::Sender::default(),
        trace: options.trace.clone(),
        client_left: AtomicBool::new(false),
        client_end: OnceLock::new(),
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
    let recovery = Recovery::new(options.on_failure, options.recover_within);
    let first = start(said);
    let (trace, known) = (options.trace.clone(), Arc::clone(&shared));
    let session =
        Session { client, shared, phase, to_server, recovery, repeating: None, unfit: None, options };
    let result = session.run(first, start).await;
    if let Some(journal) = trace.journal() {
        journal.end(&failures::end(&known, &result));
    }
    result
}

struct Session<W, I> {
    client: Downstream<W>,
    shared: Arc<Shared>,
    phase: mpsc::Sender<Phase<I>>,
    /// Our answers to what the server asks, through the pump that writes to it.
    to_server: mpsc::Sender<Bytes>,
    recovery: Recovery,
    /// The handshake that a new server is hearing.
    repeating: Option<Repeating<I>>,
    /// Why the present server can't take the place of the one before.
    unfit: Option<String>,
    options: Options,
}

/// A handshake under way; the pump gets the server's input when it is over.
struct Repeating<I> {
    input: I,
    script: Script,
}

impl<W, I> Session<W, I>
where
    W: AsyncWrite + Unpin,
    I: AsyncWrite + Unpin + Send + 'static,
{
    async fn run<U, F, S>(mut self, first: F, mut start: S) -> Result<(), Failure>
    where
        U: Upstream<Input = I>,
        S: FnMut(oneshot::Receiver<Option<String>>) -> F,
        F: Future<Output = Result<U, Failure>>,
    {
        let mut first = std::pin::pin!(first);
        let mut upstream = match self.client.serve_until(&mut first).await {
            Turn::Came(Ok(upstream)) => upstream,
            Turn::Came(Err(failure)) => return self.apologise(failure).await,
            // It left before there was a server; dropping `first` gives back what it has got so far.
            Turn::ClientEnded => return Ok(()),
        };
        let mut script = None;
        loop {
            let mut tail = StderrTail::new(self.options.stderr.clone());
            let served = self.serve(&mut upstream, script.take(), &mut tail).await;
            let exit = upstream.post_mortem().await;
            if self.client.end.is_none() && self.shared.client_left.load(Ordering::Acquire) {
                // The server ended because the client had left, and its pump is about to.
                let _: Turn<()> = self.client.serve_until(std::future::pending()).await;
            }
            tail.finish();
            self.shared.trace.note(None, "server ended", &format!("{exit:?}"), 0);
            let failure = self.options.failure(&served, &exit, &tail);
            if self.client.end.is_some() {
                return self.farewell(&served, &exit, &failure, upstream).await;
            }
            let tries = (exit != Exit::Ended).then(|| self.recovery.lost(served.has_spoken)).flatten();
            let Some(tries) = tries else {
                // The container goes at once, however long the client takes to ask again.
                return tokio::join!(self.apologise(failure), upstream.release()).0;
            };
            let heard = self.lost(failure.clone()).await;
            let said = self.shared.said.get().cloned().flatten();
            let replaced = replace(&mut start, tries, said, failure.clone());
            // The container that is lost goes at the same time.
            let all = async {
                let (replaced, (), heard) = tokio::join!(replaced, upstream.release(), heard);
                (replaced, heard)
            };
            (upstream, script) = match self.client.serve_until(all).await {
                Turn::Came((Ok(next), heard)) => (next, heard.ok().flatten()),
                Turn::Came((Err(failure), _)) => return self.apologise(failure).await,
                Turn::ClientEnded => {
                    self.answer_all(&failure).await;
                    return Ok(());
                }
            };
            self.options.stderr.line(format!("berth: another server `{}` is there", self.options.server));
        }
    }

    /// One server's time in the session, from its welcome to its end.
    async fn serve<U: Upstream<Input = I>>(
        &mut self,
        upstream: &mut U,
        script: Option<Script>,
        tail: &mut StderrTail,
    ) -> Served {
        if let Err(why) = self.welcome(upstream, script).await {
            upstream.terminate().await;
            return Served { has_spoken: false, end: Ending::Unfit(why) };
        }
        self.relay(upstream, tail).await
    }

    /// Has a server hear what the client has told the one before, if there was one; then it is the client's.
    async fn welcome<U: Upstream<Input = I>>(
        &mut self,
        upstream: &mut U,
        script: Option<Script>,
    ) -> Result<(), String> {
        let Some(mut input) = upstream.take_input() else { return Ok(()) };
        let Some(script) = script else {
            self.hand_over(input).await;
            return Ok(());
        };
        self.shared.in_flight.insert_ours(&script.id);
        repeat(&mut input, &script.initialize).await?;
        self.repeating = Some(Repeating { input, script });
        Ok(())
    }

    /// The server is the client's.
    async fn hand_over(&mut self, input: I) {
        self.shared.in_flight.restart();
        let _ = self.phase.send(Phase::Up(input)).await;
    }

    /// A new server has answered what was repeated to it.
    async fn answered(&mut self, answer: Result<Frame, String>) {
        let kind = match answer.as_ref().map(|frame| look(frame.message())) {
            Ok(Ok(Look::One(answer))) => answer.kind,
            _ => Kind::Other,
        };
        let Some(Repeating { mut input, script }) = self.repeating.take() else {
            // A level or a subscription: the session goes on without it.
            if kind != Kind::Response {
                tracing::warn!("the new server refuses what was repeated to it");
            }
            return;
        };
        let welcome = answer.and_then(|frame| lock(&self.shared.handshake).welcome(kind, frame.message()));
        let welcome = match welcome {
            Ok(welcome) => {
                script.ids.iter().for_each(|id| self.shared.in_flight.insert_ours(id));
                repeat(&mut input, &script.rest).await.map(|()| welcome)
            }
            Err(why) => Err(why),
        };
        let welcome = match welcome {
            Ok(welcome) => welcome,
            Err(why) => {
                self.unfit = Some(why);
                return;
            }
        };
        if let Some(difference) = welcome.difference {
            self.shared.trace.note(None, "other capabilities", &difference, 0);
            self.options.stderr.line(format!("berth: the new server is another one: {difference}"));
        }
        self.hand_over(input).await;
        self.client.write([&welcome.notifications, &[]]).await;
    }

    /// Has the pump answer what the lost server leaves unanswered, and takes back what it has asked the client. Gives what
    /// the next server has to hear.
    async fn lost(&mut self, failure: Failure) -> oneshot::Receiver<Option<Script>> {
        (self.repeating, self.unfit) = (None, None);
        let advice = failure.next.as_deref().unwrap_or("see `berth ps`");
        let next = format!("another one is on its way, so ask again; if that is no help, {advice}");
        let failure = Failure { next: Some(next), ..failure };
        self.options.stderr.line(failure.message());
        let (script, heard) = oneshot::channel();
        let _ = self.phase.send(Phase::Lost(Loss { failure: Arc::new(failure), script })).await;
        let cancelled = self.shared.asked.give_up();
        self.client.write([&cancelled, &[]]).await;
        heard
    }

    async fn answer_all(&mut self, failure: &Failure) {
        for pending in self.shared.in_flight.drain() {
            self.client.write([&pending.answer(failure), &[]]).await;
        }
    }

    /// The client has said goodbye. A server that then ends in order has answered what it wanted to.
    async fn farewell<U: Upstream<Input = I>>(
        &mut self,
        served: &Served,
        exit: &Exit,
        failure: &Failure,
        upstream: U,
    ) -> Result<(), Failure> {
        if served.end == Ending::Terminated || *exit != Exit::Code(0) {
            self.answer_all(failure).await;
        }
        upstream.release().await;
        Ok(())
    }

    /// Has the pump tell the client why there is no server, and serves its answers until it is done.
    async fn apologise(mut self, failure: Failure) -> Result<(), Failure> {
        let failure = Arc::new(failure);
        self.options.stderr.line(failure.message());
        let _ = self.phase.send(Phase::Down(Arc::clone(&failure))).await;
        let _: Turn<()> = self.client.serve_until(std::future::pending()).await;
        Err(Arc::unwrap_or_clone(failure))
    }
}

/// Tries to get another server until there is one, or no more try.
async fn replace<U, F, S>(
    start: &mut S,
    mut tries: Tries,
    said: Option<String>,
    lost: Failure,
) -> Result<U, Failure>
where
    S: FnMut(oneshot::Receiver<Option<String>>) -> F,
    F: Future<Output = Result<U, Failure>>,
{
    let mut why = lost;
    while tries.next().await {
        let (hello, heard) = oneshot::channel();
        let _ = hello.send(said.clone());
        match tokio::time::timeout_at(tries.until(), start(heard)).await {
            Ok(Ok(upstream)) => return Ok(upstream),
            Ok(Err(failure)) => {
                tracing::info!("no other server yet: {failure}");
                why = failure;
            }
            // The reason before it says more than the time.
            Err(_) => break,
        }
    }
    Err(why)
}

/// Writes what a new server has to hear. After an error it may have got half a line, so nothing may follow.
async fn repeat<I: AsyncWrite + Unpin>(input: &mut I, lines: &[u8]) -> Result<(), String> {
    let write = async {
        input.write_all(lines).await?;
        input.flush().await
    };
    let written = tokio::time::timeout(REPEATED_WITHIN, write).await;
    let written = written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    written.map_err(|error| format!("it does not take in what is repeated to it: {error}"))
}

#[cfg(test)]
mod tests;
