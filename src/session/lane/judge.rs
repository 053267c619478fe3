//! The server->client direction: decides on each line. Does no I/O.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::inflight::{Asker, Pending};
use crate::observe::event::Direction;
use crate::observe::{Outcome, Returning};
use crate::rpc::error_object::{INVALID_REQUEST, PARSE_ERROR};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Frame, FrameError, Kind, Look, RawId, RequestId, error_line, look, salvage};
use crate::session::lane::shared::{Shared, lock};
use crate::session::rewrite::repair::Repaired;

/// Of a server's own requests in a line that can't be passed on, so many are answered: more is a flood.
const MOST_REFUSED: usize = 1024;

/// Of an id in a warning, so many characters.
const SHOWN: usize = 64;

/// What becomes of a line from the server.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Goes to the client as it is.
    Forward(Bytes),
    /// Our answers in its place: to what it answers, and to what it asks.
    Replace {
        to_client: Bytes,
        to_server: Bytes,
    },
    /// Is no message; a person may want to see it.
    Stray(Frame),
    /// The answer to a request of our own, or what is wrong with it.
    Ours(Result<Frame, String>),
    Drop,
}

/// The server->client direction: decides about each line, and completes what it answers, whose calls are `returning` then.
/// Does no I/O.
pub(super) fn judge(item: Result<Frame, FrameError>, shared: &Shared, returning: &mut Returning) -> Verdict {
    match item {
        Ok(frame) => judge_line(frame, shared, returning),
        Err(error) => judge_overlong(error, shared),
    }
}

/// A line that was thrown away, or a message in one.
fn judge_overlong(error: FrameError, shared: &Shared) -> Verdict {
    let why = Why {
        code: INVALID_REQUEST,
        answer: format!("the server's answer is in a {error}; raise `max_line` to let it pass"),
        request: format!("{error}; raise `max_line` for larger messages"),
    };
    let said = error.to_string();
    let FrameError::TooLong { limit, id, kind } = error;
    shared.trace.note(Some(Direction::ServerToClient), "line too long", &said, limit as u64);
    let messages: Vec<_> = id.map(|id| (id, kind)).into_iter().collect();
    spoil(&messages, &why, shared).unwrap_or_else(|| {
        tracing::warn!("dropped {} from the server: {said}", kind.phrase());
        Verdict::Drop
    })
}

fn judge_line(frame: Frame, shared: &Shared, returning: &mut Returning) -> Verdict {
    let note = |what, detail: &str, bytes: usize| {
        shared.trace.note(Some(Direction::ServerToClient), what, detail, bytes as u64);
    };
    let look = match look(frame.message()) {
        Ok(look) if may_pass(&look) => look,
        Ok(look) => {
            note("stray output", "", frame.wire().len());
            // A print of the server's, or a batch that has one in it; then somebody may wait for the rest.
            let is_waited_for = |envelope: &&Envelope<'_>| match envelope.kind {
                Kind::Request => envelope.has_jsonrpc,
                kind => is_answer(kind),
            };
            let messages = look.envelopes().iter().filter(is_waited_for);
            let messages: Vec<_> =
                messages.filter_map(|envelope| Some((envelope.raw_id()?, envelope.kind))).collect();
            let place = "in a batch with an element that is no JSON-RPC message";
            let why = Why {
                code: INVALID_REQUEST,
                answer: format!("the server's answer is {place}"),
                request: format!("the request is {place}"),
            };
            return spoil(&messages, &why, shared).unwrap_or(Verdict::Stray(frame));
        }
        Err(error) => {
            if let Some(repaired) = repair(&frame, shared) {
                // It is JSON, and so doesn't come here again.
                return judge_line(repaired, shared, returning);
            }
            note("stray output", &error.to_string(), frame.wire().len());
            // A print of the server's, or an answer that it broke; then somebody waits for it.
            let messages: Vec<_> =
                salvage::messages(frame.message()).filter(|(_, kind)| is_answer(*kind)).collect();
            let why = Why {
                code: PARSE_ERROR,
                answer: format!("the server's answer is not a JSON-RPC message: {error}"),
                request: String::new(),
            };
            return spoil(&messages, &why, shared).unwrap_or(Verdict::Stray(frame));
        }
    };
    if let Look::One(answer) = &look
        && is_answer(answer.kind)
        && answer.request_id().is_some_and(|id| shared.in_flight.is_overdue(&id))
    {
        note("late answer", "", frame.wire().len());
        return Verdict::Drop;
    }
    let filtered = shared.rules.tools.as_ref().and_then(|tools| {
        // Before the requests are taken out of the table, which tells what they were.
        let filtered = tools.filter(&frame, |id| shared.in_flight.may_list_tools(id))?;
        note("left out", &filtered.what, frame.wire().len());
        Some(filtered.line)
    });
    let answered = complete(&look, &frame, shared, returning);
    let latency = answered.as_ref().map(Pending::age);
    shared.trace.message(Direction::ServerToClient, &look, frame.wire(), latency);
    drop(look);
    if answered.is_some_and(|pending| pending.asker == Asker::Ourselves) {
        return Verdict::Ours(Ok(frame));
    }
    if let Some(line) = filtered {
        return Verdict::Forward(line);
    }
    if frame.is_terminated() {
        return Verdict::Forward(frame.into_wire());
    }
    // The server ended without a newline; the client couldn't tell the message from what follows.
    let mut line = Vec::with_capacity(frame.wire().len() + 1);
    line.extend_from_slice(frame.wire());
    line.push(b'\n');
    Verdict::Forward(line.into())
}

