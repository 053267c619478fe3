//! A session since 2026-07-28, and a server that speaks up to 2025-11-25 alone.
//!
//! berth says `initialize` itself. What the server asks during a call becomes the call's result, which needs more input; the
//! call stays open at the server, and who comes again with the answers and berth's `requestState` has what follows (`calls`).

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::line::{self, quoted};
use super::calls::Calls;
use super::results::body;
use super::text::{
    CAPABILITIES, CLIENT, Ids, LEGACY, LEVEL, MODERN, REFUSED, SERVER, SUBSCRIPTION, Step, capabilities,
    may_ask, meta, request, rewritten, terminated, with_meta,
};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Kind, RawId, RequestId, error_line};

/// So many questions for roots wait for a call.
const MOST_ROOTS: usize = 16;

/// A server that does not answer its subscriptions is not asked for more of them.
const MOST_MUTE: usize = 4096;

#[derive(Debug)]
pub(in super::super) struct ToLegacy {
    ids: Ids,
    /// The `server/discover` that waits, and our `initialize`.
    waiting: Vec<RawId>,
    initialize: Option<u64>,
    /// The `result` of that.
    initialized: Option<Bytes>,
    has_logging: bool,
    calls: Calls,
    /// Requests of ours whose answers change nothing.
    mute: HashSet<u64>,
    /// The server has asked for the roots while no call was open.
    roots: Vec<RawId>,
    /// Each `subscriptions/listen` that is open, and the resources that it is for.
    listens: Vec<(RawId, Vec<String>)>,
    /// As JSON.
    level: Option<String>,
}

impl ToLegacy {
    /// `secret` is known to nobody but the client.
    pub(in super::super) fn new(server: String, ids: Ids, secret: String) -> Self {
        Self {
            ids,
            waiting: Vec::new(),
            initialize: None,
            initialized: None,
            has_logging: false,
            calls: Calls::new(server, secret),
            mute: HashSet::new(),
            roots: Vec::new(),
            listens: Vec::new(),
            level: None,
        }
    }

