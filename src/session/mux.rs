//! Several servers behind one client: a lane for each, which is a session of its own over a pipe in memory.
//!
//! ```text
//! client::stdio -> core (from_client) -> a lane's pipe -> session::run -> its server
//! client::stdio <- writer <- core (from_member) <- a lane's pipe <- session::run
//! ```
//!
//! [`core`] and its neighbours decide, and read no clock; this file moves the bytes. Nobody waits for another lane: what a lane does not read
//! waits in a queue of its own, and a client that does not read stops the lanes alone.

mod asked;
mod batches;
mod begin;
mod clock;
mod core;
mod from_client;
mod from_member;
mod hello;
mod line;
mod listens;
mod lists;
mod made;
mod member;
mod requests;
mod table;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, SelectAll};
use futures::{FutureExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use self::core::{Action, Mux};
use super::client::stdio::Hangup;
use super::client::writer::at;
use super::lane::burst::BURST;
use super::lane::outcome::Over;
use crate::failure::{Code, Failure};
use crate::rpc::{Frame, FrameCodec, FrameError};
use crate::values::ToolPattern;
use table::Naming;

pub use self::core::{Asking, Keep, Known, Recalled};
pub use member::MemberOptions;

/// What a lane's pipe holds (bytes).
const PIPE: usize = 64 << 10;

/// While so much waits for the client (bytes), no lane is read.
const LANES_WAIT: usize = 1 << 20;
/// While so much does, the client is not read either: our own answers could grow without end.
const CLIENT_WAITS: usize = 32 << 20;

/// A session of several servers.
pub struct Group {
    pub members: Vec<MemberOptions>,
    /// How long full names may be; `None`: a single server, whose names stay.
    pub room: Option<usize>,
    pub tools: Option<Vec<ToolPattern>>,
    pub deny_tools: Vec<ToolPattern>,
    pub known: Known,
    /// Gets what a member has told, once it is whole.
    pub keep: Keep,
    /// The session's id, which nobody else knows.
    pub session: String,
    /// The longest message (bytes).
    pub max_line: usize,
    /// How long servers may take for their end.
    pub stop_grace: Duration,
    pub hangup: Hangup,
    pub stop: CancellationToken,
}

/// A lane's end of its pipe.
#[derive(Debug)]
pub struct LanePipe {
    pub from_mux: ReadHalf<DuplexStream>,
    pub to_mux: WriteHalf<DuplexStream>,
    pub stop: CancellationToken,
    /// Set while the lane has no server and another one is on its way.
    pub is_replaced: Arc<AtomicBool>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("members", &self.members).finish_non_exhaustive()
    }
}

/// What comes of a lane: a line, or the end of its output.
type FromLane = Option<std::io::Result<Result<Frame, FrameError>>>;
type Lines = std::pin::Pin<Box<dyn Stream<Item = (u64, FromLane)>>>;

/// A running lane as the loop has it.
struct Lane {
    /// `None`: its input is at its end.
    lines: Option<mpsc::UnboundedSender<Bytes>>,
    unread: Arc<AtomicUsize>,
    member: usize,
    /// Its end, while what it said last is on the way.
    over: Option<Over>,
    has_said_all: bool,
}

/// After the end of its client, a session ends by then whatever happens.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// So long the client is waited for that has left with open questions to several servers.
const ANSWERED_WITHIN: Duration = Duration::from_secs(25);

