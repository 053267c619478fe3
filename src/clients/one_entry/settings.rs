//! Claude Code's settings: rules, hooks, and which servers of a project's file are approved.

use std::collections::BTreeSet;
use std::path::Path;

use jsonc_parser::cst::{CstArray, CstNode, CstObject, CstObjectProp, CstRootNode};

use serde_json::Value;

use super::matcher::matcher;
use super::rules::{Place, rule};
use super::{OneEntry, Renamed, Stay, plain};
use crate::clients::claude_code::STRICT;
use crate::clients::{broken, without_mark};
use crate::failure::Failure;

/// Lists that say which servers of a project's `.mcp.json` were approved.
const ENABLED: &str = "enabledMcpjsonServers";
const DISABLED: &str = "disabledMcpjsonServers";
/// Lists that say which servers run at all.
const ALLOWED: &str = "allowedMcpServers";
const RUNNING: [&str; 3] = [ALLOWED, "deniedMcpServers", "disabledMcpServers"];

/// A settings file's text with the new names, and what is to be told of its rules.
pub(in crate::clients) fn settings(
    text: &str,
    path: &Path,
    one: &OneEntry,
) -> Result<(String, Vec<Stay>), Failure> {
    let (mark, text) = without_mark(text);
    if text.trim().is_empty() {
        return Ok((format!("{mark}{text}"), Vec::new()));
    }
    let root = CstRootNode::parse(text, &STRICT)
        .map_err(|error| broken(path, error.line_display(), &format!("invalid JSON: {}", error.kind())))?;
    let mut stays = Vec::new();
    let Some(object) = root.object_value() else { return Ok((format!("{mark}{text}"), stays)) };
    if let Some(permissions) = object.object_value("permissions") {
        for (key, place) in [("allow", Place::Allow), ("deny", Place::Against), ("ask", Place::Against)] {
            if let Some(list) = permissions.array_value(key) {
                stays.extend(renamed(&list, place.restricts(), |text| rule(text, place, one)));
            }
        }
    }
    let events = object.object_value("hooks").map(|hooks| hooks.properties()).unwrap_or_default();
    for group in events.iter().filter_map(CstObjectProp::array_value).flat_map(|event| event.elements()) {
        let Some(group) = group.as_object() else { continue };
        stays.extend(renamed_value(&group, "matcher", |text| matcher(text, one)));
        for hook in group.array_value("hooks").map(|hooks| hooks.elements()).unwrap_or_default() {
            if let Some(hook) = hook.as_object() {
                stays.extend(renamed_value(&hook, "if", |text| rule(text, Place::Against, one)));
            }
        }
    }
    approve(&object, one);
    let running = RUNNING.iter().filter_map(|key| Some((*key, object.array_value(key)?)));
    stays.extend(running.flat_map(|(key, list)| runs(key, &list, one)));
    Ok((format!("{mark}{root}"), stays))
}

/// What a list of servers that run, or do not, says of those that become one: the entry is none of them.
fn runs(key: &str, list: &CstArray, one: &OneEntry) -> Vec<Stay> {
    let values = list.elements().into_iter().filter_map(|node| node.to_serde_value());
    let names = values.filter_map(|value| {
        let name = value.as_str().or_else(|| value["serverName"].as_str());
        name.map(str::to_owned)
    });
    let is_ours = |name: &String| {
        let is = |known: &str| *name == known || *name == plain(known);
        one.servers.iter().any(|server| is(&server.name)) || (key == ALLOWED && is(&one.entry))
    };
    let why = |name: String| Some(format!("it names the server `{name}`"));
    names.filter(is_ours).map(|name| Stay { text: key.to_owned(), why: why(name), restricts: true }).collect()
}

/// The same of what a person has approved in a project, which Claude Code keeps in its own file.
pub(in crate::clients) fn approvals(
    text: &str,
    path: &Path,
    project: &str,
    one: &OneEntry,
) -> Result<String, Failure> {
    let (mark, text) = without_mark(text);
    let root = CstRootNode::parse(text, &STRICT)
        .map_err(|error| broken(path, error.line_display(), &format!("invalid JSON: {}", error.kind())))?;
    let projects = root.object_value().and_then(|root| root.object_value("projects"));
    if let Some(project) = projects.and_then(|projects| projects.object_value(project)) {
        approve(&project, one);
        if let Some(list) = project.array_value("allowedTools") {
            renamed(&list, false, |text| rule(text, Place::Allow, one));
        }
    }
    Ok(format!("{mark}{root}"))
}

