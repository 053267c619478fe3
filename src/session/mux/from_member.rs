//! The members' lines: answers to the client or to us, what they ask, and what they tell.

use bytes::Bytes;
use serde_json::{Value, json};

use super::asked::{Question, RootsWanted, cancellation};
use super::core::{Action, Mux, Open, Own};
use super::hello::Era;
use super::line::{self, METHOD_NOT_FOUND, patched};
use super::listens::SUBSCRIPTION;
use super::made::{Of, places};
use super::member::State;
use crate::catalogue::Hello;
use crate::catalogue::pages::Kind;
use crate::failure::{Code, Failure};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Frame, Kind as MessageKind, Look, RawId, RequestId, error_line, look};

impl Mux {
    pub(in crate::session) fn member_line(&mut self, member: usize, frame: &Frame) {
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
    fn listened(&mut self, member: usize, envelope: &Envelope<'_>) {
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

    fn own_answer(&mut self, member: usize, what: Own, envelope: &Envelope<'_>) {
        let error = || envelope.error.map_or("{}", Raw::get).to_owned();
        match (what, envelope.result) {
            (Own::Initialize, Some(result)) => {
                let it = &mut self.members[member];
                it.hears(Hello::Initialize(Bytes::copy_from_slice(result.get().as_bytes())));
                it.state = State::Up;
                it.failures = 0;
                it.is_kept = false;
                if self.greeting.is_initialized {
                    self.go_on_with(member);
                }
                self.flush(member);
                self.check(member);
            }
            (Own::Initialize, None) => {
                self.cannot_be_had(member, error());
                self.actions.push(Action::Park(member));
            }
            (Own::Discover, result) if self.greeting.era == Era::Legacy => {
                // The client has begun otherwise meanwhile; the next one need not wait for that.
                if result.is_none() && !is_ours(envelope.error) {
                    self.actions.push(Action::Remember(member));
                }
            }
            (Own::Discover, Some(result)) => {
                let it = &mut self.members[member];
                it.is_discovering = false;
                let hello = Hello::Discover(Bytes::copy_from_slice(result.get().as_bytes()));
                if it.hello.as_ref() != Some(&hello) {
                    it.hears(hello);
                    it.is_kept = false;
                }
                it.state = State::Up;
                it.failures = 0;
                // What it has told before may have changed without a word.
                it.is_checked = false;
                self.flush(member);
                self.listen_for_changes(member);
                self.check(member);
            }
            (Own::Discover, None) if is_ours(envelope.error) => {
                let it = &mut self.members[member];
                it.is_discovering = false;
                if it.state == State::Up {
                    // Its lane has lost the server, and says itself if no other one comes.
                    it.listen_again(self.now);
                } else {
                    self.cannot_be_had(member, error());
                    self.actions.push(Action::Park(member));
                }
            }
            (Own::Discover, None) if !self.greeting.is_answered => {
                let it = &mut self.members[member];
                it.is_discovering = false;
                it.hears(Hello::NoDiscover);
                it.state = State::Up;
                self.actions.push(Action::Keep(member));
                self.flush(member);
            }
            (Own::Discover, None) => {
                self.members[member].is_discovering = false;
                if matches!(self.members[member].hello, Some(Hello::Discover(_))) {
                    // It has known it before, and need not be asked again.
                    self.members[member].state = State::Up;
                    self.flush(member);
                    self.check(member);
                } else {
                    self.members[member].hears(Hello::NoDiscover);
                    let error = too_old(&self.members[member].options.server);
                    self.cannot_be_had(member, error);
                    self.actions.push(Action::Park(member));
                }
            }
            (Own::Page(kind), result) => return self.page(member, kind, result, envelope.error),
            (Own::Listen, _) => {
                self.members[member].is_listened_to = false;
                self.listened(member, envelope);
            }
            (Own::Idle, _) => {}
        }
        self.settle();
    }

    /// In the new era a server tells of changes only where it is listened to.
    fn listen_for_changes(&mut self, member: usize) {
        let params = self.modern_params(Some((
            "notifications",
            r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#,
        )));
        if let Some(params) = params.filter(|_| !self.members[member].is_listened_to) {
            self.members[member].is_listened_to = true;
            self.ask(member, Own::Listen, "subscriptions/listen", Some(&params));
        }
        for key in self.listens.of_member(member) {
            self.listen_to(member, &key);
        }
    }

    /// A server that has answered hears what the client has said since.
    pub(super) fn go_on_with(&mut self, member: usize) {
        let it = &mut self.members[member];
        if std::mem::replace(&mut it.is_initialized, true) {
            return;
        }
        self.push(member, line::notification("notifications/initialized", None));
        let it = &self.members[member];
        let level = self.greeting.level.clone().filter(|_| it.said.has("logging"));
        let subscriptions: Vec<String> = it.subscriptions.values().cloned().collect();
        if let Some(level) = level {
            self.ask(member, Own::Idle, "logging/setLevel", Some(&level));
        }
        for params in subscriptions {
            self.ask(member, Own::Idle, "resources/subscribe", Some(&params));
        }
    }

    /// What has waited for its first answer; calls of a server whose definitions are held wait on.
    fn flush(&mut self, member: usize) {
        for (id, line) in self.members[member].take_queue() {
            let is_call =
                id.as_ref().and_then(|id| self.in_flight.get(id)).is_some_and(|open| open.tool.is_some());
            if is_call && self.members[member].holds_calls() {
                self.members[member].enqueue(id, line);
            } else {
                self.push(member, line);
            }
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
    fn cannot_be_had(&mut self, member: usize, error: String) {
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

/// Whether an error is one of berth's own: the server was not even asked.
fn is_ours(error: Option<Raw<'_>>) -> bool {
    let code =
        error.and_then(|error| raw::member(error, "code")).and_then(|code| code.get().parse::<i64>().ok());
    let ours = [Code::Usage, Code::Unavailable, Code::Internal, Code::Configuration];
    code.is_some_and(|code| ours.into_iter().any(|our| i64::from(our) == code))
}

fn error_of(failure: &Failure) -> String {
    let data = json!({ "cause": failure.text, "next": failure.next });
    let error: Value = json!({ "code": i64::from(failure.code), "message": failure.message(), "data": data });
    error.to_string()
}

/// For a client of the new era alone, which has no `initialize`.
fn too_old(server: &str) -> String {
    let text = format!(
        "berth: the server `{server}` does not speak MCP 2026-07-28, and the client speaks nothing else"
    );
    json!({ "code": i64::from(Code::Unavailable), "message": text }).to_string()
}

fn too_many(id: &RawId) -> Bytes {
    error_line(Some(id), Code::Unavailable, "berth: too many requests to the client are open", None)
}
