//! Claude Code's permission rules, and its sub-agents' lists of tools.
//!
//! Tried with Claude Code 2.1.330, a server `work` with the tools `files__read_file`, `files__write_file` and
//! `git__log`, each form as `allow`, `deny` and `ask`:
//!
//! | form | permission rules, `allowed-tools` of commands and skills | `tools`, `disallowedTools` of sub-agents |
//! |---|---|---|
//! | `mcp__work__files__read_file` | that tool | that tool |
//! | `mcp__work__files__*`, `mcp__work__files__read_*`, `mcp__work__*_file` | as a wildcard | **nothing** |
//! | `mcp__work__files`, `mcp__work__files__`, `mcp__work__` | **nothing** | **nothing** |
//! | `mcp__work`, `mcp__work__*` | all three | all three |
//! | `mcp__*`, `mcp__wor*`, `mcp__*__files__read_file` | `deny` and `ask`: as a wildcard; `allow`: refused | `mcp__*` in `disallowedTools` alone |
//! | anything with parentheses | refused | |
//!
//! So a rule of a whole server gets a `*` at its end, and a sub-agent gets the names of all its tools. Rules for `allow` of a
//! project count only in a project that was trusted.

use super::{Gathered, MCP, OneEntry, Renamed, glob, plain};

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `permissions.allow`, `allowed-tools`
    Allow,
    /// `permissions.deny`, `permissions.ask`
    Against,
    /// A sub-agent's `tools`: names, and wildcards for whole entries only.
    Agent,
    /// The same of what is kept from it: `disallowedTools`, and the names in a hook's matcher.
    AgainstNames,
}

impl Place {
    /// Who loses a part of it has more rights than before.
    pub(super) fn restricts(self) -> bool {
        matches!(self, Self::Against | Self::AgainstNames)
    }

    fn takes_wildcards(self) -> bool {
        matches!(self, Self::Allow | Self::Against)
    }
}