/// Runs a session of several servers to its end. `start` runs a lane.
pub async fn run<R, W, F>(
    from_client: R,
    to_client: W,
    mut group: Group,
    mut start: impl FnMut(usize, LanePipe) -> F,
) -> Over
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + 'static,
    F: Future<Output = Over>,
{
    let naming = Naming {
        room: group.room,
        allowed: group.tools.take(),
        denied: std::mem::take(&mut group.deny_tools),
    };
    let known = std::mem::replace(&mut group.known, Box::new(|_| None));
    let mut mux = Mux::new(std::mem::take(&mut group.members), naming, &group.session, known, Instant::now());
    let mut frames = FramedRead::with_capacity(from_client, FrameCodec::new(group.max_line), BURST);
    let (mut out, writing) = Out::new(to_client, group.stop.clone());
    let mut writing = std::pin::pin!(writing.fuse());
    // By their serial numbers: one that is ending may have a successor already.
    let mut lanes: BTreeMap<u64, Lane> = BTreeMap::new();
    let mut present: Vec<Option<u64>> = mux.members.iter().map(|_| None).collect();
    let mut lines: SelectAll<Lines> = SelectAll::new();
    let mut running = FuturesUnordered::new();
    let (mut has_left, mut serial) = (false, 0_u64);
    let mut deadline = None;
    loop {
        let mut actions = VecDeque::from(mux.take_actions());
        while let Some(action) = actions.pop_front() {
            match action {
                Action::ToClient(line) => out.send(line),
                Action::ToMember(member, line) => {
                    let lane = present[member].and_then(|serial| lanes.get(&serial));
                    if let Some(Lane { lines: Some(lines), unread, .. }) = lane {
                        unread.fetch_add(line.len(), Ordering::Relaxed);
                        // A lane that is over says so itself.
                        let _ = lines.send(line);
                    }
                }
                Action::Start(member) => {
                    let (ours, theirs) = tokio::io::duplex(PIPE);
                    let (from_lane, to_lane) = tokio::io::split(ours);
                    let (from_mux, to_mux) = tokio::io::split(theirs);
                    let (unread, is_replaced) = mux.members[member].new_lane();
                    serial += 1;
                    let number = serial;
                    if let Some(before) = present[member].replace(number).and_then(|old| lanes.get_mut(&old))
                    {
                        before.lines = None;
                    }
                    let feeding = Some(feed(to_lane, Arc::clone(&unread)));
                    let lane = Lane { lines: feeding, unread, member, over: None, has_said_all: false };
                    lanes.insert(number, lane);
                    let frames =
                        FramedRead::with_capacity(from_lane, FrameCodec::new(usize::MAX >> 1), BURST);
                    let frames = frames.map(Some).chain(futures::stream::iter([None]));
                    lines.push(Box::pin(frames.map(move |item| (number, item))));
                    let pipe = LanePipe { from_mux, to_mux, stop: group.stop.child_token(), is_replaced };
                    let lane = start(member, pipe);
                    running.push(async move { (number, lane.await) });
                }
                Action::Park(member) => {
                    if let Some(lane) = present[member].and_then(|serial| lanes.get_mut(&serial)) {
                        lane.lines = None;
                    }
                }
                Action::Keep(member) => {
                    if let Some(told) = mux.members[member].told() {
                        let is_whole = mux.members[member].has_told_all();
                        let held = (group.keep)(&mux.asking(member), told, is_whole);
                        mux.holds(member, held);
                        actions.extend(mux.take_actions());
                    }
                }
            }
        }
        if has_left {
            if group.stop.is_cancelled() {
                mux.give_up_waiting();
                mux.take_actions().into_iter().for_each(|action| {
                    if let Action::ToClient(line) = action {
                        out.send(line);
                    }
                });
            }
            // A lane whose client has left answers what is open, and ends.
            for lane in lanes.values_mut().filter(|lane| mux.owes_nothing(lane.member)) {
                lane.lines = None;
            }
            if lanes.is_empty() && mux.owes_nobody() {
                break;
            }
        }
        let next_tick = mux.next_tick().filter(|_| !group.stop.is_cancelled());
        let (lanes_wait, client_waits) = (out.waiting() >= LANES_WAIT, out.waiting() >= CLIENT_WAITS);
        let (mut news, mut ended) = (None, None);
        tokio::select! {
            biased;
            () = group.stop.cancelled(), if deadline.is_none() || !has_left => {
                has_left = true;
                deadline = Some(Instant::now() + group.stop_grace + GIVE_UP_AFTER);
            }
            () = &mut writing => {}
            item = lines.next(), if !lanes_wait && !lines.is_empty() => news = item,
            over = running.next(), if !running.is_empty() => ended = over,
            item = frames.next(), if !has_left && !client_waits && !mux.is_full() => {
                mux.now = Instant::now();
                match item {
                    Some(Ok(Ok(frame))) => mux.client_line(&frame),
                    Some(Ok(Err(error))) => mux.client_line_too_long(&error),
                    Some(Err(_)) | None => {
                        has_left = true;
                        mux.leaves();
                        deadline = Some(Instant::now() + group.stop_grace + ANSWERED_WITHIN);
                    }
                }
            }
            () = at(next_tick) => {
                mux.now = Instant::now();
                mux.tick();
            }
            () = out.has_room(), if lanes_wait => {}
            () = group.hangup.wait(), if client_waits || mux.is_full() => group.stop.cancel(),
            () = at(deadline) => break,
        }
        mux.now = Instant::now();
        let number = match (news, ended) {
            (Some((number, Some(item))), _) => {
                let member = lanes.get(&number).map(|lane| lane.member);
                // What one says that has a successor is nobody's any more.
                if let (Some(member), Ok(Ok(frame))) =
                    (member.filter(|at| present[*at] == Some(number)), item)
                {
                    mux.member_line(member, &frame);
                }
                continue;
            }
            (Some((number, None)), _) => {
                lanes.entry(number).and_modify(|lane| lane.has_said_all = true);
                number
            }
            (None, Some((number, over))) => {
                lanes.entry(number).and_modify(|lane| lane.over = Some(over));
                number
            }
            (None, None) => continue,
        };
        // What it said last stands before its end.
        if let Some(lane) = lanes.get(&number)
            && lane.has_said_all
            && let Some(over) = &lane.over
        {
            let (member, over) = (lane.member, over.clone());
            lanes.remove(&number);
            if present[member] == Some(number) {
                present[member] = None;
                mux.member_over(member, failure(over, &mux.members[member].options.server).as_ref());
            }
        }
    }
    drop(out);
    // A client that has left and does not read has had its time.
    let last = at(Some(Instant::now() + group.stop_grace + GIVE_UP_AFTER));
    tokio::select! {
        () = writing => {}
        () = last => {}
    }
    Over::Client
}

