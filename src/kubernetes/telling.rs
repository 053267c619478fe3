//! The first stream of a server: found by trying, and told of.

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::link::{NotOpened, Streams};
use super::pause::Pause;
use super::ports::Gate;

/// Has the first stream tried for, and tells when it is there. Its server does not start before its ports are joined: it may
/// look for its services at once.
pub(crate) struct Telling<S> {
    streams: S,
    tell: Option<oneshot::Sender<()>>,
    gate: Option<Gate>,
}

impl<S> Telling<S> {
    pub(crate) fn new(streams: S, tell: oneshot::Sender<()>, gate: Option<Gate>) -> Self {
        Self { streams, tell: Some(tell), gate }
    }
}

impl<S: Streams> Streams for Telling<S> {
    type To = S::To;
    type From = S::From;

    async fn open(&mut self, epoch: u64) -> Result<(S::To, S::From), NotOpened> {
        if self.tell.is_none() {
            return self.streams.open(epoch).await;
        }
        let pause = Pause::new();
        let stream = loop {
            match self.streams.open(epoch).await {
                Ok(stream) => break stream,
                // Seldom enough for the API server, and soon enough beside what the start has taken already.
                Err(NotOpened::Passing(why)) => {
                    tracing::debug!("not yet: {why}");
                    pause.wait().await;
                }
                Err(gone) => return Err(gone),
            }
        };
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(());
        }
        if let Some(gate) = self.gate.take() {
            gate.open().await;
        }
        Ok(stream)
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        self.streams.ended()
    }
}
