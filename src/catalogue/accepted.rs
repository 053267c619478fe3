//! Which definitions of tools a person has accepted: those that were there first, and those that they said yes to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::changes::{by_name, digest};
use super::{List, Told};

/// What was accepted under a key of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The hash of each tool's definition.
    tools: BTreeMap<String, String>,
    /// The definitions themselves, for a person; without those that would take too much room.
    #[serde(default)]
    texts: BTreeMap<String, String>,
}

/// A definition is kept up to this length, and all of a server together (bytes).
const LONGEST_TEXT: usize = 256 << 10;
const ALL_TEXTS: usize = 4 << 20;

/// A tool that is described otherwise than a person has accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub tool: String,
    /// The definition that was accepted, as JSON; `None`: it is new, or that is not known.
    pub accepted: Option<String>,
    pub told: String,
}

impl Accepted {
    /// All that a server has told.
    pub fn all(told: &Told) -> Self {
        let mut accepted = Self::default();
        accepted.accept(told.tools.as_ref(), None);
        accepted
    }

    pub fn holds(&self, tool: &str, definition: &[u8]) -> bool {
        self.tools.get(tool).is_some_and(|accepted| *accepted == digest(definition))
    }

    /// The tools whose definitions are others than the accepted ones.
    pub fn refused(&self, told: &Told) -> Vec<String> {
        let tools = by_name(told.tools.as_ref()).into_iter();
        tools.filter(|(name, definition)| !self.holds(name, definition)).map(|(name, _)| name).collect()
    }

    /// The same, with both definitions.
    pub(super) fn held(&self, list: Option<&List>) -> Vec<Held> {
        let others = by_name(list).into_iter().filter(|(name, definition)| !self.holds(name, definition));
        let held = others.map(|(tool, told)| Held {
            accepted: self.texts.get(&tool).cloned(),
            told: String::from_utf8_lossy(told).into_owned(),
            tool,
        });
        held.collect()
    }

    /// `all`: what the texts come to (bytes).
    fn keep_text(&mut self, name: &str, definition: &[u8], all: &mut usize) {
        *all -= self.texts.remove(name).map_or(0, |text| text.len());
        let Ok(text) = std::str::from_utf8(definition) else { return };
        if text.len() <= LONGEST_TEXT && *all + text.len() <= ALL_TEXTS {
            *all += text.len();
            self.texts.insert(name.to_owned(), text.to_owned());
        }
    }

    /// Accepts one tool, or all: which were not accepted before.
    pub(super) fn accept(&mut self, list: Option<&List>, tool: Option<&str>) -> Vec<String> {
        let mut news = Vec::new();
        let mut all = self.texts.values().map(String::len).sum();
        for (name, definition) in by_name(list) {
            if tool.is_some_and(|tool| tool != name) || self.holds(&name, definition) {
                continue;
            }
            self.tools.insert(name.clone(), digest(definition));
            self.keep_text(&name, definition, &mut all);
            news.push(name);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[String]) -> List {
        List { items: items.iter().map(|item| item.clone().into()).collect(), ..List::default() }
    }

    #[test]
    fn what_is_held_has_the_definition_that_was_accepted_beside_it() {
        let old = [r#"{"name":"a"}"#.to_owned(), r#"{"name":"b"}"#.to_owned()];
        let new = [r#"{"name":"a","title":"A"}"#.to_owned(), old[1].clone(), r#"{"name":"c"}"#.to_owned()];
        let mut accepted = Accepted::default();
        accepted.accept(Some(&list(&old)), None);
        let held = |tool: &str, accepted: Option<&String>, told: &String| Held {
            tool: tool.to_owned(),
            accepted: accepted.cloned(),
            told: told.clone(),
        };
        let all = [held("a", Some(&old[0]), &new[0]), held("c", None, &new[2])];
        assert_eq!(accepted.held(Some(&list(&new))), all);
        accepted.accept(Some(&list(&new)), Some("a"));
        assert_eq!(accepted.held(Some(&list(&new))), all[1..]);
        assert_eq!(accepted.held(Some(&list(&old))), [held("a", Some(&new[0]), &old[0])]);
        let former: Accepted = serde_json::from_str(r#"{"tools":{"a":"0"}}"#).unwrap();
        assert_eq!(former.held(Some(&list(&old[..1]))), [held("a", None, &old[0])]);
    }

    #[test]
    fn what_takes_too_much_room_is_accepted_and_not_kept() {
        let long =
            |name: &str, length: usize| format!(r#"{{"name":"{name}","title":"{}"}}"#, "x".repeat(length));
        let items: Vec<String> = (0..40).map(|n| long(&n.to_string(), 200 << 10)).collect();
        let mut accepted = Accepted::default();
        accepted.accept(Some(&list(&items)), None);
        assert_eq!((accepted.tools.len(), accepted.texts.len()), (40, 20));
        let longer = [long("0", 300 << 10)];
        accepted.accept(Some(&list(&longer)), None);
        assert_eq!((accepted.held(Some(&list(&longer))), accepted.texts.len()), (Vec::new(), 19));
    }
}
