//! Codex's file: `config.toml`, with a table for each server.

use std::path::Path;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use super::{Entry, Found, broken, without_mark};
use crate::failure::Failure;

const SERVERS: &str = "mcp_servers";

/// A TOML file whose layout and comments stay.
#[derive(Debug)]
pub(super) struct Document {
    root: DocumentMut,
    /// Lines end as on Windows.
    crlf: bool,
    /// What editors of Windows put before the text, or nothing.
    mark: &'static str,
}

impl Document {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let (mark, text) = without_mark(text);
        let crlf = text.contains("\r\n");
        let document = text.replace("\r\n", "\n").parse::<DocumentMut>().map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
            broken(path, line, &format!("invalid TOML: {}", error.message().replace('\n', ", ")))
        })?;
        if document.get(SERVERS).is_some_and(|servers| servers.as_table_like().is_none()) {
            return Err(broken(path, 1, &format!("`{SERVERS}` is not a table")));
        }
        Ok(Self { root: document, crlf, mark })
    }

    fn table(&self) -> Option<&dyn TableLike> {
        self.root.get(SERVERS)?.as_table_like()
    }

    fn table_mut(&mut self) -> Option<&mut dyn TableLike> {
        let servers = self.root.entry(SERVERS).or_insert_with(|| {
            let mut table = Table::new();
            // Only its entries have a header.
            table.set_implicit(true);
            Item::Table(table)
        });
        servers.as_table_like_mut()
    }
}

impl super::Document for Document {
    fn servers(&self) -> Vec<(String, Found)> {
        let found = self
            .table()
            .map(|table| table.iter().map(|(name, item)| (name.to_owned(), found(item))).collect());
        found.unwrap_or_default()
    }

    fn put(&mut self, name: &str, entry: &Entry) {
        let mut table = Table::new();
        wire(&mut table, entry);
        if let Some(servers) = self.table_mut() {
            servers.remove(name);
            servers.insert(name, Item::Table(table));
        }
    }

    fn rewire(&mut self, name: &str, entry: &Entry) {
        let server =
            self.table_mut().and_then(|servers| servers.get_mut(name)).and_then(Item::as_table_like_mut);
        if let Some(server) = server {
            wire(server, entry);
        }
    }

    fn unset(&mut self, name: &str, variables: &[String]) {
        let server =
            self.table_mut().and_then(|servers| servers.get_mut(name)).and_then(Item::as_table_like_mut);
        let Some(server) = server else { return };
        let Some(env) = server.get_mut("env").and_then(Item::as_table_like_mut) else { return };
        for variable in variables {
            env.remove(variable);
        }
        if env.is_empty() {
            server.remove("env");
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(servers) = self.table_mut() {
            servers.remove(name);
        }
        // A table that never stood there.
        if self.table().is_some_and(TableLike::is_empty)
            && self.root.get(SERVERS).and_then(Item::as_table).is_some_and(Table::is_implicit)
        {
            self.root.remove(SERVERS);
        }
    }

    fn text(&self) -> String {
        let text = self.root.to_string();
        format!("{}{}", self.mark, if self.crlf { text.replace('\n', "\r\n") } else { text })
    }
}

fn wire(table: &mut dyn TableLike, entry: &Entry) {
    set(table, "command", entry.command.as_str().into());
    set(table, "args", Value::Array(entry.args.iter().collect::<Array>()));
    if !entry.env_vars.is_empty() {
        match table.get_mut("env_vars") {
            // One that stands there may be a table, which says more than its name.
            Some(Item::Value(Value::Array(known))) => {
                let names: Vec<String> = known.iter().filter_map(variable).collect();
                known.extend(entry.env_vars.iter().filter(|name| !names.contains(name)));
            }
            Some(Item::ArrayOfTables(known)) => {
                let name_of = |table: &Table| table.get("name").and_then(Item::as_str).map(str::to_owned);
                let names: Vec<String> = known.iter().filter_map(name_of).collect();
                for name in entry.env_vars.iter().filter(|name| !names.contains(name)) {
                    known.push(Table::from_iter([("name", name.as_str())]));
                }
            }
            _ => set(table, "env_vars", Value::Array(entry.env_vars.iter().collect::<Array>())),
        }
    }
    if let (Some(seconds), false) = (entry.startup_timeout, table.contains_key("startup_timeout_ms")) {
        let known = table
            .get("startup_timeout_sec")
            .and_then(|item| item.as_float().or(item.as_integer().map(float)));
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        if known.is_none_or(|known| known < float(seconds)) {
            set(table, "startup_timeout_sec", seconds.into());
        }
    }
    if entry.required {
        set(table, "required", true.into());
    }
    if !entry.env.is_empty() {
        let env = table.entry("env").or_insert_with(|| value(InlineTable::new()));
        if let Some(env) = env.as_table_like_mut() {
            for (name, value) in &entry.env {
                set(env, name, value.as_str().into());
            }
        }
    }
}

/// The name of a variable that is passed on: a text, or a table that has it as `name`.
fn variable(value: &Value) -> Option<String> {
    let name = value.as_inline_table().map_or(Some(value), |table| table.get("name"))?;
    Some(name.as_str()?.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "seconds that a person has chosen")]
fn float(number: i64) -> f64 {
    number as f64
}

/// In its place, what stands around it kept; not touched if it is that already.
fn set(table: &mut dyn TableLike, key: &str, new: Value) {
    let bare = |value: &Value| value.clone().decorated("", "").to_string();
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) if same(old, &new) || bare(old) == bare(&new) => {}
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}

