//! The running lanes of a session: their pipes, and their ends.
//!
//! A lane that is ending may have a successor already, so each has a serial number.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, SelectAll};
use futures::{FutureExt, Stream, StreamExt};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::codec::FramedRead;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use super::member::Unread;
use crate::rpc::{Frame, FrameCodec, FrameError};
use crate::session::lane::burst::BURST;
use crate::session::lane::outcome::Over;

/// What a lane's output holds (bytes).
const PIPE: usize = 64 << 10;

/// More lines than a member may have on their way (`member`), for ours come on top.
const LINES: usize = 16 << 10;

/// A lane's end of its pipe.
#[derive(Debug)]
pub struct LanePipe {
    pub from_mux: StreamReader<Said, Bytes>,
    /// At its end once it is dropped.
    pub to_mux: DuplexStream,
    pub stop: CancellationToken,
    /// Set while the lane has no server and another one is on its way.
    pub is_replaced: Arc<AtomicBool>,
    /// What needs its server has started it, not the session's beginning.
    pub is_lazy: bool,
}

/// The lines for a lane, which are its input: nothing copies them on their way.
#[derive(Debug)]
pub struct Said {
    lines: mpsc::Receiver<Bytes>,
    unread: Arc<Unread>,
}

impl Stream for Said {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lines.poll_recv(context).map(|line| {
            let line = line?;
            self.unread.remove(line.len());
            Some(Ok(line))
        })
    }
}

/// What comes of a lane: a line, or the end of its output.
type FromLane = Option<io::Result<Result<Frame, FrameError>>>;
type Lines = Pin<Box<dyn Stream<Item = (u64, FromLane)>>>;

struct Lane {
    member: usize,
    /// `None`: its input is at its end.
    lines: Option<mpsc::Sender<Bytes>>,
    unread: Arc<Unread>,
    /// Its end, while what it said last is on the way.
    over: Option<Over>,
    has_said_all: bool,
}

/// What a lane has told.
pub(super) enum News {
    Line(usize, Frame),
    /// All that it said came before.
    Over(usize, Over),
}

pub(super) struct Lanes {
    all: BTreeMap<u64, Lane>,
    /// Each member's present lane.
    present: Vec<Option<u64>>,
    said: SelectAll<Lines>,
    running: FuturesUnordered<LocalBoxFuture<'static, (u64, Over)>>,
    serial: u64,
    stop: CancellationToken,
}

impl Lanes {
    pub(super) fn new(members: usize, stop: CancellationToken) -> Self {
        Self {
            all: BTreeMap::new(),
            present: vec![None; members],
            said: SelectAll::new(),
            running: FuturesUnordered::new(),
            serial: 0,
            stop,
        }
    }

    /// Runs a lane of the member's; one before it hears nothing more.
    pub(super) fn start<F: Future<Output = Over> + 'static>(
        &mut self,
        member: usize,
        (unread, is_replaced, is_lazy): (Arc<Unread>, Arc<AtomicBool>, bool),
        start: impl FnOnce(usize, LanePipe) -> F,
    ) {
        self.park(member);
        self.serial += 1;
        let serial = self.serial;
        self.present[member] = Some(serial);
        let (from_lane, to_mux) = tokio::io::duplex(PIPE);
        let (sender, lines) = mpsc::channel(LINES);
        let from_mux = StreamReader::new(Said { lines, unread: Arc::clone(&unread) });
        let lines = Some(sender);
        self.all.insert(serial, Lane { member, lines, unread, over: None, has_said_all: false });
        let frames = FramedRead::with_capacity(from_lane, FrameCodec::new(usize::MAX >> 1), BURST);
        let frames = frames.map(Some).chain(futures::stream::iter([None]));
        self.said.push(Box::pin(frames.map(move |item| (serial, item))));
        let stop = self.stop.child_token();
        let lane = start(member, LanePipe { from_mux, to_mux, stop, is_replaced, is_lazy });
        self.running.push(async move { (serial, lane.await) }.boxed_local());
    }

    /// The session has so many members now.
    pub(super) fn grow(&mut self, members: usize) {
        self.present.resize(members, None);
    }

    /// A line for the member's present lane. One that is over says so itself.
    pub(super) fn send(&mut self, member: usize, line: Bytes) {
        let present = self.present[member].and_then(|serial| self.all.get(&serial));
        if let Some(Lane { lines: Some(lines), unread, .. }) = present {
            let bytes = line.len();
            // It was counted when it was meant for the lane.
            if lines.try_send(line).is_err() {
                unread.remove(bytes);
            }
        }
    }

    /// The member's lane hears nothing more, and ends.
    pub(super) fn park(&mut self, member: usize) {
        if let Some(lane) = self.present[member].and_then(|serial| self.all.get_mut(&serial)) {
            lane.lines = None;
        }
    }

    /// The same for all of these members.
    pub(super) fn close(&mut self, which: impl Fn(usize) -> bool) {
        for lane in self.all.values_mut().filter(|lane| which(lane.member)) {
            lane.lines = None;
        }
    }

    pub(super) fn are_over(&self) -> bool {
        self.all.is_empty()
    }

    /// The next news; lanes that may not be read have none. Cancel safe.
    pub(super) async fn next(&mut self, may_read: bool) -> News {
        loop {
            let news = tokio::select! {
                biased;
                Some((serial, said)) = self.said.next(), if may_read && !self.said.is_empty() => {
                    self.heard(serial, said)
                }
                Some((serial, over)) = self.running.next(), if !self.running.is_empty() => {
                    if let Some(lane) = self.all.get_mut(&serial) {
                        lane.over = Some(over);
                    }
                    self.ended(serial)
                }
                else => std::future::pending().await,
            };
            if let Some(news) = news {
                return news;
            }
        }
    }

    fn heard(&mut self, serial: u64, said: FromLane) -> Option<News> {
        let lane = self.all.get_mut(&serial)?;
        let Some(item) = said else {
            lane.has_said_all = true;
            return self.ended(serial);
        };
        // What a lane says that has a successor is nobody's any more.
        let is_present = self.present[lane.member] == Some(serial);
        match item {
            Ok(Ok(frame)) if is_present => Some(News::Line(lane.member, frame)),
            _ => None,
        }
    }

    /// A lane is over once it has ended and all that it said was heard.
    fn ended(&mut self, serial: u64) -> Option<News> {
        let lane = self.all.get(&serial)?;
        if !lane.has_said_all || lane.over.is_none() {
            return None;
        }
        let Lane { member, over, .. } = self.all.remove(&serial)?;
        self.present[member].take_if(|present| *present == serial)?;
        over.map(|over| News::Over(member, over))
    }
}
