//! Puts the entries of a file back as they were, where the client has written other things into it since.

use std::path::Path;

use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use serde_json::Value;
use toml_edit::{DocumentMut, Item, TableLike};

use super::claude_code::STRICT;
use super::{broken, is_called_berth, without_mark};
use crate::failure::Failure;

/// Where each of the clients has its servers.
const OF_CLAUDE: &str = "mcpServers";
const OF_CODEX: &str = "mcp_servers";

/// `current` with the entries of `before`.
pub(super) fn entries(before: &str, current: &str, path: &Path) -> Result<String, Failure> {
    if path.extension().is_some_and(|end| end == "toml") {
        toml(before, current, path)
    } else {
        json(before, current, path)
    }
}

fn toml(before: &str, current: &str, path: &Path) -> Result<String, Failure> {
    let parse = |text: &str| {
        let parsed = without_mark(text).1.replace("\r\n", "\n").parse::<DocumentMut>();
        parsed.map_err(|error| broken(path, 1, error.message()))
    };
    let (before, mut new) = (parse(before)?, parse(current)?);
    let was = before.get(OF_CODEX).and_then(Item::as_table_like);
    if let Some(servers) = new.get_mut(OF_CODEX).and_then(Item::as_table_like_mut) {
        let gathered: Vec<String> = servers
            .iter()
            .filter(|(name, item)| was.is_none_or(|was| !was.contains_key(name)) && is_gathered_toml(item))
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in gathered {
            servers.remove(&name);
        }
        for (name, item) in was.into_iter().flat_map(TableLike::iter) {
            if servers.get(name).map(ToString::to_string) != Some(item.to_string()) {
                servers.insert(name, item.clone());
            }
        }
    }
    let text = format!("{}{new}", without_mark(current).0);
    Ok(if current.contains("\r\n") { text.replace('\n', "\r\n") } else { text })
}

fn json(before: &str, current: &str, path: &Path) -> Result<String, Failure> {
    let parse = |text: &str| {
        CstRootNode::parse(without_mark(text).1, &STRICT)
            .map_err(|error| broken(path, error.line_display(), &format!("invalid JSON: {}", error.kind())))
    };
    let (before, new) = (parse(before)?, parse(current)?);
    if let (Some(before), Some(new)) = (before.object_value(), new.object_value()) {
        servers(&before, &new);
        if let (Some(before), Some(new)) = (before.object_value("projects"), new.object_value("projects")) {
            for project in before.properties().iter().filter_map(CstObjectProp::decoded_name) {
                if let (Some(before), Some(new)) = (before.object_value(&project), new.object_value(&project))
                {
                    servers(&before, &new);
                    for key in ["enabledMcpjsonServers", "allowedTools"] {
                        table(&before, &new, key);
                    }
                }
            }
        }
    }
    Ok(format!("{}{new}", without_mark(current).0))
}

/// The entry that an import has put in the place of others.
fn is_gathered(command: Option<&str>, words: &[Option<&str>]) -> bool {
    command.is_some_and(is_called_berth) && words.contains(&Some("--profile"))
}

fn is_gathered_toml(item: &Item) -> bool {
    let words = item.get("args").and_then(Item::as_array);
    let words: Vec<_> = words.into_iter().flatten().map(toml_edit::Value::as_str).collect();
    is_gathered(item.get("command").and_then(Item::as_str), &words)
}

/// The entries as they were; others that have come since stay.
fn servers(before: &CstObject, new: &CstObject) {
    let (Some(before), Some(new)) = (before.object_value(OF_CLAUDE), new.object_value(OF_CLAUDE)) else {
        return;
    };
    for property in new.properties() {
        let value = property.value().and_then(|value| value.to_serde_value()).unwrap_or_default();
        let words: Vec<_> = value["args"].as_array().into_iter().flatten().map(Value::as_str).collect();
        let was = property.decoded_name().and_then(|name| before.get(&name));
        if was.is_none() && is_gathered(value["command"].as_str(), &words) {
            property.remove();
        }
    }
    for name in before.properties().iter().filter_map(CstObjectProp::decoded_name) {
        table(&before, &new, &name);
    }
}

/// The value of a key as it was.
fn table(before: &CstObject, new: &CstObject, key: &str) {
    let value = |object: &CstObject| object.get(key)?.value()?.to_serde_value();
    match (value(before), value(new)) {
        (was, is) if was == is => {}
        (Some(was), _) => match new.get(key) {
            Some(property) => property.set_value(input(&was)),
            None => _ = new.append(key, input(&was)),
        },
        (None, _) => {
            if let Some(property) = new.get(key) {
                property.remove();
            }
        }
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(entries) => {
            CstInputValue::Object(entries.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}
