//! What both directions share: ids of berth's own, pieces of JSON put into others' messages, and the bounds.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::line::{self, patched, quoted};
use crate::failure::Code;
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, RawId};

/// The revisions at both sides of the change, as berth speaks them itself.
pub(in super::super) const LEGACY: &str = "2025-11-25";
pub(in super::super) const MODERN: &str = "2026-07-28";

pub(super) const REVISION: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub(super) const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
pub(super) const SERVER: &str = "io.modelcontextprotocol/serverInfo";
pub(super) const LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub(super) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

pub(super) const INTERNAL_ERROR: i64 = -32603;
pub(super) const REFUSED: Code = Code::Unavailable;

/// A question waits so long for its answer.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_mins(10);

/// More calls than these, or bytes of them, are kept of no server.
pub(super) const MOST_CALLS: usize = 1024;
pub(super) const MOST_BYTES: usize = 32 << 20;
/// More questions at once has no call.
pub(super) const MOST_QUESTIONS: usize = 64;

/// What follows from a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Step {
    ToServer(Bytes),
    /// As if the server had said it.
    ToMux(Bytes),
}

/// Ids of berth's own, that are nobody else's.
#[derive(Debug)]
pub(in super::super) struct Ids {
    prefix: String,
    counter: u64,
}

impl Ids {
    /// `prefix` is this bridge's alone.
    pub(in super::super) fn new(prefix: String) -> Self {
        Self { prefix, counter: 0 }
    }

    /// Others, for a part of the bridge.
    pub(super) fn part(&self, letter: char) -> Self {
        Self::new(format!("{}{letter}", self.prefix))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// As JSON.
    pub(super) fn id(&self, number: u64) -> String {
        format!("\"{}{number}\"", self.prefix)
    }

    /// The number of an id that was made here.
    pub(super) fn number(&self, id: Option<Raw<'_>>) -> Option<u64> {
        raw::string(id?)?.strip_prefix(&self.prefix)?.parse().ok()
    }
}

/// What may be answered by questions (MCP 2026-07-28, «Multi Round-Trip Requests»).
pub(super) fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// The capability that a question needs; `None`: it is no question that both eras have.
pub(super) fn capability(method: &str) -> Option<&'static str> {
    match method {
        "sampling/createMessage" => Some("sampling"),
        "elicitation/create" => Some("elicitation"),
        "roots/list" => Some("roots"),
        _ => None,
    }
}

/// An object with more members, which stand first. `members` are JSON, without braces.
pub(super) fn with_members(object: Raw<'_>, members: &str) -> String {
    let rest = object.get().strip_prefix('{').unwrap_or("}").trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{{members}{comma}{rest}")
}

/// `whole` with other JSON in the place of a part of it.
pub(super) fn replaced(whole: Raw<'_>, part: Raw<'_>, with: &str) -> String {
    let text = whole.get();
    match part.place(text) {
        Some(place) => [&text[..place.start], with, &text[place.end..]].concat(),
        None => text.to_owned(),
    }
}

/// Parameters with more members in `_meta`; `None`: they are no object, and stay.
pub(super) fn with_meta(params: Option<Raw<'_>>, members: &str) -> Option<String> {
    let Some(params) = params.filter(|params| params.get() != "null") else {
        return Some(format!("{{\"_meta\":{{{members}}}}}"));
    };
    if !params.get().starts_with('{') {
        return None;
    }
    Some(match raw::member(params, "_meta") {
        Some(meta) if meta.get().starts_with('{') => replaced(params, meta, &with_members(meta, members)),
        Some(meta) => replaced(params, meta, &format!("{{{members}}}")),
        None => with_members(params, &format!("\"_meta\":{{{members}}}")),
    })
}

/// A message with another id, and other parameters or another result in the place of `body`.
pub(super) fn rewritten(
    text: &str,
    envelope: &Envelope<'_>,
    id: Option<&str>,
    body: Option<Raw<'_>>,
    with: Option<String>,
) -> Bytes {
    let mut parts = Vec::new();
    parts.extend(envelope.id.zip(id).map(|(place, id)| (place, id.to_owned())));
    match (body, with) {
        (Some(body), Some(with)) => parts.push((body, with)),
        (None, Some(with)) => {
            // A request without parameters.
            let line = patched(text, &parts);
            let text = String::from_utf8_lossy(&line);
            let whole = Raw::parse(&text);
            return whole.map_or_else(
                || line.clone(),
                |whole| format!("{}\n", with_members(whole, &format!("\"params\":{with}"))).into(),
            );
        }
        (_, None) => {}
    }
    parts.sort_by_key(|(place, _)| place.get().as_ptr().addr());
    patched(text, &parts)
}

/// A member of `params._meta`.
pub(super) fn meta<'a>(params: Option<Raw<'a>>, name: &str) -> Option<Raw<'a>> {
    raw::member(raw::member(params?, "_meta")?, name)
}

/// A request of ours; `id` and `params` are JSON.
pub(super) fn request(id: &str, method: &str, params: &str) -> Bytes {
    let method = quoted(method);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method},\"params\":{params}}}\n").into()
}

/// A line as it came.
pub(super) fn terminated(text: &str) -> Bytes {
    format!("{text}\n").into()
}

pub(super) fn cancelled(id: &str, reason: &str) -> Bytes {
    let params: Map<_, _> = [
        ("requestId".to_owned(), serde_json::from_str(id).unwrap_or_default()),
        ("reason".to_owned(), reason.into()),
    ]
    .into_iter()
    .collect();
    line::notification("notifications/cancelled", Some(&Value::Object(params)))
}

/// A client's capabilities as the other era has them: without what that one does not know.
pub(super) fn capabilities(of: Option<Raw<'_>>) -> Value {
    let mut all = of.and_then(|of| serde_json::from_str::<Value>(of.get()).ok()).unwrap_or_default();
    let Some(members) = all.as_object_mut() else { return json!({}) };
    members.shift_remove("tasks");
    if let Some(Value::Object(roots)) = members.get_mut("roots") {
        // Nobody could tell the server of a change.
        roots.shift_remove("listChanged");
    }
    all
}

/// The id of a server's request, if it may be kept.
pub(super) fn kept_id(envelope: &Envelope<'_>) -> Option<RawId> {
    envelope.raw_id().filter(|id| id.as_bytes().len() <= 1024)
}
