//! The members' lines: answers to the client or to us, what they ask, and what they tell.

use bytes::Bytes;
use serde_json::{Value, json};

use super::asked::{Question, RootsWanted, cancellation};
use super::core::{Mux, Open};
use super::hello::Era;
use super::line::{self, METHOD_NOT_FOUND, patched};
use super::listens::SUBSCRIPTION;
use super::made::{Of, places};
use super::member::State;
use crate::catalogue::pages::Kind;
use crate::failure::{Code, Failure};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Frame, Kind as MessageKind, Look, RawId, RequestId, error_line, look};

impl Mux {
    /// A line of a member's, in the session's era.
    pub(super) fn heard(&mut self, member: usize, frame: &Frame) {
        // What is no message does not come through a lane.
        let (Ok(seen), Ok(text)) = (look(frame.message()), std::str::from_utf8(frame.message())) else {
            return;
        };
        match seen {
            Look::One(envelope) => self.member_message(member, &envelope, text, Some(frame.wire())),
            Look::Batch(_) => {
                if let Some(all) = Raw::parse(text) {
                    raw::elements(all, |element| {
                        if let Ok(Look::One(envelope)) = look(element.get().as_bytes()) {
                            self.member_message(member, &envelope, element.get(), None);
                        }
                    });
                }
            }
        }
    }

    fn member_message(&mut self, member: usize, envelope: &Envelope<'_>, text: &str, wire: Option<&Bytes>) {
        match envelope.kind {
            MessageKind::Response | MessageKind::ErrorResponse => {
                let Some(id) = envelope.request_id() else { return };
                self.member_answer(member, &id, envelope, text, wire);
            }
            MessageKind::Request => {
                self.members[member].last_used = self.now;
                if let Some(id) = envelope.raw_id() {
                    self.member_request(member, id, envelope, text);
                }
            }
            MessageKind::Notification => self.member_notification(member, envelope, text, wire),
            MessageKind::Other => {}
        }
    }

    fn member_answer(
        &mut self,
        member: usize,
        id: &RequestId,
        envelope: &Envelope<'_>,
        text: &str,
        wire: Option<&Bytes>,
    ) {
        if let Some((_, what)) = self.own.get(id).copied().filter(|(owner, _)| *owner == member) {
            self.own.remove(id);
            return self.own_answer(member, what, envelope);
        }
        if self.in_flight.get(id).is_some_and(|open| open.member == member) {
            self.members[member].last_used = self.now;
            let open = self.in_flight.remove(id);
            if envelope.kind == MessageKind::ErrorResponse
                && let Some(uri) = open.and_then(|open| open.subscribes)
            {
                self.members[member].subscriptions.remove(&uri);
            }
            let line = self.outward(member, envelope, text, wire);
            if let Some(result) = envelope.result {
                self.table.note_links(result, member);
            }
            return self.tell_client(Some(id), line);
        }
        if self.listens.is_of(id, member) {
            self.members[member].listening.remove(id);
            return self.listened(member, envelope);
        }
        tracing::debug!(
            "dropped an answer of `{}` to nothing it was asked",
            self.members[member].options.server
        );
    }

    /// A server tells no more of what it was listened to for: the one after it is asked again.
    pub(super) fn listened(&mut self, member: usize, envelope: &Envelope<'_>) {
        let code = envelope.error.and_then(|error| raw::member(error, "code")).map(Raw::get);
        let it = &mut self.members[member];
        if code != Some("-32601") && it.state == State::Up && self.greeting.era == Era::Modern {
            it.listen_again(self.now);
        }
    }

    /// As the client is to see it: ids that a server made are rewritten where they clash.
    fn outward(&mut self, member: usize, envelope: &Envelope<'_>, text: &str, wire: Option<&Bytes>) -> Bytes {
        let places = places(text, [envelope.params, envelope.result, envelope.error]);
        let mut parts = Vec::new();
        for (of, place) in places {
            let outward = self.made.outward(of, member, place.get());
            if outward != place.get() {
                parts.push((place, outward));
            }
        }
        match wire {
            Some(wire) if parts.is_empty() && wire.ends_with(b"\n") => wire.clone(),
            _ => patched(text, &parts),
        }
    }

    fn member_request(&mut self, member: usize, id: RawId, envelope: &Envelope<'_>, text: &str) {
        let method = envelope.method.as_deref().unwrap_or_default();
        if method == "ping" {
            return self.tell(member, line::result(&id, &"{}"));
        }
        if self.greeting.era == Era::Modern && self.greeting.is_answered {
            let text = "berth: the client speaks MCP 2026-07-28, in which servers ask nothing";
            return self.tell(member, error_line(Some(&id), METHOD_NOT_FOUND, text, None));
        }
        if !self.greeting.is_initialized {
            // Before that the client may not be asked (specification, «Lifecycle»).
            if let Err(frame) = self.asked.hold(member, Frame::new(patched(text, &[]))) {
                drop(frame);
                self.tell(member, too_many(&id));
            }
            return;
        }
        if method == "roots/list" {
            let asked = id.clone();
            match self.asked.roots(member, id) {
                RootsWanted::Known(line) => self.tell(member, line),
                RootsWanted::Ask(line) => self.tell_client(None, line),
                RootsWanted::Wait => {}
                RootsWanted::TooOften => self.tell(member, too_many(&asked)),
            }
            return;
        }
        let token = envelope
            .params
            .and_then(|params| raw::member(raw::member(params, "_meta")?, "progressToken"))
            .filter(|token| RequestId::from_raw(*token).is_some());
        let question = Question { member, id: id.clone(), token: token.map(|token| token.get().to_owned()) };
        let Some(number) = self.asked.insert(question) else { return self.tell(member, too_many(&id)) };
        let mut parts = Vec::new();
        parts.extend(envelope.id.map(|place| (place, number.to_string())));
        parts.extend(token.map(|place| (place, self.made.outward(Of::Progress, member, place.get()))));
        for (of, place) in places(text, [envelope.params, None, None]) {
            parts.push((place, self.made.outward(of, member, place.get())));
        }
        parts.sort_by_key(|(place, _)| place.get().as_ptr().addr());
        self.tell_client(None, patched(text, &parts));
    }

