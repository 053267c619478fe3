//! Where a configuration keeps secrets: the files that it names, and those that stand in it itself. For backups.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Config;
use super::env::{EnvEntry, Given};
use super::kept::SecretKeeper;
use crate::values::{Lookup, is_secret};

impl Config {
    /// The files with servers' variables and secrets: how each is called wherever the configuration lies (`~/…`, or from its
    /// folder on), and where it is here. A file whose path needs a variable that is not set is none.
    pub fn secret_files(&self, lookup: Lookup) -> BTreeMap<String, PathBuf> {
        let mut paths = Vec::new();
        for server in self.servers.values() {
            let files = server.settings.env_files.iter();
            paths.extend(files.filter_map(|file| file.expand(lookup).ok()));
            for entry in server.settings.env.values() {
                let Given::Kept(kept) = &entry.given else { continue };
                if let Ok(SecretKeeper::File(path)) =
                    kept.expand(lookup, entry.place.as_ref()).map(|kept| kept.keeper)
                {
                    paths.push(path);
                }
            }
        }
        let folder = self.file.as_ref().and_then(|file| std::path::absolute(file).ok());
        let folder = folder.and_then(|file| Some(file.parent()?.to_owned()));
        let user = lookup("HOME").filter(|home| home.starts_with('/')).map(PathBuf::from);
        let named = paths.into_iter().filter_map(|path| {
            let path = std::path::absolute(&path).ok()?;
            let name = match (&folder, &user) {
                (Some(folder), _) if path.starts_with(folder) => {
                    format!("./{}", path.strip_prefix(folder).ok()?.to_str()?)
                }
                (_, Some(user)) if path.starts_with(user) => {
                    format!("~/{}", path.strip_prefix(user).ok()?.to_str()?)
                }
                _ => path.to_str()?.to_owned(),
            };
            Some((name, path))
        });
        named.collect()
    }

    /// The first secret that is written out in the file: its server and its variable.
    pub fn written_secret(&self) -> Option<(&str, &str)> {
        let is_written = |entry: &EnvEntry| {
            let value = entry.literal().filter(|value| !value.is_empty());
            value.is_some_and(|value| entry.secret || is_secret(&entry.name, &value))
        };
        self.servers.values().find_map(|server| {
            let entry = server.settings.env.values().find(|entry| is_written(entry))?;
            Some((server.name.as_str(), entry.name.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Home};

    fn config(keys: &str) -> Config {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = format!("[servers.a]\nimage = \"i\"\n{keys}\n");
        Config::parse(&text, Path::new("/b/berth.toml"), &home).unwrap()
    }

    #[test]
    fn files_are_named_as_another_machine_finds_them() {
        let config = config(
            "env_file = [\"a.env\", \"~/b.env\", \"/etc/c.env\", \"${GONE}/d.env\"]\n\
             secrets = { T = { file = \"~/t\" }, K = { keyring = \"k\" } }",
        );
        let lookup = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        let found = config.secret_files(&lookup);
        let found: Vec<_> =
            found.iter().map(|(name, path)| (name.as_str(), path.to_str().unwrap())).collect();
        let expected = [
            ("./a.env", "/b/a.env"),
            ("/etc/c.env", "/etc/c.env"),
            ("~/b.env", "/home/me/b.env"),
            ("~/t", "/home/me/t"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_secret_that_is_written_out_is_seen() {
        for (keys, expected) in [
            ("secrets = { T = \"hunter2\" }", Some(("a", "T"))),
            ("env = { API_KEY = \"sk-0123456789abcdef0123456789\" }", Some(("a", "API_KEY"))),
            ("secrets = { T = \"${T}\", U = { keyring = \"u\" } }", None),
            ("env = { LEVEL = \"debug\" }", None),
        ] {
            assert_eq!(config(keys).written_secret(), expected, "{keys}");
        }
    }
}
