//! What still names an old tool, for a person to change.

use super::{MCP, OneEntry, plain};

/// A line that names a tool as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::clients) struct Left {
    /// From 1.
    pub(in crate::clients) line: usize,
    pub(in crate::clients) text: String,
    /// What its tool or server is called now.
    pub(in crate::clients) now: String,
}

/// The lines of a text that name tools of these servers as they were.
pub(in crate::clients) fn left(text: &str, one: &OneEntry) -> Vec<Left> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let now = line.match_indices(MCP).find_map(|(at, _)| now(&line[at + MCP.len()..], one))?;
            Some(Left { line: number + 1, text: line.trim().to_owned(), now })
        })
        .collect()
}

/// `body` stands behind `mcp__`.
fn now(body: &str, one: &OneEntry) -> Option<String> {
    let end = body
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '*'))
        .unwrap_or(body.len());
    let name = &body[..end];
    let entry = plain(&one.entry) + "__";
    let is_new = |server: &super::Gathered| {
        name.strip_prefix(&entry).is_some_and(|rest| rest.starts_with(&(plain(&server.shown) + "__")))
    };
    if one.servers.iter().any(is_new) {
        return None;
    }
    let whole = one.servers.iter().find(|server| plain(&server.name) == name);
    let (server, tool) = match (whole, &one.owners(name)[..]) {
        (Some(server), _) => (server, "*"),
        (None, [(server, tool), ..]) => (*server, *tool),
        (None, []) => return None,
    };
    if one.is_shared(server) {
        return None;
    }
    Some(match server.called(tool).first() {
        Some(tool) => one.claude(server, tool),
        None if tool.contains('*') => format!("{MCP}{entry}{}__{tool}", plain(&server.shown)),
        None => one.claude(server, tool),
    })
}

/// The line whose rule would hold for the entry before there is one. Of prose only the front matter has rules.
pub(in crate::clients) fn claim(text: &str, is_prose: bool, one: &OneEntry) -> Option<usize> {
    let name = format!("{MCP}{}", plain(&one.entry));
    let is_claim = |line: &str| {
        line.match_indices(&name).any(|(at, _)| {
            let behind = &line[at + name.len()..];
            let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            behind.starts_with("__") || !behind.starts_with(is_letter)
        })
    };
    let is_fence = |line: &str| is_prose && line.trim_end() == "---";
    let first = text.lines().next().unwrap_or_default();
    if is_prose && !is_fence(first) {
        return None;
    }
    let rules = text.lines().enumerate().take_while(|(line, text)| *line == 0 || !is_fence(text));
    rules.into_iter().find(|(_, text)| is_claim(text)).map(|(line, _)| line + 1)
}
