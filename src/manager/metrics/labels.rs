//! The values of labels: short, printable, and no more of them than a number that is fixed for each label.
//!
//! Servers and clients name themselves and their tools. Nobody may fill the manager's memory, or break the format, by names.

use std::collections::{BTreeMap, BTreeSet};

use super::families::Family;

/// For all values beyond the number that a label may have.
pub(super) const OTHER: &str = "other";
/// Nobody has said it.
pub(super) const UNKNOWN: &str = "unknown";

/// A value is no longer (characters).
const LONGEST: usize = 64;

/// What a label's value may be: this many.
fn most(label: &str) -> usize {
    match label {
        "client" => 16,
        "gen_ai_tool_name" => 256,
        "error_type" => 32,
        _ => 64,
    }
}

/// The methods of all revisions of MCP; others are a client's own.
const METHODS: [&str; 24] = [
    "completion/complete",
    "elicitation/create",
    "initialize",
    "logging/setLevel",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/input_response",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
];

pub(super) fn method(said: &str) -> String {
    METHODS.iter().find(|method| **method == said).map_or(OTHER, |method| method).to_owned()
}

/// The values that labels have had.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds(BTreeMap<&'static str, BTreeSet<String>>);

impl Bounds {
    /// The value for what somebody has said: itself, shortened, or [`OTHER`] where there are too many.
    pub(super) fn value(&mut self, label: &'static str, said: &str) -> String {
        let value = clean(said);
        if self.has(label, &value) {
            return value;
        }
        let known = self.0.entry(label).or_default();
        if known.len() >= most(label) {
            return OTHER.to_owned();
        }
        known.insert(value.clone());
        value
    }

    /// The value, if it is one already.
    pub(super) fn known(&self, label: &'static str, said: &str) -> String {
        let value = clean(said);
        if self.has(label, &value) { value } else { OTHER.to_owned() }
    }

    /// These values are in use.
    pub(super) fn note(&mut self, family: &Family, values: &[String]) {
        for (label, value) in family.labels.iter().zip(values) {
            if !value.is_empty() && value != OTHER && value != UNKNOWN {
                self.0.entry(label).or_default().insert(value.clone());
            }
        }
    }

    fn has(&self, label: &str, value: &str) -> bool {
        value == OTHER || value == UNKNOWN || self.0.get(label).is_some_and(|known| known.contains(value))
    }
}

/// Without what a reader could take for anything but text.
fn clean(said: &str) -> String {
    let text: String =
        said.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.is_empty() { UNKNOWN.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::families::STANDBY_HITS;

    #[test]
    fn values_are_short_and_few() {
        let mut bounds = Bounds::default();
        let values: BTreeSet<String> =
            (0..10_000).map(|n| bounds.value("gen_ai_tool_name", &format!("tool {n}"))).collect();
        assert_eq!(values.len(), 257);
        assert!(values.contains("tool 255") && values.contains(OTHER) && !values.contains("tool 256"));
        assert_eq!(bounds.value("gen_ai_tool_name", "tool 3"), "tool 3", "who was first stays");
        assert_eq!(bounds.value("server", &"é".repeat(1000)).chars().count(), 64);
        assert_eq!(bounds.value("server", "a\nb\0\u{1b}[2J"), "a\u{fffd}b\u{fffd}\u{fffd}[2J");
        assert_eq!(bounds.value("server", ""), UNKNOWN);
    }

    #[test]
    fn what_is_in_use_is_known() {
        let mut bounds = Bounds::default();
        assert_eq!(bounds.known("server", "files"), OTHER);
        bounds.note(&STANDBY_HITS, &["files".to_owned()]);
        assert_eq!(bounds.known("server", "files"), "files");
    }

    #[test]
    fn methods_of_nobody_are_other() {
        assert!(METHODS.is_sorted());
        assert_eq!([method("tools/call"), method("x/y")], ["tools/call", OTHER]);
    }
}
