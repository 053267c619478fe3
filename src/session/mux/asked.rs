//! What servers ask the client: each request has an id of ours towards the client, and is mapped back.

use std::collections::HashMap;

use bytes::Bytes;

use super::line::{self, quoted};
use crate::rpc::raw::Raw;
use crate::rpc::{Frame, RawId, RequestId};

/// More than this at once is a flood (of one member's).
const MOST_OPEN: usize = 1024;

/// Before the client may be asked, no server needs more.
const MOST_HELD: usize = 16;
const MOST_HELD_BYTES: usize = 4 << 20;

/// An id that is longer (bytes) is nobody's need.
const LONGEST_ID: usize = 1024;

/// A request that the client is to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) member: usize,
    /// As the server spelt it.
    pub(super) id: RawId,
    /// Its progress token, as JSON.
    pub(super) token: Option<String>,
}

/// What a client's answer is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum For {
    Member(Question),
    /// All who have asked for the roots.
    Roots(Vec<(usize, RawId)>),
    /// Nobody waits for it any more.
    Nobody,
}

/// The client's roots, which are asked for once for all.
#[derive(Debug, Default)]
struct Roots {
    /// The `result`, as JSON, until the client says that they have changed.
    known: Option<String>,
    /// Our request, while it has no answer.
    asked: Option<u64>,
    waiting: Vec<(usize, RawId)>,
    /// They have changed since they were asked for.
    is_stale: bool,
}

/// Requests of servers that are open.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: HashMap<u64, Question>,
    by_server: HashMap<(usize, RequestId), u64>,
    roots: Roots,
    counter: u64,
    /// What servers have asked before the client may be asked.
    held: Vec<(usize, Frame)>,
    held_bytes: usize,
}

/// What follows from a server's request for the roots.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RootsWanted {
    /// This is what the server hears.
    Known(Bytes),
    /// The client is to be asked.
    Ask(Bytes),
    /// It has been asked.
    Wait,
    /// This server has asked already, and more than once.
    TooOften,
}

impl Asked {
    /// A server asks; what the client knows the request by. `None`: it has too many open.
    pub(super) fn insert(&mut self, question: Question) -> Option<u64> {
        let count = self.open.values().filter(|open| open.member == question.member).count();
        let key = (question.member, question.id.request_id()?);
        if count >= MOST_OPEN
            || question.id.as_bytes().len() > LONGEST_ID
            || self.by_server.contains_key(&key)
        {
            return None;
        }
        self.counter += 1;
        self.by_server.insert(key, self.counter);
        self.open.insert(self.counter, question);
        Some(self.counter)
    }

    /// Keeps a request until the client may be asked.
    ///
    /// # Errors
    /// There are too many: it is given back.
    pub(super) fn hold(&mut self, member: usize, frame: Frame) -> Result<(), Frame> {
        let of_member = self.held.iter().filter(|(asker, _)| *asker == member).count();
        self.held_bytes += frame.wire().len();
        if of_member >= MOST_HELD || self.held_bytes > MOST_HELD_BYTES {
            self.held_bytes -= frame.wire().len();
            return Err(frame);
        }
        self.held.push((member, frame));
        Ok(())
    }

    pub(super) fn take_held(&mut self) -> Vec<(usize, Frame)> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// A server asks for the roots.
    pub(super) fn roots(&mut self, member: usize, id: RawId) -> RootsWanted {
        if let Some(known) = &self.roots.known {
            return RootsWanted::Known(line::result(&id, known));
        }
        let of_member = self.roots.waiting.iter().filter(|(asker, _)| *asker == member).count();
        if of_member >= MOST_HELD || id.as_bytes().len() > LONGEST_ID {
            return RootsWanted::TooOften;
        }
        self.roots.waiting.push((member, id));
        if self.roots.asked.is_some() {
            return RootsWanted::Wait;
        }
        RootsWanted::Ask(self.ask_for_roots())
    }

