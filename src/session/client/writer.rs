//! The client's side of the session's loop: the only place that writes to the client.
//!
//! A line is written whole or not at all. The exceptions: the client is gone, or it has said goodbye and does not read.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ClientEnd;

/// A line whose time is over when it comes has this long all the same: a client that reads gets it.
const LATE_LINE: Duration = Duration::from_millis(500);

/// Why one stretch of the loop is over.
pub(in crate::session) enum Turn<T> {
    Came(T),
    ClientEnded,
}

/// The client's side of the loop: who writes to it, and whether it is still there.
pub(in crate::session) struct Writer<W> {
    /// `None` once the client has closed it.
    pub(in crate::session) out: Option<W>,
    pub(in crate::session) replies: mpsc::Receiver<Bytes>,
    pub(in crate::session) pump: JoinHandle<ClientEnd>,
    pub(in crate::session) end: Option<ClientEnd>,
    /// Whether the loop has heard of the end.
    pub(in crate::session) end_is_told: bool,
    /// When to stop waiting for a client that doesn't read.
    pub(in crate::session) deadline: Option<Instant>,
    /// How long after its end.
    pub(in crate::session) patience: Duration,
    pub(in crate::session) stop: CancellationToken,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes the pump's answers until `event` comes or the client's side ends (which is told once). Cancel safe if
    /// `event` is, but for a write to the client, which is never cut off.
    pub(in crate::session) async fn serve_until<T>(&mut self, event: impl Future<Output = T>) -> Turn<T> {
        let mut event = std::pin::pin!(event);
        loop {
            if self.end.is_some() && !self.end_is_told {
                self.end_is_told = true;
                // The pump is gone; what it has answered is still on its way.
                self.serve_rest().await;
                return Turn::ClientEnded;
            }
            let reply = tokio::select! {
                Some(line) = self.replies.recv() => line,
                came = &mut event => return Turn::Came(came),
                end = &mut self.pump, if self.end.is_none() => {
                    self.ended(end);
                    continue;
                }
            };
            self.write([&reply, &[]]).await;
        }
    }

    /// A server has come behind the client's end: the time for it to end begins.
    pub(in crate::session) fn ends_anew(&mut self) {
        self.end_is_told = false;
        self.deadline = Some(Instant::now() + self.patience);
    }

    /// The client gets nothing more, and sees that.
    pub(in crate::session) async fn close(&mut self) {
        if let Some(mut out) = self.out.take() {
            let _ = out.shutdown().await;
        }
    }

    fn ended(&mut self, end: Result<ClientEnd, tokio::task::JoinError>) {
        self.end = Some(end.unwrap_or(ClientEnd::Stopped));
        self.deadline = Some(Instant::now() + self.patience);
    }

    /// Writes the answers that are left; ends once the pump has.
    async fn serve_rest(&mut self) {
        while let Some(line) = self.replies.recv().await {
            self.write([&line, &[]]).await;
        }
    }

    /// Whole lines, in two parts for the sake of those that lie in two places. A client that is gone ends the session; one
    /// that doesn't read holds up its own direction, but no longer than `patience` once it has closed the other.
    pub(in crate::session) async fn write(&mut self, [first, second]: [&[u8]; 2]) {
        if first.is_empty() && second.is_empty() {
            return;
        }
        let Some(mut out) = self.out.take() else { return };
        let written = {
            let mut write = std::pin::pin!(async {
                match (first, second) {
                    // After a part of it, tokio waits at once; after a part of a vectored write it would try again first.
                    (lines, []) | ([], lines) => out.write_all(lines).await?,
                    (first, second) => out.write_all_buf(&mut first.chain(second)).await?,
                }
                out.flush().await
            });
            let late = Instant::now() + LATE_LINE;
            loop {
                let deadline = self.deadline.map(|deadline| deadline.max(late));
                tokio::select! {
                    written = &mut write => break written,
                    end = &mut self.pump, if self.end.is_none() => self.ended(end),
                    () = at(deadline) => break Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read")),
                }
            }
        };
        match written {
            Ok(()) => self.out = Some(out),
            Err(error) => {
                tracing::debug!("cannot write to the client: {error}");
                self.stop.cancel();
            }
        }
    }
}

/// Resolves at `deadline`; never without one.
pub(in crate::session) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
