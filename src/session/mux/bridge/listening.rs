//! What a newer server tells of changes, in a session up to 2025-11-25: one `subscriptions/listen` for all that the client expects
//! to hear of.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::line;
use super::text::{Ids, SUBSCRIPTION, Step, cancelled, meta, replaced, request, rewritten, terminated};
use crate::rpc::Envelope;
use crate::rpc::raw::{self, Raw};

/// A subscription that has ended is opened again after this time, and then less often.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 6;

const LISTS: [(&str, &str); 3] =
    [("tools", "toolsListChanged"), ("prompts", "promptsListChanged"), ("resources", "resourcesListChanged")];

#[derive(Debug)]
pub(super) struct Listening {
    ids: Ids,
    /// Which lists it tells changes of.
    tells: [bool; 3],
    uris: BTreeSet<String>,
    open: Option<u64>,
    again_at: Option<Instant>,
    in_vain: u32,
}

impl Listening {
    pub(super) fn new(ids: Ids) -> Self {
        Self { ids, tells: [false; 3], uris: BTreeSet::new(), open: None, again_at: None, in_vain: 0 }
    }

    /// The server says what it can.
    pub(super) fn may(&mut self, capabilities: &Value) {
        self.tells = LISTS.map(|(list, _)| capabilities[list]["listChanged"] == true);
    }

    /// The client subscribes to a resource, or does not any more; `meta` is what goes with each request.
    pub(super) fn subscribe(&mut self, uri: Option<String>, is_on: bool, meta: &str, steps: &mut Vec<Step>) {
        let Some(uri) = uri else { return };
        let is_changed = if is_on { self.uris.insert(uri) } else { self.uris.remove(&uri) };
        if is_changed {
            self.begin(meta, steps);
        }
    }

    /// Has the server tell of all that; what it told before goes on until then.
    pub(super) fn begin(&mut self, meta: &str, steps: &mut Vec<Step>) {
        self.again_at = None;
        let before = self.open.take();
        let mut filter = Map::new();
        for (_, (_, flag)) in self.tells.into_iter().zip(LISTS).filter(|(tells, _)| *tells) {
            filter.insert(flag.to_owned(), true.into());
        }
        if !self.uris.is_empty() {
            filter.insert("resourceSubscriptions".to_owned(), json!(self.uris));
        }
        if !filter.is_empty() {
            let number = self.ids.next();
            self.open = Some(number);
            let params = format!("{{\"notifications\":{},\"_meta\":{{{meta}}}}}", Value::Object(filter));
            steps.push(Step::ToServer(request(&self.ids.id(number), "subscriptions/listen", &params)));
        }
        if let Some(before) = before {
            steps.push(Step::ToServer(cancelled(&self.ids.id(before), "berth: another one is open")));
        }
    }

    /// An answer of the server's; `false`: it is to none of these.
    pub(super) fn answered(&mut self, envelope: &Envelope<'_>, now: Instant) -> bool {
        let Some(number) = self.ids.number(envelope.id) else { return false };
        if self.open == Some(number) {
            self.ended(envelope, now);
        }
        true
    }

    /// The server tells nothing more: it is asked again, unless it cannot.
    fn ended(&mut self, envelope: &Envelope<'_>, now: Instant) {
        self.open = None;
        let code = envelope.error.and_then(|error| raw::member(error, "code")).map(Raw::get);
        if code != Some("-32601") {
            self.again_at = Some(now + AGAIN_AFTER * (1 << self.in_vain.min(MOST_DOUBLINGS)));
            self.in_vain += 1;
        }
    }

    /// A notification of the server's.
    pub(super) fn told(&mut self, envelope: &Envelope<'_>, text: &str, now: Instant, steps: &mut Vec<Step>) {
        match envelope.method.as_deref().unwrap_or_default() {
            "notifications/subscriptions/acknowledged" => self.in_vain = 0,
            "notifications/cancelled" => {
                let id = envelope.params.and_then(|params| raw::member(params, "requestId"));
                if self.open.is_some() && self.ids.number(id) == self.open {
                    self.ended(envelope, now);
                }
            }
            _ => {
                let Some(tag) = meta(envelope.params, SUBSCRIPTION) else {
                    return steps.push(Step::ToMux(terminated(text)));
                };
                // What it tells under the id before is as true; what it tells under another one is of no subscription of ours.
                if self.ids.number(Some(tag)).is_none() {
                    return;
                }
                let params = envelope.params.and_then(|params| {
                    let meta = raw::member(params, "_meta")?;
                    let mut rest: Value = serde_json::from_str(meta.get()).ok()?;
                    rest.as_object_mut()?.shift_remove(SUBSCRIPTION);
                    Some(replaced(params, meta, &rest.to_string()))
                });
                steps.push(Step::ToMux(rewritten(text, envelope, None, envelope.params, params)));
            }
        }
    }

    /// Asks again, where it is time. Meanwhile a list may have changed without a word.
    pub(super) fn tick(&mut self, now: Instant, meta: &str, steps: &mut Vec<Step>) {
        if self.again_at.is_none_or(|at| now < at) {
            return;
        }
        self.begin(meta, steps);
        for (_, (list, _)) in self.tells.into_iter().zip(LISTS).filter(|(tells, _)| *tells) {
            steps.push(Step::ToMux(line::notification(&format!("notifications/{list}/list_changed"), None)));
        }
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.again_at
    }
}