    fn ask_for_roots(&mut self) -> Bytes {
        self.counter += 1;
        self.roots.asked = Some(self.counter);
        self.roots.is_stale = false;
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"roots/list\"}}\n", self.counter).into()
    }

    /// The client says that its roots have changed.
    pub(super) fn roots_changed(&mut self) {
        self.roots.known = None;
        self.roots.is_stale = true;
    }

    /// The client answers.
    pub(super) fn answered(&mut self, id: &RequestId, result: Option<Raw<'_>>) -> For {
        let Some(number) = number(id) else { return For::Nobody };
        if self.roots.asked == Some(number) {
            self.roots.asked = None;
            if !self.roots.is_stale {
                self.roots.known = result.map(|result| result.get().to_owned());
            }
            return For::Roots(std::mem::take(&mut self.roots.waiting));
        }
        match self.open.remove(&number) {
            Some(question) => {
                if let Some(key) = question.id.request_id() {
                    self.by_server.remove(&(question.member, key));
                }
                For::Member(question)
            }
            None => For::Nobody,
        }
    }

    /// A server withdraws a request: what the client knows it by, and its progress token.
    pub(super) fn withdrawn(&mut self, member: usize, id: &RequestId) -> Option<(u64, Option<String>)> {
        self.roots
            .waiting
            .retain(|(asker, asked)| *asker != member || asked.request_id().as_ref() != Some(id));
        let number = self.by_server.remove(&(member, id.clone()))?;
        let token = self.open.remove(&number)?.token;
        Some((number, token))
    }

    /// A server is gone: what the client is told of all that it has asked.
    pub(super) fn give_up(&mut self, member: usize) -> Vec<Bytes> {
        self.roots.waiting.retain(|(asker, _)| *asker != member);
        self.held.retain(|(asker, _)| *asker != member);
        self.by_server.retain(|(asker, _), _| *asker != member);
        let mut gone: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.member == member).map(|(number, _)| *number).collect();
        gone.sort_unstable();
        gone.into_iter()
            .map(|number| {
                self.open.remove(&number);
                cancellation(number, "berth: the server that asked is gone")
            })
            .collect()
    }

    pub(super) fn has_open(&self, member: usize) -> bool {
        self.open.values().any(|open| open.member == member)
            || self.roots.waiting.iter().any(|(asker, _)| *asker == member)
    }
}

pub(super) fn cancellation(number: u64, reason: &str) -> Bytes {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{number},\"reason\":{}}}}}\n",
        quoted(reason)
    )
    .into()
}

fn number(id: &RequestId) -> Option<u64> {
    id.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> RawId {
        RawId::from_raw(Raw::parse(json).unwrap()).unwrap()
    }

    fn key(json: &str) -> RequestId {
        id(json).request_id().unwrap()
    }

    fn question(member: usize, json: &str) -> Question {
        Question { member, id: id(json), token: None }
    }

    #[test]
    fn two_servers_may_use_one_id() {
        let mut asked = Asked::default();
        let (one, other) = (asked.insert(question(0, "1")).unwrap(), asked.insert(question(1, "1")).unwrap());
        assert_ne!(one, other);
        assert_eq!(asked.insert(question(1, "1.0")), None, "it has asked that already");
        assert_eq!(asked.answered(&key(&other.to_string()), None), For::Member(question(1, "1")));
        assert_eq!(asked.answered(&key(&other.to_string()), None), For::Nobody, "once");
        assert_eq!(asked.withdrawn(1, &key("1")), None);
        assert_eq!(asked.withdrawn(0, &key("1")), Some((one, None)));
        assert!(!asked.has_open(0) && !asked.has_open(1));
    }

    #[test]
    fn roots_are_asked_for_once_until_they_change() {
        let mut asked = Asked::default();
        let RootsWanted::Ask(line) = asked.roots(0, id("7")) else { panic!("nobody knows them") };
        assert!(line.starts_with(b"{\"jsonrpc\":\"2.0\",\"id\":1,"));
        assert_eq!(asked.roots(1, id("\"a\"")), RootsWanted::Wait);
        let result = Raw::parse("{\"roots\":[]}");
        assert_eq!(asked.answered(&key("1"), result), For::Roots(vec![(0, id("7")), (1, id("\"a\""))]));
        assert_eq!(
            asked.roots(1, id("8")),
            RootsWanted::Known("{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{\"roots\":[]}}\n".into())
        );
        asked.roots_changed();
        assert!(matches!(asked.roots(1, id("9")), RootsWanted::Ask(_)));
        asked.roots_changed();
        asked.answered(&key("2"), result);
        assert!(
            matches!(asked.roots(1, id("10")), RootsWanted::Ask(_)),
            "they changed while they were asked for"
        );
        asked.answered(&key("3"), None);
        assert!(matches!(asked.roots(1, id("11")), RootsWanted::Ask(_)), "an error is nothing to keep");
    }

    #[test]
    fn a_server_that_is_gone_has_asked_nothing() {
        let mut asked = Asked::default();
        let (gone, stays) =
            (asked.insert(question(0, "1")).unwrap(), asked.insert(question(1, "1")).unwrap());
        asked.roots(0, id("2"));
        let lines = asked.give_up(0);
        assert_eq!(lines.len(), 1);
        assert!(String::from_utf8_lossy(&lines[0]).contains(&format!("\"requestId\":{gone},")));
        assert_eq!(asked.answered(&key(&gone.to_string()), None), For::Nobody);
        assert!(matches!(asked.answered(&key(&stays.to_string()), None), For::Member(_)));
    }

    #[test]
    fn a_flood_is_bounded_and_no_other_servers() {
        let mut asked = Asked::default();
        for n in 0..MOST_OPEN {
            assert!(asked.insert(question(0, &n.to_string())).is_some());
        }
        assert_eq!(asked.insert(question(0, "\"more\"")), None);
        assert!(asked.insert(question(1, "0")).is_some());
    }
}
