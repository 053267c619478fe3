//! What a client hands to the berth that it starts for a server: the variables of its entry, as it would expand them.

use std::fmt;

use super::{Document, Entry, Found, Kind, Place, Surroundings, file, profile_of, server_of};
use crate::values::Lookup;

/// The variables of an entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Handed {
    /// Whose entry it is, for a person.
    pub title: String,
    pub kind: Kind,
    env: Vec<(String, String)>,
    /// Those that are passed on from the client's own environment.
    pub env_vars: Vec<String>,
}

impl fmt::Debug for Handed {
    /// Values are for the server alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("title", &self.title).finish_non_exhaustive()
    }
}

impl Handed {
    pub fn of_entry(place: &Place, entry: &Entry) -> Self {
        let (env, env_vars) = (entry.env.clone(), entry.env_vars.clone());
        Self { title: place.title(), kind: place.kind, env, env_vars }
    }

    /// The first entry that runs `server` by berth, or one of these profiles that have it, in the files of clients that are
    /// started here; what is for another project comes last.
    pub fn of_server(server: &str, profiles: &[&str], around: &Surroundings) -> Option<Self> {
        let mut elsewhere = None;
        for place in Place::of_clients(around) {
            let Ok(text) = file::read(&place.path) else { continue };
            for (place, document) in place.read_all(&text).unwrap_or_default() {
                let Some(handed) = find(&place, &*document, server, profiles) else { continue };
                if place.project().is_none_or(|project| around.folder.starts_with(project)) {
                    return Some(handed);
                }
                elsewhere.get_or_insert(handed);
            }
        }
        elsewhere
    }

    /// The names of what the entry itself sets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.env.iter().map(|(name, _)| name.as_str())
    }

    /// A value of the entry's own.
    pub fn value(&self, name: &str, lookup: Lookup<'_>) -> Option<String> {
        let (_, value) = self.env.iter().find(|(known, _)| known == name)?;
        Some(match self.kind {
            Kind::ClaudeCode => expanded(value, lookup),
            Kind::Codex => value.clone(),
        })
    }

    /// All that the entry itself sets.
    pub fn env(&self, lookup: Lookup<'_>) -> Vec<(String, String)> {
        let names = self.env.iter().map(|(name, _)| name);
        names.filter_map(|name| Some((name.clone(), self.value(name, lookup)?))).collect()
    }
}

fn find(place: &Place, document: &dyn Document, server: &str, profiles: &[&str]) -> Option<Handed> {
    let runs = |entry: &Entry| {
        server_of(entry) == Some(server)
            || profile_of(entry).is_some_and(|profile| profiles.contains(&profile))
    };
    document.servers().into_iter().find_map(|(_, found)| match found {
        Found::Stdio(entry) if runs(&entry) => Some(Handed::of_entry(place, &entry)),
        _ => None,
    })
}

/// As Claude Code does it: `${NAME}` and `${NAME:-default}`; what is not set stays as it is.
fn expanded(value: &str, lookup: Lookup<'_>) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, behind)) = after.split_once('}') else { break };
        let (name, default) =
            inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        text += before;
        match lookup(name).or_else(|| default.map(str::to_owned)) {
            Some(value) => text += &value,
            None => text.extend(["${", inside, "}"]),
        }
        rest = behind;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_expanded_as_its_client_does_it() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        assert_eq!(expanded("x${A}y${B:-2}z${C}", &lookup), "x1y2z${C}");
        assert_eq!(expanded("$A ${A", &lookup), "$A ${A");
    }

    #[test]
    fn the_entry_of_a_server_is_found_wherever_a_client_has_it() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::create_dir(path("p")).unwrap();
        std::fs::create_dir(path(".codex")).unwrap();
        let claude = r#"{ "mcpServers": { "other.name": { "command": "/x/berth", "args": ["run", "a"], "env": { "T": "user" } } },
            "projects": { "/elsewhere": { "mcpServers": { "b": { "command": "berth", "args": ["run", "b"], "env": { "T": "${T2:-far}" } } } } } }"#;
        std::fs::write(path(".claude.json"), claude).unwrap();
        let codex = "[mcp_servers.c]\ncommand = \"berth\"\nargs = [\"run\", \"c\"]\nenv = { T = \"${T2}\" }\n\
             [mcp_servers.w]\ncommand = \"berth\"\nargs = [\"run\", \"--profile\", \"work\"]\nenv = { T = \"w\" }\n";
        std::fs::write(path(".codex/config.toml"), codex).unwrap();
        let around =
            Surroundings { home: Some(home.path().to_owned()), folder: path("p"), claude: None, codex: None };
        let value = |server: &str| Handed::of_server(server, &[], &around)?.value("T", &|_| None);
        assert_eq!(value("a").as_deref(), Some("user"));
        assert_eq!(value("b").as_deref(), Some("far"), "of another project, where there is no better");
        assert_eq!(value("c").as_deref(), Some("${T2}"), "Codex expands nothing");
        assert_eq!(value("d"), None);
        let of_profile = Handed::of_server("d", &["work"], &around).unwrap();
        assert_eq!(of_profile.value("T", &|_| None).as_deref(), Some("w"));
        assert!(Handed::of_server("d", &["home"], &around).is_none());
        let handed = Handed::of_server("a", &[], &around).unwrap();
        assert!(!format!("{handed:?}").contains("user\""), "{handed:?}");
        // A project's name may begin as another's does.
        let claude = format!(
            r#"{{ "projects": {{ "{0}/p": {{ "mcpServers": {{ "s": {{ "command": "berth", "args": ["run", "s"], "env": {{ "T": "p" }} }} }} }},
                "{0}/p2": {{ "mcpServers": {{ "s": {{ "command": "berth", "args": ["run", "s"], "env": {{ "T": "p2" }} }} }} }} }} }}"#,
            home.path().display()
        );
        std::fs::write(path(".claude.json"), claude).unwrap();
        let around = Surroundings { folder: path("p2/src"), ..around };
        let value = |server: &str| Handed::of_server(server, &[], &around)?.value("T", &|_| None);
        assert_eq!(value("s").as_deref(), Some("p2"));
    }
}
