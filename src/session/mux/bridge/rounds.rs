//! Calls at a newer server, in a session up to 2025-11-25: what the server needs the client is asked for, and the call is made
//! again with that.
//!
//! The client sees one answer to one request. At the server each time is a request of its own, under an id of berth's.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::line::{self, quoted};
use super::text::{
    ANSWERED_WITHIN, Ids, MOST_BYTES, MOST_CALLS, MOST_QUESTIONS, REFUSED, Step, cancelled, capability,
    replaced, request, rewritten, with_members,
};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Look, RawId, RequestId, error_line, look};

/// A server asks for one call so often, as the clients of the new era have it.
const ROUNDS: u32 = 10;

/// A server that only wants to be asked again is asked after this time, and then less often.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
const MOST_DOUBLINGS: u32 = 2;

/// What an id of ours stands for.
#[derive(Debug)]
enum Own {
    /// The request of the client's that it is made for.
    Call(RequestId),
    /// A question of that call, and the server's name for it.
    Question(RequestId, String),
}

/// A request of the client's that may be answered by questions.
#[derive(Debug)]
struct Call {
    id: RawId,
    /// As it was sent, for the next time.
    line: Bytes,
    rounds: u32,
    waits: Waits,
    /// `requestState`, as JSON.
    state: Option<String>,
    /// The client's answers by the server's keys, both as JSON.
    answers: Vec<(String, String)>,
    /// Of what is kept.
    bytes: usize,
}

#[derive(Debug)]
enum Waits {
    Server(u64),
    Client { questions: BTreeSet<u64>, until: Instant },
    Again(Instant),
}

#[derive(Debug)]
pub(super) struct Rounds {
    server: String,
    ids: Ids,
    own: HashMap<u64, Own>,
    calls: HashMap<RequestId, Call>,
    bytes: usize,
}

impl Rounds {
    pub(super) fn new(server: String, ids: Ids) -> Self {
        Self { server, ids, own: HashMap::new(), calls: HashMap::new(), bytes: 0 }
    }

    /// A request of the client's that may be answered by questions; `line` is what the server hears.
    pub(super) fn begin(&mut self, id: RawId, line: &Bytes, steps: &mut Vec<Step>) {
        let key = id
            .request_id()
            .filter(|_| self.calls.len() < MOST_CALLS && self.bytes + line.len() <= MOST_BYTES);
        let Some(key) = key else {
            // It cannot be made again.
            return steps.push(Step::ToServer(line.clone()));
        };
        let number = self.own(Own::Call(key.clone()));
        let bytes = line.len();
        self.bytes += bytes;
        let call = Call {
            id,
            line: line.clone(),
            rounds: 0,
            waits: Waits::Server(number),
            state: None,
            answers: Vec::new(),
            bytes,
        };
        self.calls.insert(key, call);
        steps.push(Step::ToServer(line_of(line, &self.ids.id(number), None)));
    }

    fn own(&mut self, what: Own) -> u64 {
        let number = self.ids.next();
        self.own.insert(number, what);
        number
    }

    /// The server's answer; `false`: it is to none of these.
    pub(super) fn served(
        &mut self,
        envelope: &Envelope<'_>,
        text: &str,
        kind: &str,
        now: Instant,
        steps: &mut Vec<Step>,
    ) -> bool {
        let Some(number) = self.ids.number(envelope.id) else { return false };
        // What comes after the call was cancelled is nobody's.
        let Some(Own::Call(key)) = self.own.remove(&number) else { return true };
        let Some(call) = self.calls.get(&key) else { return true };
        match (kind, envelope.result) {
            ("complete", _) | (_, None) => {
                let id = call.id.to_string();
                let line = rewritten(text, envelope, Some(&id), None, None);
                self.end(&key, line, "", steps);
            }
            ("input_required", Some(result)) => self.asks(&key, result, now, steps),
            (kind, _) => {
                let kind: String = kind.chars().take(64).collect();
                let why = format!("its result is `{kind}`, which no revision of the client's has");
                self.refuse(&key, &why, steps);
            }
        }
        true
    }

