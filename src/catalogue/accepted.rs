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

    /// Accepts one tool, or all: which were not accepted before.
    pub(super) fn accept(&mut self, list: Option<&List>, tool: Option<&str>) -> Vec<String> {
        let mut news = Vec::new();
        for (name, definition) in by_name(list) {
            if tool.is_some_and(|tool| tool != name) || self.holds(&name, definition) {
                continue;
            }
            self.tools.insert(name.clone(), digest(definition));
            news.push(name);
        }
        news
    }
}
