//! Requests that a server has sent to the client and that are not answered yet.
//!
//! They matter only when the server is lost. The client's late answers must not reach the next server, whose own
//! requests may have the same ids.

use bytes::Bytes;
use dashmap::{DashMap, DashSet};

use crate::rpc::{Envelope, RawId, RequestId};

/// Beyond this number a server floods; what is not noted here is passed on like everything else.
const CAPACITY: usize = 4096;

/// So is a longer id (bytes), by which a server could fill our memory.
const LONGEST_ID: usize = 256;

#[derive(Debug, Default)]
pub struct Asked {
    open: DashMap<RequestId, Question>,
    /// Of servers that are gone.
    stale: DashSet<RequestId>,
}

/// What of a request is kept.
#[derive(Debug)]
struct Question {
    id: RawId,
    wants_roots: bool,
}

impl Asked {
    /// The server asks.
    pub fn insert(&self, request: &Envelope<'_>) {
        if self.open.len() < CAPACITY
            && request.id.is_some_and(|id| id.get().len() <= LONGEST_ID)
            && let (Some(key), Some(id)) = (request.request_id(), request.raw_id())
        {
            let wants_roots = request.method.as_deref() == Some("roots/list");
            self.open.insert(key, Question { id, wants_roots });
        }
    }

    /// Whether what the server waits for by this id are the client's roots.
    pub fn wants_roots(&self, id: &RequestId) -> bool {
        self.open.get(id).is_some_and(|question| question.wants_roots)
    }

    /// The client answers: whether that is for a server that is gone.
    pub fn is_stale(&self, id: &RequestId) -> bool {
        // The present server's request of the same id goes before: the other one has been cancelled.
        let is_open = self.open.remove(id).is_some();
        self.stale.remove(id).is_some() && !is_open
    }

    /// The server is gone: what the client is told of its requests, line by line.
    pub fn give_up(&self) -> Bytes {
        let keys: Vec<RequestId> = self.open.iter().map(|entry| entry.key().clone()).collect();
        let mut lines = Vec::new();
        for (key, Question { id, .. }) in keys.iter().filter_map(|key| self.open.remove(key)) {
            lines.extend_from_slice(&cancellation(&id, "berth: the server that asked is gone"));
            if self.stale.len() < CAPACITY {
                self.stale.insert(key);
            }
        }
        lines.into()
    }
}

/// `notifications/cancelled`, as a line.
pub(super) fn cancellation(id: &RawId, reason: &str) -> Bytes {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\
         \"reason\":\"{reason}\"}}}}\n"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::raw::Raw;
    use crate::rpc::{Look, look};

    fn ask(asked: &Asked, line: &str) {
        let Look::One(envelope) = look(line.as_bytes()).unwrap() else { panic!("one message") };
        asked.insert(&envelope);
    }

    fn id(json: &str) -> RequestId {
        RequestId::from_raw(Raw::parse(json).unwrap()).unwrap()
    }

    #[test]
    fn a_late_answer_is_for_a_server_that_is_gone_once() {
        let asked = Asked::default();
        ask(&asked, r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#);
        ask(&asked, r#"{"jsonrpc":"2.0","id":8,"method":"roots/list"}"#);
        assert!(!asked.is_stale(&id("7")), "it is there");
        assert_eq!(
            String::from_utf8_lossy(&asked.give_up()),
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":8,\
             \"reason\":\"berth: the server that asked is gone\"}}\n"
        );
        assert!(!asked.is_stale(&id("7")), "was answered in time");
        assert!(asked.is_stale(&id("8")));
        assert!(!asked.is_stale(&id("8")), "and what comes then is somebody else's");
    }

    #[test]
    fn what_a_request_was_for_is_known_until_it_is_answered() {
        let asked = Asked::default();
        ask(&asked, r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#);
        ask(&asked, r#"{"jsonrpc":"2.0","id":"7","method":"sampling/createMessage"}"#);
        assert!(asked.wants_roots(&id("7.0")) && !asked.wants_roots(&id(r#""7""#)));
        asked.is_stale(&id("7"));
        assert!(!asked.wants_roots(&id("7")));
    }

    #[test]
    fn what_is_kept_of_a_flood_is_bounded() {
        let asked = Asked::default();
        ask(
            &asked,
            &format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"roots/list"}}"#, "x".repeat(LONGEST_ID)),
        );
        assert!(asked.open.is_empty(), "an id that is too long");
        for id in 0..=CAPACITY {
            ask(&asked, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"roots/list"}}"#));
        }
        assert_eq!(asked.open.len(), CAPACITY);
    }

    #[test]
    fn the_present_servers_request_goes_before() {
        let asked = Asked::default();
        ask(&asked, r#"{"jsonrpc":"2.0","id":0,"method":"roots/list"}"#);
        asked.give_up();
        ask(&asked, r#"{"jsonrpc":"2.0","id":0,"method":"roots/list"}"#);
        assert!(!asked.is_stale(&id("0")));
    }
}
