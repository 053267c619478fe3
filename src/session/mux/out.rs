//! The only place that writes to the client of several servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::session::lane::burst::BURST;

/// While so much waits for the client (bytes), no lane is read.
const LANES_WAIT: usize = 1 << 20;
/// While so much does, the client is not read either: our own answers could grow without end.
const CLIENT_WAITS: usize = 32 << 20;

/// Lines, and how many are left when the lanes and the client have to wait. One event makes no more lines than that.
const LINES: usize = 32 << 10;
const LEFT_FOR_LANES: usize = 24 << 10;
const LEFT_FOR_CLIENT: usize = 12 << 10;

/// What is written to the client.
pub(super) struct Out {
    lines: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    room: Arc<Notify>,
}

impl Out {
    /// The queue, and who empties it until it is dropped.
    pub(super) fn new<W: AsyncWrite + Unpin + 'static>(
        mut to_client: W,
        stop: CancellationToken,
    ) -> (Self, LocalBoxFuture<'static, ()>) {
        let (sender, mut lines) = mpsc::channel::<Bytes>(LINES);
        let out = Self { lines: sender, waiting: Arc::default(), room: Arc::default() };
        let (unwritten, room) = (Arc::clone(&out.waiting), Arc::clone(&out.room));
        let writing = async move {
            let mut burst = BytesMut::new();
            while let Some(first) = lines.recv().await {
                burst.clear();
                // Lines that wait together are one write.
                let mut next = Some(first);
                while let Some(line) = next {
                    burst.extend_from_slice(&line);
                    next = if burst.len() < BURST { lines.try_recv().ok() } else { None };
                }
                let written = async {
                    to_client.write_all(&burst).await?;
                    to_client.flush().await
                };
                let written = written.await;
                unwritten.fetch_sub(burst.len(), Ordering::Relaxed);
                room.notify_one();
                if let Err(error) = written {
                    tracing::debug!("cannot write to the client: {error}");
                    return stop.cancel();
                }
            }
            let _ = to_client.shutdown().await;
        };
        (out, writing.boxed_local())
    }

    pub(super) fn send(&mut self, line: Bytes) {
        let bytes = line.len();
        // Fails when the client is gone.
        if self.lines.try_send(line).is_ok() {
            self.waiting.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// No lane is read now.
    pub(super) fn is_half_full(&self) -> bool {
        !self.lines.is_closed()
            && (self.waiting.load(Ordering::Relaxed) >= LANES_WAIT || self.lines.capacity() < LEFT_FOR_LANES)
    }

    /// Nor is the client.
    pub(super) fn is_full(&self) -> bool {
        !self.lines.is_closed()
            && (self.waiting.load(Ordering::Relaxed) >= CLIENT_WAITS
                || self.lines.capacity() < LEFT_FOR_CLIENT)
    }

    /// Resolves when something was written. Cancel safe.
    pub(super) async fn has_room(&self) {
        self.room.notified().await;
    }
}
