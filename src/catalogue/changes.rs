//! How the tools of two times differ. Pure: other blanks, another order of members or of tools are no difference.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::List;
use super::pages::Kind;
use crate::human::{self, Plain};
use crate::rpc::raw::Raw;

/// So many earlier states are remembered.
const REMEMBERED: usize = 8;

/// It was again what it had been before, so often: by now it goes to and fro.
const VARYING_RETURNS: u32 = 2;

/// What became of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub tool: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Added,
    Removed,
    /// These members of its definition.
    Changed(Vec<String>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tool = Plain(&self.tool);
        match &self.what {
            What::Added => write!(f, "`{tool}` is new"),
            What::Removed => write!(f, "`{tool}` is gone"),
            What::Changed(members) => {
                let members: Vec<_> = members.iter().map(|member| format!("`{}`", Plain(member))).collect();
                write!(f, "`{tool}` has another {}", members.join(", "))
            }
        }
    }
}

/// What became of the tools, by name.
pub fn changes(before: Option<&List>, after: Option<&List>) -> Vec<Change> {
    let (before, after) = (by_name(before), by_name(after));
    let mut changes = Vec::new();
    for (name, old) in &before {
        let what = match after.get(name) {
            None => What::Removed,
            Some(new) if digest(old) == digest(new) => continue,
            Some(new) => What::Changed(members(old, new)),
        };
        changes.push(Change { tool: name.clone(), what });
    }
    let added = after.keys().filter(|name| !before.contains_key(*name));
    changes.extend(added.map(|name| Change { tool: name.clone(), what: What::Added }));
    changes
}

/// What a definition says, whatever blanks and order it has.
pub(super) fn digest(definition: &[u8]) -> String {
    let canonical = serde_json::from_slice::<Value>(definition).map(|mut value| {
        value.sort_all_objects();
        value.to_string()
    });
    let digest = match canonical {
        Ok(text) => Sha256::digest(text),
        Err(_) => Sha256::digest(definition),
    };
    human::hex(&digest)
}

/// What all definitions say together.
pub(super) fn state(list: Option<&List>) -> String {
    let mut hash = Sha256::new();
    for (name, definition) in by_name(list) {
        hash.update(name);
        hash.update([0]);
        hash.update(digest(definition));
    }
    human::hex(&hash.finalize())
}

/// The tools' definitions. Those without a name are nobody's.
pub(super) fn by_name<'a>(list: Option<&'a List>) -> BTreeMap<String, &'a Bytes> {
    let items = list.into_iter().flat_map(|list| &list.items);
    let named =
        |item: &'a Bytes| Some((Kind::Tools.name(Raw::parse(std::str::from_utf8(item).ok()?)?)?, item));
    items.filter_map(named).collect()
}

fn members(old: &[u8], new: &[u8]) -> Vec<String> {
    let parse = |json| serde_json::from_slice::<Map<String, Value>>(json);
    let (Ok(old), Ok(new)) = (parse(old), parse(new)) else { return vec!["definition".to_owned()] };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let others = new.iter().filter(|(key, value)| old.get(*key) != Some(value)).map(|(key, _)| key);
    gone.chain(others).cloned().collect()
}

/// The states of a server's definitions under an equal key and an equal image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct States {
    /// The latest last.
    pub(super) seen: Vec<String>,
    pub(super) returns: u32,
}

impl States {
    /// Whether it goes to and fro with this one.
    pub(super) fn add(&mut self, state: String) -> bool {
        match self.seen.iter().position(|seen| *seen == state) {
            Some(at) if at + 1 == self.seen.len() => {}
            Some(at) => {
                self.returns = self.returns.saturating_add(1);
                self.seen.remove(at);
                self.seen.push(state);
            }
            None => {
                self.seen.push(state);
                let over = self.seen.len().saturating_sub(REMEMBERED);
                self.seen.drain(..over);
            }
        }
        self.returns >= VARYING_RETURNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> List {
        let items = items.iter().map(|item| Bytes::copy_from_slice(item.as_bytes())).collect();
        List { items, ..List::default() }
    }

    fn said(before: &[&str], after: &[&str]) -> Vec<String> {
        let changes = changes(Some(&list(before)), Some(&list(after)));
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn order_and_blanks_are_no_change() {
        let (a, b) = (r#"{"name":"a","inputSchema":{"type":"object","x":1}}"#, r#"{"name":"b"}"#);
        let other = r#"{"inputSchema": {"x":1, "type":"obj\u0065ct"}, "name":"a"}"#;
        assert_eq!(said(&[a, b], &[b, other]), [""; 0]);
        assert_eq!(state(Some(&list(&[a, b]))), state(Some(&list(&[b, other]))));
        assert_ne!(state(Some(&list(&[a, b]))), state(Some(&list(&[a]))));
        assert!(changes(None, None).is_empty() && changes(None, Some(&List::default())).is_empty());
    }

    #[test]
    fn each_change_says_what_of_which_tool() {
        let before = [
            r#"{"name":"a","description":"reads"}"#,
            r#"{"name":"b\u0007","annotations":{"readOnlyHint":true},"title":"B"}"#,
            r#"{"name":"c"}"#,
            r#"{"name":"s","description":"\ud800"}"#,
        ];
        let after = [
            r#"{"name":"a","description":"reads, and tells all"}"#,
            r#"{"name":"b\u0007","annotations":{"readOnlyHint":false}}"#,
            r#"{"name":"d"}"#,
            r#"{"name":"s","description":"\ud801"}"#,
        ];
        assert_eq!(
            said(&before, &after),
            [
                "`a` has another `description`",
                "`b\\u{7}` has another `title`, `annotations`",
                "`c` is gone",
                "`s` has another `definition`",
                "`d` is new",
            ]
        );
    }

    #[test]
    fn to_and_fro_is_varying_and_onwards_is_not() {
        let walk = |states: &str| {
            let mut walked = States::default();
            states.chars().map(|state| walked.add(state.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(walk("aabbab"), [false, false, false, false, false, true]);
        assert_eq!(walk("abca"), [false; 4]);
        assert_eq!(walk("abcdefghijka").last(), Some(&false), "what was long ago is forgotten");
        let mut states = States::default();
        (0..100).for_each(|number| _ = states.add(number.to_string()));
        assert_eq!(states.seen.len(), REMEMBERED);
    }
}
