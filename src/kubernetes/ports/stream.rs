//! An exec's stream as the two ends that connections go over. Whoever is at its other end is asked for a sign of life: a cut
//! that nobody tells of is one, too.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::io::{CopyToBytes, SinkWriter};
use tokio_util::sync::{CancellationToken, PollSender, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;

use crate::pump::{self, Came};

/// Pieces that wait to be sent; each is bounded itself.
const PIECES: usize = 4;
/// How often the other end is asked.
const ASKED_EVERY: Duration = Duration::from_secs(3);
/// So many questions without a sign of life, and the stream is cut.
const ANSWERED_WITHIN: u32 = 3;
/// A peer that reads nothing is as good as none.
const SENT_WITHIN: Duration = Duration::from_secs(15);

/// Sends what is to go, for as long as it is held.
#[derive(Debug)]
pub(super) struct Carrier(#[expect(dead_code, reason = "it is only held")] AbortOnDropHandle<()>);

impl Carrier {
    pub(super) fn begin<S>(
        to: pump::To<S>,
        from: pump::From<S>,
    ) -> (Self, Heard<S>, impl AsyncWrite + Unpin + Send + use<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, given) = mpsc::channel(PIECES);
        let (unanswered, cut) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let heard =
            Heard { from, unanswered: Arc::clone(&unanswered), cut: Box::pin(cut.clone().cancelled_owned()) };
        let task = async move {
            if let Err(error) = send(to, given, &unanswered).await {
                tracing::debug!("the stream of ports was cut: {error}");
            }
            cut.cancel();
        };
        let sink = PollSender::new(sender).sink_map_err(|_| io::Error::from(ErrorKind::BrokenPipe));
        let writer = SinkWriter::new(CopyToBytes::new(sink));
        (Self(AbortOnDropHandle::new(tokio::spawn(task))), heard, writer)
    }
}

/// Until there is nobody who gives, or nobody who takes.
async fn send<S>(mut to: pump::To<S>, mut given: Receiver<Bytes>, unanswered: &AtomicU32) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ticks = interval(ASKED_EVERY);
    // A process that was stopped for a while has not listened.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    loop {
        let sent = tokio::select! {
            given = given.recv() => match given {
                Some(bytes) => timeout(SENT_WITHIN, to.send(bytes)).await,
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                if unanswered.fetch_add(1, Ordering::Relaxed) >= ANSWERED_WITHIN {
                    return Err(ErrorKind::TimedOut.into());
                }
                timeout(SENT_WITHIN, to.ping(Bytes::new())).await
            }
        };
        sent??;
    }
}

/// What the other end says, to its end or to a cut.
pub(super) struct Heard<S> {
    from: pump::From<S>,
    unanswered: Arc<AtomicU32>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Heard<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            let came = ready!(self.from.poll_came(context));
            self.unanswered.store(0, Ordering::Relaxed);
            return Poll::Ready(match came {
                None => None,
                Some(Ok(Came::Output(bytes))) => Some(Ok(bytes)),
                Some(Ok(Came::Pong(_))) => continue,
                Some(Err(error)) => Some(Err(error)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::io::AsyncWriteExt;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn pair() -> (WebSocketStream<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        (near, WebSocketStream::from_raw_socket(far, Role::Server, None).await)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_both_ways_and_a_peer_that_answers_keeps_the_stream() {
        let (near, mut far) = pair().await;
        let (to, from) = pump::halves(near);
        let (carrier, mut heard, mut writer) = Carrier::begin(to, from);
        writer.write_all(b"ahoy").await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(far.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"\0ahoy")));
        let answering = tokio::spawn(async move {
            // It answers pings by being read.
            while let Some(Ok(message)) = far.next().await {
                if message.is_ping() {
                    far.flush().await.unwrap();
                }
            }
            far
        });
        let long = ASKED_EVERY * (ANSWERED_WITHIN + 5);
        assert!(timeout(long, heard.next()).await.is_err(), "it is quiet, and goes on");
        drop(carrier);
        drop(heard);
        answering.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_cut_ends_it() {
        let (near, far) = pair().await;
        let (to, from) = pump::halves(near);
        let (_carrier, mut heard, _writer) = Carrier::begin(to, from);
        let long = ASKED_EVERY * (ANSWERED_WITHIN + 2);
        assert!(timeout(long, heard.next()).await.unwrap().is_none());
        drop(far);
    }
}