/// The entry is approved where all of its servers were. Of none that was refused comes one that runs: those are no part of it.
fn approve(object: &CstObject, one: &OneEntry) {
    let Some(list) = object.array_value(ENABLED).filter(|_| one.of_project) else { return };
    let listed: BTreeSet<String> = texts(&list).into_iter().map(|(_, text)| text).collect();
    let gathered = |text: &str| one.servers.iter().any(|server| server.name == text);
    let mut has_entry = listed.contains(&one.entry);
    let all = one.servers.iter().all(|server| listed.contains(&server.name));
    for (node, text) in texts(&list) {
        if !gathered(&text) || text == one.entry {
            continue;
        }
        if all && !has_entry {
            replace(&node, &one.entry);
            has_entry = true;
        } else {
            node.remove();
        }
    }
}

/// The servers of a project's file that were refused: in settings, or for a project in Claude Code's own file.
pub(in crate::clients) fn refused(text: &str, project: Option<&str>) -> Vec<String> {
    listed(text, project, DISABLED)
}

/// What a list of such a file holds.
pub(in crate::clients) fn listed(text: &str, project: Option<&str>, key: &str) -> Vec<String> {
    let root = CstRootNode::parse(without_mark(text).1, &STRICT).ok().and_then(|root| root.object_value());
    let object = match project {
        None => root,
        Some(project) => root
            .and_then(|root| root.object_value("projects"))
            .and_then(|projects| projects.object_value(project)),
    };
    let list = object.and_then(|object| object.array_value(key));
    list.map(|list| texts(&list).into_iter().map(|(_, text)| text).collect()).unwrap_or_default()
}

fn texts(list: &CstArray) -> Vec<(CstNode, String)> {
    let text = |node: CstNode| {
        let text = node.as_string_lit()?.decoded_value().ok()?;
        Some((node, text))
    };
    list.elements().into_iter().filter_map(text).collect()
}

fn replace(node: &CstNode, text: &str) {
    if let Some(literal) = node.as_string_lit() {
        literal.set_raw_value(Value::from(text).to_string());
    }
}

/// Renames what a list holds.
fn renamed(list: &CstArray, restricts: bool, rename: impl Fn(&str) -> Renamed) -> Vec<Stay> {
    let mut stays = Vec::new();
    let mut listed: BTreeSet<String> = texts(list).into_iter().map(|(_, text)| text).collect();
    let mut at = 0;
    while let Some(node) = list.elements().get(at).cloned() {
        at += 1;
        let Some(text) = node.as_string_lit().and_then(|literal| literal.decoded_value().ok()) else {
            continue;
        };
        let renamed = rename(&text);
        stays.extend(Stay::of(&text, &renamed, restricts));
        let Renamed::To(new) = renamed else { continue };
        let mut new = new.into_iter().filter(|name| *name == text || listed.insert(name.clone()));
        let Some(first) = new.next() else {
            node.remove();
            at -= 1;
            continue;
        };
        replace(&node, &first);
        let more: Vec<String> = new.map(|name| Value::from(name).to_string()).collect();
        if let (Some(literal), false) = (node.as_string_lit(), more.is_empty()) {
            // One literal with the others' text behind it: the list's own layout stays.
            let raw = literal.to_string();
            let between = between(&list.to_string(), &raw);
            literal.set_raw_value([raw, more.join(&between)].join(&between));
        }
    }
    stays
}

/// What separates the elements of a list: each in a line of its own, or all in one.
fn between(list: &str, element: &str) -> String {
    let before = list.split(element).next().unwrap_or_default();
    let gap = &before[before.trim_end().len()..];
    let line = gap.rfind('\n').map(|at| if gap[..at].ends_with('\r') { &gap[at - 1..] } else { &gap[at..] });
    format!(",{}", line.unwrap_or(" "))
}

/// Renames the one value of a hook.
fn renamed_value(object: &CstObject, key: &str, rename: impl Fn(&str) -> Renamed) -> Option<Stay> {
    let node = object.get(key)?.value()?;
    let text = node.as_string_lit()?.decoded_value().ok()?;
    let renamed = match rename(&text) {
        Renamed::To(new) if new.len() > 1 => {
            Renamed::Stays(format!("it would have to say {}", new.join(" and ")))
        }
        renamed => renamed,
    };
    if let Renamed::To(new) = &renamed {
        replace(&node, &new[0]);
    }
    Stay::of(&text, &renamed, true)
}
