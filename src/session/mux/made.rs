//! Ids that servers make and clients send back: of tasks, of elicitations by URL, of progress. Two servers may choose the same.
//!
//! Each id belongs to the member that made it. It is rewritten only where another member's is spelt the same.

use std::collections::HashMap;

use crate::rpc::raw::{self, Raw};

/// Ids beyond this number are not kept, for a server could make them without end.
const MOST: usize = 16_384;

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
    /// By what the client calls it.
    known: HashMap<(Of, String), (usize, String)>,
    /// What the client calls a member's id, where that is not the id itself.
    renamed: HashMap<(Of, usize, String), String>,
}

impl Made {
    /// What the client is to call an id of this member's, both as JSON.
    pub(super) fn outward(&mut self, of: Of, member: usize, id: &str) -> String {
        if let Some(renamed) = self.renamed.get(&(of, member, id.to_owned())) {
            return renamed.clone();
        }
        match self.known.get(&(of, id.to_owned())) {
            Some((owner, _)) if *owner == member => id.to_owned(),
            None if self.known.len() < MOST => {
                self.known.insert((of, id.to_owned()), (member, id.to_owned()));
                id.to_owned()
            }
            None => id.to_owned(),
            Some(_) => {
                let text = raw_text(id);
                let renamed = (2..)
                    .map(|n| super::line::quoted(&format!("{text}~{n}")))
                    .find(|renamed| !self.known.contains_key(&(of, renamed.clone())))
                    .unwrap_or_default();
                self.known.insert((of, renamed.clone()), (member, id.to_owned()));
                self.renamed.insert((of, member, id.to_owned()), renamed.clone());
                renamed
            }
        }
    }

    /// Whose id it is that the client sends, and what that member calls it.
    pub(super) fn inward(&self, of: Of, id: &str) -> Option<(usize, &str)> {
        self.known.get(&(of, id.to_owned())).map(|(member, own)| (*member, own.as_str()))
    }

    /// The member is gone with all that it made.
    pub(super) fn forget(&mut self, member: usize) {
        self.known.retain(|_, (owner, _)| *owner != member);
        self.renamed.retain(|(_, owner, _), _| *owner != member);
    }

    /// The request that a progress token was for has its answer.
    pub(super) fn forget_token(&mut self, member: usize, token: &str) {
        let renamed = self.renamed.remove(&(Of::Progress, member, token.to_owned()));
        self.known.remove(&(Of::Progress, renamed.unwrap_or_else(|| token.to_owned())));
    }
}

fn raw_text(id: &str) -> String {
    Raw::parse(id).and_then(raw::string).map_or_else(|| id.to_owned(), std::borrow::Cow::into_owned)
}

/// Where the ids stand in a message of a server's, or in a client's answer to it; in their order.
pub(super) fn places<'a>(text: &'a str, params: Option<Raw<'a>>, result: Option<Raw<'a>>) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    // Most messages have none, and are not looked through.
    let has = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    let (has_task, has_elicitation) = (has("taskId"), has("elicitationId"));
    if !has_task && !has_elicitation {
        return places;
    }
    for body in [params, result].into_iter().flatten() {
        let mut add = |of, found: Option<Raw<'a>>| {
            places.extend(found.filter(|found| found.get().starts_with('"')).map(|found| (of, found)));
        };
        if has_task {
            let task = raw::member(body, "task").and_then(|task| raw::member(task, "taskId"));
            let related = raw::member(body, "_meta")
                .and_then(|meta| raw::member(meta, "io.modelcontextprotocol/related-task"))
                .and_then(|related| raw::member(related, "taskId"));
            add(Of::Task, raw::member(body, "taskId"));
            add(Of::Task, task);
            add(Of::Task, related);
        }
        if has_elicitation {
            add(Of::Elicitation, raw::member(body, "elicitationId"));
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
        made.forget(1);
        assert_eq!(made.inward(Of::Task, &renamed), None);
        assert_eq!(made.inward(Of::Task, "\"1\""), Some((0, "\"1\"")));
        assert_eq!(made.outward(Of::Progress, 1, "7"), "7");
        assert_eq!(made.outward(Of::Progress, 0, "7"), "\"7~2\"");
        made.forget_token(0, "7");
        assert_eq!(made.inward(Of::Progress, "\"7~2\""), None);
        assert_eq!(made.inward(Of::Progress, "7"), Some((1, "7")));
    }

    #[test]
    fn they_are_found_where_the_protocol_has_them() {
        let text = r#"{"result":{"task":{"taskId":"a"},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"b"}}},"params":{"taskId":"c","elicitationId":"d","text":"taskId"}}"#;
        let whole = Raw::parse(text).unwrap();
        let found = places(text, raw::member(whole, "params"), raw::member(whole, "result"));
        let found: Vec<_> = found.into_iter().map(|(of, place)| (of, place.get())).collect();
        assert_eq!(
            found,
            [(Of::Task, "\"a\""), (Of::Task, "\"b\""), (Of::Task, "\"c\""), (Of::Elicitation, "\"d\"")]
        );
    }
}
