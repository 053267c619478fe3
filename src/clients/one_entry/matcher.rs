//! The matchers of Claude Code's hooks.
//!
//! Tried with Claude Code 2.1.330: letters, digits, `_`, `|` and `,` alone are a list of whole names, so that `mcp__work`
//! and `mcp__work__files` match nothing. Anything else is a regular expression that may match anywhere in the name:
//! `mcp__work__files__.*`, `mcp__work__files__read_.*`, `mcp__.*__read_file`, `mcp__work__(files__read_file|git__log)` and
//! `^mcp__work__files__read_file$` match as they read. `*` and an empty one match all.

use super::rules::{Place, rule};
use super::{Gathered, MARK, MCP, OneEntry, Renamed, plain, room};

/// What ends the letters of a name in a regular expression.
const SIGNS: &str = ".*+?[](){}|^$\\";

pub(super) fn matcher(text: &str, one: &OneEntry) -> Renamed {
    if !text.contains("__") {
        return Renamed::Same;
    }
    if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '|' | ',' | ' ')) {
        return list(text, one);
    }
    let entry = plain(&one.entry) + "__";
    // Without `mcp__` it may be about any server.
    let mut is_clear =
        text.contains(MCP) || one.servers.iter().all(|server| has_same_ends(server, text, one));
    let (mut new, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once(MCP) {
        new.extend([before, MCP]);
        rest = behind;
        let letters = &behind[..behind.find(|c| SIGNS.contains(c)).unwrap_or(behind.len())];
        let (turn, meant) = turn(letters, &behind[letters.len()..], one);
        // Of the tools' own names a regular expression says only a part.
        is_clear &= meant.iter().all(|server| keeps_ends(server, text, one));
        match (turn, &meant[..]) {
            (Turn::Stays, _) => is_clear &= meant.iter().all(|server| has_same_ends(server, text, one)),
            (Turn::Always, [server]) => {
                new.extend([&entry, &server.shown, "__"]);
                rest = &behind[server.before().len()..];
            }
            (Turn::Always | Turn::Perhaps, _) => {
                new.extend(["(?:", &entry, ")?"]);
                is_clear &= meant.iter().all(|server| plain(&server.name) == server.shown);
            }
        }
    }
    new.push_str(rest);
    let looks_around = ["(?=", "(?!", "(?<"].iter().any(|sign| text.contains(sign));
    if new == text && is_clear {
        Renamed::Same
    } else if looks_around || !is_clear {
        Renamed::Stays("this regular expression is not plain enough to be changed".to_owned())
    } else {
        Renamed::To(vec![new])
    }
}

/// Whether a regular expression takes the new names of a server's tools by what stands behind the server's name.
fn keeps_ends(server: &Gathered, text: &str, one: &OneEntry) -> bool {
    let is_marked = |tool: &String| one.full(server, tool) != format!("{}__{}", server.shown, plain(tool));
    server.tools.as_ref().is_some_and(|tools| !tools.iter().any(is_marked)) || is_start(server, text, one)
}

/// The same where the server's own name may be a part of what stands there.
fn has_same_ends(server: &Gathered, text: &str, one: &OneEntry) -> bool {
    is_open(text) || (plain(&server.name) == server.shown && keeps_ends(server, text, one))
}

/// It takes `mcp__` and any characters.
fn is_open(text: &str) -> bool {
    let is_all = |part: &str| {
        let part = part.strip_prefix('^').unwrap_or(part);
        [MCP, "mcp__.*", "mcp__.+", "mcp__.*$", "mcp__.+$"].contains(&part)
    };
    !text.contains('(') && text.split('|').any(is_all)
}

/// Whether it says only how names begin, in what no new name loses: a mark behind them changes nothing then.
fn is_start(server: &Gathered, text: &str, one: &OneEntry) -> bool {
    let longest = room(Some(&one.entry)).saturating_sub(MARK);
    let is_start = |part: &str| {
        let end = part.find(['*', '+', '?', '{']).unwrap_or(part.len());
        let is_any = |end: &str| end.chars().all(|c| matches!(c, '*' | '+' | '?' | '.' | ')' | '$'));
        !part[..end].contains('$') && is_any(&part[end..]) && part.len() + server.shown.len() <= longest
    };
    !text.contains('\\') && !text.contains("(?") && text.split('|').all(is_start)
}

/// A list of whole names.
fn list(text: &str, one: &OneEntry) -> Renamed {
    let separator = if text.contains('|') { "|" } else { "," };
    let mut names = Vec::new();
    let mut changes = false;
    for name in text.split(['|', ',']).map(str::trim) {
        // A server's name alone matches none of its tools.
        let is_server = one.servers.iter().any(|server| name == format!("{MCP}{}", plain(&server.name)));
        match rule(name, Place::AgainstNames, one) {
            Renamed::To(new) if !is_server => {
                changes = true;
                names.extend(new);
            }
            Renamed::Stays(why) if !is_server => return Renamed::Stays(why),
            _ => names.push(name.to_owned()),
        }
    }
    if changes { Renamed::To(vec![names.join(separator)]) } else { Renamed::Same }
}

/// What comes between `mcp__` and what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Stays,
    Always,
    /// The same text is about other servers, too.
    Perhaps,
}

/// `letters` stand behind `mcp__`, and `sign` begins what comes behind them; with the servers that may be meant.
fn turn<'a>(letters: &str, sign: &str, one: &'a OneEntry) -> (Turn, Vec<&'a Gathered>) {
    let named = |server: &&Gathered| letters.starts_with(&server.before());
    if let Some(longest) = one.servers.iter().filter(named).max_by_key(|server| server.before().len()) {
        let is_others = one.others.iter().any(|other| letters.starts_with(&format!("{other}__")));
        return (if is_others { Turn::Perhaps } else { Turn::Always }, vec![longest]);
    }
    // The last letter may be left out or repeated.
    let is_optional = sign.starts_with(['*', '?', '{']);
    let sure = if is_optional { &letters[..letters.len().saturating_sub(1)] } else { letters };
    let meant: Vec<_> = one.servers.iter().filter(|server| server.before().starts_with(sure)).collect();
    // What takes any characters takes the entry's name as well, and other names of tools.
    let takes_all = letters.is_empty() && (sign.starts_with(".*") || sign.starts_with(".+"));
    if takes_all || (letters.is_empty() && sign.is_empty()) {
        return (Turn::Stays, one.servers.iter().collect());
    }
    (if meant.is_empty() { Turn::Stays } else { Turn::Perhaps }, meant)
}
