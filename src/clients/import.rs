//! `berth import`: a client's servers, taken over into berth's configuration and wired to berth in the client's.
//!
//! Planned as a whole before the first file is written.

use std::path::Path;

use serde_json::Value;

use super::{
    Draft, Entry, Found, Place, Surroundings, Translated, Wanted, check_name, is_berth, of_berth,
    secret_arguments, translate,
};
use crate::config::{Config, Home, Server, edit};
use crate::failure::Failure;
use crate::observe::redact::{MARK, Redactor};
use crate::values::{Lookup, looks_secret};

/// What the files will be, and what is to be said.
#[derive(Debug)]
pub struct Import {
    /// Those that change. berth's own first: a client's entry must never name a server that isn't there.
    pub drafts: Vec<Draft>,
    pub said: Vec<String>,
    /// How many could not be imported.
    pub failed: usize,
}

impl Import {
    /// Reads the files, and changes none. `explicit` is the configuration that the command line names.
    pub fn plan(
        wanted: Wanted<'_>,
        config: &Config,
        home: &Home,
        explicit: Option<&Path>,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        let around = Surroundings::here(lookup)?;
        let path = explicit.unwrap_or(&home.config_file);
        let mut own = Draft::of(path)?;
        let text = own.before().to_owned();
        let mut takeover = Takeover {
            config,
            home,
            path,
            explicit,
            lookup,
            text,
            said: Vec::new(),
            failed: 0,
            found: Vec::new(),
        };
        let mut drafts: Vec<Draft> = Vec::new();
        for place in Place::chosen(wanted.client, wanted.scope, &around)? {
            let draft = Draft::of(&place.path)?;
            // Two scopes can be parts of one file.
            let draft = match drafts.iter().position(|known| known.path() == draft.path()) {
                Some(known) => drafts.remove(known),
                None => draft,
            };
            drafts.push(takeover.place(&place, draft, wanted.servers)?);
        }
        let Takeover { text, mut said, mut failed, found, .. } = takeover;
        own.after = text;
        for name in wanted.servers.iter().filter(|name| !found.contains(name)) {
            failed += 1;
            said.push(format!("{}: there is no `{name}`", wanted.client.name()));
        }
        let drafts = std::iter::once(own).chain(drafts).filter(Draft::changes).collect();
        Ok(Self { drafts, said, failed })
    }

    /// The differences of all files, without secrets.
    pub fn diffs(&self) -> Vec<String> {
        let secrets: Vec<String> = self.drafts.iter().flat_map(secrets).collect();
        self.drafts.iter().map(|draft| shown(&draft.diff(), &secrets)).collect()
    }
}

/// An import on its way through the client's files.
struct Takeover<'a> {
    config: &'a Config,
    home: &'a Home,
    path: &'a Path,
    explicit: Option<&'a Path>,
    lookup: Lookup<'a>,
    /// berth's configuration as it grows.
    text: String,
    said: Vec<String>,
    failed: usize,
    found: Vec<String>,
}

impl Takeover<'_> {
    /// Takes over what there is in one of a client's files.
    fn place(&mut self, place: &Place, mut draft: Draft, only: &[String]) -> Result<Draft, Failure> {
        let mut document = place.read(&draft.after)?;
        for (name, found) in document.servers() {
            if !only.is_empty() && !only.contains(&name) {
                continue;
            }
            self.found.push(name.clone());
            let title = place.title();
            let entry = match found {
                Found::Stdio(entry) if is_berth(&entry) => {
                    self.said.push(format!("{title}: `{name}` is berth's already"));
                    continue;
                }
                Found::Stdio(entry) => entry,
                Found::Remote => {
                    self.said.push(format!("{title}: `{name}` is not on this machine; left as it is"));
                    continue;
                }
                Found::Unknown { why, .. } => {
                    self.failed += 1;
                    self.said.push(format!("{title}: `{name}` stays as it is: {why}"));
                    continue;
                }
            };
            match self.server(&name, &entry) {
                Ok((server, translated)) => {
                    let mut new = of_berth(place.kind, &server, self.explicit, self.lookup);
                    new.env = translated.env;
                    // What the entry itself sets need not come from elsewhere.
                    new.env_vars
                        .retain(|name| entry.env.iter().chain(&new.env).all(|(known, _)| known != name));
                    document.rewire(&name, &new);
                    self.said.push(format!("{title}: `{name}` runs in a container now"));
                    let notes = translated.notes.iter().map(|note| format!("  {note}"));
                    self.said.extend(notes);
                }
                Err(why) => {
                    self.failed += 1;
                    self.said.push(format!("{title}: `{name}` stays as it is: {why}"));
                }
            }
        }
        draft.after = document.text();
        Ok(draft)
    }

    /// Adds one server to berth's configuration, or finds that it is there.
    fn server(&mut self, name: &str, entry: &Entry) -> Result<(Server, Translated), String> {
        check_name(name).map_err(|failure| failure.text)?;
        let mut translated = translate(entry, |runtime| self.config.bake.runtime(runtime).to_owned())?;
        let Some(text) = edit::with_server(&self.text, name, &translated.table)? else {
            let file = self.path.display();
            return Err(format!("{file} has another [servers.{name}]; rename one of the two"));
        };
        let config = Config::parse(&text, self.path, self.home).map_err(|error| error.to_string())?;
        let server = config.server(name).map_err(|error| error.to_string())?.clone();
        if let Err(error) = config.mounts(&server, self.lookup) {
            translated.notes.push(format!("before it can start: {error}"));
        }
        if server.recipe.is_none() {
            let note = format!("type `berth up` before it starts: that loads its image `{}`", server.image);
            translated.notes.push(note);
        }
        self.text = text;
        Ok((server, translated))
    }
}

