//! Whether an item of a list is one that clients can take.
//!
//! Only what the protocol asks of every revision: one item that breaks it costs a strict client the whole list.

use super::Kind;
use crate::rpc::raw::{self, Raw};

/// The item's name, or why it can't be shown.
pub(super) fn judge(kind: Kind, item: Raw<'_>) -> Result<String, String> {
    if !is_object(item) {
        return Err("it is no object".to_owned());
    }
    let key = kind.key();
    let name = kind.name(item).ok_or_else(|| format!("it has no string `{key}`"))?;
    if name.is_empty() {
        return Err(format!("its `{key}` is empty"));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("its `{key}` has control characters"));
    }
    for text in ["title", "description"] {
        may_be(item, text, "string", is_string)?;
    }
    match kind {
        Kind::Tools => schemas(item)?,
        Kind::Prompts => arguments(item)?,
        Kind::Resources | Kind::Templates if !raw::member(item, "name").is_some_and(is_string) => {
            return Err("it has no string `name`".to_owned());
        }
        Kind::Resources | Kind::Templates => may_be(item, "mimeType", "string", is_string)?,
    }
    Ok(name)
}

fn schemas(tool: Raw<'_>) -> Result<(), String> {
    let input = raw::member(tool, "inputSchema").filter(|schema| is_object(*schema));
    let input = input.ok_or("it has no object `inputSchema`")?;
    if raw::member(input, "type").and_then(raw::string).as_deref() != Some("object") {
        return Err("the type of its `inputSchema` is not \"object\"".to_owned());
    }
    may_be(tool, "outputSchema", "object", is_object)?;
    may_be(tool, "annotations", "object", is_object)
}

fn arguments(prompt: Raw<'_>) -> Result<(), String> {
    let Some(arguments) = raw::member(prompt, "arguments") else { return Ok(()) };
    let mut are_named = true;
    let array = raw::elements(arguments, |argument| {
        are_named &= raw::member(argument, "name").is_some_and(is_string);
    });
    match array {
        None => Err("its `arguments` is no array".to_owned()),
        Some(()) if !are_named => Err("an argument has no string `name`".to_owned()),
        Some(()) => Ok(()),
    }
}

/// A member that need not be there.
fn may_be(item: Raw<'_>, name: &str, kind: &str, is_kind: fn(Raw<'_>) -> bool) -> Result<(), String> {
    match raw::member(item, name) {
        Some(value) if !is_kind(value) => Err(format!("its `{name}` is no {kind}")),
        _ => Ok(()),
    }
}

fn is_object(value: Raw<'_>) -> bool {
    value.get().starts_with('{')
}

fn is_string(value: Raw<'_>) -> bool {
    value.get().starts_with('"')
}
