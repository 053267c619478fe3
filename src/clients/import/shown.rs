//! A client's or berth's file as an import shows it: values of variables and credentials are hidden at their places, and
//! names never are.

use std::ops::Range;

use jsonc_parser::ast::Value as Json;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use toml_edit::{Document, Item, TableLike, Value as Toml};

use crate::clients::without_mark;
use crate::observe::Redactor;
use crate::values::{credentials, hidden, is_secret, looks_secret, secret_arguments};

/// Keys whose values are variables, or headers.
const VARIABLES: [&str; 4] = ["env", "secrets", "headers", "http_headers"];
/// Keys that hold what is run, in one text or in several.
const LINES: [&str; 6] = ["command", "args", "npx", "uvx", "uv", "entrypoint"];
/// Keys whose own keys are names of servers, folders or tools.
const NAMES: [&str; 5] = ["mcpServers", "mcp_servers", "servers", "projects", "tools"];

/// A text of a file, with its place.
enum Node {
    Text(Range<usize>, String),
    Other(Range<usize>),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// The text of a file without its secrets.
pub(super) fn shown(text: &str) -> String {
    let (mark, text) = without_mark(text);
    format!("{mark}{}", without_secrets(text))
}

fn without_secrets(text: &str) -> String {
    let Some(root) = of_json(text).or_else(|| of_toml(text)) else {
        let redactor = Redactor::new([]);
        return text.split_inclusive('\n').map(|line| redactor.text(line)).collect();
    };
    let mut search = Search { text, found: Vec::new() };
    search.look("", &root, false);
    hidden(text, search.found)
}

fn of_json(text: &str) -> Option<Node> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default()).ok()?;
    Some(node_of_json(&parsed.value?))
}

fn node_of_json(value: &Json<'_>) -> Node {
    match value {
        Json::StringLit(text) => Node::Text(text.range.start..text.range.end, text.value.to_string()),
        Json::Object(object) => {
            let entries = object
                .properties
                .iter()
                .map(|entry| (entry.name.as_str().to_owned(), node_of_json(&entry.value)));
            Node::Table(entries.collect())
        }
        Json::Array(array) => Node::List(array.elements.iter().map(node_of_json).collect()),
        Json::NumberLit(number) => Node::Other(number.range.start..number.range.end),
        Json::BooleanLit(word) => Node::Other(word.range.start..word.range.end),
        Json::NullKeyword(word) => Node::Other(word.range.start..word.range.end),
    }
}

fn of_toml(text: &str) -> Option<Node> {
    let document = Document::parse(text).ok()?;
    Some(node_of_table(document.as_table()))
}

fn node_of_table(table: &dyn TableLike) -> Node {
    Node::Table(table.iter().map(|(key, item)| (key.to_owned(), node_of_item(item))).collect())
}

fn node_of_item(item: &Item) -> Node {
    match item {
        Item::Table(table) => node_of_table(table),
        Item::ArrayOfTables(tables) => Node::List(tables.iter().map(|table| node_of_table(table)).collect()),
        Item::Value(value) => node_of_toml(value),
        Item::None => Node::List(Vec::new()),
    }
}

fn node_of_toml(value: &Toml) -> Node {
    match value {
        Toml::InlineTable(table) => node_of_table(table),
        Toml::Array(array) => Node::List(array.iter().map(node_of_toml).collect()),
        Toml::String(text) => Node::Text(value.span().unwrap_or_default(), text.value().clone()),
        _ => Node::Other(value.span().unwrap_or_default()),
    }
}

struct Search<'a> {
    text: &'a str,
    found: Vec<Range<usize>>,
}

