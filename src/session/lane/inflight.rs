//! The client's requests that have no answer yet.
//!
//! Only the client->server pump inserts; the server->client pump completes. Bounded: where it is full, the client is read
//! no further until an answer has come.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dashmap::mapref::entry::Entry;
use dashmap::{DashMap, DashSet};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::observe::{Call, Outcome};
use crate::rpc::{Envelope, RawId, RequestId, failure_response};

/// Clients have a handful; the bound is for floods.
pub const CAPACITY: usize = 16 * 1024;

/// So many cancelled requests are known to be that; of one beyond, a late answer looks unasked.
const CANCELLED: usize = 1024;

/// One unanswered request.
#[derive(Debug)]
pub struct Pending {
    /// The id as the client spelt it.
    pub id: RawId,
    pub since: Instant,
    pub asker: Asker,
    /// Its answer is a list of tools.
    lists_tools: bool,
    /// Whoever asked so asks on, whatever the answer.
    pub is_probe: bool,
    /// Which request of the session it is.
    number: u64,
    /// Its line of the session's history; one that is dropped says that it was lost.
    call: Option<Call>,
}

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Client,
    /// The client, with its first request (`initialize`, up to 2025-11-25).
    Beginner,
    /// The client, as long as it wants notifications (`subscriptions/listen`, since 2026-07-28).
    Listener,
    /// The same, and the server has acknowledged it.
    Subscriber,
    /// We do: it is a handshake that was repeated.
    Ourselves,
}

impl Pending {
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Its line of the history, whose end is told by who takes it.
    pub fn take_call(&mut self) -> Option<Call> {
        self.call.take()
    }

    /// It has come to an end without the server.
    pub fn ended(&mut self, outcome: Outcome) {
        if let Some(call) = self.call.take() {
            call.ended(outcome);
        }
    }

    /// The answer where no server gives one. A subscription that breaks off has no result (MCP 2026-07-28,
    /// «Subscriptions»): by the error its client knows to subscribe again.
    pub fn answer(&self, failure: &Failure) -> Bytes {
        failure_response(Some(&self.id), failure)
    }

    /// The same where the session ends in order: to a subscriber, that its subscription is over.
    pub fn farewell(&self, failure: &Failure) -> Bytes {
        match self.asker {
            Asker::Subscriber => subscription_over(&self.id),
            _ => self.answer(failure),
        }
    }
}

/// Clients probe with `server/discover`, hide its error from the person, and ask again with `initialize`.
pub fn is_probe(method: &str) -> bool {
    method == "server/discover"
}

/// `SubscriptionsListenResult` (MCP 2026-07-28, «Subscriptions»): the stream has ended in order, and the client may open
/// another one.
fn subscription_over(id: &RawId) -> Bytes {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"resultType\":\"complete\",\
         \"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}}}}}\n"
    )
    .into()
}

#[derive(Debug, Default)]
pub struct InFlight {
    pending: DashMap<RequestId, Pending>,
    /// One that was pending is so no longer.
    freed: Notify,
    requests: AtomicU64,
    /// Of these, our own.
    ours: AtomicU64,
    /// Answers that are errors of the server's.
    errors: AtomicU64,
    /// Requests that were left to us to answer.
    lost: AtomicU64,
    /// Servers answer what was cancelled all the same, some by mistake, some because it was too late.
    cancelled: DashSet<RequestId>,
    unasked: AtomicBool,
    /// Requests that we have answered for a server that took too long.
    overdue: DashSet<RequestId>,
    /// The present server has answered something.
    answered: AtomicBool,
}

impl InFlight {
    /// Whether another line may be read. Its requests are then inserted, all of them: a batch may go beyond the bound by
    /// its own length.
    pub fn has_room(&self) -> bool {
        self.pending.len() < CAPACITY
    }

    /// Whether the client waits for nothing.
    pub fn is_idle(&self) -> bool {
        self.pending.iter().all(|pending| pending.asker == Asker::Ourselves)
    }

    /// Waits until it has. Cancel safe.
    pub async fn room(&self) {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Before the look, so that nothing is missed in between.
            freed.as_mut().enable();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }

    /// Registers a request. One without a usable id expects no answer.
    pub fn insert(&self, request: &Envelope<'_>, call: Option<Call>) {
        if let (Some(key), Some(id)) = (request.request_id(), request.raw_id()) {
            let asker = match request.method.as_deref() {
                Some("subscriptions/listen") => Asker::Listener,
                Some("initialize") => Asker::Beginner,
                _ => Asker::Client,
            };
            self.wait(key, id, asker, request.method.as_deref(), call);
        }
    }

    /// Registers a request of our own.
    pub fn insert_ours(&self, id: &RawId) {
        if let Some(key) = id.request_id() {
            self.ours.fetch_add(1, Ordering::Relaxed);
            self.wait(key, id.clone(), Asker::Ourselves, None, None);
        }
    }

