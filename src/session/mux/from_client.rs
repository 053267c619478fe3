//! The client's lines: each goes to the member whose it is, or is answered here.

use bytes::Bytes;

use super::asked::For;
use super::core::Mux;
use super::line::patched;
use super::made::{Made, Of, places};
use super::member::State;
use super::requests::Request;
use crate::rpc::error_object::{INVALID_REQUEST, PARSE_ERROR};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{
    Envelope, Frame, FrameError, Kind as MessageKind, Look, RawId, RequestId, Salvage, error_line, look,
};
use crate::session::rewrite::members;

impl Mux {
    pub(in crate::session) fn client_line(&mut self, frame: &Frame) {
        let seen = match look(frame.message()) {
            Ok(seen) => seen,
            Err(error) => {
                let salvage = Salvage::of(frame.message());
                return self.refuse_broken(
                    salvage.id(),
                    salvage.kind(),
                    PARSE_ERROR,
                    &format!("berth: {error}"),
                );
            }
        };
        let Ok(text) = std::str::from_utf8(frame.message()) else { return };
        match seen {
            Look::One(envelope) => self.client_message(&envelope, text),
            Look::Batch(envelopes) => {
                let requests = envelopes.iter().filter(|envelope| envelope.kind == MessageKind::Request);
                self.batches.begin(requests.filter_map(Envelope::request_id).collect());
                if let Some(all) = Raw::parse(text) {
                    raw::elements(all, |element| match look(element.get().as_bytes()) {
                        Ok(Look::One(envelope)) => self.client_message(&envelope, element.get()),
                        _ => self.refuse_line(
                            None,
                            INVALID_REQUEST,
                            "berth: a part of the batch is no message",
                        ),
                    });
                }
                if envelopes.is_empty() {
                    self.refuse_line(None, INVALID_REQUEST, "berth: the batch is empty");
                }
                if let Some(line) = self.batches.end() {
                    self.tell_client(None, line);
                }
            }
        }
    }

    /// A line that could not be read whole.
    pub(in crate::session) fn client_line_too_long(&mut self, error: &FrameError) {
        let FrameError::TooLong { id, kind, .. } = error;
        let message = format!("berth: {error}; raise `max_line` for larger messages");
        self.refuse_broken(id.as_ref(), *kind, INVALID_REQUEST, &message);
    }

    /// A line that may not pass, and was to be of this kind: whoever waits for it hears why.
    fn refuse_broken(&mut self, id: Option<&RawId>, kind: MessageKind, code: i64, message: &str) {
        match (kind, id) {
            (MessageKind::Response | MessageKind::ErrorResponse, Some(id)) => {
                self.client_answer(id, None, |_, own| error_line(Some(own), code, message, None));
            }
            (MessageKind::Response | MessageKind::ErrorResponse, None) => {}
            (_, id) => self.refuse_line(id, code, message),
        }
    }

    fn refuse_line(&mut self, id: Option<&RawId>, code: i64, message: &str) {
        let line = error_line(id, code, message, None);
        match id {
            Some(id) => self.answer(id, line),
            None => {
                if let Some(line) = self.batches.add_nameless(line) {
                    self.tell_client(None, line);
                }
            }
        }
    }

    pub(super) fn client_message(&mut self, envelope: &Envelope<'_>, text: &str) {
        match (envelope.kind, envelope.raw_id()) {
            (MessageKind::Request, Some(id)) => {
                let method = envelope.method.as_deref().unwrap_or_default();
                let request = Request { text, id, method, params: envelope.params };
                match ambiguous(text) {
                    Some(what) => self.refuse(&request.id, INVALID_REQUEST, &format!("berth: {what}")),
                    None => self.request(&request),
                }
            }
            (MessageKind::Notification, _) => self.client_notification(envelope, text),
            (MessageKind::Response | MessageKind::ErrorResponse, Some(id)) => {
                let (id_place, result) = (envelope.id, envelope.result);
                self.client_answer(&id, result, |made, own| {
                    let mut parts: Vec<_> =
                        id_place.map(|place| (place, own.to_string())).into_iter().collect();
                    parts.extend(inward(made, text, result));
                    parts.sort_by_key(|(place, _)| place.get().as_ptr().addr());
                    patched(text, &parts)
                });
            }
            (_, id) => self.refuse_line(id.as_ref(), INVALID_REQUEST, "berth: this is no message"),
        }
    }