/// A rule, or a name in a list of tools.
pub(super) fn rule(text: &str, place: Place, one: &OneEntry) -> Renamed {
    let Some(body) = text.strip_prefix(MCP) else { return Renamed::Same };
    if body.contains(['(', ')']) {
        let names = one.servers.iter().any(|server| body.starts_with(plain(&server.name).as_str()));
        let why = "Claude Code takes no parentheses behind a tool's name";
        return if names { Renamed::Stays(why.to_owned()) } else { Renamed::Same };
    }
    let mut parts: Vec<(&Gathered, Part<'_>)> = Vec::new();
    let mut keeps = false;
    // Of tools that a wildcard has lost.
    let mut lost: Vec<String> = Vec::new();
    if let Some((start, _)) = body.split_once('*') {
        let names = one.servers.iter().map(Gathered::before);
        let others = one.others.iter().map(|other| format!("{other}__"));
        let is_anchored = names.chain(others.clone()).any(|before| start.starts_with(&before));
        if !is_anchored && place != Place::Against {
            // It does nothing in Claude Code.
            return Renamed::Same;
        }
        // Nobody knows all the servers that a wildcard may reach.
        keeps = !is_anchored || others.into_iter().any(|other| !glob::rests(body, &other).is_empty());
        for server in &one.servers {
            let before = server.before();
            let rests = match place {
                Place::Agent | Place::AgainstNames => {
                    body.strip_prefix(before.as_str()).into_iter().collect()
                }
                // The same characters can be of a server with a short name and of a server with a long one.
                Place::Allow | Place::Against => glob::rests(body, &before),
            };
            let rests: Vec<&str> = rests.into_iter().filter(|rest| !rest.is_empty()).collect();
            let after = one.prefix(server).map(|prefix| glob::rests(text, &prefix)).unwrap_or_default();
            if rests.iter().all(|rest| after.contains(rest)) {
                // The rule takes the new names as it is, those that have changed behind the server's name excepted.
                keeps |= !rests.is_empty();
                let is_sure = rests.iter().all(|rest| one.keeps_start(server, rest));
                if server.tools.is_none() && place.restricts() && !is_sure {
                    return Renamed::Stays(unknown(server));
                }
                let meant = |tool: &&String| rests.iter().any(|rest| glob::matches(rest, &plain(tool)));
                let new = server.tools.iter().flatten().filter(meant).map(|tool| one.claude(server, tool));
                lost.extend(new.filter(|name| !glob::matches(text, name)));
            } else {
                parts.extend(rests.into_iter().map(|rest| (server, Part::of(rest))));
            }
        }
    } else {
        let whole = one.servers.iter().filter(|server| plain(&server.name) == body);
        parts.extend(whole.map(|server| (server, Part::All)));
        if parts.is_empty() {
            parts.extend(one.owners(body).into_iter().map(|(server, tool)| (server, Part::Tool(tool))));
        }
    }
    if parts.is_empty() && lost.is_empty() {
        return Renamed::Same;
    }
    keeps |= parts.iter().any(|(server, _)| one.is_shared(server));
    let mut to: Vec<String> = if keeps { vec![text.to_owned()] } else { Vec::new() };
    to.extend(lost);
    for (server, part) in parts {
        match names(server, part, place, one) {
            Ok(names) => to.extend(names),
            Err(why) => return Renamed::Stays(why),
        }
    }
    if to.is_empty() {
        // A list that is empty could mean all.
        return Renamed::Stays("no tool is called so".to_owned());
    }
    let mut distinct: Vec<String> = Vec::new();
    for name in to {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    Renamed::To(distinct)
}

/// What of a server is meant.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    All,
    /// As Claude Code has it.
    Tool(&'a str),
    Pattern(&'a str),
}

impl<'a> Part<'a> {
    fn of(pattern: &'a str) -> Self {
        match pattern {
            "*" => Self::All,
            name if !name.contains('*') => Self::Tool(name),
            pattern => Self::Pattern(pattern),
        }
    }
}

fn names(server: &Gathered, part: Part<'_>, place: Place, one: &OneEntry) -> Result<Vec<String>, String> {
    let pattern = match part {
        Part::Tool(tool) => {
            if server.tools.is_none() && place.restricts() {
                return perhaps_marked(server, tool, place, one);
            }
            let known = server.called(tool);
            let names: Vec<String> = known.into_iter().map(|tool| one.claude(server, tool)).collect();
            return Ok(if names.is_empty() { vec![one.claude(server, tool)] } else { names });
        }
        // In a sub-agent's list this is no wildcard, and did nothing.
        Part::Pattern(_) if !place.takes_wildcards() => {
            return Err("Claude Code takes no such wildcard in a sub-agent's list".to_owned());
        }
        Part::All => "*",
        Part::Pattern(pattern) => pattern,
    };
    let wildcard = one.prefix(server).filter(|_| place.takes_wildcards()).map(|prefix| prefix + pattern);
    let Some(tools) = &server.tools else {
        if place == Place::Against {
            // Rather too much is forbidden than too little.
            let start = one.start(server);
            let is_cut = !start.ends_with(&format!("__{}__", plain(&server.shown)));
            if !is_cut && !one.keeps_start(server, pattern) {
                return Err(unknown(server));
            }
            return Ok(vec![start + if is_cut { "*" } else { pattern }]);
        }
        return wildcard.map(|wildcard| vec![wildcard]).ok_or_else(|| unknown(server));
    };
    let meant = |tool: &&String| glob::matches(pattern, &plain(tool));
    let takes = |wildcard: &String, tool: &String| glob::matches(wildcard, &one.claude(server, tool));
    // It must take no tool that was not meant.
    let wildcard =
        wildcard.filter(|wildcard| tools.iter().all(|tool| meant(&tool) || !takes(wildcard, tool)));
    let rest =
        tools.iter().filter(meant).filter(|tool| wildcard.iter().all(|wildcard| !takes(wildcard, tool)));
    let rest = rest.map(|tool| one.claude(server, tool));
    Ok(wildcard.iter().cloned().chain(rest).collect())
}

fn unknown(server: &Gathered) -> String {
    format!("the names of the tools of `{}` are not known: import without `--no-check`", server.name)
}

/// What forbids a tool that nobody has asked for its own name: `_` may stand for another character, and then the new name has a
/// mark.
fn perhaps_marked(
    server: &Gathered,
    tool: &str,
    place: Place,
    one: &OneEntry,
) -> Result<Vec<String>, String> {
    let exact = one.claude(server, tool);
    if !tool.contains('_') {
        return Ok(vec![exact]);
    }
    let marked = format!("{tool}_*");
    if !place.takes_wildcards() || !one.keeps_start(server, &marked) {
        return Err(unknown(server));
    }
    Ok(vec![exact, format!("{}{marked}", one.start(server))])
}
