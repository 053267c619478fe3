//! A session up to 2025-11-25, and a server that speaks 2026-07-28 alone.
//!
//! `initialize` becomes `server/discover`, and each request says what the client said then. What the server needs for a call is the
//! matter of `rounds`, what it tells of changes that of `listening`.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::line::{self, METHOD_NOT_FOUND};
use super::listening::Listening;
use super::rounds::Rounds;
use super::text::{
    CAPABILITIES, CLIENT, Ids, LEVEL, MODERN, REFUSED, REVISION, SERVER, Step, capabilities, may_ask, meta,
    request, rewritten, terminated, with_meta,
};
use crate::rpc::raw;
use crate::rpc::{Envelope, Kind, RawId, error_line};

#[derive(Debug)]
pub(in super::super) struct ToModern {
    server: String,
    ids: Ids,
    /// What the server has said to `initialize`.
    refusal: String,
    /// The `initialize` that waits, and the client's revision.
    begun: Option<(RawId, String)>,
    /// Our `server/discover`.
    asked: Option<u64>,
    /// What goes with each request, as JSON without braces.
    meta: String,
    /// As JSON.
    level: Option<String>,
    listening: Listening,
    rounds: Rounds,
}

impl ToModern {
    /// `refusal`: the error that the server has answered to `initialize`.
    pub(in super::super) fn new(server: String, ids: Ids, refusal: String) -> Self {
        Self {
            refusal,
            begun: None,
            asked: None,
            meta: String::new(),
            level: None,
            listening: Listening::new(ids.part('l')),
            rounds: Rounds::new(server.clone(), ids.part('c')),
            server,
            ids,
        }
    }

    pub(super) fn inward(&mut self, envelope: &Envelope<'_>, text: &str, steps: &mut Vec<Step>) {
        match (envelope.kind, envelope.raw_id()) {
            (Kind::Request, Some(id)) => self.request(id, envelope, text, steps),
            (Kind::Response | Kind::ErrorResponse, _) => self.rounds.answered(envelope, steps),
            (Kind::Notification, _) => match envelope.method.as_deref().unwrap_or_default() {
                "notifications/initialized" => self.listening.begin(&self.meta, steps),
                // The new era has neither.
                "notifications/roots/list_changed" | "notifications/progress" => {}
                "notifications/cancelled" if self.rounds.cancelled(envelope, text, steps) => {}
                _ => steps.push(Step::ToServer(terminated(text))),
            },
            _ => {}
        }
    }

    fn request(&mut self, id: RawId, envelope: &Envelope<'_>, text: &str, steps: &mut Vec<Step>) {
        let param = |name| envelope.params.and_then(|params| raw::member(params, name));
        let uri = || param("uri").and_then(raw::string).map(std::borrow::Cow::into_owned);
        let method = envelope.method.as_deref().unwrap_or_default();
        match method {
            "initialize" => return self.discover(&id, envelope, steps),
            "logging/setLevel" => self.level = param("level").map(|level| level.get().to_owned()),
            "resources/subscribe" => self.listening.subscribe(uri(), true, &self.meta, steps),
            "resources/unsubscribe" => self.listening.subscribe(uri(), false, &self.meta, steps),
            "ping" => {}
            // What says its own revision is passed on as it is.
            _ if meta(envelope.params, REVISION).is_some() => {
                return steps.push(Step::ToServer(terminated(text)));
            }
            _ => {
                let params = with_meta(envelope.params, &self.meta());
                let line = rewritten(text, envelope, None, envelope.params, params);
                if may_ask(method) {
                    return self.rounds.begin(id, &line, steps);
                }
                return steps.push(Step::ToServer(line));
            }
        }
        steps.push(Step::ToMux(line::result(&id, &"{}")));
    }

    /// What goes with a request.
    fn meta(&self) -> String {
        let level = self.level.as_ref().map(|level| format!(",\"{LEVEL}\":{level}"));
        [self.meta.as_str(), level.as_deref().unwrap_or_default()].concat()
    }

