//! Ids that servers make and clients send back: of tasks, of elicitations by URL, of progress. Two servers may choose the same.
//!
//! Each id belongs to the member that made it. It is rewritten only where another member's is spelt the same.

use std::borrow::Cow;
use std::collections::HashMap;

use super::line::quoted;
use crate::rpc::RequestId;
use crate::rpc::raw::{self, Raw};

/// Of one server, ids beyond this number are not kept, for it could make them without end.
const MOST: usize = 4096;
/// Nor longer ones (bytes).
const LONGEST: usize = 1024;

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Of {
    Task,
    Elicitation,
    Progress,
}

/// A place in a message where such an id stands.
pub(super) type Place<'a> = (Of, Raw<'a>);

/// Who made which id.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// By what the client calls it: whose it is, and what that member calls it.
    known: HashMap<(Of, RequestId), (usize, String)>,
    /// What the client calls a member's id, where that is not the id itself.
    renamed: HashMap<(Of, usize, RequestId), String>,
    /// How many are each member's.
    counts: HashMap<usize, usize>,
}

impl Made {
    /// What the client is to call an id of this member's, both as JSON.
    pub(super) fn outward(&mut self, of: Of, member: usize, id: &str) -> String {
        let Some(key) = key(id) else { return id.to_owned() };
        if let Some(renamed) = self.renamed.get(&(of, member, key.clone())) {
            return renamed.clone();
        }
        match self.known.get(&(of, key.clone())) {
            Some((owner, own)) if *owner == member && self::key(own).as_ref() == Some(&key) => id.to_owned(),
            known => {
                let is_taken = known.is_some();
                let count = self.counts.entry(member).or_default();
                if *count >= MOST {
                    return id.to_owned();
                }
                *count += 1;
                if !is_taken {
                    self.known.insert((of, key), (member, id.to_owned()));
                    return id.to_owned();
                }
                let text = raw_text(id);
                let is_free = |renamed: &String| {
                    self::key(renamed).is_some_and(|key| !self.known.contains_key(&(of, key)))
                };
                // One of them is free: there are fewer ids.
                let mut renamed = (2..MOST * 1024).map(|n| quoted(&format!("{text}~{n}")));
                let Some(renamed) = renamed.find(is_free) else { return id.to_owned() };
                if let Some(new) = self::key(&renamed) {
                    self.known.insert((of, new), (member, id.to_owned()));
                }
                self.renamed.insert((of, member, key), renamed.clone());
                renamed
            }
        }
    }

    /// Whose id it is that the client sends, and what that member calls it.
    pub(super) fn inward(&self, of: Of, id: &str) -> Option<(usize, &str)> {
        self.known.get(&(of, key(id)?)).map(|(member, own)| (*member, own.as_str()))
    }

    /// The member is gone with all that it made.
    pub(super) fn forget(&mut self, member: usize) {
        self.known.retain(|_, (owner, _)| *owner != member);
        self.renamed.retain(|(_, owner, _), _| *owner != member);
        self.counts.remove(&member);
    }

    /// The request that a progress token was for has its answer.
    pub(super) fn forget_token(&mut self, member: usize, token: &str) {
        let Some(key) = key(token) else { return };
        let renamed = self.renamed.remove(&(Of::Progress, member, key.clone()));
        let outward = renamed.as_deref().and_then(self::key).unwrap_or(key);
        if self.known.remove(&(Of::Progress, outward)).is_some()
            && let Some(count) = self.counts.get_mut(&member)
        {
            *count = count.saturating_sub(1);
        }
    }
}

/// As it is compared; `None` for what is too long to be kept.
fn key(id: &str) -> Option<RequestId> {
    Raw::parse(id).filter(|_| id.len() <= LONGEST).and_then(RequestId::from_raw)
}

fn raw_text(id: &str) -> String {
    Raw::parse(id).and_then(raw::string).map_or_else(|| id.to_owned(), Cow::into_owned)
}

