//! The front matter of Claude Code's sub-agents, commands and skills: `tools: Read, mcp__files__read_file`, in a line or as a
//! list, with quotes or without.

use super::rules::{Place, rule};
use super::{MCP, OneEntry, Renamed, Stay};

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::clients) enum Sort {
    Agent,
    /// A command or a skill.
    Command,
}

impl Sort {
    fn place(self, key: &str) -> Option<Place> {
        match (self, key) {
            (Self::Agent, "tools") => Some(Place::Agent),
            (Self::Agent, "disallowedTools") => Some(Place::AgainstNames),
            (_, "allowed-tools") => Some(Place::Allow),
            (Self::Command, "disallowed-tools") => Some(Place::Against),
            _ => None,
        }
    }
}

/// A file's text with the new names in its front matter, and what is to be told of its rules.
pub(in crate::clients) fn front_matter(text: &str, sort: Sort, one: &OneEntry) -> (String, Vec<Stay>) {
    let mut stays = Vec::new();
    let mut new = String::new();
    let mut lines = text.split_inclusive('\n');
    let is_fence = |line: &str| line.trim_end() == "---";
    match lines.next() {
        Some(first) if is_fence(first.trim_start_matches('\u{feff}')) => new.push_str(first),
        _ => return (text.to_owned(), stays),
    }
    let mut place = None;
    let mut is_open = true;
    for line in lines {
        is_open &= !is_fence(line);
        if !is_open {
            new.push_str(line);
            continue;
        }
        // What is indented, and the items of a list, belong to the key above.
        let is_below = line.starts_with([' ', '\t', '-']);
        let start = match line.split_once(':').filter(|_| !is_below) {
            Some((key, _)) => {
                place = sort.place(key.trim());
                key.len() + 1
            }
            None => 0,
        };
        match place {
            Some(place) => {
                new.push_str(&line[..start]);
                renamed(&line[start..], place, one, &mut new, &mut stays);
            }
            None => new.push_str(line),
        }
    }
    if is_open { (text.to_owned(), Vec::new()) } else { (new, stays) }
}

/// The names in a part of a line.
fn renamed(line: &str, place: Place, one: &OneEntry, new: &mut String, stays: &mut Vec<Stay>) {
    let item = line.trim_start().strip_prefix("- ").map(|_| &line[..line.len() - line.trim_start().len()]);
    // Names are also told apart by spaces alone.
    let words = line.trim().trim_start_matches("- ").split_whitespace().count();
    let separator = if words > 1 && !line.contains(',') { " " } else { ", " };
    let ending = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
    let (mut depth, mut rest) = (0_usize, line);
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if end == 0 {
            match first {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                // A remark.
                '#' if new.ends_with(char::is_whitespace) => break,
                _ => {}
            }
            new.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (name, behind) = rest.split_at(end);
        rest = behind;
        // `Bash(x)` names no tool inside.
        let is_tool = depth == 0 && name.starts_with(MCP) && !behind.starts_with('(');
        let renamed = if is_tool { rule(name, place, one) } else { Renamed::Same };
        stays.extend(Stay::of(name, &renamed, place.restricts()));
        match renamed {
            Renamed::Same | Renamed::Stays(_) => new.push_str(name),
            Renamed::To(names) => {
                let quote: String =
                    new.chars().next_back().filter(|c| matches!(c, '"' | '\'')).into_iter().collect();
                let between = match item {
                    Some(indent) => format!("{quote}{ending}{indent}- {quote}"),
                    None => format!("{quote}{separator}{quote}"),
                };
                // A quote around several names is one text, where a line is no list of YAML's.
                let is_text = !quote.is_empty() && item.is_none() && !line.contains('[');
                new.push_str(&names.join(if is_text { ", " } else { &between }));
            }
        }
    }
    new.push_str(rest);
}