/// A difference without secrets.
fn shown(diff: &str, secrets: &[String]) -> String {
    let redactor = Redactor::new(secrets.iter().cloned());
    let lines = diff.lines().map(|line| {
        // A table of that name, and not the value of a key that looks like a credential's.
        if line.get(1..).is_some_and(|line| line.starts_with("secrets = {")) {
            secrets
                .iter()
                .filter(|secret| secret.len() >= 4)
                .fold(line.to_owned(), |line, secret| line.replace(secret, MARK))
        } else {
            redactor.text(line)
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Whatever a file's texts hold that must not be shown: variables, headers, and what is named like a credential. What is
/// installed is shown all the same: a file whose variable holds the command would else hide the command.
fn secrets(draft: &Draft) -> Vec<String> {
    /// The keys, and the words that are run.
    fn shown(value: &Value, runs: bool, words: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    words.push(key.clone());
                    let runs = ["command", "args", "image", "npx", "uvx", "docker"].contains(&key.as_str());
                    shown(value, runs, words);
                }
            }
            Value::Array(values) => {
                let all: Vec<String> =
                    values.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect();
                let hidden: Vec<String> =
                    secret_arguments(&all).into_iter().map(|(_, value)| value).collect();
                for value in values.iter().filter(|value| {
                    !value.as_str().is_some_and(|text| hidden.iter().any(|hidden| hidden == text))
                }) {
                    shown(value, runs, words);
                }
            }
            Value::String(text) if runs => words.push(text.clone()),
            _ => {}
        }
    }
    fn walk(value: &Value, hidden: bool, secrets: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    let hides = ["env", "secrets", "headers", "http_headers"].contains(&key.as_str());
                    walk(value, hidden || hides || looks_secret(key), secrets);
                }
            }
            Value::Array(values) => {
                let words: Vec<String> =
                    values.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect();
                secrets.extend(secret_arguments(&words).into_iter().map(|(_, value)| value));
                for value in values {
                    walk(value, hidden, secrets);
                }
            }
            // A name of a variable is no secret.
            Value::String(text) if hidden && !text.starts_with("${") => secrets.push(text.clone()),
            _ => {}
        }
    }
    let (mut secrets, mut words) = (Vec::new(), Vec::new());
    for text in [draft.before(), &draft.after] {
        let read = serde_json::from_str(text).ok().or_else(|| toml::from_str(text).ok()).unwrap_or_default();
        walk(&read, false, &mut secrets);
        shown(&read, false, &mut words);
    }
    secrets.retain(|secret| !words.iter().any(|word| hides(secret, word)));
    secrets
}

/// Whether to hide `secret` would hide `word`, or a part of it, where it is run. A word with an address in it may hold a
/// secret.
fn hides(secret: &str, word: &str) -> bool {
    let is_part = word == secret || (word.contains(secret) && !word.contains("://"));
    // It could begin in one word and end in another.
    let spans = secret.contains(['"', '\'']) && word.len() > 2 && secret.contains(word);
    is_part || spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_blackens_what_it_installs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".mcp.json");
        let text = r#"{ "mcpServers": { "time": {
  "command": "npx",
  "args": ["-y", "evil-package", "--api-key", "hunter2-hunter2"],
  "env": {
    "A_TOKEN": "evil-package",
    "B_TOKEN": "evil",
    "C_TOKEN": "args",
    "D_TOKEN": "\"-y\", \"evil-package\"",
    "E_TOKEN": "sk-0123456789"
  }
} } }"#;
        std::fs::write(&path, text).unwrap();
        let mut draft = Draft::of(&path).unwrap();
        draft.after = String::new();
        let diff = shown(&draft.diff(), &secrets(&draft));
        assert!(diff.contains(r#"-  "args": ["-y", "evil-package", "--api-key", ""#), "{diff}");
        assert!(diff.contains(r#"-  "command": "npx","#), "{diff}");
        assert!(!diff.contains("hunter2") && !diff.contains("sk-0123456789"), "{diff}");
    }
}
