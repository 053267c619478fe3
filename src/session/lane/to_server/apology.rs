//! The client->server pump's answers when there is no server and none will come.
//!
//! Where there never was one, the client is told why with its first request, and for as long as it asks on; yet not without
//! end. Where the last server is gone, what is asked by then is answered, and the end follows at once: clients wait for that
//! to begin anew.

use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{ClientToServer, Line};
use crate::failure::Failure;
use crate::rpc::failure_response;
use crate::rpc::{Kind, look};
use crate::session::client::ClientEnd;
use crate::session::client::writer::at;
use crate::session::lane::inflight::is_probe;
use crate::session::lane::outcome::Last;

/// A client that was told why there is no server gets this long to ask on before the session ends.
const LINGER: Duration = Duration::from_millis(250);

/// One that has probed asks again.
const LINGER_AFTER_PROBE: Duration = Duration::from_secs(5);

/// The same where the probe was the last that a server was asked.
const LINGER_AFTER_LAST_PROBE: Duration = Duration::from_secs(1);

/// Where the last server is gone, the end is not held up by a client that writes on and on.
const END_WITHIN: Duration = Duration::from_secs(1);

/// One that asks on and on is answered for so long, and no longer: only a new session has a server for it.
const LINGER_AT_MOST: Duration = Duration::from_secs(10);

impl<R, I> ClientToServer<R, I>
where
    R: AsyncRead + Unpin,
    I: AsyncWrite + Unpin,
{
    /// Answers what is unanswered, and what is asked yet, with the reason why there is no server.
    pub(super) async fn apologise(mut self, failure: &Failure, last: Last) -> ClientEnd {
        let linger = |is_probe: bool| match (last, is_probe) {
            (Last::NeverCame, false) => LINGER,
            (Last::NeverCame, true) => LINGER_AFTER_PROBE,
            (Last::Gone, true) => LINGER_AFTER_LAST_PROBE,
            (Last::Gone | Last::Ended, _) => Duration::ZERO,
        };
        let mut patience = match last {
            Last::NeverCame => self.interactive.then_some(LINGER),
            // Its first request is on its way.
            Last::Gone if self.hello.is_some() => Some(LINGER),
            Last::Gone | Last::Ended => Some(Duration::ZERO),
        };
        let at_most = if last == Last::NeverCame { LINGER_AT_MOST } else { END_WITHIN };
        let mut told = None;
        for pending in self.shared.in_flight.drain() {
            let answer =
                if last == Last::Ended { pending.farewell(failure) } else { pending.answer(failure) };
            self.reply(answer).await;
            patience = patience.max(Some(linger(pending.is_probe)));
        }
        loop {
            let until = patience.map(|patience| {
                (*told.get_or_insert_with(Instant::now) + at_most).min(Instant::now() + patience)
            });
            let item = tokio::select! {
                biased;
                () = self.stop.cancelled() => return ClientEnd::Stopped,
                // What is here already is answered.
                item = self.frames.next(), if told.is_none_or(|told| told.elapsed() < at_most) => item,
                () = at(until) => return ClientEnd::Told,
            };
            let line = match self.line(item).await {
                Line::Forward(line) => line,
                Line::Handled => continue,
                Line::End => return ClientEnd::Closed,
            };
            let Ok(look) = look(&line) else { continue };
            for request in look.envelopes().iter().filter(|envelope| envelope.kind == Kind::Request) {
                patience = Some(linger(request.method.as_deref().is_some_and(is_probe)));
                self.reply(failure_response(request.raw_id().as_ref(), failure)).await;
            }
            self.shared.in_flight.drain();
        }
    }
}
