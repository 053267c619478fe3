//! What Codex's file says of each server beside its command: tools that are offered or not, approvals, times.
//!
//! Codex names a server's tools in its table as the server does, so that the one entry has their full names there.

use std::collections::BTreeMap;
use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value, value};

use super::{Gathered, OneEntry};
use crate::clients::{broken, without_mark};
use crate::failure::Failure;

const SERVERS: &str = "mcp_servers";
const ENABLED: &str = "enabled_tools";
const DISABLED: &str = "disabled_tools";
const TOOLS: &str = "tools";
const MODE: &str = "approval_mode";
const DEFAULT_MODE: &str = "default_tools_approval_mode";
const PARALLEL: &str = "supports_parallel_tool_calls";
/// Seconds; of several the longest counts.
const TIMES: [&str; 2] = ["startup_timeout_sec", "tool_timeout_sec"];
const START_MS: &str = "startup_timeout_ms";
/// What the entry itself says, and what has the same meaning for each of its servers.
const ENTRYS: [&str; 8] = ["command", "args", "env", "env_vars", CWD, "required", "enabled", "name"];
const CWD: &str = "cwd";

/// What the one entry gets of its servers' tables.
#[derive(Debug, Default)]
pub(in crate::clients) struct Carried {
    keys: Table,
    /// By their full names.
    tools: Table,
    /// What stood above their headers.
    remarks: String,
    /// Why a server has to stay an entry of its own.
    pub(in crate::clients) alone: BTreeMap<String, String>,
    pub(in crate::clients) notes: Vec<String>,
}

/// Gathers it from the file as it is.
pub(in crate::clients) fn carry(text: &str, path: &Path, one: &OneEntry) -> Result<Carried, Failure> {
    let document = parsed(text, path)?;
    let mut carried = Carried::default();
    let table = |name: &str| document.get(SERVERS)?.get(name)?.as_table_like();
    let entry = table(&one.entry);
    let all: Vec<(&Gathered, &dyn TableLike)> =
        one.servers.iter().filter_map(|server| Some((server, table(&server.name)?))).collect();
    enabled(&all, entry, one, &mut carried);
    modes(&all, entry, one, &mut carried);
    for (server, _) in &all {
        let header = document[SERVERS][&server.name].as_table().and_then(|table| table.decor().prefix());
        let above = header.and_then(|above| above.as_str()).filter(|above| above.contains('#'));
        carried.remarks.extend(above.map(str::trim_start));
    }
    for (server, table) in &all {
        let denied = texts(table.get(DISABLED)).into_iter().flatten();
        add(&mut carried.keys, DISABLED, denied.map(|tool| one.full(server, &tool)));
        for (tool, item) in
            table.get(TOOLS).and_then(Item::as_table_like).into_iter().flat_map(TableLike::iter)
        {
            let full = one.full(server, tool);
            // A default of its server's may have come first.
            for (key, item) in item.as_table_like().into_iter().flat_map(TableLike::iter) {
                carried.tools.entry(&full).or_insert_with(|| Item::Table(Table::new()))[key] = bare(item);
            }
        }
        if let Some(folder) = table.get(CWD) {
            carried.keys.insert(CWD, bare(folder));
        }
        let in_ms = table.get(START_MS).and_then(number).map(|ms| (TIMES[0], ms / 1000.0));
        let in_seconds = TIMES.iter().filter_map(|key| Some((*key, number(table.get(key)?)?)));
        for (key, seconds) in in_seconds.chain(in_ms) {
            longest(&mut carried.keys, key, seconds);
        }
        let known = [ENABLED, DISABLED, TOOLS, DEFAULT_MODE, PARALLEL, START_MS, TIMES[0], TIMES[1]];
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(key) && !ENTRYS.contains(key)) {
            carried.notes.push(format!("`{key}` of `{}` is not carried over", server.name));
        }
    }
    let is_parallel = |table: &&dyn TableLike| table.get(PARALLEL).and_then(Item::as_bool) == Some(true);
    let count = all.iter().filter(|(_, table)| is_parallel(table)).count();
    if count == all.len() && count > 0 && entry.is_none_or(|entry| is_parallel(&entry)) {
        carried.keys.insert(PARALLEL, value(true));
    } else if count > 0 {
        carried
            .notes
            .push(format!("`{PARALLEL}` is not carried over: it would hold for all servers of the entry"));
    }
    Ok(carried)
}