/// Why a line can't be passed on.
struct Why {
    code: i64,
    /// For who waits for an answer in it.
    answer: String,
    /// For the server, where it asks something in it.
    request: String,
}

/// What becomes of a line that can't be passed on and has these messages: each side that waits for one gets our error.
/// `None` if nobody does.
fn spoil(messages: &[(RawId, Kind)], why: &Why, shared: &Shared) -> Option<Verdict> {
    let answered = |(id, kind): &(RawId, Kind)| match kind {
        Kind::Request | Kind::Notification => None,
        Kind::Response | Kind::ErrorResponse | Kind::Other => id.request_id(),
    };
    // Alone: it ends the server, and with it what else is in flight is answered.
    if let Some(id) = messages.iter().filter_map(answered).find(|id| shared.in_flight.is_ours(id)) {
        shared.in_flight.complete(&id);
        return Some(Verdict::Ours(Err(why.answer.clone())));
    }
    let mut to_client = BytesMut::new();
    for mut pending in messages.iter().filter_map(answered).filter_map(|id| shared.in_flight.complete(&id)) {
        pending.ended(Outcome::Error(Some(why.code)));
        let message = format!("berth: {}", why.answer);
        to_client.extend_from_slice(&error_line(Some(&pending.id), why.code, &message, None));
    }
    let mut to_server = BytesMut::new();
    for (id, _) in messages.iter().filter(|(_, kind)| *kind == Kind::Request).take(MOST_REFUSED) {
        let message = format!("berth: {}", why.request);
        to_server.extend_from_slice(&error_line(Some(id), why.code, &message, None));
    }
    let is_for_nobody = to_client.is_empty() && to_server.is_empty();
    (!is_for_nobody)
        .then(|| Verdict::Replace { to_client: to_client.freeze(), to_server: to_server.freeze() })
}

/// A server's message that a few bytes make no JSON, without these. Said once: a server that does this does it often.
fn repair(broken: &Frame, shared: &Shared) -> Option<Frame> {
    let Repaired { frame, what } = shared.rules.repairs?.repair(broken, may_pass)?;
    if !shared.has_repaired.swap(true, Ordering::Relaxed) {
        shared.trace.note(Some(Direction::ServerToClient), "repaired", &what, broken.wire().len() as u64);
        tracing::warn!(
            "repaired a message from the server ({what}): `broken_answers = \"refuse\"` would answer with an error; \
             berth warns only once"
        );
    }
    Some(frame)
}

fn may_pass(look: &Look<'_>) -> bool {
    look.envelopes().iter().all(is_json_rpc) && look.is_message()
}

/// A server's log lines may be objects with a `method` of their own (`GET`); a message of its own says `jsonrpc`. An answer
/// without it is still what somebody waits for.
fn is_json_rpc(envelope: &Envelope<'_>) -> bool {
    envelope.has_jsonrpc || is_answer(envelope.kind)
}

/// Completes what `look` answers, and notes what it asks; gives the first request that is answered.
fn complete(look: &Look<'_>, frame: &Frame, shared: &Shared, returning: &mut Returning) -> Option<Pending> {
    let message = frame.message();
    let mut answered = None;
    for envelope in look.envelopes() {
        if envelope.kind == Kind::Request {
            shared.asked.insert(envelope);
        }
        if let Some(id) = acknowledged(envelope) {
            shared.in_flight.acknowledge(&id);
        }
        if is_answer(envelope.kind)
            && let Some(id) = envelope.request_id()
        {
            let Some(mut pending) = shared.in_flight.complete(&id) else {
                report_unasked(envelope, &id, message.len(), shared);
                continue;
            };
            if let Some(call) = pending.take_call() {
                returning.add(call, envelope, frame.wire().len());
            }
            if envelope.kind == Kind::ErrorResponse {
                shared.in_flight.count_error();
            }
            if pending.asker == Asker::Beginner {
                lock(&shared.handshake).server_answered(&id, envelope.kind, message);
            }
            answered = answered.or(Some(pending));
        }
    }
    answered
}

/// The subscription that this message acknowledges (MCP 2026-07-28, `SubscriptionsAcknowledgedNotification`).
fn acknowledged(envelope: &Envelope<'_>) -> Option<RequestId> {
    if envelope.method.as_deref() != Some("notifications/subscriptions/acknowledged") {
        return None;
    }
    let meta = raw::member(envelope.params?, "_meta")?;
    RequestId::from_raw(raw::member(meta, "io.modelcontextprotocol/subscriptionId")?)
}

/// An answer that nobody waits for. The client gets it all the same, for what passes is never chosen by us; it can't reach
/// anybody else.
fn report_unasked(envelope: &Envelope<'_>, id: &RequestId, bytes: usize, shared: &Shared) {
    if shared.in_flight.was_cancelled(id) {
        return;
    }
    let id = envelope.id.map_or("", Raw::get);
    shared.trace.note(Some(Direction::ServerToClient), "unasked answer", id, bytes as u64);
    if shared.in_flight.unasked() {
        // It may be as long as a line.
        let id: String = id.chars().take(SHOWN).collect();
        tracing::warn!(
            "the server answered a request that the client had not made, or answered it twice (id {id}); the client \
             gets such answers unchanged; berth warns only once"
        );
    }
}

pub(super) fn is_answer(kind: Kind) -> bool {
    matches!(kind, Kind::Response | Kind::ErrorResponse)
}

#[cfg(test)]
mod tests;
