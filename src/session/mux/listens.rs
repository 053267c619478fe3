//! `subscriptions/listen` of the new era: one request of the client's, and its part for each member.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::line;
use crate::catalogue::pages::Kind;
use crate::rpc::{RawId, RequestId};

/// Which subscription a notification is for.
pub(super) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// More at once is nobody's need.
const MOST: usize = 256;

#[derive(Debug)]
struct Listen {
    id: RawId,
    key: RequestId,
    /// What the client wants to hear of.
    filter: Value,
    /// The resources that each member tells of.
    members: BTreeMap<usize, Vec<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Listens(Vec<Listen>);

impl Listens {
    /// A new subscription: the acknowledgement; `None` where there are too many, or one of this id.
    pub(super) fn begin(
        &mut self,
        id: RawId,
        filter: Value,
        members: BTreeMap<usize, Vec<String>>,
    ) -> Option<Bytes> {
        let key = id.request_id()?;
        if self.0.len() >= MOST || self.has(&key) {
            return None;
        }
        let params = json!({ "notifications": filter });
        let line = tagged("notifications/subscriptions/acknowledged", params, &id);
        self.0.push(Listen { id, key, filter, members });
        Some(line)
    }

    pub(super) fn has(&self, key: &RequestId) -> bool {
        self.0.iter().any(|listen| listen.key == *key)
    }

    /// The client has enough: who was listened to.
    pub(super) fn end(&mut self, key: &RequestId) -> Option<Vec<usize>> {
        let at = self.0.iter().position(|listen| listen.key == *key)?;
        Some(self.0.remove(at).members.into_keys().collect())
    }

    /// A member tells of nothing any more.
    pub(super) fn leave(&mut self, member: usize) {
        for listen in &mut self.0 {
            listen.members.remove(&member);
        }
    }

    /// Whether a member tells of something under this id.
    pub(super) fn is_of(&self, key: &RequestId, member: usize) -> bool {
        self.0.iter().any(|listen| listen.key == *key && listen.members.contains_key(&member))
    }

    /// The request for a member's part of a subscription. `meta` is what goes with each request.
    pub(super) fn request(&self, key: &RequestId, member: usize, meta: &str) -> Option<Bytes> {
        let listen = self.0.iter().find(|listen| listen.key == *key)?;
        let uris = json!(listen.members.get(&member)?);
        Some(
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"subscriptions/listen\",\"params\":{{\"notifications\":\
                 {{\"resourceSubscriptions\":{uris}}},\"_meta\":{meta}}}}}\n",
                listen.id
            )
            .into(),
        )
    }

    /// All ids under which a member tells of something.
    pub(super) fn of_member(&self, member: usize) -> Vec<RequestId> {
        let of = self.0.iter().filter(|listen| listen.members.contains_key(&member));
        of.map(|listen| listen.key.clone()).collect()
    }

    pub(super) fn concerns(&self, member: usize) -> bool {
        self.0.iter().any(|listen| listen.members.contains_key(&member))
    }

    /// A list has changed: the notifications for all who want to hear of it.
    pub(super) fn announce(&self, kind: Kind, method: &str) -> Vec<Bytes> {
        let flag = match kind {
            Kind::Tools => "toolsListChanged",
            Kind::Prompts => "promptsListChanged",
            Kind::Resources | Kind::Templates => "resourcesListChanged",
        };
        let wanting = self.0.iter().filter(|listen| listen.filter[flag] == true);
        wanting.map(|listen| tagged(method, json!({}), &listen.id)).collect()
    }
}

fn tagged(method: &str, mut params: Value, id: &RawId) -> Bytes {
    params["_meta"][SUBSCRIPTION] = serde_json::from_slice(id.as_bytes()).unwrap_or_default();
    line::notification(method, Some(&params))
}