/// A list of what is offered hides all else of the entry.
fn enabled(
    all: &[(&Gathered, &dyn TableLike)],
    entry: Option<&dyn TableLike>,
    one: &OneEntry,
    carried: &mut Carried,
) {
    let listed = |table: &dyn TableLike| texts(table.get(ENABLED));
    let has_list = entry.is_some_and(|entry| listed(entry).is_some());
    if !has_list && all.iter().all(|(_, table)| listed(*table).is_none()) {
        return;
    }
    let open: Vec<&str> = all
        .iter()
        .filter(|(server, table)| listed(*table).is_none() && server.tools.is_none())
        .map(|(server, _)| server.name.as_str())
        .collect();
    for (server, table) in all {
        let why = match listed(*table) {
            Some(_) if entry.is_some() && !has_list => {
                "its `enabled_tools` would hide the other tools of the entry".to_owned()
            }
            Some(_) if !open.is_empty() && !has_list => {
                format!(
                    "its `enabled_tools` would hide the tools of `{}`: import without `--no-check`",
                    open.join("`, `")
                )
            }
            None if has_list && server.tools.is_none() => {
                "the entry has `enabled_tools`, and its own tools are not known: import without `--no-check`"
                    .to_owned()
            }
            listed => {
                let tools = listed.or_else(|| server.tools.clone()).unwrap_or_default();
                add(&mut carried.keys, ENABLED, tools.iter().map(|tool| one.full(server, tool)));
                continue;
            }
        };
        carried.alone.insert(server.name.clone(), why);
    }
}

/// Who is asked before a tool is called.
fn modes(
    all: &[(&Gathered, &dyn TableLike)],
    entry: Option<&dyn TableLike>,
    one: &OneEntry,
    carried: &mut Carried,
) {
    let mode = |table: &dyn TableLike| Some(table.get(DEFAULT_MODE)?.as_str()?.to_owned());
    let mut distinct: Vec<Option<String>> =
        all.iter().map(|(_, table)| mode(*table)).chain(entry.map(mode)).collect();
    distinct.sort();
    distinct.dedup();
    if let [Some(one)] = &distinct[..] {
        carried.keys.insert(DEFAULT_MODE, value(one));
        return;
    }
    let default = entry.and_then(mode);
    for (server, table) in all {
        let own = mode(*table);
        if own == default {
            continue;
        }
        // Codex's own default.
        let own = own.unwrap_or_else(|| "auto".to_owned());
        let Some(known) = &server.tools else {
            let why = format!(
                "its `{DEFAULT_MODE}` is another than the entry's, and its tools are not known: import without `--no-check`"
            );
            carried.alone.insert(server.name.clone(), why);
            continue;
        };
        for tool in known {
            let full = one.full(server, tool);
            carried.tools.entry(&full).or_insert_with(|| Item::Table(Table::new()))[MODE] = value(&own);
        }
    }
}

/// Puts it into the one entry, which stands in the file.
pub(in crate::clients) fn put(
    text: &str,
    path: &Path,
    entry: &str,
    carried: &Carried,
) -> Result<String, Failure> {
    let (mark, _) = without_mark(text);
    let mut document = parsed(text, path)?;
    let Some(entry) = document.get_mut(SERVERS).and_then(|servers| servers.get_mut(entry)) else {
        return Ok(text.to_owned());
    };
    if let Some(table) = entry.as_table_mut().filter(|_| !carried.remarks.is_empty()) {
        table.decor_mut().set_prefix(format!("\n{}", carried.remarks));
    }
    let Some(table) = entry.as_table_like_mut() else { return Ok(text.to_owned()) };
    for (key, item) in &carried.keys {
        match key {
            ENABLED | DISABLED => add(table, key, texts(Some(item)).unwrap_or_default().into_iter()),
            key if TIMES.contains(&key) => {
                if !table.contains_key(START_MS) || key != TIMES[0] {
                    longest(table, key, number(item).unwrap_or_default());
                }
            }
            key => _ = table.insert(key, item.clone()),
        }
    }
    if !carried.tools.is_empty() {
        let known = table.entry(TOOLS).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        for (tool, item) in &carried.tools {
            if let Some(known) = known.as_table_like_mut() {
                known.insert(tool, item.clone());
            }
        }
    }
    let new = document.to_string();
    Ok(format!("{mark}{}", if text.contains("\r\n") { new.replace('\n', "\r\n") } else { new }))
}

fn parsed(text: &str, path: &Path) -> Result<DocumentMut, Failure> {
    let (_, text) = without_mark(text);
    text.replace("\r\n", "\n").parse().map_err(|error: toml_edit::TomlError| broken(path, 1, error.message()))
}

fn texts(item: Option<&Item>) -> Option<Vec<String>> {
    Some(item?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Adds texts to a list.
fn add(table: &mut dyn TableLike, key: &str, texts: impl Iterator<Item = String>) {
    for text in texts {
        let item = table.entry(key).or_insert_with(|| value(Array::new()));
        if let Some(list) = item.as_array_mut()
            && list.iter().all(|known| known.as_str() != Some(text.as_str()))
        {
            list.push(text);
        }
    }
}

fn number(item: &Item) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "seconds that a person has chosen")]
    item.as_float().or_else(|| item.as_integer().map(|number| number as f64))
}

/// Whole seconds stay whole.
fn longest(table: &mut dyn TableLike, key: &str, seconds: f64) {
    if table.get(key).and_then(number).is_some_and(|known| known >= seconds) {
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
    let item =
        if seconds.fract() == 0.0 && seconds.abs() < 1e15 { value(seconds as i64) } else { value(seconds) };
    table.insert(key, item);
}

/// A value without what stood around it.
fn bare(item: &Item) -> Item {
    let mut item = item.clone();
    if let Some(value) = item.as_value_mut() {
        value.decor_mut().clear();
    }
    item
}
