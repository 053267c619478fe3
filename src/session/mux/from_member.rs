//! The members' lines: answers to the client or to us, what they ask, and what they tell.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asked::{Question, RootsWanted, cancellation};
use super::core::{Action, Mux, Own};
use super::hello::Era;
use super::line::{self, patched};
use super::listens::SUBSCRIPTION;
use super::made::{Of, places};
use super::member::State;
use crate::catalogue::Hello;
use crate::catalogue::pages::{Cut, Kind, Pages, Step};
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
        self.members[member].last_used = self.now;
        match envelope.kind {
            MessageKind::Response | MessageKind::ErrorResponse => {
                let Some(id) = envelope.request_id() else { return };
                self.member_answer(member, &id, envelope, text, wire);
            }
            MessageKind::Request => {
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
            self.in_flight.remove(id);
            let line = self.outward(member, envelope, text, wire);
            if let Some(result) = envelope.result {
                self.table.note_links(result, member);
            }
            return self.to_client(Some(id), line);
        }
        if self.listens.is_of(id, member) {
            // It is listened to again once there is another server.
            return;
        }
        tracing::warn!(
            "dropped an answer of `{}` to nothing it was asked",
            self.members[member].options.server
        );
    }

    /// As the client is to see it: ids that a server made are rewritten where they clash.
    fn outward(&mut self, member: usize, envelope: &Envelope<'_>, text: &str, wire: Option<&Bytes>) -> Bytes {
        let places = places(text, envelope.params, envelope.result);
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
                self.members[member]
                    .hears(Hello::Initialize(Bytes::copy_from_slice(result.get().as_bytes())));
                self.members[member].state = State::Up;
                if self.greeting.is_initialized {
                    self.go_on_with(member);
                }
                self.flush(member);
                if self.greeting.is_initialized {
                    self.fetch_all(member);
                }
            }
            (Own::Initialize, None) => {
                self.cannot_be_had(member, error());
                self.actions.push(Action::Park(member));
            }
            (Own::Discover, Some(result)) => {
                self.members[member].hears(Hello::Discover(Bytes::copy_from_slice(result.get().as_bytes())));
                self.members[member].state = State::Up;
                self.flush(member);
                let params = self.modern_params(Some((
                    "notifications",
                    r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#,
                )));
                if let Some(params) = params {
                    self.ask(member, Own::Idle, "subscriptions/listen", Some(&params));
                }
                for key in self.listens.of_member(member) {
                    self.listen_to(member, &key);
                }
                if self.greeting.is_answered {
                    self.fetch_all(member);
                }
            }
            (Own::Discover, None) => {
                if self.greeting.is_answered {
                    if !matches!(self.members[member].hello, Some(Hello::Discover(_))) {
                        self.cannot_be_had(member, too_old(&self.members[member].options.server));
                        self.actions.push(Action::Park(member));
                        self.settle();
                    }
                    return;
                }
                self.members[member].hears(Hello::NoDiscover);
                self.members[member].state = State::Up;
                self.actions.push(Action::Keep(member));
                self.flush(member);
            }
            (Own::Page(kind), result) => return self.page(member, kind, result, envelope.error),
            (Own::Idle, _) => {}
        }
        self.settle();
    }

    /// A server that has answered hears what the client has said since.
    pub(super) fn go_on_with(&mut self, member: usize) {
        let it = &mut self.members[member];
        if std::mem::replace(&mut it.is_initialized, true) {
            return;
        }
        self.actions.push(Action::ToMember(member, line::notification("notifications/initialized", None)));
        let it = &self.members[member];
        let level = self.greeting.level.clone().filter(|_| it.said.has("logging"));
        let subscriptions: Vec<String> = it.subscriptions.iter().map(|(_, params)| params.clone()).collect();
        if let Some(level) = level {
            self.ask(member, Own::Idle, "logging/setLevel", Some(&level));
        }
        for params in subscriptions {
            self.ask(member, Own::Idle, "resources/subscribe", Some(&params));
        }
        if !self.members[member].is_checked && self.members[member].queue.is_empty() {
            self.fetch_all(member);
        }
    }

    /// What has waited for its first answer.
    fn flush(&mut self, member: usize) {
        if !self.members[member].takes_calls() {
            return;
        }
        for (_, line) in self.members[member].take_queue() {
            self.actions.push(Action::ToMember(member, line));
        }
    }

    fn page(&mut self, member: usize, kind: Kind, result: Option<Raw<'_>>, error: Option<Raw<'_>>) {
        let Some(pages) = &mut self.members[member].fetching[kind as usize] else { return };
        let code = error.and_then(|error| raw::member(error, "code")).map(Raw::get);
        if code == Some("-32601") {
            // A server with resources need not have templates.
            return self.listed(member, kind, None);
        }
        let step = match result {
            Some(result) => pages.page(result),
            None => pages.stop(Cut::Refused),
        };
        if step == Step::Ask {
            return self.ask_page(member, kind);
        }
        let Some(followed) = self.members[member].fetching[kind as usize].take().map(Pages::finish) else {
            return;
        };
        let server = &self.members[member].options.server;
        for left_out in &followed.left_out {
            tracing::warn!("`{server}`: {left_out}");
        }
        let mut list = Some(followed.list);
        if let Some(cut) = followed.cut {
            tracing::warn!("cannot follow `{}` of `{server}` to its end: {cut}", kind.method());
            // What was known before is more than a part.
            if !cut.is_lasting()
                && let Some(known) = &self.members[member].lists[kind as usize]
            {
                list.clone_from(known);
            }
        }
        if std::mem::take(&mut self.members[member].is_outdated[kind as usize]) {
            self.members[member].lists[kind as usize] = Some(list);
            return self.fetch(member, kind);
        }
        self.listed(member, kind, list);
    }

    fn member_request(&mut self, member: usize, id: RawId, envelope: &Envelope<'_>, text: &str) {
        let method = envelope.method.as_deref().unwrap_or_default();
        if method == "ping" {
            return self.tell(member, line::result(&id, &"{}"));
        }
        if self.greeting.era == Era::Modern && self.greeting.is_answered {
            let text = "berth: the client speaks MCP 2026-07-28, in which servers ask nothing";
            return self
                .tell(member, error_line(Some(&id), super::from_client::METHOD_NOT_FOUND, text, None));
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
            match self.asked.roots(member, id) {
                RootsWanted::Known(line) => self.tell(member, line),
                RootsWanted::Ask(line) => self.to_client(None, line),
                RootsWanted::Wait => {}
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
        for (of, place) in places(text, envelope.params, None) {
            parts.push((place, self.made.outward(of, member, place.get())));
        }
        parts.sort_by_key(|(place, _)| place.get().as_ptr().addr());
        self.to_client(None, patched(text, &parts));
    }

    fn tell(&mut self, member: usize, line: Bytes) {
        self.actions.push(Action::ToMember(member, line));
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
                if let Some(number) = withdrawn {
                    let reason = param("reason").and_then(raw::string).unwrap_or_default();
                    self.to_client(None, cancellation(number, &reason));
                }
                return;
            }
            "notifications/progress" => {
                let is_others = |token: Raw<'_>| {
                    let asked =
                        self.in_flight.values().find(|open| open.token.as_deref() == Some(token.get()));
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
        self.to_client(None, line);
    }

    /// A list is not what it was.
    fn outdated(&mut self, member: usize, kinds: &[Kind]) {
        for &kind in kinds {
            let it = &mut self.members[member];
            if it.hello.is_none() || it.state != State::Up {
                continue;
            }
            it.is_checked = false;
            if it.fetching[kind as usize].is_some() {
                it.is_outdated[kind as usize] = true;
            } else if it.said.has(kind.capability()) {
                self.fetch(member, kind);
            }
        }
    }

    /// A member's session is over: its server gave its container back, could not be had, or is not tried again.
    pub(in crate::session) fn member_over(&mut self, member: usize, failure: Option<&Failure>) {
        self.own.retain(|_, (owner, _)| *owner != member);
        for line in self.asked.give_up(member) {
            self.to_client(None, line);
        }
        self.made.forget(member);
        let it = &mut self.members[member];
        it.fetching = [const { None }; 4];
        it.is_outdated = [false; 4];
        it.is_initialized = false;
        if it.state == State::Parking {
            it.state = State::Asleep;
            if !it.queue.is_empty() {
                self.start(member);
            }
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
        match failure {
            Some(_) => self.cannot_be_had(member, error),
            None => {
                self.members[member].state = State::Asleep;
                self.answer_all(member, &error);
            }
        }
        self.settle();
    }

    /// There is no server for a member; whoever waits for it hears why.
    fn cannot_be_had(&mut self, member: usize, error: String) {
        self.answer_all(member, &error);
        let since: Instant = self.now;
        self.members[member].state = State::Over { error, since };
    }

    fn answer_all(&mut self, member: usize, error: &str) {
        drop(self.members[member].take_queue());
        let open: Vec<RequestId> = self
            .in_flight
            .iter()
            .filter(|(_, open)| open.member == member)
            .map(|(key, _)| key.clone())
            .collect();
        for key in open {
            if let Some(open) = self.in_flight.remove(&key) {
                self.to_client(Some(&key), line::error(&open.id, error));
            }
        }
    }
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
