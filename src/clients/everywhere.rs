//! berth's entries in all files that clients have, for `berth uninstall --all`.

use std::io::ErrorKind;

use super::{Draft, Found, Part, Place, Surroundings, file, is_berth};
use crate::failure::{Code, Failure};
use crate::values::Lookup;

/// The entries of berth's in one part of a client's file.
#[derive(Debug, Clone)]
pub struct Installed {
    place: Place,
    pub names: Vec<String>,
}

impl Installed {
    /// Where they stand, for a person.
    pub fn title(&self) -> String {
        self.place.title()
    }

    /// Takes them out; gives the path of the backup.
    pub fn remove(&self) -> Result<Option<String>, Failure> {
        let mut draft = Draft::of(&self.place.path)?;
        let mut document = self.place.read(draft.before())?;
        for name in of_berth(&*document).filter(|name| self.names.contains(name)).collect::<Vec<_>>() {
            document.remove(&name);
        }
        draft.after = document.text();
        Ok(draft.write(true)?.map(|backup| backup.display().to_string()))
    }
}

fn of_berth(document: &dyn super::Document) -> impl Iterator<Item = String> + use<> {
    let servers = document.servers().into_iter();
    servers
        .filter_map(|(name, found)| matches!(found, Found::Stdio(entry) if is_berth(&entry)).then_some(name))
}

/// All of them: the person's, those of each project that a client's own file knows, and those of the working folder.
pub fn installed(lookup: Lookup<'_>) -> Result<Vec<Installed>, Failure> {
    let around = Surroundings::here(lookup)?;
    let mut all = Vec::new();
    for place in Place::of_clients(&around) {
        let text = match file::read(&place.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                let text = format!("cannot read {}: {error}", place.path.display());
                let next = Some("correct its owner and permissions".to_owned());
                return Err(Failure { code: Code::Configuration, text, next });
            }
        };
        let parts: Vec<Part> = place.read_all(&text)?;
        all.extend(parts.into_iter().filter_map(|(place, document)| {
            let names: Vec<String> = of_berth(&*document).collect();
            (!names.is_empty()).then_some(Installed { place, names })
        }));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_berths_go_and_all_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let lookup = |name: &str| (name == "HOME").then(|| home.clone());
        let own = r#"{ "command": "/usr/bin/berth", "args": ["run", "files"] }"#;
        let other = r#"{ "command": "npx", "args": ["berth"] }"#;
        let text = format!(
            r#"{{ "x": 1, "mcpServers": {{ "files": {own}, "other": {other} }},
                 "projects": {{ "/p": {{ "mcpServers": {{ "git": {own} }} }} }} }}"#
        );
        let claude = folder.path().join(".claude.json");
        std::fs::write(&claude, text).unwrap();
        std::fs::create_dir(folder.path().join(".codex")).unwrap();
        let codex = folder.path().join(".codex/config.toml");
        let rest = "model = \"m\"\n\n[mcp_servers.o]\ncommand = \"o\"\n";
        std::fs::write(
            &codex,
            format!("{rest}[mcp_servers.f]\ncommand = \"berth\"\nargs = [\"run\", \"f\"]\n"),
        )
        .unwrap();
        let found = installed(&lookup).unwrap();
        let names: Vec<_> = found.iter().flat_map(|installed| installed.names.clone()).collect();
        assert_eq!(names, ["files", "git", "f"]);
        for installed in &found {
            assert!(installed.remove().unwrap().is_some(), "what was there is kept");
        }
        let text = std::fs::read_to_string(&claude).unwrap();
        assert!(text.contains("\"other\"") && !text.contains("/usr/bin/berth") && text.contains("\"x\": 1"));
        assert_eq!(std::fs::read_to_string(&codex).unwrap(), rest);
        assert!(installed(&lookup).unwrap().is_empty());
    }
}
