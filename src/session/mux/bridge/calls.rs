//! Calls at an older server, in a session since 2026-07-28: what it asks meanwhile, and who has come again with the answers.
//!
//! A call has an id of berth's at the server, for it outlives the client's request. Between a request and the next one nobody
//! waits for it; then its outcome is kept. All of it ends by a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::line::{METHOD_NOT_FOUND, patched, quoted};
use super::call::{Call, Question};
use super::results::{body, visits};
use super::text::{
    ANSWERED_WITHIN, Ids, MOST_BYTES, MOST_CALLS, MOST_QUESTIONS, REFUSED, Step, cancelled, capability,
    kept_id, meta, rewritten,
};
use crate::rpc::error_object::INVALID_PARAMS;
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Look, RawId, RequestId, error_line, look};

/// The method of a question for roots, as JSON.
const ROOTS: &str = "\"roots/list\"";

#[derive(Debug)]
pub(super) struct Calls {
    server: String,
    secret: String,
    all: BTreeMap<u64, Call>,
    bytes: usize,
}

impl Calls {
    /// `secret` is known to nobody but the client.
    pub(super) fn new(server: String, secret: String) -> Self {
        Self { server, secret, all: BTreeMap::new(), bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A call begins. `roots`: the server has asked for these before, and hears them first.
    pub(super) fn begin(
        &mut self,
        ids: &mut Ids,
        (envelope, text): (&Envelope<'_>, &str),
        roots: &mut Vec<RawId>,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        let Some(id) = envelope.raw_id() else { return };
        if self.all.len() >= MOST_CALLS {
            let text = format!("berth: too many calls of the server `{}` are open", self.server);
            return steps.push(Step::ToMux(error_line(Some(&id), REFUSED, &text, None)));
        }
        let method = envelope.method.as_deref().unwrap_or_default();
        let number = ids.next();
        let mut call = Call {
            method: method.to_owned(),
            target: target(envelope),
            client: None,
            unsent: None,
            questions: Vec::new(),
            state: None,
            until: now + ANSWERED_WITHIN,
            outcome: None,
            theirs: meta(envelope.params, "progressToken").map(|token| token.get().to_owned()),
            token: None,
            capabilities: String::new(),
            wants_log: false,
        };
        call.heard(&id, envelope);
        let line = rewritten(text, envelope, Some(&ids.id(number)), None, None);
        let roots = std::mem::take(roots);
        if !roots.is_empty() && call.can("roots") && self.bytes + line.len() <= MOST_BYTES {
            call.unsent = Some(line);
            let request = || format!("{{\"method\":{ROOTS}}}");
            call.questions.extend(roots.into_iter().map(|id| Question {
                id,
                key: ids.next().to_string(),
                request: request(),
                is_given: false,
            }));
        } else {
            for id in roots {
                steps.push(Step::ToServer(refusal(&id, "the client has no roots")));
            }
            steps.push(Step::ToServer(line));
        }
        self.all.insert(number, call);
        self.go_on(number, ids, now, steps);
    }

    /// Who waits for a call hears what there is by now.
    fn go_on(&mut self, number: u64, ids: &mut Ids, now: Instant, steps: &mut Vec<Step>) {
        let secret = &self.secret;
        let Some(call) = self.all.get_mut(&number) else { return };
        if let (Some(client), Some(outcome)) = (&call.client, &call.outcome) {
            steps.push(Step::ToMux(translated(outcome, call, client)));
            self.all.remove(&number);
        } else if !call.questions.is_empty() {
            let Some(client) = call.client.take() else { return };
            let state = quoted(&format!("{secret}-{}", ids.next()));
            let questions: Vec<String> = call
                .questions
                .iter_mut()
                .map(|question| {
                    question.is_given = true;
                    format!("\"{}\":{}", question.key, question.request)
                })
                .collect();
            let result = format!(
                "{{\"resultType\":\"input_required\",\"inputRequests\":{{{}}},\"requestState\":{state}}}",
                questions.join(",")
            );
            call.state = Some(state);
            call.until = now + ANSWERED_WITHIN;
            steps.push(Step::ToMux(super::super::line::result(&client, &result)));
        } else if let Some(line) = call.unsent.take() {
            steps.push(Step::ToServer(line));
        }
        self.count();
    }

    fn count(&mut self) {
        self.bytes = self.all.values().map(Call::bytes).sum();
    }

    /// A client comes again with `requestState`.
    pub(super) fn again(
        &mut self,
        ids: &mut Ids,
        envelope: &Envelope<'_>,
        state: Raw<'_>,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        let Some(id) = envelope.raw_id() else { return };
        let method = envelope.method.as_deref().unwrap_or_default();
        let text = raw::string(state).map(|text| quoted(&text));
        let is_it = |call: &Call| {
            call.state.is_some()
                && call.state == text
                && call.method == method
                && call.target == target(envelope)
        };
        let Some((number, call)) = self.all.iter_mut().find(|(_, call)| is_it(call)) else {
            let text = format!(
                "berth: no call of the server `{}` waits for this `requestState`: the call or its server has ended, or its \
                 questions had no answer within 10 minutes",
                self.server
            );
            return steps.push(Step::ToMux(error_line(Some(&id), INVALID_PARAMS, &text, None)));
        };
        let number = *number;
        call.state = None;
        call.heard(&id, envelope);
        let answers = envelope.params.and_then(|params| raw::member(params, "inputResponses"));
        call.questions.retain(|question| {
            let answer = answers.and_then(|answers| raw::member(answers, &question.key));
            let Some(answer) = answer.filter(|_| question.is_given) else { return true };
            steps.push(Step::ToServer(super::super::line::result(&question.id, &answer.get())));
            false
        });
        self.go_on(number, ids, now, steps);
    }

    /// The server asks; `false`: it asks for its roots while no call is open.
    pub(super) fn asks(
        &mut self,
        ids: &mut Ids,
        envelope: &Envelope<'_>,
        now: Instant,
        steps: &mut Vec<Step>,
    ) -> bool {
        let Some(id) = kept_id(envelope) else {
            if let Some(id) = envelope.raw_id() {
                steps.push(Step::ToServer(refusal(&id, "the id is too long to be kept")));
            }
            return true;
        };
        let method = envelope.method.as_deref().unwrap_or_default();
        let Some(capability) = capability(method) else {
            let line = error_line(Some(&id), METHOD_NOT_FOUND, "Method not found", None);
            steps.push(Step::ToServer(line));
            return true;
        };
        let number = match self.carrier(capability) {
            Some(number) => number,
            None if capability == "roots" => return false,
            None => {
                let is_any = self.all.values().any(Call::is_at_the_server);
                let why = if is_any {
                    "several calls are open, and berth cannot tell which of them this is for"
                } else {
                    "no call is open, and a client of MCP 2026-07-28 is asked during a call alone"
                };
                steps.push(Step::ToServer(refusal(&id, why)));
                return true;
            }
        };
        let Some(call) = self.all.get_mut(&number) else { return true };
        let params =
            envelope.params.map(|params| format!(",\"params\":{}", params.get())).unwrap_or_default();
        let request = format!("{{\"method\":{}{params}}}", quoted(method));
        let is_too_much = call.questions.len() >= MOST_QUESTIONS || self.bytes + request.len() > MOST_BYTES;
        if !call.can(capability) || is_too_much {
            let why =
                if is_too_much { "too many questions are open" } else { "the client has no such capability" };
            steps.push(Step::ToServer(refusal(&id, why)));
            return true;
        }
        let key = ids.next().to_string();
        call.questions.push(Question { id, key, request, is_given: false });
        self.go_on(number, ids, now, steps);
        true
    }

    /// The call that a question goes with: the only one that somebody waits for, or the only one at all. The roots are the same
    /// for all calls, and go with any of them.
    fn carrier(&self, capability: &str) -> Option<u64> {
        let is_for_all = capability == "roots";
        let open = || self.all.iter().filter(|(_, call)| call.is_at_the_server());
        let pick = |mut calls: Box<dyn Iterator<Item = u64> + '_>| {
            let first = calls.next();
            first.filter(|_| is_for_all || calls.next().is_none())
        };
        let waited = || open().filter(|(_, call)| call.client.is_some()).map(|(number, _)| *number);
        match waited().next() {
            Some(_) => pick(Box::new(waited())),
            None => pick(Box::new(open().map(|(number, _)| *number))).or_else(|| {
                // One that waits for roots itself hears of more.
                self.all
                    .iter()
                    .find(|(_, call)| is_for_all && call.unsent.is_some())
                    .map(|(number, _)| *number)
            }),
        }
    }

    /// The server does not want to know any more.
    pub(super) fn withdrawn(&mut self, id: &RequestId) {
        for call in self.all.values_mut() {
            call.questions.retain(|question| question.id.request_id().as_ref() != Some(id));
        }
        self.count();
    }

    /// The server's answer to a call; `false`: that is none of these.
    pub(super) fn answered(
        &mut self,
        number: u64,
        text: &str,
        ids: &mut Ids,
        now: Instant,
        steps: &mut Vec<Step>,
    ) -> bool {
        let Some(call) = self.all.get_mut(&number) else { return false };
        let questions = std::mem::take(&mut call.questions);
        let is_kept = call.client.is_some() || self.bytes + text.len() <= MOST_BYTES;
        call.outcome = Some(if is_kept {
            Bytes::copy_from_slice(text.as_bytes())
        } else {
            let text = "berth: the answer came before the client did, and is too long to be kept";
            error_line(None, REFUSED, text, None)
        });
        self.go_on(number, ids, now, steps);
        for question in questions {
            // The roots may be another call's, which goes on.
            let other = self.carrier("roots").filter(|_| question.request.contains(ROOTS));
            if let Some((other, call)) = other.and_then(|other| Some((other, self.all.get_mut(&other)?))) {
                call.questions.push(Question { is_given: false, ..question });
                self.go_on(other, ids, now, steps);
            } else {
                let why = "the call that it was asked with has ended";
                steps.push(Step::ToServer(refusal(&question.id, why)));
            }
        }
        true
    }

    /// The client cancels its request; `false`: it is none of these.
    pub(super) fn cancelled(&mut self, id: &RequestId, ids: &Ids, steps: &mut Vec<Step>) -> bool {
        let is_it = |call: &Call| call.client.as_ref().and_then(RawId::request_id).as_ref() == Some(id);
        let Some(number) = self.all.iter().find(|(_, call)| is_it(call)).map(|(number, _)| *number) else {
            return false;
        };
        self.end(number, "the request was cancelled", ids, steps);
        true
    }

    /// Ends what nobody has come again for; `None`: all that nobody waits for.
    pub(super) fn expire(&mut self, now: Option<Instant>, ids: &Ids, steps: &mut Vec<Step>) {
        let is_late = |call: &Call| call.client.is_none() && now.is_none_or(|now| now >= call.until);
        let late: Vec<u64> =
            self.all.iter().filter(|(_, call)| is_late(call)).map(|(number, _)| *number).collect();
        for number in late {
            self.end(number, "the client has not come again with its answers", ids, steps);
        }
    }

    fn end(&mut self, number: u64, why: &str, ids: &Ids, steps: &mut Vec<Step>) {
        let Some(call) = self.all.remove(&number) else { return };
        for question in call.questions {
            steps.push(Step::ToServer(refusal(&question.id, why)));
        }
        if call.outcome.is_none() && call.unsent.is_none() {
            steps.push(Step::ToServer(cancelled(&ids.id(number), &format!("berth: {why}"))));
        }
        self.count();
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.all.values().filter(|call| call.client.is_none()).map(|call| call.until).min()
    }

    /// Progress under a token of the server's: under that of whoever waits. `None`: nobody does.
    pub(super) fn progress(&self, envelope: &Envelope<'_>, text: &str) -> Option<Bytes> {
        let params = envelope.params?;
        let token = raw::member(params, "progressToken")?;
        let key = |token: &str| Raw::parse(token).and_then(RequestId::from_raw);
        let is_it =
            |call: &&Call| call.theirs.as_deref().is_some_and(|theirs| key(theirs) == key(token.get()));
        match self.all.values().find(is_it) {
            Some(call) => {
                call.client.as_ref()?;
                Some(patched(text, &[(token, call.token.clone()?)]))
            }
            None => Some(patched(text, &[])),
        }
    }

    /// Whether somebody has asked for messages of the log.
    pub(super) fn want_log(&self) -> bool {
        self.all.values().any(|call| call.wants_log && call.client.is_some())
    }
}

fn target(envelope: &Envelope<'_>) -> Option<String> {
    let params = envelope.params?;
    let found = raw::member(params, "name").or_else(|| raw::member(params, "uri"))?;
    raw::string(found).map(|found| quoted(&found))
}

/// What a server hears that asks in vain.
fn refusal(id: &RawId, why: &str) -> Bytes {
    error_line(Some(id), REFUSED, &format!("berth: {why}"), None)
}

/// The server's answer to a call, for the request that waits for it now.
fn translated(outcome: &Bytes, call: &Call, client: &RawId) -> Bytes {
    let text = String::from_utf8_lossy(outcome.trim_ascii_end());
    let Ok(Look::One(envelope)) = look(text.as_bytes()) else { return Bytes::new() };
    let id = client.to_string();
    if let Some(visits) = envelope.error.and_then(|error| visits(error, &call.capabilities)) {
        return super::super::line::result(client, &visits);
    }
    let (body, with) = body(&envelope, &call.method);
    rewritten(&text, &envelope, Some(&id), body, with)
}
