//! A server's lane in a session: the loop that serves it and its successors, and the state that both directions share.

pub mod asked;
pub mod burst;
pub(super) mod failures;
pub mod handshake;
pub mod inflight;
mod judge;
pub mod outcome;
pub(super) mod recovery;
pub mod shared;
mod stderr_tail;
mod to_client;
pub mod to_server;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::client::writer::{Turn, Writer};
use super::options::Options;
use super::upstream::{Exit, Upstream};
use crate::failure::Failure;
use crate::rpc::{Frame, Kind, Look, look};
use handshake::Script;
use outcome::{Ending, Loss, Phase, Served};
use recovery::{Recovery, Tries};
use shared::{Shared, lock};
use stderr_tail::StderrTail;

/// A new server takes in what is repeated to it within this time, or it doesn't read.
const REPEATED_WITHIN: Duration = Duration::from_secs(5);

/// One server of a session, and the loop that serves it; after a loss, its successors.
pub(super) struct Lane<W, I> {
    client: Writer<W>,
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

impl<W, I> Lane<W, I>
where
    W: AsyncWrite + Unpin,
    I: AsyncWrite + Unpin + Send + 'static,
{
    pub(super) fn new(
        client: Writer<W>,
        shared: Arc<Shared>,
        phase: mpsc::Sender<Phase<I>>,
        to_server: mpsc::Sender<Bytes>,
        options: Options,
    ) -> Self {
        let recovery = Recovery::new(options.settings.on_failure, options.settings.recover_within);
        Self { client, shared, phase, to_server, recovery, repeating: None, unfit: None, options }
    }

    pub(super) async fn run<U, F, S>(mut self, first: F, mut start: S) -> Result<(), Failure>
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
            let ended_itself = served.end != Ending::Itself || exit != Exit::Lost;
            let tries =
                (exit != Exit::Ended).then(|| self.recovery.lost(served.has_spoken, ended_itself)).flatten();
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
            self.options.stderr.line(format!("berth: a new server `{}` has started", self.options.server));
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
                tracing::warn!("the new server refuses a request that berth repeated to it");
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
            self.options.stderr.line(format!("berth: the new server has other capabilities: {difference}"));
        }
        self.hand_over(input).await;
        self.client.write([&welcome.notifications, &[]]).await;
    }

    /// Has the pump answer what the lost server leaves unanswered, and takes back what it has asked the client. Gives what
    /// the next server has to hear.
    async fn lost(&mut self, failure: Failure) -> oneshot::Receiver<Option<Script>> {
        (self.repeating, self.unfit) = (None, None);
        let advice = failure.next.as_deref().unwrap_or("see `berth ps`");
        let next = format!("a new server is starting, so try again; if that does not help, {advice}");
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
                tracing::info!("cannot start a new server yet: {failure}");
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
    written.map_err(|error| format!("it does not read the messages that berth repeats to it: {error}"))
}
