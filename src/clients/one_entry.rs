//! Many entries of a client's as one: which names their tools had, and which they have behind `berth run --profile`.
//!
//! Decides by texts alone: the files are read and written elsewhere. A right is never widened: what cannot be said in
//! the client's own words stays as it was, and is told.

mod codex;
mod front_matter;
mod glob;
mod left;
mod matcher;
mod rules;
mod settings;

use crate::values::full_name::{full_name, room};

pub(super) use codex::{Carried, carry, put};
pub(super) use front_matter::{Sort, front_matter};
pub(super) use left::{claim, claims, left};
pub(super) use settings::{approvals, listed, refused, settings};

/// Before each tool's name of an MCP server.
const MCP: &str = "mcp__";

/// The longest end of a name that had to be changed: `_` and eight digits.
const MARK: usize = 9;

/// The servers that one entry replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OneEntry {
    /// In the client's file.
    pub(super) entry: String,
    /// In the order of the file.
    pub(super) servers: Vec<Gathered>,
    /// What the client calls its other servers in its tools' names.
    pub(super) others: Vec<String>,
    /// They stand in a project's file: a person approves each.
    pub(super) of_project: bool,
}

/// A server that had an entry of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gathered {
    /// In the client's file.
    pub(super) name: String,
    /// What its tools begin with: its alias, or else its name in berth.toml.
    pub(super) shown: String,
    /// As it calls them itself; `None` where it was not asked.
    pub(super) tools: Option<Vec<String>>,
}

/// A rule that a file's new text does not say, or says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) text: String,
    /// Why it stays. `None`: only a file that is not changed lacks the new names.
    pub(super) why: Option<String>,
    /// It keeps somebody from tools.
    pub(super) restricts: bool,
}

impl Stay {
    /// What is to be told of a rule.
    fn of(text: &str, renamed: &Renamed, restricts: bool) -> Option<Self> {
        let why = match renamed {
            Renamed::Stays(why) => Some(why.clone()),
            Renamed::To(_) if restricts => None,
            Renamed::To(_) | Renamed::Same => return None,
        };
        Some(Self { text: text.to_owned(), why, restricts })
    }
}

/// What becomes of a text that names tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Renamed {
    /// It names none of these servers, or holds for them still.
    Same,
    /// These together say it.
    To(Vec<String>),
    /// Nothing says it; why.
    Stays(String),
}

/// What Claude Code makes of a server's or tool's name. It counts as JavaScript does.
pub(super) fn plain(name: &str) -> String {
    let mut plain = String::new();
    for char in name.chars() {
        match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => plain.push(char),
            other => plain.extend(std::iter::repeat_n('_', other.len_utf16())),
        }
    }
    plain
}

impl Gathered {
    /// What its tools began with in Claude Code, behind `mcp__`.
    fn before(&self) -> String {
        plain(&self.name) + "__"
    }

    /// Those of its tools that had this name in Claude Code.
    fn called(&self, tool: &str) -> Vec<&String> {
        self.tools.iter().flatten().filter(|known| plain(known) == tool).collect()
    }
}

impl OneEntry {
    /// A tool's name within the entry.
    pub(super) fn full(&self, server: &Gathered, tool: &str) -> String {
        full_name(&server.shown, tool, room(Some(&self.entry)))
    }

    /// The same as Claude Code has it.
    fn claude(&self, server: &Gathered, tool: &str) -> String {
        format!("{MCP}{}__{}", plain(&self.entry), self.full(server, tool))
    }

    /// Whether another server, which stays, has that name in Claude Code, too.
    fn is_shared(&self, server: &Gathered) -> bool {
        self.others.contains(&plain(&server.name))
    }

    /// What all new names of a server begin with, and perhaps another's.
    fn start(&self, server: &Gathered) -> String {
        let longest = room(Some(&self.entry)).saturating_sub(MARK);
        let own: String = (plain(&server.shown) + "__").chars().take(longest).collect();
        format!("{MCP}{}__{own}", plain(&self.entry))
    }

    /// Whether a wildcard for a server's tools says only how their names begin, in what no new name loses.
    fn keeps_start(&self, server: &Gathered, wildcard: &str) -> bool {
        let longest = room(Some(&self.entry)).saturating_sub(MARK);
        let start = wildcard.trim_end_matches('*');
        let is_start = start.len() < wildcard.len() && !start.contains('*');
        is_start && (start.is_empty() || plain(&server.shown).len() + 2 + start.len() <= longest)
    }

    /// What all new names of a server begin with, and no other's: `None` where no text does that.
    fn prefix(&self, server: &Gathered) -> Option<String> {
        let of = |server: &Gathered| plain(&server.shown) + "__";
        let own = of(server);
        let longest = room(Some(&self.entry)).saturating_sub(MARK);
        // A tool of the server with the shorter name may begin as the longer name goes on.
        let is_own = |other: &Gathered| {
            let other_own = of(other);
            other.shown == server.shown || !(other_own.starts_with(&own) || own.starts_with(&other_own))
        };
        (own.len() <= longest && self.servers.iter().all(is_own)).then(|| self.start(server))
    }

    /// The servers whose tool a text behind `mcp__` names, with the tool.
    fn owners<'a>(&self, body: &'a str) -> Vec<(&Gathered, &'a str)> {
        let all = self.servers.iter().filter_map(|server| {
            let tool = body.strip_prefix(server.before().as_str())?;
            (!tool.is_empty()).then_some((server, tool))
        });
        let all: Vec<_> = all.collect();
        let known: Vec<_> =
            all.iter().filter(|(server, tool)| !server.called(tool).is_empty()).copied().collect();
        if !known.is_empty() {
            return known;
        }
        // A server's name may begin as another's does.
        let longest = all.iter().map(|(server, _)| server.before().len()).max().unwrap_or_default();
        let is_others = self.others.iter().any(|other| {
            other.len() + 2 > longest
                && body.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with("__"))
        });
        all.into_iter().filter(|(server, _)| server.before().len() == longest && !is_others).collect()
    }
}

#[cfg(test)]
mod tests;