    fn discover(&mut self, id: &RawId, envelope: &Envelope<'_>, steps: &mut Vec<Step>) {
        let param = |name| envelope.params.and_then(|params| raw::member(params, name));
        let revision = param("protocolVersion").and_then(raw::string).unwrap_or_default();
        let client = param("clientInfo").map(|info| format!(",\"{CLIENT}\":{}", info.get()));
        self.begun = Some((id.clone(), revision.into_owned()));
        self.meta = format!(
            "\"{REVISION}\":\"{MODERN}\",\"{CAPABILITIES}\":{}{}",
            capabilities(param("capabilities")),
            client.unwrap_or_default()
        );
        let params = format!("{{\"_meta\":{{{}}}}}", self.meta);
        let id = self.ids.next();
        self.asked = Some(id);
        steps.push(Step::ToServer(request(&self.ids.id(id), "server/discover", &params)));
    }

    pub(super) fn outward(
        &mut self,
        envelope: &Envelope<'_>,
        text: &str,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        match (envelope.kind, envelope.raw_id()) {
            (Kind::Response | Kind::ErrorResponse, Some(id)) => {
                self.answered(&id, envelope, text, now, steps);
            }
            (Kind::Request, Some(id)) => {
                let text = "berth: the server speaks MCP 2026-07-28, in which servers send no requests";
                steps.push(Step::ToServer(error_line(Some(&id), METHOD_NOT_FOUND, text, None)));
            }
            (Kind::Notification, _) => self.listening.told(envelope, text, now, steps),
            _ => {}
        }
    }

    fn answered(
        &mut self,
        id: &RawId,
        envelope: &Envelope<'_>,
        text: &str,
        now: Instant,
        steps: &mut Vec<Step>,
    ) {
        let kind = envelope
            .result
            .and_then(|result| raw::member(result, "resultType"))
            .and_then(raw::string)
            .unwrap_or_else(|| "complete".into());
        let number = self.ids.number(envelope.id);
        if number.is_some() && self.asked.take_if(|asked| Some(*asked) == number).is_some() {
            return self.discovered(envelope, steps);
        }
        if self.listening.answered(envelope, now) || self.rounds.served(envelope, text, &kind, now, steps) {
            return;
        }
        if kind == "complete" {
            return steps.push(Step::ToMux(terminated(text)));
        }
        let text = format!("berth: the server `{}` needs more input, and cannot get it", self.server);
        steps.push(Step::ToMux(error_line(Some(id), REFUSED, &text, None)));
    }

    fn discovered(&mut self, envelope: &Envelope<'_>, steps: &mut Vec<Step>) {
        let Some((id, revision)) = self.begun.take() else { return };
        let result = envelope.result.and_then(|result| serde_json::from_str::<Value>(result.get()).ok());
        let speaks = |result: &Value| {
            let versions = result["supportedVersions"].as_array();
            versions.is_some_and(|versions| versions.iter().any(|version| version == MODERN))
        };
        let Some(result) = result.filter(speaks) else {
            // Neither the one nor the other: what it has said first is the reason.
            return steps.push(Step::ToMux(line::error(&id, &self.refusal)));
        };
        self.listening.may(&result["capabilities"]);
        steps.push(Step::ToMux(line::result(&id, &initialized(result, &revision, &self.server))));
    }

    /// The client says nothing more.
    pub(super) fn leaves(&mut self, steps: &mut Vec<Step>) {
        self.rounds.expire(None, steps);
    }

    pub(super) fn tick(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.listening.tick(now, &self.meta, steps);
        self.rounds.tick(now, steps);
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.rounds.next_tick().into_iter().chain(self.listening.next_tick()).min()
    }
}

/// What a server says of itself in the old era, by its answer to `server/discover`; as JSON.
pub(in super::super) fn initialized(mut result: Value, revision: &str, server: &str) -> String {
    let info = result["_meta"][SERVER].take();
    let info = if info.is_object() { info } else { json!({ "name": server, "version": "" }) };
    let mut initialized = json!({
        "protocolVersion": revision, "capabilities": result["capabilities"].take(), "serverInfo": info,
    });
    if result["instructions"].is_string() {
        initialized["instructions"] = result["instructions"].take();
    }
    initialized.to_string()
}
