//! A sink's item waits here until it is on its way: whoever asks may stop asking at any moment, and loses nothing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Sink;

#[derive(Debug)]
pub(crate) struct Outgoing<T> {
    to: T,
    item: Option<Bytes>,
    is_flushed: bool,
}

impl<T: Sink<Bytes, Error = io::Error> + Unpin> Outgoing<T> {
    pub(crate) fn new(to: T) -> Self {
        Self { to, item: None, is_flushed: true }
    }

    /// The next item may be put.
    pub(crate) fn is_idle(&self) -> bool {
        self.item.is_none() && self.is_flushed
    }

    pub(crate) fn put(&mut self, item: Bytes) {
        self.item = Some(item);
    }

    /// Resolves when the item is on its way. Cancel safe.
    pub(crate) async fn sent(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.item.is_some() {
            ready!(Pin::new(&mut self.to).poll_ready(context))?;
            if let Some(item) = self.item.take() {
                self.is_flushed = false;
                Pin::new(&mut self.to).start_send(item)?;
            }
        }
        ready!(Pin::new(&mut self.to).poll_flush(context))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }
}