impl Search<'_> {
    /// Looks at what stands under `key`. `hides`: it is to be hidden, whatever it is.
    fn look(&mut self, key: &str, node: &Node, hides: bool) {
        match node {
            Node::Table(entries) => {
                for (name, value) in entries {
                    let is_variable = VARIABLES.contains(&key) && !matches!(value, Node::Table(_));
                    let inherits = !NAMES.contains(&key) && is_group(value) && looks_secret(name);
                    let hides = hides || is_variable || (inherits && !VARIABLES.contains(&name.as_str()));
                    // A server may be called `env`.
                    self.look(if NAMES.contains(&key) { "" } else { name }, value, hides);
                }
            }
            Node::List(nodes) if LINES.contains(&key) && !hides => self.words(nodes),
            Node::List(nodes) => nodes.iter().for_each(|node| self.look(key, node, hides)),
            // The name of a variable, and nothing beside it.
            Node::Text(_, value) if hides && is_variable(value) => {}
            Node::Text(place, value) if hides || is_secret_key(key, value) => {
                let inside = self.inside(place, value);
                self.found.push(inside);
            }
            Node::Text(place, value) => {
                let mut ranges: Vec<_> = credentials(value).into_iter().map(|found| found.range).collect();
                if LINES.contains(&key)
                    && let Some(words) = shlex::split(value)
                {
                    for found in secret_arguments(&words) {
                        let secret = words[found.word].get(found.range).unwrap_or_default();
                        ranges.extend(value.find(secret).map(|at| at..at + secret.len()));
                    }
                }
                self.hide(place, value, ranges);
            }
            Node::Other(place) if hides || looks_secret(key) => {
                let word = self.text.get(place.clone()).unwrap_or_default();
                if !["true", "false", "null"].contains(&word) {
                    self.found.push(place.clone());
                }
            }
            Node::Other(_) => {}
        }
    }

    /// The words of a command line: what comes after a flag is judged by it.
    fn words(&mut self, nodes: &[Node]) {
        let word = |node: &Node| match node {
            Node::Text(_, value) => value.clone(),
            _ => String::new(),
        };
        let words: Vec<String> = nodes.iter().map(word).collect();
        for found in secret_arguments(&words) {
            if let Node::Text(place, value) = &nodes[found.word] {
                self.hide(place, value, vec![found.range]);
            }
        }
    }

    /// Hides parts of a value, or the whole where it is spelt with escapes.
    fn hide(&mut self, place: &Range<usize>, value: &str, ranges: Vec<Range<usize>>) {
        if ranges.is_empty() {
            return;
        }
        let inside = self.inside(place, value);
        if self.text.get(inside.clone()) == Some(value) {
            self.found
                .extend(ranges.into_iter().map(|range| inside.start + range.start..inside.start + range.end));
        } else {
            self.found.push(inside);
        }
    }

    /// Where a text's own characters are, without its quotes.
    fn inside(&self, place: &Range<usize>, value: &str) -> Range<usize> {
        let source = self.text.get(place.clone()).unwrap_or_default();
        let quotes = if source.starts_with("\"\"\"") || source.starts_with("'''") { 3 } else { 1 };
        match source.find(value).filter(|_| !value.is_empty()) {
            Some(at) => place.start + at..place.start + at + value.len(),
            None => place.start + quotes.min(source.len())..place.end.saturating_sub(quotes).max(place.start),
        }
    }
}

/// `${NAME}`
fn is_variable(value: &str) -> bool {
    let name = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

fn is_group(node: &Node) -> bool {
    matches!(node, Node::Table(_) | Node::List(_))
}

/// A key that is a line is judged by its words.
fn is_secret_key(key: &str, value: &str) -> bool {
    !LINES.contains(&key) && looks_secret(key) && is_secret(key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_at_their_places_and_names_never() {
        let text = r#"{ "mcpServers": { "env": {
  "command": "npx",
  "args": ["-y", "evil-package", "--api-key", "sesame", "--url=https://u:sesame2@h/x", "--auth-mode", "none"],
  "env": {
    "A_TOKEN": "evil-package",
    "B_TOKEN": "evil",
    "args": "args",
    "D_TOKEN": "\"-y\", \"evil-package\"",
    "PORT": "8085",
    "F": "${F_TOKEN}",
    "G": "${ADMIN}:hunter2"
  },
  "apiKey": "a\"b"
} }, "port": 8085, "tokens": 17, "command": "npx -y mcp-remote https://h/?tavilyApiKey=tvly-FAKE" }"#;
        let expected = r#"{ "mcpServers": { "env": {
  "command": "npx",
  "args": ["-y", "evil-package", "--api-key", "[redacted]", "--url=https://u:[redacted]@h/x", "--auth-mode", "none"],
  "env": {
    "A_TOKEN": "[redacted]",
    "B_TOKEN": "[redacted]",
    "args": "[redacted]",
    "D_TOKEN": "[redacted]",
    "PORT": "[redacted]",
    "F": "${F_TOKEN}",
    "G": "[redacted]"
  },
  "apiKey": "[redacted]"
} }, "port": 8085, "tokens": [redacted], "command": "npx -y mcp-remote https://h/?tavilyApiKey=[redacted]" }"#;
        assert_eq!(shown(text), expected);
        assert_eq!(shown(&format!("\u{feff}{text}")), format!("\u{feff}{expected}"), "a mark hides none");
    }

    #[test]
    fn a_toml_file_is_shown_in_the_same_way() {
        let text = "# a token = \"x\"\n[mcp_servers.secret]\ncommand = \"npx\"\nargs = ['-y', '--token=sesame']\n\
                    env_vars = [\"TOKEN\"]\nenv = { MODE = \"fast\", K = '''a''' }\n[mcp_servers.secret.http_headers]\nX = \"y\"\n\
                    [servers.b]\nnpx = \"p --api-key sesame --key ${KEY}\"\nsecrets = { T = \"${T}\", F = { file = \"f\" } }\n\
                    [servers.b.env]\nU = \"1\"\n";
        let expected = text
            .replace("sesame", "[redacted]")
            .replace("fast", "[redacted]")
            .replace("'''a'''", "'''[redacted]'''")
            .replace("X = \"y\"", "X = \"[redacted]\"")
            .replace("U = \"1\"", "U = \"[redacted]\"");
        assert_eq!(shown(text), expected);
        assert_eq!(
            shown("{ \"token\": \"sesame\""),
            "{ \"token\": \"[redacted]\"",
            "what is broken is read leniently"
        );
    }
}
