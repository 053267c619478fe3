//! Several servers behind one client: a lane for each, which is a session of its own over a pipe in memory.
//!
//! ```text
//! client::stdio -> core (from_client) -> a lane's pipe -> session::run -> its server
//! client::stdio <- writer <- core (from_member) <- a lane's pipe <- session::run
//! ```
//!
//! `core` and its neighbours decide, and read no clock; this file moves the bytes. Nobody waits for another lane: what a lane does not read
//! waits in a queue of its own, and a client that does not read stops the lanes alone.

mod asked;
mod batches;
mod begin;
mod bridge;
mod clock;
mod core;
mod eras;
mod from_client;
mod from_member;
mod hello;
mod lanes;
mod line;
mod listens;
mod lists;
mod living;
mod made;
mod member;
mod out;
mod own;
mod requests;
mod start;
mod table;
mod waiting;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use futures::future::FusedFuture;
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use self::core::{Action, Mux};
use super::client::stdio::Hangup;
use super::client::writer::at;
use super::lane::burst::BURST;
use super::lane::outcome::Over;
use crate::catalogue::{Hello, Told};
use crate::failure::{Code, Failure};
use crate::rpc::FrameCodec;
use crate::values::ToolPattern;
use lanes::{Lanes, News};
use out::Out;
use table::Naming;

pub use self::core::{Asking, Held, Keep, Known, Recalled};
pub use lanes::LanePipe;
pub use living::Reshape;
pub use member::MemberOptions;

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
    /// Hears of calls of a member's tool that were refused, for nobody has accepted its definition.
    pub held: Held,
    /// What the session is made of from then on.
    pub changes: mpsc::Receiver<Reshape>,
    /// The session's id, which nobody else knows but its servers.
    pub session: String,
    /// What nobody but the client comes to know.
    pub secret: String,
    /// The longest message (bytes).
    pub max_line: usize,
    /// How long servers may take for their end.
    pub stop_grace: Duration,
    pub hangup: Hangup,
    pub stop: CancellationToken,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("members", &self.members).finish_non_exhaustive()
    }
}

/// After the end of its client, a session ends by then whatever happens.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// So long the client is waited for that has left with open questions to several servers.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(25);

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
    F: Future<Output = Over> + 'static,
{
    let naming = Naming {
        room: group.room,
        allowed: group.tools.take(),
        denied: std::mem::take(&mut group.deny_tools),
    };
    let known = std::mem::replace(&mut group.known, Box::new(|_| None));
    let ids = (group.session.as_str(), group.secret.as_str());
    let mut mux = Mux::new(std::mem::take(&mut group.members), naming, ids, known, Instant::now());
    let mut frames = FramedRead::with_capacity(from_client, FrameCodec::new(group.max_line), BURST);
    let (mut out, writing) = Out::new(to_client, group.stop.clone());
    let mut writing = std::pin::pin!(writing.fuse());
    let mut lanes = Lanes::new(mux.members.len(), group.stop.clone());
    let mut has_left = false;
    let mut deadline = None;
    loop {
        carry_out(&mut mux, &mut lanes, &mut out, &mut group, &mut start);
        if has_left {
            if group.stop.is_cancelled() {
                mux.give_up_waiting();
                carry_out(&mut mux, &mut lanes, &mut out, &mut group, &mut start);
            }
            // A lane whose client has left answers what is open, and ends.
            lanes.close(|member| mux.owes_nothing(member));
            if lanes.are_over() && mux.owes_nobody() {
                break;
            }
        }
        let next_tick = mux.next_tick().filter(|_| !group.stop.is_cancelled());
        let (lanes_wait, client_waits) = (out.is_half_full(), out.is_full() || mux.is_full());
        tokio::select! {
            biased;
            () = group.stop.cancelled(), if deadline.is_none() || !has_left => {
                has_left = true;
                deadline = Some(Instant::now() + group.stop_grace + GIVE_UP_AFTER);
            }
            () = &mut writing => {}
            news = lanes.next(!lanes_wait) => {
                mux.now = Instant::now();
                match news {
                    News::Line(member, frame) => mux.member_line(member, &frame),
                    News::Over(member, over) => {
                        let failure = failure(over, &mux.members[member].options.server);
                        mux.member_over(member, failure.as_ref());
                    }
                }
            }
            item = frames.next(), if !has_left && !client_waits => {
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
            Some(reshape) = group.changes.recv(), if !has_left => {
                mux.now = Instant::now();
                mux.reshape(reshape);
                lanes.grow(mux.members.len());
            }
            () = at(next_tick) => {
                mux.now = Instant::now();
                mux.may_tell = !lanes_wait;
                mux.tick();
            }
            () = out.has_room(), if lanes_wait => {}
            () = group.hangup.wait(), if client_waits && !group.stop.is_cancelled() => group.stop.cancel(),
            () = at(deadline) => break,
        }
    }
    mux.give_up();
    carry_out(&mut mux, &mut lanes, &mut out, &mut group, &mut start);
    drop(out);
    if writing.is_terminated() {
        return Over::Client;
    }
    // A client that has left and does not read has had its time.
    let last = at(Some(Instant::now() + group.stop_grace + GIVE_UP_AFTER));
    tokio::select! {
        () = writing => {}
        () = last => {}
    }
    Over::Client
}

/// Does what follows from an event.
fn carry_out<F: Future<Output = Over> + 'static>(
    mux: &mut Mux,
    lanes: &mut Lanes,
    out: &mut Out,
    group: &mut Group,
    start: &mut impl FnMut(usize, LanePipe) -> F,
) {
    let mut actions = VecDeque::from(mux.take_actions());
    while let Some(action) = actions.pop_front() {
        match action {
            Action::ToClient(line) => out.send(line),
            Action::ToMember(member, line) => lanes.send(member, line),
            Action::Start(member) => lanes.start(member, mux.members[member].new_lane(), &mut *start),
            Action::Park(member) => lanes.park(member),
            Action::Held(member, tool) => (group.held)(member, &tool),
            Action::Remember(member) => {
                if let Some(asking) = mux.asking_before(member) {
                    let (tools, prompts, resources, templates) = (None, None, None, None);
                    let hello = Hello::NoDiscover;
                    (group.keep)(
                        &asking,
                        Told { image: String::new(), hello, tools, prompts, resources, templates },
                        true,
                    );
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

#[cfg(test)]
mod tests;