/// Why a lane is over, if its server did not end in order.
fn failure(over: Over, server: &str) -> Option<Failure> {
    match over {
        // An end in order is a pause: the next call starts it again.
        Over::Client | Over::Server { code: 0, .. } => None,
        Over::Server { why, .. } => Some(Failure {
            code: Code::Unavailable,
            text: why,
            next: Some(format!("see `berth logs` for the server `{server}`")),
        }),
        Over::Failed(failure) => Some(failure),
    }
}

/// What is written to a lane waits here, and its end is the lane's end of input.
fn feed(mut to_lane: WriteHalf<DuplexStream>, unread: Arc<AtomicUsize>) -> mpsc::UnboundedSender<Bytes> {
    let (sender, mut lines) = mpsc::unbounded_channel::<Bytes>();
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            let written = to_lane.write_all(&line).await;
            unread.fetch_sub(line.len().min(unread.load(Ordering::Relaxed)), Ordering::Relaxed);
            if written.is_err() {
                return;
            }
        }
        let _ = to_lane.shutdown().await;
    });
    sender
}

/// What is written to the client.
struct Out {
    lines: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
    room: Arc<Notify>,
}

impl Out {
    /// The queue, and who empties it until it is dropped.
    fn new<W: AsyncWrite + Unpin + 'static>(
        mut to_client: W,
        stop: CancellationToken,
    ) -> (Self, LocalBoxFuture<'static, ()>) {
        let (sender, mut lines) = mpsc::unbounded_channel::<Bytes>();
        let out = Self { lines: sender, waiting: Arc::default(), room: Arc::default() };
        let (waiting, room) = (Arc::clone(&out.waiting), Arc::clone(&out.room));
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
                waiting.fetch_sub(burst.len(), Ordering::Relaxed);
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

    fn send(&mut self, line: Bytes) {
        self.waiting.fetch_add(line.len(), Ordering::Relaxed);
        // Fails when the client is gone.
        let _ = self.lines.send(line);
    }

    /// So much is not written yet (bytes).
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    async fn has_room(&self) {
        self.room.notified().await;
    }
}

#[cfg(test)]
mod tests;
