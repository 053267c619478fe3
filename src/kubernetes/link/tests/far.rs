//! A helper whose streams are cut as a test has it. It starts nothing: it gives back what its server hears, on both outputs.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{Receiver, Sender, channel};
use futures::future::BoxFuture;
use futures::{Sink, SinkExt, Stream, StreamExt};
use mcp_berth::dock::numbered::{FIRST, Numbered};
use mcp_berth::dock::records::{Ending, Record, decode, encode};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::super::{NotOpened, Streams};

/// What becomes of the next try to open a stream; those behind the last are whole.
#[derive(Debug, Clone)]
pub(super) enum Next {
    /// It carries so many bytes to the helper, and from it, and is cut.
    Cut {
        to: usize,
        from: usize,
        silently: bool,
    },
    /// It carries so many bytes in a millisecond.
    Slow(usize),
    Garbage,
    Fails(NotOpened),
}

impl Next {
    pub(super) fn cut(to: usize, from: usize, silently: bool) -> Self {
        Self::Cut { to, from, silently }
    }

    pub(super) fn slow(rate: usize) -> Self {
        Self::Slow(rate)
    }
}

#[derive(Default)]
pub(super) struct Far {
    pub(super) line: Numbered,
    /// Records that it has still to say.
    pub(super) says: Vec<u8>,
    /// Its server reads.
    pub(super) reads: bool,
    heard: Vec<u8>,
    next: VecDeque<Next>,
    /// What becomes of every try behind those, if it is no stream.
    pub(super) then: Option<NotOpened>,
    /// The cluster says that the server has ended.
    pub(super) has_ended: bool,
    epochs: Vec<u64>,
    carried: (usize, usize),
    /// The stream that carries nothing any more.
    silenced: u64,
}

impl Far {
    fn hear(&mut self, bytes: &[u8]) {
        self.line.hear(bytes).unwrap();
        self.take();
    }

    fn take(&mut self) {
        while self.reads
            && let Some((length, said)) = decode(self.line.heard()).unwrap()
        {
            match said {
                Record::Start(_) => assert!(self.heard.is_empty(), "it is started once"),
                Record::Input(bytes) => {
                    self.heard.extend_from_slice(bytes);
                    encode(&mut self.says, &Record::Output(bytes)).unwrap();
                    encode(&mut self.says, &Record::Errors(bytes)).unwrap();
                }
                Record::InputEnd => encode(&mut self.says, &Record::Ended(Ending::Exited(3))).unwrap(),
                said => panic!("{said:?}"),
            }
            self.line.pass_on(length);
        }
    }

    fn frames(&mut self) -> Vec<u8> {
        self.take();
        let said = self.line.say(&self.says);
        self.says.drain(..said);
        let mut frames = Vec::new();
        self.line.frames(&mut frames);
        frames
    }
}

/// A helper, and what becomes of its streams.
#[derive(Clone)]
pub(super) struct World {
    far: Arc<Mutex<Far>>,
    news: Arc<Notify>,
}

impl World {
    pub(super) fn new(next: impl IntoIterator<Item = Next>) -> Self {
        let far = Far { reads: true, next: next.into_iter().collect(), ..Far::default() };
        Self { far: Arc::new(Mutex::new(far)), news: Arc::new(Notify::new()) }
    }

    pub(super) fn streams(&self) -> Self {
        self.clone()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Far) -> T) -> T {
        let changed = change(&mut self.far.lock().unwrap());
        self.news.notify_waiters();
        changed
    }

    /// The stream that is there carries nothing any more, and nobody tells.
    pub(super) fn silence(&self) {
        self.change(|far| far.silenced = far.line.epoch());
    }

    pub(super) fn heard(&self) -> Vec<u8> {
        self.change(|far| far.heard.clone())
    }

    /// To the helper and from it, by the last stream.
    pub(super) fn carried(&self) -> (usize, usize) {
        self.change(|far| far.carried)
    }

    pub(super) fn epochs(&self) -> Vec<u64> {
        self.far.lock().unwrap().epochs.clone()
    }

    /// One stream, to its cut.
    async fn carry(self, next: Next, mut input: Receiver<Bytes>, mut output: Sender<io::Result<Bytes>>) {
        let (mut to, mut from, silently) = match next {
            Next::Cut { to, from, silently } => (to, from, silently),
            _ => (usize::MAX, usize::MAX, false),
        };
        let epoch = self.change(|far| far.line.epoch());
        if matches!(next, Next::Garbage) {
            let _ = output.send(Ok(Bytes::from_static(&[9; 40]))).await;
        }
        'stream: while to > 0 && from > 0 {
            let news = self.news.notified();
            let frames =
                self.change_quietly(|far| if far.line.epoch() == epoch { far.frames() } else { Vec::new() });
            if !frames.is_empty() {
                let count = frames.len().min(from);
                from -= count;
                self.change_quietly(|far| far.carried.1 += count);
                if output.send(Ok(Bytes::copy_from_slice(&frames[..count]))).await.is_err() {
                    return;
                }
                continue;
            }
            let bytes = tokio::select! {
                bytes = input.next() => bytes,
                () = news => continue,
            };
            let Some(bytes) = bytes else { return };
            let bytes = &bytes[..bytes.len().min(to)];
            to -= bytes.len();
            let rate = if let Next::Slow(rate) = next { rate } else { bytes.len() };
            for piece in bytes.chunks(rate) {
                let is_silent = self.change_quietly(|far| {
                    if far.line.epoch() != epoch || far.silenced == epoch {
                        return true;
                    }
                    far.carried.0 += piece.len();
                    far.hear(piece);
                    false
                });
                if is_silent {
                    break 'stream;
                }
                if let Next::Slow(_) = next {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
        if silently || self.far.lock().unwrap().silenced == epoch {
            // Both ends stay open.
            std::future::pending::<()>().await;
        }
    }

    fn change_quietly<T>(&self, change: impl FnOnce(&mut Far) -> T) -> T {
        change(&mut self.far.lock().unwrap())
    }
}

impl Streams for World {
    type To = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;
    type From = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

    async fn open(&mut self, epoch: u64) -> Result<(Self::To, Self::From), NotOpened> {
        let next = self.change(|far| {
            far.epochs.push(epoch);
            far.next.pop_front().or_else(|| far.then.clone().map(Next::Fails))
        });
        let next = match next {
            Some(Next::Fails(why)) => return Err(why),
            Some(next) => next,
            None => Next::cut(usize::MAX, usize::MAX, false),
        };
        self.change(|far| {
            if epoch == FIRST {
                // Another helper: whatever the last one was told, it has started nothing.
                assert!(far.heard.is_empty());
                far.line = Numbered::new();
            }
            far.line.begin(epoch);
            far.carried = (0, 0);
        });
        let (to, input) = channel(0);
        let (output, from) = channel(0);
        tokio::spawn(self.clone().carry(next, input, output));
        Ok((Box::pin(to.sink_map_err(io::Error::other)), Box::pin(from)))
    }

    fn ended(&self) -> BoxFuture<'static, ()> {
        let far = Arc::clone(&self.far);
        Box::pin(async move {
            while !far.lock().unwrap().has_ended {
                sleep(Duration::from_millis(100)).await;
            }
        })
    }
}
