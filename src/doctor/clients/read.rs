//! The servers in the clients' own files. Pure: from text to entries; changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use crate::clients::Kind;
use crate::values::Lookup;

/// Where an entry holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    #[default]
    User,
    /// For this person in that folder.
    Local(String),
    /// For everybody who works in the folder: the file came with it.
    Project,
}

impl Scope {
    /// As `--scope` has it, where it needs saying.
    pub fn flag(&self) -> Option<&'static str> {
        match self {
            Self::User => Some("user"),
            Self::Local(_) => Some("local"),
            Self::Project => Some("project"),
        }
    }
}

/// One server, as a client's file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub scope: Scope,
    pub name: String,
    /// `None`: it is not started, but reached over a network.
    pub command: Option<String>,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Variables that are handed on (Codex).
    pub env_vars: Vec<String>,
    pub enabled: bool,
    /// The server of berth's configuration that it runs.
    pub server: Option<String>,
}

impl Entry {
    /// For people.
    pub fn title(&self) -> String {
        match &self.scope {
            Scope::Local(folder) => format!("`{}` of {folder}", self.name),
            _ => format!("`{}`", self.name),
        }
    }

    /// Whether the command is called berth, wherever it is.
    pub fn is_berths(&self) -> bool {
        let command = self.command.as_deref().map(Path::new);
        command.and_then(Path::file_name).is_some_and(|name| name == "berth")
    }
}

/// The files that a client would read, whether they are there or not.
pub fn places(lookup: Lookup<'_>, folder: &Path) -> Vec<(Kind, PathBuf)> {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("HOME");
    let claude = set("CLAUDE_CONFIG_DIR").or_else(|| home.clone());
    let codex = set("CODEX_HOME").or_else(|| home.map(|home| home.join(".codex")));
    let claude = claude.map(|folder| (Kind::ClaudeCode, folder.join(".claude.json")));
    let project = (Kind::ClaudeCode, folder.join(".mcp.json"));
    let codex = codex.map(|folder| (Kind::Codex, folder.join("config.toml")));
    claude.into_iter().chain([project]).chain(codex).collect()
}

/// All servers of a file.
///
/// # Errors
/// Where the file is not what its client writes, in words.
pub fn entries(kind: Kind, path: &Path, text: &str) -> Result<Vec<Entry>, String> {
    match kind {
        Kind::Codex => {
            let file: Value =
                toml::from_str(text).map_err(|error| format!("it is no TOML: {}", error.message()))?;
            Ok(servers(&file["mcp_servers"], &Scope::User))
        }
        Kind::ClaudeCode => {
            let file: Value =
                serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
            if path.file_name().is_some_and(|name| name == ".mcp.json") {
                return Ok(servers(&file["mcpServers"], &Scope::Project));
            }
            let mut all = servers(&file["mcpServers"], &Scope::User);
            for (folder, project) in file["projects"].as_object().into_iter().flatten() {
                all.extend(servers(&project["mcpServers"], &Scope::Local(folder.clone())));
            }
            Ok(all)
        }
    }
}

fn servers(table: &Value, scope: &Scope) -> Vec<Entry> {
    let entries = table.as_object().into_iter().flatten();
    entries.map(|(name, server)| entry(name, server, scope.clone())).collect()
}

fn entry(name: &str, server: &Value, scope: Scope) -> Entry {
    let words = |key: &str| {
        let words = server[key].as_array().into_iter().flatten();
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let env = server["env"].as_object().into_iter().flatten();
    let env = env.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    Entry {
        scope,
        name: name.to_owned(),
        command: server["command"].as_str().map(str::to_owned),
        args: words("args"),
        env: env.collect(),
        env_vars: words("env_vars"),
        enabled: server["enabled"] != false,
        server: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_codes_own_file_has_two_scopes() {
        let text = r#"{
            "numStartups": 3,
            "mcpServers": { "time": { "type": "stdio", "command": "/opt/berth", "args": ["run", "time"], "env": { "A": "1" } } },
            "projects": {
                "/p": { "mcpServers": { "web": { "type": "http", "url": "https://x.example" } } },
                "/q": { "allowedTools": [] }
            }
        }"#;
        let found = entries(Kind::ClaudeCode, Path::new("/h/.claude.json"), text).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].is_berths() && found[0].enabled);
        assert_eq!((found[0].scope.clone(), found[0].args.join(" ")), (Scope::User, "run time".to_owned()));
        assert_eq!(found[0].env["A"], "1");
        assert_eq!((found[1].title().as_str(), found[1].command.as_ref()), ("`web` of /p", None));
        assert!(!found[1].is_berths());
    }

    #[test]
    fn a_projects_file_is_the_projects() {
        let text = r#"{ "mcpServers": { "a": { "command": "npx", "args": ["-y", "berth"] } } }"#;
        let found = entries(Kind::ClaudeCode, Path::new("/p/.mcp.json"), text).unwrap();
        assert_eq!((found[0].scope.clone(), found[0].is_berths()), (Scope::Project, false));
        assert_eq!(entries(Kind::ClaudeCode, Path::new("/p/.mcp.json"), "{}").unwrap(), []);
    }

    #[test]
    fn codex_has_tables() {
        let text = "model = \"x\"\n[mcp_servers.time]\ncommand = \"berth\"\nargs = [\"run\", \"time\"]\n\
                    env_vars = [\"TOKEN\"]\nenabled = false\n[mcp_servers.time.env]\nBERTH_HOME = \"/b\"\n";
        let found = entries(Kind::Codex, Path::new("/h/.codex/config.toml"), text).unwrap();
        assert_eq!((found[0].enabled, found[0].env_vars.join(" ")), (false, "TOKEN".to_owned()));
        assert_eq!(found[0].env["BERTH_HOME"], "/b");
    }

    #[test]
    fn what_is_neither_is_said_to_be_so() {
        assert!(entries(Kind::Codex, Path::new("c"), "a = ").unwrap_err().starts_with("it is no TOML"));
        assert!(entries(Kind::ClaudeCode, Path::new("c"), "{").unwrap_err().starts_with("it is no JSON"));
        assert_eq!(entries(Kind::ClaudeCode, Path::new("c"), "[]").unwrap(), []);
    }

    #[test]
    fn files_are_where_the_clients_look() {
        let env = |vars: &'static [(&str, &str)]| {
            let lookup = move |name: &str| {
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            let places = places(&lookup, Path::new("/p"));
            places.into_iter().map(|(_, path)| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(env(&[("HOME", "/h")]), ["/h/.claude.json", "/p/.mcp.json", "/h/.codex/config.toml"]);
        let moved = [("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "/c"), ("CODEX_HOME", "/x")];
        assert_eq!(
            env(const { &[("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "/c"), ("CODEX_HOME", "/x")] }).len(),
            moved.len()
        );
        assert_eq!(env(&[]), ["/p/.mcp.json"]);
    }
}