    pub(super) fn initialized(&self) -> Option<&Bytes> {
        self.initialized.as_ref()
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(super) fn inward(
        &mut self,
        envelope: &Envelope<'_>,
        text: &str,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        match (envelope.kind, envelope.raw_id()) {
            (Kind::Request, Some(id)) => self.request(&id, envelope, text, now, steps),
            (Kind::Notification, _) => self.told(envelope, text, steps),
            // No request of the server's comes so far.
            _ => {}
        }
    }

    fn request(
        &mut self,
        id: &RawId,
        envelope: &Envelope<'_>,
        text: &str,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        let state = envelope.params.and_then(|params| raw::member(params, "requestState"));
        let state = state.filter(|state| state.get() != "null");
        match envelope.method.as_deref().unwrap_or_default() {
            "server/discover" => self.discover(id, envelope, steps),
            "subscriptions/listen" => self.listen(id, envelope, steps),
            method if may_ask(method) => {
                self.set_level(envelope, steps);
                let Self { calls, ids, roots, .. } = self;
                if let Some(state) = state {
                    calls.again(ids, envelope, state, now, steps);
                } else {
                    calls.begin(ids, (envelope, text), roots, now, steps);
                }
            }
            _ => steps.push(Step::ToServer(terminated(text))),
        }
    }

    fn discover(&mut self, id: &RawId, envelope: &Envelope<'_>, steps: &mut Vec<Step>) {
        if let Some(initialized) = &self.initialized {
            return steps.push(Step::ToMux(line::result(id, &discovered(initialized))));
        }
        self.waiting.push(id.clone());
        if self.initialize.is_some() {
            return;
        }
        let number = self.ids.next();
        self.initialize = Some(number);
        let client = meta(envelope.params, CLIENT).map_or_else(
            || json!({ "name": "berth", "version": env!("CARGO_PKG_VERSION") }).to_string(),
            |client| client.get().to_owned(),
        );
        let params = format!(
            "{{\"protocolVersion\":\"{LEGACY}\",\"capabilities\":{},\"clientInfo\":{client}}}",
            capabilities(meta(envelope.params, CAPABILITIES))
        );
        steps.push(Step::ToServer(request(&self.ids.id(number), "initialize", &params)));
    }

    /// What a request wants to see of the log holds for the whole server.
    fn set_level(&mut self, envelope: &Envelope<'_>, steps: &mut Vec<Step>) {
        let Some(level) = meta(envelope.params, LEVEL).filter(|_| self.has_logging) else { return };
        if self.level.as_deref() != Some(level.get()) {
            self.level = Some(level.get().to_owned());
            self.mute("logging/setLevel", &format!("{{\"level\":{}}}", level.get()), steps);
        }
    }

    fn mute(&mut self, method: &str, params: &str, steps: &mut Vec<Step>) {
        if self.mute.len() < MOST_MUTE {
            let number = self.ids.next();
            self.mute.insert(number);
            steps.push(Step::ToServer(request(&self.ids.id(number), method, params)));
        }
    }

    fn is_wanted(&self, uri: &str) -> bool {
        self.listens.iter().any(|(_, uris)| uris.iter().any(|wanted| wanted == uri))
    }

    /// Nothing is answered until it is cancelled. What lists change the server says anyway.
    fn listen(&mut self, id: &RawId, envelope: &Envelope<'_>, steps: &mut Vec<Step>) {
        let wanted = envelope
            .params
            .and_then(|params| raw::member(raw::member(params, "notifications")?, "resourceSubscriptions"));
        let mut uris = Vec::new();
        if let Some(wanted) = wanted {
            raw::elements(wanted, |uri| uris.extend(raw::string(uri).map(std::borrow::Cow::into_owned)));
        }
        for uri in uris.iter().filter(|uri| !self.is_wanted(uri)).cloned().collect::<Vec<_>>() {
            self.mute("resources/subscribe", &format!("{{\"uri\":{}}}", quoted(&uri)), steps);
        }
        self.listens.push((id.clone(), uris));
    }

    /// A notification of the client's.
    fn told(&mut self, envelope: &Envelope<'_>, text: &str, steps: &mut Vec<Step>) {
        if envelope.method.as_deref() != Some("notifications/cancelled") {
            return steps.push(Step::ToServer(terminated(text)));
        }
        let id = envelope.params.and_then(|params| raw::member(params, "requestId"));
        let Some(id) = id.and_then(RequestId::from_raw) else { return };
        if let Some(at) =
            self.listens.iter().position(|(listen, _)| listen.request_id().as_ref() == Some(&id))
        {
            let (_, uris) = self.listens.remove(at);
            for uri in uris {
                if !self.is_wanted(&uri) {
                    self.mute("resources/unsubscribe", &format!("{{\"uri\":{}}}", quoted(&uri)), steps);
                }
            }
        } else if !self.calls.cancelled(&id, &self.ids, steps) {
            steps.push(Step::ToServer(terminated(text)));
        }
    }

    pub(super) fn outward(
        &mut self,
        envelope: &Envelope<'_>,
        text: &str,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        match (envelope.kind, envelope.raw_id()) {
            (Kind::Response | Kind::ErrorResponse, _) => self.answered(envelope, text, now, steps),
            (Kind::Request, Some(id)) => {
                if envelope.method.as_deref() == Some("ping") {
                    return steps.push(Step::ToServer(line::result(&id, &"{}")));
                }
                if !self.calls.asks(&mut self.ids, envelope, now, steps) {
                    if self.roots.len() < MOST_ROOTS {
                        self.roots.push(id);
                    } else {
                        let text = "berth: too many requests for roots wait for a call";
                        steps.push(Step::ToServer(error_line(Some(&id), REFUSED, text, None)));
                    }
                }
            }
            (Kind::Notification, _) => self.server_told(envelope, text, steps),
            _ => {}
        }
    }

    fn answered(&mut self, envelope: &Envelope<'_>, text: &str, now: Instant, steps: &mut Vec<Step>) {
        let Some(number) = self.ids.number(envelope.id) else {
            let (part, with) = body(envelope, "");
            return steps.push(Step::ToMux(rewritten(text, envelope, None, part, with)));
        };
        if self.initialize == Some(number) {
            self.initialize = None;
            return self.begun(envelope, steps);
        }
        if !self.mute.remove(&number) {
            // What comes too late is nobody's.
            self.calls.answered(number, text, &mut self.ids, now, steps);
        }
    }

    fn begun(&mut self, envelope: &Envelope<'_>, steps: &mut Vec<Step>) {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(result) = envelope.result else {
            let error = envelope.error.map_or("{}", Raw::get);
            return steps.extend(waiting.iter().map(|id| Step::ToMux(line::error(id, error))));
        };
        let initialized = Bytes::copy_from_slice(result.get().as_bytes());
        let logging = raw::member(result, "capabilities").and_then(|all| raw::member(all, "logging"));
        self.has_logging = logging.is_some();
        steps.push(Step::ToServer(line::notification("notifications/initialized", None)));
        let answer = |id: &RawId| Step::ToMux(line::result(id, &discovered(&initialized)));
        steps.extend(waiting.iter().map(answer));
        self.initialized = Some(initialized);
    }