    fn client_notification(&mut self, envelope: &Envelope<'_>, text: &str) {
        let param = |name| envelope.params.and_then(|params| raw::member(params, name));
        match envelope.method.as_deref().unwrap_or_default() {
            "notifications/initialized" => self.initialized(),
            "notifications/cancelled" => {
                if let Some(id) = param("requestId").and_then(RequestId::from_raw) {
                    self.cancelled(&id, text);
                }
            }
            "notifications/progress" => {
                let Some(token) = param("progressToken") else { return };
                if let Some((member, own)) = self.made.inward(Of::Progress, token.get()) {
                    let line = patched(text, &[(token, own.to_owned())]);
                    self.tell_running(member, line);
                }
            }
            method => {
                if method == "notifications/roots/list_changed" {
                    self.asked.roots_changed();
                }
                let parts = inward(&self.made, text, envelope.params);
                for member in 0..self.members.len() {
                    self.tell_running(member, patched(text, &parts));
                }
            }
        }
    }

    fn tell_running(&mut self, member: usize, line: Bytes) {
        if self.members[member].runs() {
            drop(self.send(member, None, line));
        }
    }

    /// The client goes on.
    fn initialized(&mut self) {
        self.greeting.is_initialized = true;
        for member in 0..self.members.len() {
            if self.members[member].state == State::Up && self.members[member].hello.is_some() {
                self.go_on_with(member);
                self.check(member);
            }
        }
        for (member, frame) in self.asked.take_held() {
            self.heard(member, &frame);
        }
    }

    fn cancelled(&mut self, id: &RequestId, text: &str) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.id.request_id().as_ref() == Some(id))
        {
            self.waiting.remove(at);
        } else if let Some(members) = self.listens.end(id) {
            for member in members {
                self.tell_running(member, patched(text, &[]));
            }
        } else if let Some(open) = self.in_flight.remove(id) {
            if !self.members[open.member].unqueue(id) {
                self.tell_running(open.member, patched(text, &[]));
            }
        } else {
            return;
        }
        if let Some(line) = self.batches.forget(id) {
            self.tell_client(None, line);
        }
    }

    /// The client answers what a server has asked. `line` makes the answer under another id.
    fn client_answer(&mut self, id: &RawId, result: Option<Raw<'_>>, line: impl Fn(&Made, &RawId) -> Bytes) {
        let Some(key) = id.request_id() else { return };
        match self.asked.answered(&key, result) {
            For::Member(question) => {
                if let Some(token) = &question.token {
                    self.made.forget_token(question.member, token);
                }
                let line = line(&self.made, &question.id);
                self.tell_running(question.member, line);
            }
            For::Roots(waiting) => {
                for (member, own) in waiting {
                    let line = line(&self.made, &own);
                    self.tell_running(member, line);
                }
            }
            For::Nobody => tracing::debug!("an answer of the client's that nobody waits for"),
        }
    }
}

/// Ids that a server made, as that server calls them.
fn inward<'a>(made: &Made, text: &'a str, body: Option<Raw<'a>>) -> Vec<(Raw<'a>, String)> {
    let own = |(of, place): (Of, Raw<'a>)| {
        let (_, own) = made.inward(of, place.get())?;
        (own != place.get()).then(|| (place, own.to_owned()))
    };
    places(text, [body, None, None]).into_iter().filter_map(own).collect()
}

/// What two programs could read differently in a message that is to be routed.
fn ambiguous(text: &str) -> Option<&'static str> {
    let [id, method, params] = members(Raw::parse(text)?, ["id", "method", "params"])?;
    let is_ambiguous = id.is_ambiguous || method.is_ambiguous || params.is_ambiguous;
    is_ambiguous.then_some("`id`, `method` or `params` appears twice or in another spelling")
}