/// Where the ids stand in a message of a server's, or in a client's answer to it; in their order.
pub(super) fn places<'a>(text: &'a str, bodies: [Option<Raw<'a>>; 3]) -> Vec<Place<'a>> {
    let mut places: Vec<Place<'a>> = Vec::new();
    // Most messages have none, and are not looked through.
    let has = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    let (has_task, has_elicitation) = (has("taskId"), has("elicitationId"));
    if !has_task && !has_elicitation {
        return places;
    }
    for body in bodies.into_iter().flatten() {
        let mut add = |of, found: Option<Raw<'a>>| {
            places.extend(found.filter(|found| found.get().starts_with('"')).map(|found| (of, found)));
        };
        let data = raw::member(body, "data");
        if has_task {
            let task = raw::member(body, "task").and_then(|task| raw::member(task, "taskId"));
            let related = raw::member(body, "_meta")
                .and_then(|meta| raw::member(meta, "io.modelcontextprotocol/related-task"))
                .and_then(|related| raw::member(related, "taskId"));
            for found in [raw::member(body, "taskId"), task, related] {
                add(Of::Task, found);
            }
            if let Some(tasks) = raw::member(body, "tasks") {
                let _ = raw::elements(tasks, |task| add(Of::Task, raw::member(task, "taskId")));
            }
        }
        if has_elicitation {
            add(Of::Elicitation, raw::member(body, "elicitationId"));
            if let Some(asked) = data.and_then(|data| raw::member(data, "elicitations")) {
                let _ = raw::elements(asked, |one| add(Of::Elicitation, raw::member(one, "elicitationId")));
            }
        }
    }
    places.sort_by_key(|(_, place)| place.get().as_ptr().addr());
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_makers_and_renamed_only_where_it_clashes() {
        let mut made = Made::default();
        assert_eq!(made.outward(Of::Task, 0, "\"1\""), "\"1\"");
        assert_eq!(made.outward(Of::Elicitation, 1, "\"1\""), "\"1\"", "of another kind");
        let renamed = made.outward(Of::Task, 1, "\"1\"");
        assert_eq!(renamed, "\"1~2\"");
        assert_eq!(made.outward(Of::Task, 1, "\"1\""), renamed, "again");
        assert_eq!(made.inward(Of::Task, "\"1\""), Some((0, "\"1\"")));
        assert_eq!(made.inward(Of::Task, &renamed), Some((1, "\"1\"")));
        assert_eq!(
            made.outward(Of::Task, 2, "\"1~2\""),
            "\"1~2~2\"",
            "what one chose may be what another was given"
        );
        assert_eq!(
            made.outward(Of::Task, 1, "\"1~2\""),
            "\"1~2~3\"",
            "the other id of its maker is another id"
        );
        made.forget(1);
        assert_eq!(made.inward(Of::Task, &renamed), None);
        assert_eq!(made.inward(Of::Task, "\"1\""), Some((0, "\"1\"")));
        assert_eq!(made.outward(Of::Progress, 1, "7"), "7");
        assert_eq!(made.outward(Of::Progress, 0, "7"), "\"7~2\"");
        assert_eq!(made.outward(Of::Progress, 1, "7.0"), "7.0", "the same number");
        made.forget_token(0, "7");
        assert_eq!(made.inward(Of::Progress, "\"7~2\""), None);
        assert_eq!(made.inward(Of::Progress, "7"), Some((1, "7")));
    }

    #[test]
    fn they_are_found_where_the_protocol_has_them() {
        let text = r#"{"result":{"task":{"taskId":"a"},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"b"}}},"params":{"taskId":"c","elicitationId":"d","text":"taskId"}}"#;
        let whole = Raw::parse(text).unwrap();
        let found = places(text, [raw::member(whole, "params"), raw::member(whole, "result"), None]);
        let found: Vec<_> = found.into_iter().map(|(of, place)| (of, place.get())).collect();
        assert_eq!(
            found,
            [(Of::Task, "\"a\""), (Of::Task, "\"b\""), (Of::Task, "\"c\""), (Of::Elicitation, "\"d\"")]
        );
    }
}
