//! The server->client direction: decides on each line. Does no I/O.

use bytes::Bytes;

use super::inflight::{Asker, Pending};
use crate::observe::event::Direction;
use crate::rpc::error_object::{INVALID_REQUEST, PARSE_ERROR};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Frame, FrameError, Kind, Look, RawId, RequestId, Salvage, error_line, look};
use crate::session::lane::shared::{Shared, lock};

/// Of an id in a warning, so many characters.
const SHOWN: usize = 64;

/// What becomes of a line from the server.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Goes to the client as it is.
    Forward(Bytes),
    /// Our answer in its place.
    Replace(Bytes),
    /// Is no message; a person may want to see it.
    Stray(Frame),
    /// Our answer to a request of the server's that can't be forwarded.
    Refuse(Bytes),
    /// The answer to a request of our own, or what is wrong with it.
    Ours(Result<Frame, String>),
    Drop,
}

/// The server->client direction: decides about each line, and completes what it answers. Does no I/O.
pub(super) fn judge(item: Result<Frame, FrameError>, shared: &Shared) -> Verdict {
    let note = |what, detail: &str, bytes: usize| {
        shared.trace.note(Some(Direction::ServerToClient), what, detail, bytes as u64);
    };
    let frame = match item {
        Ok(frame) => frame,
        Err(error) => {
            let FrameError::TooLong { limit, id, kind } = &error;
            note("line too long", &error.to_string(), *limit);
            if let (Kind::Request, Some(id)) = (kind, id) {
                let message = format!("berth: {error}; raise `max_line` for larger messages");
                return Verdict::Refuse(error_line(Some(id), INVALID_REQUEST, &message, None));
            }
            let asked = id.as_ref().filter(|_| *kind != Kind::Notification).and_then(RawId::request_id);
            let Some(pending) = asked.and_then(|id| shared.in_flight.complete(&id)) else {
                tracing::warn!("dropped a {kind} from the server: {error}");
                return Verdict::Drop;
            };
            let message = format!("the server's answer is a {error}; raise `max_line` to let it pass");
            return spoilt(&pending, INVALID_REQUEST, message);
        }
    };
    let look = match look(frame.message()) {
        Ok(look) if look.envelopes().iter().all(is_json_rpc) && look.is_message() => look,
        Ok(_) => {
            note("stray output", "", frame.wire().len());
            return Verdict::Stray(frame);
        }
        Err(error) => {
            note("stray output", &error.to_string(), frame.wire().len());
            // A print of the server's, or an answer that it broke; then somebody waits for it.
            let salvage = Salvage::of(frame.message());
            let asked = salvage.id().filter(|_| is_answer(salvage.kind())).and_then(RawId::request_id);
            let Some(pending) = asked.and_then(|id| shared.in_flight.complete(&id)) else {
                return Verdict::Stray(frame);
            };
            let message = format!("the server's answer is not a JSON-RPC message: {error}");
            return spoilt(&pending, PARSE_ERROR, message);
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
    let answered = complete(&look, frame.message(), shared);
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

/// An answer that can't be passed on.
fn spoilt(pending: &Pending, code: i64, message: String) -> Verdict {
    if pending.asker == Asker::Ourselves {
        return Verdict::Ours(Err(message));
    }
    Verdict::Replace(error_line(Some(&pending.id), code, &format!("berth: {message}"), None))
}

/// A server's log lines may be objects with a `method` of their own (`GET`); a message of its own says `jsonrpc`. An answer
/// without it is still what somebody waits for.
fn is_json_rpc(envelope: &Envelope<'_>) -> bool {
    envelope.has_jsonrpc || is_answer(envelope.kind)
}

/// Completes what `look` answers, and notes what it asks; gives the first request that is answered.
fn complete(look: &Look<'_>, message: &[u8], shared: &Shared) -> Option<Pending> {
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
            let Some(pending) = shared.in_flight.complete(&id) else {
                report_unasked(envelope, &id, message.len(), shared);
                continue;
            };
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
