//! Claude Code's files: `.mcp.json` of a project, and `.claude.json` with a person's own servers and each project's.

use std::path::Path;

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use serde_json::Value;

use super::{Entry, Found, broken, without_mark};
use crate::failure::Failure;

const SERVERS: &str = "mcpServers";
/// What is for each project, by its folder.
const PROJECTS: &str = "projects";

/// A JSON file whose layout stays.
#[derive(Debug)]
pub(super) struct Document {
    root: CstRootNode,
    /// The keys that lead to the servers.
    table: Vec<String>,
    /// What editors of Windows put before the text, or nothing.
    mark: &'static str,
}

/// As Claude Code reads it.
pub(super) const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

impl Document {
    /// The part of the file that is for `project`, else for its owner everywhere.
    pub(super) fn parse(text: &str, project: Option<&str>, path: &Path) -> Result<Self, Failure> {
        let (mark, text) = without_mark(text);
        let text = if text.trim().is_empty() { "{\n}\n" } else { text };
        let root = CstRootNode::parse(text, &STRICT).map_err(|error| {
            broken(path, error.line_display(), &format!("invalid JSON: {}", error.kind()))
        })?;
        Self::of(root, mark, project, path)
    }

    /// All parts that are for a project and have servers. What else stands there is no reason to leave the others unread.
    pub(super) fn projects(&self, path: &Path) -> Result<Vec<(String, Self)>, Failure> {
        let projects = self.root.object_value().and_then(|root| root.object_value(PROJECTS));
        let projects = projects.map(|projects| projects.properties()).unwrap_or_default();
        let has_servers = |project: &&CstObjectProp| {
            project.object_value().is_some_and(|project| project.object_value(SERVERS).is_some())
        };
        let names = projects.iter().filter(has_servers).filter_map(CstObjectProp::decoded_name);
        names
            .map(|name| Ok((name.clone(), Self::of(self.root.clone(), self.mark, Some(&name), path)?)))
            .collect()
    }

    fn of(
        root: CstRootNode,
        mark: &'static str,
        project: Option<&str>,
        path: &Path,
    ) -> Result<Self, Failure> {
        let table: Vec<&str> = project.map_or(vec![SERVERS], |project| vec![PROJECTS, project, SERVERS]);
        let mut object = root.object_value();
        if object.is_none() {
            return Err(broken(path, 1, "the file is not a JSON object"));
        }
        for key in &table {
            let Some(property) = object.as_ref().and_then(|object| object.get(key)) else {
                object = None;
                continue;
            };
            object = property.object_value();
            if object.is_none() {
                return Err(broken(path, 1, &format!("`{key}` is not a JSON object")));
            }
        }
        Ok(Self { table: table.into_iter().map(str::to_owned).collect(), root, mark })
    }

    fn table(&self) -> Option<CstObject> {
        self.table.iter().try_fold(self.root.object_value()?, |object, key| object.object_value(key))
    }
}

impl super::Document for Document {
    fn servers(&self) -> Vec<(String, Found)> {
        let properties = self.table().map(|table| table.properties()).unwrap_or_default();
        let found = properties.iter().filter_map(|property| {
            let value = property.value().and_then(|value| value.to_serde_value()).unwrap_or_default();
            Some((property.decoded_name()?, found(&value)))
        });
        found.collect()
    }

    fn put(&mut self, name: &str, entry: &Entry) {
        let root = self.root.object_value_or_set();
        let table = self.table.iter().fold(root, |object, key| object.object_value_or_set(key));
        let mut value = vec![
            ("command".to_owned(), entry.command.as_str().into()),
            ("args".to_owned(), entry.args.clone().into()),
        ];
        if !entry.env.is_empty() {
            let env = entry.env.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            value.push(("env".to_owned(), CstInputValue::Object(env.collect())));
        }
        set(&table, name, CstInputValue::Object(value));
    }

    fn rewire(&mut self, name: &str, entry: &Entry) {
        let Some(server) = self.table().and_then(|table| table.object_value(name)) else { return };
        set(&server, "command", entry.command.as_str().into());
        set(&server, "args", entry.args.clone().into());
        if !entry.env.is_empty() {
            let env = server.object_value_or_set("env");
            for (name, value) in &entry.env {
                set(&env, name, value.as_str().into());
            }
        }
    }

    fn unset(&mut self, name: &str, variables: &[String]) {
        let Some(server) = self.table().and_then(|table| table.object_value(name)) else { return };
        let Some(env) = server.object_value("env") else { return };
        for property in variables.iter().filter_map(|variable| env.get(variable)) {
            property.remove();
        }
        if env.properties().is_empty()
            && let Some(property) = server.get("env")
        {
            property.remove();
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(property) = self.table().and_then(|table| table.get(name)) {
            property.remove();
        }
    }

    fn text(&self) -> String {
        format!("{}{}", self.mark, self.root)
    }
}

/// In its place, or at the end; not touched if it is that already.
fn set(object: &CstObject, key: &str, value: CstInputValue) {
    match object.get(key) {
        Some(property) => {
            let is = property.value().and_then(|value| value.to_serde_value());
            if is != Some(plain(&value)) {
                property.set_value(value);
            }
        }
        None => {
            object.append(key, value);
        }
    }
}

fn plain(value: &CstInputValue) -> Value {
    match value {
        CstInputValue::Null => Value::Null,
        CstInputValue::Bool(value) => (*value).into(),
        CstInputValue::Number(value) | CstInputValue::String(value) => value.as_str().into(),
        CstInputValue::Array(values) => values.iter().map(plain).collect(),
        CstInputValue::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), plain(value))).collect()
        }
    }
}

fn found(value: &Value) -> Found {
    if value.get("url").is_some() || !matches!(value["type"].as_str(), None | Some("stdio")) {
        return Found::Remote;
    }
    let command = value["command"].as_str().map(str::to_owned);
    let unknown = |why| Found::Unknown { command: command.clone(), why };
    let texts = |key: &str| match &value[key] {
        Value::Null => Some(Vec::new()),
        list => list.as_array()?.iter().map(|value| Some(value.as_str()?.to_owned())).collect(),
    };
    let env = match &value["env"] {
        Value::Null => Some(Vec::new()),
        env => env.as_object().and_then(|env| {
            env.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        }),
    };
    match (command.clone(), texts("args"), env) {
        (None, ..) => unknown("it has no `command`"),
        (_, None, _) => unknown("its `args` are not a list of texts"),
        (_, _, None) => unknown("its `env` is not an object of texts"),
        (Some(command), Some(args), Some(env)) => {
            let disabled = value["enabled"] == false;
            Found::Stdio(Entry { command, args, env, disabled, ..Entry::default() })
        }
    }
}
