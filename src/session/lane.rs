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
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};

use super::client::ClientEnd;
use super::client::stdio::Hangup;
use super::client::writer::{Turn, Writer};
use super::options::Options;
use super::upstream::{Exit, Upstream};
use crate::failure::Failure;
use crate::rpc::{Frame, Kind, Look, look};
use handshake::Script;
use inflight::Pending;
use outcome::{Ending, Last, Loss, Over, Phase, Served};
use recovery::{Recovery, replace};
use shared::{Shared, lock};
use stderr_tail::StderrTail;

/// Closing a stream whose peer doesn't read waits for it; this long at most.
const CLOSE_WITHIN: Duration = Duration::from_millis(200);

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

    pub(super) async fn run<U, F, S>(mut self, first: F, mut start: S) -> Over
    where
        U: Upstream<Input = I>,
        S: FnMut(oneshot::Receiver<Option<String>>) -> F,
        F: Future<Output = Result<U, Failure>>,
    {
        let mut upstream = match self.begin(first).await {
            Some(Ok(upstream)) => upstream,
            Some(Err(failure)) => {
                let over = Over::Failed(failure.clone());
                return self.apologise(failure, Last::NeverCame, over).await;
            }
            None => return Over::Client,
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
                return self.farewell(&served, &exit, failure, upstream).await;
            }
            let next = self.next(&served, &exit);
            if next == Next::None {
                let over = over(&served, &exit, &failure);
                let last = if exit == Exit::Ended { Last::Ended } else { Last::Gone };
                // The container goes at once.
                return tokio::join!(self.apologise(failure, last, over), upstream.release()).0;
            }
            self.options.is_replaced.store(true, Ordering::Relaxed);
            let (heard, wanted) = self.lost(failure.clone(), next).await;
            let said = self.shared.said.get().cloned().flatten();
            let tries = self.recovery.tries();
            let replaced = async {
                if let Some(wanted) = wanted
                    && wanted.await.is_err()
                {
                    // The pump is gone, and so is the client.
                    return std::future::pending().await;
                }
                replace(&mut start, tries, said, failure.clone()).await
            };
            // The container that is lost goes at the same time.
            let all = async {
                let (replaced, (), heard) = tokio::join!(replaced, upstream.release(), heard);
                (replaced, heard)
            };
            (upstream, script) = match self.client.serve_until(all).await {
                Turn::Came((Ok(next), heard)) => (next, heard.ok().flatten()),
                Turn::Came((Err(failure), _)) => {
                    let over = Over::Failed(failure.clone());
                    return self.apologise(failure, Last::Gone, over).await;
                }
                Turn::ClientEnded => {
                    self.answer_all(&failure, Pending::answer).await;
                    return Over::Client;
                }
            };
            self.options.is_replaced.store(false, Ordering::Relaxed);
            self.options.stderr.line(format!("berth: a new server `{}` has started", self.options.server));
        }
    }

    /// The first server, or why there is none. `None`: nobody wants one any more.
    async fn begin<U, F>(&mut self, first: F) -> Option<Result<U, Failure>>
    where
        F: Future<Output = Result<U, Failure>>,
    {
        let mut first = std::pin::pin!(first);
        if let Turn::Came(came) = self.client.serve_until(&mut first).await {
            return Some(came);
        }
        // Dropping `first` gives back what it has got so far.
        if self.client.end != Some(ClientEnd::Closed) {
            return None;
        }
        // It has an empty input, as a server has that is started with one.
        let came = tokio::select! {
            came = first => came,
            () = self.options.stop.cancelled() => return None,
            () = self.options.hangup.wait() => return None,
        };
        self.client.ends_anew();
        Some(came)
    }

    /// What follows a server that is gone.
    fn next(&mut self, served: &Served, exit: &Exit) -> Next {
        let ended_itself = served.end != Ending::Itself || !exit.is_lost();
        if *exit == Exit::Ended {
            return Next::None;
        }
        if served.end == Ending::Itself && *exit == Exit::Code(0) && self.shared.in_flight.is_idle() {
            // It had done what it was asked, and may do so again and again.
            let may_go_on = self.recovery.may_go_on(served.has_spoken, ended_itself);
            return if may_go_on { Next::WhenWanted } else { Next::None };
        }
        if self.recovery.lost(served.has_spoken, ended_itself) { Next::AtOnce } else { Next::None }
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
        if let Err(SendError(Phase::Up(mut input))) = self.phase.send(Phase::Up(input)).await {
            // The client has left before: the server sees the end of its input. Not every stream ends by being dropped.
            close(&mut input).await;
        }
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
    /// the next server has to hear, and where that is not to start at once, when it is.
    async fn lost(&mut self, failure: Failure, next: Next) -> (Heard, Option<oneshot::Receiver<()>>) {
        (self.repeating, self.unfit) = (None, None);
        let (want, wanted) = oneshot::channel();
        let (want, wanted, next) = if next == Next::WhenWanted {
            (Some(want), Some(wanted), "the next request starts it again".to_owned())
        } else {
            let advice = failure.next.as_deref().unwrap_or("see `berth ps`");
            (None, None, format!("a new server is starting, so try again; if that does not help, {advice}"))
        };
        let failure = Failure { next: Some(next), ..failure };
        self.options.stderr.line(failure.message());
        let (script, heard) = oneshot::channel();
        let loss = Loss { failure: Arc::new(failure), script, wanted: want };
        let _ = self.phase.send(Phase::Lost(loss)).await;
        let cancelled = self.shared.asked.give_up();
        self.client.write([&cancelled, &[]]).await;
        (heard, wanted)
    }

    async fn answer_all(&mut self, failure: &Failure, answer: fn(&Pending, &Failure) -> Bytes) {
        for pending in self.shared.in_flight.drain() {
            self.client.write([&answer(&pending, failure), &[]]).await;
        }
    }

    /// The client has said goodbye. A server that then ends in order has answered what it wanted to.
    async fn farewell<U: Upstream<Input = I>>(
        &mut self,
        served: &Served,
        exit: &Exit,
        failure: Failure,
        upstream: U,
    ) -> Over {
        let has_failed = served.end == Ending::Itself && *exit != Exit::Code(0);
        if has_failed || exit.is_lost() {
            self.answer_all(&failure, Pending::answer).await;
        } else if served.end == Ending::Terminated || self.client.end == Some(ClientEnd::Stopped) {
            self.answer_all(&failure, Pending::farewell).await;
        }
        let over = over(served, exit, &failure);
        let is_servers =
            self.client.end == Some(ClientEnd::Closed) && matches!(over, Over::Server { code: 1.., .. });
        if is_servers {
            self.options.stderr.line(last_words(&failure, &over));
        }
        self.client.close().await;
        upstream.release().await;
        if is_servers { over } else { Over::Client }
    }

    /// Has the pump tell the client why there is no server, and serves its answers until it is done.
    async fn apologise(mut self, failure: Failure, last: Last, over: Over) -> Over {
        self.options.stderr.line(last_words(&failure, &over));
        let _ = self.phase.send(Phase::Down(Arc::new(failure), last)).await;
        let _: Turn<()> = self.client.serve_until(std::future::pending()).await;
        // Whoever waits for the end of it does not wait for the container.
        self.options.hangup = Hangup::default();
        self.client.close().await;
        over
    }
}

/// What a new server has to hear.
type Heard = oneshot::Receiver<Option<Script>>;

/// What follows a server that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another one.
    AtOnce,
    /// Another one, once there is a request for it.
    WhenWanted,
    None,
}

/// The last line for a person: it tells a server's exit code from one of ours.
fn last_words(failure: &Failure, over: &Over) -> String {
    let message = failure.message();
    match over {
        Over::Server { code, .. } => format!("{message} (exit code {code} is the server's own)"),
        Over::Client | Over::Failed(_) => message,
    }
}

/// A server's own end is the session's. Every other is ours to tell.
fn over(served: &Served, exit: &Exit, failure: &Failure) -> Over {
    match exit.code() {
        Some(code) if served.end == Ending::Itself => Over::Server { code, why: failure.text.clone() },
        _ => Over::Failed(failure.clone()),
    }
}

/// Ends a server's input.
async fn close<I: AsyncWrite + Unpin>(input: &mut I) {
    // One that doesn't read would be waited for.
    let _ = tokio::time::timeout(CLOSE_WITHIN, input.shutdown()).await;
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