    /// The server needs more input for a call.
    fn asks(&mut self, key: &RequestId, result: Raw<'_>, now: Instant, steps: &mut Vec<Step>) {
        let mut wanted: Vec<(String, Option<Raw<'_>>, Option<Raw<'_>>)> = Vec::new();
        if let Some(requests) = raw::member(result, "inputRequests") {
            raw::members(requests, |name, request| {
                let part = |part| raw::member(request, part);
                wanted.push((name.get().to_owned(), part("method"), part("params")));
            });
        }
        let state = raw::member(result, "requestState").filter(|state| state.get().starts_with('"'));
        let Some(call) = self.calls.get_mut(key) else { return };
        call.rounds += 1;
        let names: usize = wanted.iter().map(|(name, ..)| name.len()).sum();
        let bytes = names + state.map_or(0, |state| state.get().len());
        if call.rounds > ROUNDS {
            return self.refuse(key, &format!("it has asked for more input {ROUNDS} times"), steps);
        }
        if wanted.len() > MOST_QUESTIONS || self.bytes + bytes > MOST_BYTES {
            return self.refuse(key, "it asks for more than can be kept", steps);
        }
        call.state = state.map(|state| state.get().to_owned());
        call.bytes += bytes;
        self.bytes += bytes;
        if wanted.is_empty() {
            if state.is_none() {
                return self.refuse(key, "it asks for more input without a question", steps);
            }
            call.waits = Waits::Again(now + AGAIN_AFTER * (1 << (call.rounds - 1).min(MOST_DOUBLINGS)));
            return;
        }
        let mut lines = Vec::new();
        let mut questions = BTreeSet::new();
        for (name, method, params) in wanted {
            let method = method.and_then(raw::string).unwrap_or_default();
            if capability(&method).is_none() {
                let method: String = method.chars().take(64).collect();
                self.own.retain(|number, _| !questions.contains(number));
                return self.refuse(key, &format!("no client can be asked for `{method}`"), steps);
            }
            let number = self.own(Own::Question(key.clone(), name));
            questions.insert(number);
            let id = self.ids.id(number);
            let params = params.map(|params| question_params(&method, params, &id));
            lines.push(match params {
                Some(params) => request(&id, &method, &params),
                None => {
                    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{}}}\n", quoted(&method)).into()
                }
            });
        }
        if let Some(call) = self.calls.get_mut(key) {
            call.waits = Waits::Client { questions, until: now + ANSWERED_WITHIN };
        }
        steps.extend(lines.into_iter().map(Step::ToMux));
    }

    /// The call again, with what the client has answered.
    fn again(&mut self, key: &RequestId, steps: &mut Vec<Step>) {
        let number = self.own(Own::Call(key.clone()));
        let Some(call) = self.calls.get_mut(key) else { return };
        call.waits = Waits::Server(number);
        let mut more = Vec::new();
        let answers: Vec<_> = call.answers.drain(..).map(|(key, answer)| format!("{key}:{answer}")).collect();
        if !answers.is_empty() {
            more.push(format!("\"inputResponses\":{{{}}}", answers.join(",")));
        }
        more.extend(call.state.take().map(|state| format!("\"requestState\":{state}")));
        self.bytes -= std::mem::replace(&mut call.bytes, call.line.len()) - call.line.len();
        steps.push(Step::ToServer(line_of(&call.line, &self.ids.id(number), Some(&more.join(",")))));
    }

    /// The client answers a question.
    pub(super) fn answered(&mut self, envelope: &Envelope<'_>, steps: &mut Vec<Step>) {
        let Some(number) = self.ids.number(envelope.id) else { return };
        let Some(Own::Question(key, name)) = self.own.remove(&number) else { return };
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Waits::Client { questions, .. } = &mut call.waits else { return };
        questions.remove(&number);
        let is_last = questions.is_empty();
        let Some(result) = envelope.result else {
            // A request that the client refuses is not made again (MCP 2026-07-28, «Sampling», «Error Handling»).
            let error = envelope.error.map_or("{}", Raw::get).to_owned();
            let line = line::error(&call.id, &error);
            return self.end(&key, line, "berth: another question was refused", steps);
        };
        let bytes = result.get().len();
        if self.bytes + bytes > MOST_BYTES {
            return self.refuse(&key, "the answers to its questions are too long to be kept", steps);
        }
        self.bytes += bytes;
        call.bytes += bytes;
        call.answers.push((name, result.get().to_owned()));
        if is_last {
            self.again(&key, steps);
        }
    }

    /// The client cancels a request; `false`: it is none of these.
    pub(super) fn cancelled(&mut self, envelope: &Envelope<'_>, text: &str, steps: &mut Vec<Step>) -> bool {
        let place = envelope.params.and_then(|params| raw::member(params, "requestId"));
        let Some((place, params)) = place.zip(envelope.params) else { return false };
        let Some(key) = RequestId::from_raw(place) else { return false };
        let Some(call) = self.calls.get(&key) else { return false };
        if let Waits::Server(number) = call.waits {
            let params = replaced(params, place, &self.ids.id(number));
            steps.push(Step::ToServer(rewritten(text, envelope, None, envelope.params, Some(params))));
        }
        self.forget(&key, "berth: the request was cancelled", steps);
        true
    }

    /// A call is over: its answer, and its questions are withdrawn.
    fn end(&mut self, key: &RequestId, line: Bytes, reason: &str, steps: &mut Vec<Step>) {
        self.forget(key, reason, steps);
        steps.push(Step::ToMux(line));
    }

    fn forget(&mut self, key: &RequestId, reason: &str, steps: &mut Vec<Step>) {
        let Some(call) = self.calls.remove(key) else { return };
        self.bytes -= call.bytes;
        match call.waits {
            Waits::Server(number) => drop(self.own.remove(&number)),
            Waits::Client { questions, .. } => {
                for number in questions {
                    self.own.remove(&number);
                    steps.push(Step::ToMux(cancelled(&self.ids.id(number), reason)));
                }
            }
            Waits::Again(_) => {}
        }
    }

    fn refuse(&mut self, key: &RequestId, why: &str, steps: &mut Vec<Step>) {
        let Some(call) = self.calls.get(key) else { return };
        let text = format!("berth: the server `{}` cannot go on with this request: {why}", self.server);
        let line = error_line(Some(&call.id), REFUSED, &text, None);
        self.end(key, line, "berth: the request has ended", steps);
    }

    pub(super) fn tick(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let is_due = |call: &Call| matches!(call.waits, Waits::Again(at) if now >= at);
        let due: Vec<RequestId> =
            self.calls.iter().filter(|(_, call)| is_due(call)).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.again(&key, steps);
        }
        self.expire(Some(now), steps);
    }

    /// Ends the calls whose questions are too old; `None`: all that wait for the client.
    pub(super) fn expire(&mut self, now: Option<Instant>, steps: &mut Vec<Step>) {
        let is_late = |call: &Call| match call.waits {
            Waits::Client { until, .. } => now.is_none_or(|now| now >= until),
            Waits::Again(_) => now.is_none(),
            Waits::Server(_) => false,
        };
        let late: Vec<RequestId> =
            self.calls.iter().filter(|(_, call)| is_late(call)).map(|(key, _)| key.clone()).collect();
        for key in late {
            let why = match now {
                Some(_) => "the client has not answered its questions within 10 minutes",
                None => "the client has left before it answered its questions",
            };
            self.refuse(&key, why, steps);
        }
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        let times = self.calls.values().filter_map(|call| match call.waits {
            Waits::Client { until, .. } => Some(until),
            Waits::Again(at) => Some(at),
            Waits::Server(_) => None,
        });
        times.min()
    }
}

/// A call under another id, and with more parameters.
fn line_of(line: &Bytes, id: &str, more: Option<&str>) -> Bytes {
    let text = String::from_utf8_lossy(line.trim_ascii_end());
    let Ok(Look::One(envelope)) = look(text.as_bytes()) else { return line.clone() };
    let params = envelope.params.zip(more.filter(|more| !more.is_empty()));
    let params = params.map(|(params, more)| with_members(params, more));
    rewritten(&text, &envelope, Some(id), envelope.params, params)
}

/// A visit to a page needs an id in 2025-11-25, which there is none of since.
fn question_params(method: &str, params: Raw<'_>, id: &str) -> String {
    let is_url = raw::member(params, "mode").and_then(raw::string).as_deref() == Some("url");
    if method == "elicitation/create" && is_url && raw::member(params, "elicitationId").is_none() {
        return with_members(params, &format!("\"elicitationId\":{id}"));
    }
    params.get().to_owned()
}