/// Lists of the same texts, however they are laid out.
fn same(old: &Value, new: &Value) -> bool {
    match (old.as_array(), new.as_array()) {
        (Some(old), Some(new)) => old.iter().map(Value::as_str).eq(new.iter().map(Value::as_str)),
        _ => old.as_str().is_some() && old.as_str() == new.as_str(),
    }
}

fn found(item: &Item) -> Found {
    let Some(table) = item.as_table_like() else {
        return Found::Unknown { command: None, why: "it is not a table" };
    };
    if table.contains_key("url") {
        return Found::Remote;
    }
    let text = |key: &str| table.get(key).and_then(Item::as_str).map(str::to_owned);
    let command = text("command");
    let unknown = |why| Found::Unknown { command: command.clone(), why };
    let texts = |key: &str| match table.get(key) {
        None => Some(Vec::new()),
        Some(item) => item.as_array()?.iter().map(|value| Some(value.as_str()?.to_owned())).collect(),
    };
    let env_vars = match table.get("env_vars") {
        None => Some(Vec::new()),
        Some(Item::ArrayOfTables(tables)) => {
            tables.iter().map(|table| Some(table.get("name")?.as_str()?.to_owned())).collect()
        }
        Some(item) => item.as_array().and_then(|list| list.iter().map(variable).collect()),
    };
    let env = match table.get("env") {
        None => Some(Vec::new()),
        Some(env) => env.as_table_like().and_then(|env| {
            env.iter().map(|(name, value)| Some((name.to_owned(), value.as_str()?.to_owned()))).collect()
        }),
    };
    match (command.clone(), texts("args"), env_vars, env) {
        (None, ..) => unknown("it has no `command`"),
        (_, None, ..) => unknown("its `args` are not a list of texts"),
        (_, _, None, _) => unknown("its `env_vars` are not a list of names"),
        (.., None) => unknown("its `env` is not a table of texts"),
        (Some(command), Some(args), Some(env_vars), Some(env)) => {
            let disabled = table.get("enabled").and_then(Item::as_bool) == Some(false);
            Found::Stdio(Entry {
                command,
                args,
                env,
                env_vars,
                cwd: text("cwd"),
                startup_timeout: None,
                required: table.get("required").and_then(Item::as_bool) == Some(true),
                disabled,
            })
        }
    }
}
