//! What still names an old tool, for a person to change.

use super::{MCP, OneEntry, glob, plain};

/// A line that names a tool as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::clients) struct Left {
    /// From 1.
    pub(in crate::clients) line: usize,
    /// The name alone: the rest of the line is nobody's business.
    pub(in crate::clients) was: String,
    /// What its tool or server is called now.
    pub(in crate::clients) now: String,
}

/// The lines of a text that name tools of these servers as they were.
pub(in crate::clients) fn left(text: &str, one: &OneEntry) -> Vec<Left> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let (was, now) = names(line).find_map(|name| Some((name, now(&name[MCP.len()..], one)?)))?;
            Some(Left { line: number + 1, was: was.to_owned(), now })
        })
        .collect()
}

/// The names and wildcards in a line.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
    line.match_indices(MCP).map(move |(at, _)| {
        let rest = &line[at..];
        &rest[..rest.find(|c| !is_letter(c)).unwrap_or(rest.len())]
    })
}

/// `name` stands behind `mcp__`.
fn now(name: &str, one: &OneEntry) -> Option<String> {
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

/// Whether a rule would hold for the entry before there is one, or for what an entry did not have before.
pub(in crate::clients) fn claims(name: &str, is_new: bool, one: &OneEntry) -> bool {
    let entry = format!("{MCP}{}", plain(&one.entry));
    match name.strip_prefix(entry.as_str()) {
        Some("") => true,
        Some(rest) if is_new => rest.starts_with("__") || rest.starts_with('*'),
        Some(_) => one.servers.iter().any(|server| !glob::rests(name, &one.start(server)).is_empty()),
        None => false,
    }
}

/// The line of a text whose rule does. Of prose only the front matter has rules.
pub(in crate::clients) fn claim(text: &str, is_prose: bool, is_new: bool, one: &OneEntry) -> Option<usize> {
    let is_claim = |line: &str| names(line).any(|name| claims(name, is_new, one));
    let is_fence = |line: &str| is_prose && line.trim_end() == "---";
    let first = text.lines().next().unwrap_or_default();
    if is_prose && !is_fence(first) {
        return None;
    }
    let rules = text.lines().enumerate().take_while(|(line, text)| *line == 0 || !is_fence(text));
    rules.into_iter().find(|(_, text)| is_claim(text)).map(|(line, _)| line + 1)
}
