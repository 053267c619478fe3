//! The server->client direction, for as long as one server lasts.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Lane;
use super::asked::cancellation;
use super::burst::Burst;
use super::judge::{Verdict, judge};
use super::outcome::{Ending, Served};
use super::stderr_tail::StderrTail;
use crate::rpc::FrameCodec;
use crate::session::client::writer::{Turn, at};
use crate::session::lane::burst::BURST;
use crate::session::upstream::{Output, Upstream};

/// The pump has so many before it is believed to be held up.
const TURNS: usize = 4;

/// How exactly a call's time is kept, at the least.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What the relay waits for besides the client.
enum Event {
    Output(Option<io::Result<Output>>),
    Terminate,
    GiveUp,
    /// The server has had its time for a first answer.
    Late,
    /// The server takes no input any more.
    Deaf,
    /// Some call may have had its time.
    Overdue,
    /// The client has said what it calls its session.
    Introduced(String),
}

impl<W, I> Lane<W, I>
where
    W: AsyncWrite + Unpin,
    I: AsyncWrite + Unpin + Send + 'static,
{
    /// Moves the server's output to the client until it ends.
    pub(super) async fn relay<U: Upstream<Input = I>>(
        &mut self,
        upstream: &mut U,
        tail: &mut StderrTail,
    ) -> Served {
        let mut codec = FrameCodec::new(self.options.settings.max_line);
        let mut burst = Burst::default();
        let mut served = Served { has_spoken: false, end: Ending::Itself };
        let mut client_session = self.shared.client_session.subscribe();
        // A server that comes after another one hears it, too.
        client_session.mark_changed();
        // Of the server before.
        let _ = self.shared.is_deaf.notified().now_or_never();
        let mut look_at = self.options.settings.call_timeout.map(|timeout| Instant::now() + timeout);
        let (mut terminate_at, mut answer_by) =
            (None, Some(Instant::now() + self.options.settings.answer_timeout));
        loop {
            let deadline = self.client.deadline;
            // One event, so that what the client is being written is never cut off by a timer.
            let event = async {
                tokio::select! {
                    chunk = upstream.next() => Event::Output(chunk),
                    () = at(terminate_at) => Event::Terminate,
                    () = at(deadline) => Event::GiveUp,
                    () = at(answer_by) => Event::Late,
                    () = self.shared.is_deaf.notified() => Event::Deaf,
                    () = at(look_at) => Event::Overdue,
                    said = introduced(&mut client_session) => Event::Introduced(said),
                }
            };
            let chunk = match self.client.serve_until(event).await {
                Turn::Came(Event::Output(chunk)) => chunk,
                Turn::Came(Event::Terminate) => {
                    (terminate_at, served.end) = (None, Ending::Terminated);
                    upstream.terminate().await;
                    continue;
                }
                Turn::Came(Event::GiveUp) => return served,
                Turn::Came(Event::Late) => {
                    let oldest = self.shared.in_flight.oldest();
                    answer_by =
                        Some(oldest.unwrap_or_else(Instant::now) + self.options.settings.answer_timeout);
                    if oldest.is_some() && answer_by <= Some(Instant::now()) {
                        served.end = Ending::Late;
                        upstream.terminate().await;
                        return served;
                    }
                    continue;
                }
                Turn::Came(Event::Deaf) => {
                    served.end = Ending::Deaf;
                    upstream.terminate().await;
                    return served;
                }
                Turn::Came(Event::Overdue) => {
                    look_at = self.give_up_overdue().await;
                    continue;
                }
                Turn::Came(Event::Introduced(said)) => {
                    upstream.introduce(&said).await;
                    continue;
                }
                Turn::ClientEnded => {
                    // Its input is closed: a well-behaved server ends by itself within half of the grace.
                    terminate_at = Some(Instant::now() + self.options.settings.stop_grace / 2);
                    upstream.client_left().await;
                    continue;
                }
            };
            match chunk {
                Some(Ok(Output::Stdout(mut piece))) => {
                    // What has come in one piece leaves in one.
                    burst.begin(&piece, self.shared.trace.clock());
                    while let Some(item) = codec.next(&mut piece) {
                        let verdict = judge(item, &self.shared, &mut burst.returning);
                        served.has_spoken |= self.pass(verdict, &mut burst, tail).await;
                    }
                    self.client.write(burst.parts()).await;
                    burst.end();
                    if let Some(why) = self.unfit.take() {
                        served.end = Ending::Unfit(why);
                        upstream.terminate().await;
                        return served;
                    }
                    // What it says unasked is no answer, nor is what it was not yet asked.
                    if self.shared.in_flight.has_answered() && self.repeating.is_none() {
                        answer_by = None;
                    }
                }
                Some(Ok(Output::Stderr(bytes))) => tail.push(&bytes),
                Some(Err(error)) => {
                    tracing::debug!("the server's stream broke: {error}");
                    break;
                }
                None => break,
            }
        }
        while let Some(item) = codec.last() {
            let verdict = judge(item, &self.shared, &mut burst.returning);
            self.pass(verdict, &mut burst, tail).await;
            self.client.write(burst.parts()).await;
            burst.clear();
        }
        served
    }

    /// Answers the calls that have had their time, and has the server stop working on them. When to look again.
    async fn give_up_overdue(&mut self) -> Option<Instant> {
        let timeout = self.options.settings.call_timeout?;
        if self.repeating.is_some() {
            // The calls wait for a server yet; their time begins when there is one.
            return Some(Instant::now() + LOOK_AGAIN.min(timeout));
        }
        let failure = self.options.overdue();
        for pending in self.shared.in_flight.overdue(timeout) {
            self.shared.trace.note(None, "call timed out", &pending.id.to_string(), 0);
            self.client.write([&pending.answer(&failure), &[]]).await;
            let cancelled = cancellation(&pending.id, "berth: the call took longer than `call_timeout`");
            // A server that doesn't read won't stop for this either.
            let _ = self.to_server.try_send(cancelled);
        }
        let next = self.shared.in_flight.oldest().map(|oldest| oldest + timeout);
        // What waits for ever must not make us look without end.
        let soonest = Instant::now() + LOOK_AGAIN.min(timeout);
        Some(next.map_or(soonest, |next| next.max(soonest)))
    }

    /// Never waits for the server: one that doesn't read must not hold up what it says. Many answers at once are the pump's
    /// turn.
    async fn tell_server(&mut self, mut line: Bytes) {
        for _ in 0..TURNS {
            match self.to_server.try_send(line) {
                Ok(()) => return,
                Err(TrySendError::Full(again) | TrySendError::Closed(again)) => line = again,
            }
            tokio::task::yield_now().await;
        }
        tracing::warn!("the server does not read; an answer to it was dropped");
    }

    /// Carries a verdict out; what is to be written is gathered in `burst`, unless it is long enough by itself. Whether it
    /// was a message of the server's.
    async fn pass(&mut self, verdict: Verdict, burst: &mut Burst, tail: &mut StderrTail) -> bool {
        let is_message = matches!(verdict, Verdict::Forward(_));
        let line = match verdict {
            Verdict::Forward(line) => line,
            Verdict::Replace { to_client, to_server } => {
                if !to_server.is_empty() {
                    self.tell_server(to_server).await;
                }
                to_client
            }
            Verdict::Ours(answer) => {
                self.answered(answer).await;
                return true;
            }
            Verdict::Stray(frame) => {
                tail.push(frame.wire());
                return false;
            }
            Verdict::Drop => return false,
        };
        if line.len() < BURST {
            burst.add(&line);
            if burst.len() >= BURST {
                self.client.write(burst.parts()).await;
                burst.clear();
            }
        } else {
            self.client.write(burst.parts()).await;
            self.client.write([&line, &[]]).await;
            burst.clear();
        }
        is_message
    }
}

/// Resolves when it is known what the client calls its session. Cancel safe.
async fn introduced(client_session: &mut watch::Receiver<Option<String>>) -> String {
    loop {
        // Ends with the session, whose loop is who asks.
        if client_session.changed().await.is_err() {
            return std::future::pending().await;
        }
        if let Some(said) = client_session.borrow_and_update().clone() {
            return said;
        }
    }
}
