//! Requests that the client sent and nobody has answered yet.
//!
//! The client->server pump alone inserts; the server->client pump completes. Bounded: a client that never gets
//! answers is refused in the end, it does not fill our memory.

use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::rpc::{Envelope, RawId, RequestId};

/// Clients have a handful; the bound is for floods.
const CAPACITY: usize = 16 * 1024;

/// One unanswered request.
#[derive(Debug)]
pub struct Pending {
    /// The id as the client spelt it.
    pub id: RawId,
    pub since: Instant,
}

impl Pending {
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

#[derive(Debug, Default)]
pub struct InFlight(DashMap<RequestId, Pending>);

impl InFlight {
    /// Whether so many more may be inserted.
    pub fn has_room(&self, requests: usize) -> bool {
        self.0.len() + requests <= CAPACITY
    }

    /// Registers a request. One without a usable id expects no answer.
    pub fn insert(&self, request: &Envelope<'_>) {
        if let (Some(key), Some(id)) = (request.request_id(), request.raw_id()) {
            self.0.insert(key, Pending { id, since: Instant::now() });
        }
    }

    /// Takes out what an answer with this id completes.
    pub fn complete(&self, id: &RequestId) -> Option<Pending> {
        self.0.remove(id).map(|(_, pending)| pending)
    }

    /// Takes out all, oldest first.
    pub fn drain(&self) -> Vec<Pending> {
        let keys: Vec<RequestId> = self.0.iter().map(|entry| entry.key().clone()).collect();
        let mut all: Vec<Pending> = keys.iter().filter_map(|key| self.complete(key)).collect();
        all.sort_by_key(|pending| pending.since);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::raw::Raw;
    use crate::rpc::{Look, look};

    fn insert(table: &InFlight, line: &str) {
        let Look::One(envelope) = look(line.as_bytes()).unwrap() else { panic!("one message") };
        table.insert(&envelope);
    }

    fn key(json: &str) -> RequestId {
        RequestId::from_raw(Raw::parse(json).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_completes_its_request_however_the_id_is_spelt() {
        let table = InFlight::default();
        insert(&table, r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#);
        insert(&table, r#"{"jsonrpc":"2.0","id":"1","method":"b"}"#);
        assert_eq!(table.complete(&key("1.0")).unwrap().id.as_bytes(), b"1");
        assert!(table.complete(&key("1")).is_none(), "answered once");
        assert_eq!(table.drain().len(), 1, "the string id is another request");
    }

    #[test]
    fn draining_gives_the_oldest_first_and_leaves_nothing() {
        let table = InFlight::default();
        for id in 0..50 {
            insert(&table, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#));
        }
        let ids: Vec<String> = table.drain().iter().map(|pending| pending.id.to_string()).collect();
        assert_eq!(ids, (0..50).map(|id| id.to_string()).collect::<Vec<_>>());
        assert!(table.drain().is_empty());
    }

    #[test]
    fn it_is_bounded() {
        let table = InFlight::default();
        for id in 0..CAPACITY {
            assert!(table.has_room(1));
            insert(&table, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#));
        }
        assert!(!table.has_room(1));
    }
}