    fn server_told(&mut self, envelope: &Envelope<'_>, text: &str, steps: &mut Vec<Step>) {
        let param = |name| envelope.params.and_then(|params| raw::member(params, name));
        match envelope.method.as_deref().unwrap_or_default() {
            "notifications/cancelled" => {
                if let Some(id) = param("requestId").and_then(RequestId::from_raw) {
                    self.roots.retain(|roots| roots.request_id().as_ref() != Some(&id));
                    self.calls.withdrawn(&id);
                }
            }
            "notifications/progress" => {
                steps.extend(self.calls.progress(envelope, text).map(Step::ToMux));
            }
            "notifications/message" if !self.calls.want_log() => {}
            // The new era has none: the client comes again by itself.
            "notifications/elicitation/complete" | "notifications/tasks/status" => {}
            "notifications/resources/updated" => {
                let Some(uri) = param("uri").and_then(raw::string) else { return };
                for (id, _) in self.listens.iter().filter(|(_, uris)| uris.iter().any(|own| *own == uri)) {
                    let params = with_meta(envelope.params, &format!("\"{SUBSCRIPTION}\":{id}"));
                    steps.push(Step::ToMux(rewritten(text, envelope, None, envelope.params, params)));
                }
            }
            _ => steps.push(Step::ToMux(terminated(text))),
        }
    }

    /// Ends what nobody has come again for; `None`: all that nobody waits for.
    pub(super) fn expire(&mut self, now: Option<Instant>, steps: &mut Vec<Step>) {
        self.calls.expire(now, &self.ids, steps);
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.calls.next_tick()
    }
}

/// What a server says of itself in the new era, by its answer to `initialize`; as JSON.
pub(in super::super) fn discovered(initialized: &Bytes) -> String {
    let mut said: Value = serde_json::from_slice(initialized).unwrap_or_default();
    if let Some(capabilities) = said["capabilities"].as_object_mut() {
        // Those are no longer a part of the protocol itself.
        capabilities.shift_remove("tasks");
    }
    let mut result = json!({
        "resultType": "complete", "supportedVersions": [MODERN], "capabilities": said["capabilities"].take(),
        "ttlMs": 0, "cacheScope": "private",
    });
    if said["serverInfo"].is_object() {
        result["_meta"] = json!({ SERVER: said["serverInfo"].take() });
    }
    if said["instructions"].is_string() {
        result["instructions"] = said["instructions"].take();
    }
    result.to_string()
}