    fn wait(&self, key: RequestId, id: RawId, asker: Asker, method: Option<&str>, call: Option<Call>) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (lists_tools, is_probe) = (method == Some("tools/list"), method.is_some_and(is_probe));
        let mut pending = Pending { id, since: Instant::now(), asker, lists_tools, is_probe, number, call };
        match self.pending.entry(key) {
            // One id for two requests: nobody can tell which of them an answer is to.
            Entry::Occupied(mut entry) => {
                pending.lists_tools |= entry.get().lists_tools;
                entry.insert(pending);
            }
            Entry::Vacant(entry) => drop(entry.insert(pending)),
        }
    }

    /// Whether an answer with this id may be a list of tools: it was asked for, or we don't know what was.
    pub fn may_list_tools(&self, id: Option<&RequestId>) -> bool {
        id.and_then(|id| self.pending.get(id)).is_none_or(|pending| pending.lists_tools)
    }

    /// Whether we wait for an answer with this id ourselves.
    pub fn is_ours(&self, id: &RequestId) -> bool {
        self.pending.get(id).is_some_and(|pending| pending.asker == Asker::Ourselves)
    }

    /// When the oldest one was asked.
    pub fn oldest(&self) -> Option<Instant> {
        self.pending.iter().map(|entry| entry.since).min()
    }

    /// Takes out what an answer of the server's with this id completes.
    pub fn complete(&self, id: &RequestId) -> Option<Pending> {
        let pending = self.take(id)?;
        self.answered.store(true, Ordering::Relaxed);
        Some(pending)
    }

    /// Whether the server has answered anything since it was the next one ([`Self::forget`]).
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// The server has acknowledged a subscription.
    pub fn acknowledge(&self, id: &RequestId) {
        if let Some(mut pending) = self.pending.get_mut(id)
            && pending.asker == Asker::Listener
        {
            pending.asker = Asker::Subscriber;
        }
    }

    /// A server is there: what has waited for one is asked now.
    pub fn restart(&self) {
        let now = Instant::now();
        self.pending.iter_mut().for_each(|mut pending| pending.since = now);
    }

    /// The server is gone, and its late answers with it.
    pub fn forget(&self) {
        self.cancelled.clear();
        self.overdue.clear();
        self.answered.store(false, Ordering::Relaxed);
    }

    fn take(&self, id: &RequestId) -> Option<Pending> {
        let taken = self.pending.remove(id).map(|(_, pending)| pending);
        self.freed.notify_waiters();
        taken
    }

    /// Nobody waits for an answer to this any more.
    pub fn cancel(&self, id: &RequestId) {
        if let Some(mut pending) = self.take(id) {
            pending.ended(Outcome::Cancelled);
            remember(&self.cancelled, id);
        }
    }

    /// Takes out what the client has waited for so long, oldest first. Who listens waits for ever, and so does who
    /// begins: MCP has no cancellation of `initialize`.
    pub fn overdue(&self, timeout: Duration) -> Vec<Pending> {
        let late = |pending: &Pending| pending.asker == Asker::Client && pending.age() >= timeout;
        let keys: Vec<RequestId> =
            self.pending.iter().filter(|entry| late(entry)).map(|entry| entry.key().clone()).collect();
        let mut all = Vec::new();
        for key in keys {
            if let Some(mut pending) = self.take(&key) {
                pending.ended(Outcome::TimedOut);
                all.push(pending);
                remember(&self.overdue, &key);
            }
        }
        all.sort_by_key(|pending| pending.number);
        all
    }

    /// Whether an answer comes too late, for the client has had ours; it does once.
    pub fn is_overdue(&self, id: &RequestId) -> bool {
        !self.overdue.is_empty() && !self.pending.contains_key(id) && self.overdue.remove(id).is_some()
    }

    /// Whether an answer that completes nothing is to a request that was cancelled; it is once.
    pub fn was_cancelled(&self, id: &RequestId) -> bool {
        self.cancelled.remove(id).is_some()
    }

    /// An answer to what was never asked, or was answered before, has come. Whether it is the first.
    pub fn unasked(&self) -> bool {
        !self.unasked.swap(true, Ordering::Relaxed)
    }

    /// Goes on waiting for an answer that the next server is to give.
    pub fn wait_on(&self, pending: Pending) {
        if let Some(key) = pending.id.request_id() {
            self.lost.fetch_sub(1, Ordering::Relaxed);
            self.pending.insert(key, pending);
        }
    }

    /// Takes out all, oldest first; gives those of the client.
    pub fn drain(&self) -> Vec<Pending> {
        let keys: Vec<RequestId> = self.pending.iter().map(|entry| entry.key().clone()).collect();
        let mut all: Vec<Pending> = keys.iter().filter_map(|key| self.take(key)).collect();
        all.retain(|pending| pending.asker != Asker::Ourselves);
        all.sort_by_key(|pending| pending.number);
        self.lost.fetch_add(all.len() as u64, Ordering::Relaxed);
        all
    }

    /// The session is over: what is open was lost.
    pub fn forget_calls(&self) {
        self.pending.iter_mut().for_each(|mut pending| drop(pending.call.take()));
    }

    /// The server has answered with an error.
    pub fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// What has become of the client's requests so far.
    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: count(&self.requests).saturating_sub(count(&self.ours)),
            errors: count(&self.errors),
            lost: count(&self.lost),
            unanswered: self.pending.iter().filter(|pending| pending.asker != Asker::Ourselves).count()
                as u64,
        }
    }
}

/// What has become of the client's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    /// Answered with an error of the server's.
    pub errors: u64,
    /// Left unanswered by a server that was lost, and answered by us.
    pub lost: u64,
    /// Answered by nobody.
    pub unanswered: u64,
}

/// Most late answers never come, so what was noted first is forgotten in the end, all at once.
fn remember(ids: &DashSet<RequestId>, id: &RequestId) {
    if ids.len() >= CANCELLED {
        ids.clear();
    }
    ids.insert(id.clone());
}

#[cfg(test)]
mod tests;