    /// A server that asks and does not read hears nothing more.
    fn tell(&mut self, member: usize, line: Bytes) {
        if !self.members[member].has_room_for(&line) {
            tracing::debug!("`{}` does not read its answers", self.members[member].options.server);
            return;
        }
        self.push(member, line);
    }

    fn member_notification(
        &mut self,
        member: usize,
        envelope: &Envelope<'_>,
        text: &str,
        wire: Option<&Bytes>,
    ) {
        let param = |name| envelope.params.and_then(|params| raw::member(params, name));
        match envelope.method.as_deref().unwrap_or_default() {
            "notifications/tools/list_changed" => return self.outdated(member, &[Kind::Tools]),
            "notifications/prompts/list_changed" => return self.outdated(member, &[Kind::Prompts]),
            "notifications/resources/list_changed" => {
                return self.outdated(member, &[Kind::Resources, Kind::Templates]);
            }
            "notifications/subscriptions/acknowledged" => return,
            "notifications/cancelled" => {
                let withdrawn = param("requestId")
                    .and_then(RequestId::from_raw)
                    .and_then(|id| self.asked.withdrawn(member, &id));
                if let Some((number, token)) = withdrawn {
                    if let Some(token) = token {
                        self.made.forget_token(member, &token);
                    }
                    let reason = param("reason").and_then(raw::string).unwrap_or_default();
                    self.tell_client(None, cancellation(number, &reason));
                }
                return;
            }
            "notifications/progress" => {
                let is_others = |token: Raw<'_>| {
                    let token = RequestId::from_raw(token);
                    let key = |open: &Open| RequestId::from_raw(Raw::parse(open.token.as_deref()?)?);
                    let asked = self.in_flight.values().find(|open| token.is_some() && key(open) == token);
                    asked.is_some_and(|open| open.member != member)
                };
                if param("progressToken").is_some_and(is_others) {
                    return;
                }
            }
            _ => {}
        }
        let subscription = param("_meta").and_then(|meta| raw::member(meta, SUBSCRIPTION));
        if let Some(key) = subscription.and_then(RequestId::from_raw)
            && !self.listens.is_of(&key, member)
        {
            return;
        }
        let line = self.outward(member, envelope, text, wire);
        self.tell_client(None, line);
    }

    /// A member's session is over: its server gave its container back, could not be had, or is not tried again.
    pub(in crate::session) fn member_over(&mut self, member: usize, failure: Option<&Failure>) {
        self.forget_server(member);
        let it = &mut self.members[member];
        if it.state == State::Parking {
            it.state = State::Asleep;
            // One that was removed meanwhile answers it, too, and parks again.
            if !it.queue.is_empty() {
                self.start(member);
            }
            self.seek_what_is_waited_for();
            return;
        }
        if matches!(it.state, State::Over { .. }) {
            return;
        }
        let gone = Failure {
            code: Code::Unavailable,
            text: format!("the server `{}` has ended", it.options.server),
            next: None,
        };
        let error = error_of(failure.unwrap_or(&gone));
        if failure.is_some() {
            self.cannot_be_had(member, error);
        } else {
            self.members[member].state = State::Asleep;
            self.answer_all(member, &error);
        }
        self.settle();
    }

    /// There is no server for a member; whoever waits for it hears why.
    pub(super) fn cannot_be_had(&mut self, member: usize, error: String) {
        self.answer_all(member, &error);
        let code = Raw::parse(&error).and_then(|error| raw::member(error, "code")).map(Raw::get);
        let is_lasting = code.and_then(|code| code.parse().ok()) == Some(i64::from(Code::Configuration));
        let it = &mut self.members[member];
        it.failures += 1;
        it.fetch_again_at = None;
        it.listen_again_at = None;
        it.state = State::Over { error, since: self.now, is_lasting };
    }

    pub(super) fn answer_all(&mut self, member: usize, error: &str) {
        drop(self.members[member].take_queue());
        let open: Vec<RequestId> = self
            .in_flight
            .iter()
            .filter(|(_, open)| open.member == member)
            .map(|(key, _)| key.clone())
            .collect();
        for key in open {
            if let Some(open) = self.in_flight.remove(&key) {
                self.tell_client(Some(&key), line::error(&open.id, error));
            }
        }
    }
}

fn error_of(failure: &Failure) -> String {
    let data = json!({ "cause": failure.text, "next": failure.next });
    let error: Value = json!({ "code": i64::from(failure.code), "message": failure.message(), "data": data });
    error.to_string()
}

fn too_many(id: &RawId) -> Bytes {
    error_line(Some(id), Code::Unavailable, "berth: too many requests to the client are open", None)
}
