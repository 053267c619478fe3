//! The client->server pump's answers when there is no server and none will come. It gives the reason for as long as the
//! client asks.
//!
//! It ends the session after a while, whatever the client does.

use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{ClientToServer, Line};
use crate::failure::Failure;
use crate::rpc::failure_response;
use crate::rpc::{Kind, look};
use crate::session::client::ClientEnd;

/// A client that was told why there is no server gets this long to ask on before the session ends.
const LINGER: Duration = Duration::from_millis(250);

/// Clients probe with `server/discover`, hide its error from the person, and ask again with `initialize`.
const LINGER_AFTER_PROBE: Duration = Duration::from_secs(5);

/// One that asks on and on is answered for so long, and no longer: only a new session has a server for it.
const LINGER_AT_MOST: Duration = Duration::from_secs(10);

impl<R, I> ClientToServer<R, I>
where
    R: AsyncRead + Unpin,
    I: AsyncWrite + Unpin,
{
    /// Answers what is unanswered, and what is asked yet, with the reason why there is no server.
    pub(super) async fn apologise(mut self, failure: &Failure) -> ClientEnd {
        let mut patience = self.interactive.then_some(LINGER);
        let mut told = None;
        for pending in self.shared.in_flight.drain() {
            self.reply(pending.answer(failure)).await;
            patience = Some(LINGER);
        }
        loop {
            let waited = async {
                let Some(patience) = patience else { return std::future::pending().await };
                let last = *told.get_or_insert_with(Instant::now) + LINGER_AT_MOST;
                tokio::time::sleep_until(last.min(Instant::now() + patience)).await;
            };
            let item = tokio::select! {
                biased;
                () = self.stop.cancelled() => return ClientEnd::Stopped,
                () = waited => return ClientEnd::Told,
                item = self.frames.next() => item,
            };
            let line = match self.line(item).await {
                Line::Forward(line) => line,
                Line::Handled => continue,
                Line::End => return ClientEnd::Closed,
            };
            let Ok(look) = look(&line) else { continue };
            for request in look.envelopes().iter().filter(|envelope| envelope.kind == Kind::Request) {
                let is_probe = request.method.as_deref() == Some("server/discover");
                patience = Some(if is_probe { LINGER_AFTER_PROBE } else { LINGER });
                self.reply(failure_response(request.raw_id().as_ref(), failure)).await;
            }
            self.shared.in_flight.drain();
        }
    }
}
