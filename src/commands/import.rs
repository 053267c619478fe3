//! `berth import`: a client's servers, into containers of berth's.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table};

use super::variable;
use crate::cli::ImportArgs;
use crate::clients::{
    Draft, Entry, Found, Place, Surroundings, Translated, check_name, is_berth, of_berth, secret_arguments,
    translate,
};
use crate::config::{Config, Home};
use crate::failure::{Code, Failure};
use crate::observe::redact::{MARK, Redactor};
use crate::values::looks_secret;

/// What the files will be, and what is to be said.
struct Import<'a> {
    config: &'a Config,
    home: &'a Home,
    path: &'a Path,
    /// berth's configuration as it grows.
    text: String,
    said: Vec<String>,
    failed: usize,
    found: Vec<String>,
}

pub fn run(
    args: &ImportArgs,
    config: &Config,
    home: &Home,
    explicit: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let around = Surroundings::here(&variable)?;
    let path = explicit.unwrap_or(&home.config_file);
    let mut own = Draft::of(path)?;
    let text = own.before().to_owned();
    let mut import = Import { config, home, path, text, said: Vec::new(), failed: 0, found: Vec::new() };
    let mut drafts: Vec<Draft> = Vec::new();
    for place in Place::chosen(args.client, args.scope, &around)? {
        let draft = Draft::of(&place.path)?;
        // Two scopes can be parts of one file.
        let draft = match drafts.iter().position(|known| known.path() == draft.path()) {
            Some(known) => drafts.remove(known),
            None => draft,
        };
        drafts.push(import.place(&place, draft, &args.servers, explicit)?);
    }
    let Import { text, mut said, mut failed, found, .. } = import;
    own.after = text;
    for name in args.servers.iter().filter(|name| !found.contains(name)) {
        failed += 1;
        said.push(format!("{}: there is no `{name}`", args.client.name()));
    }
    let drafts: Vec<Draft> = std::iter::once(own).chain(drafts).filter(Draft::changes).collect();
    let secrets: Vec<String> = drafts.iter().flat_map(secrets).collect();
    let mut out = std::io::stdout().lock();
    for draft in &drafts {
        writeln!(out, "{}", shown(&draft.diff(), &secrets))?;
    }
    if !args.dry_run {
        // berth's own first: a client's entry must never name a server that isn't there.
        for draft in &drafts {
            if let Some(backup) = draft.write(true)? {
                writeln!(out, "kept {}", backup.display())?;
            }
        }
    }
    for line in said {
        writeln!(out, "{line}")?;
    }
    if drafts.is_empty() && failed == 0 {
        writeln!(out, "nothing to import")?;
    }
    out.flush()?;
    if failed > 0 {
        return Err(Failure {
            code: Code::Configuration,
            text: format!("{failed} could not be imported and stayed as they were"),
            next: Some("see the reasons above".to_owned()),
        }
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

impl Import<'_> {
    /// Takes over what there is in one of a client's files.
    fn place(
        &mut self,
        place: &Place,
        mut draft: Draft,
        only: &[String],
        explicit: Option<&Path>,
    ) -> Result<Draft, Failure> {
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
                    let mut new = of_berth(place.kind, &server, explicit, &variable);
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
    fn server(&mut self, name: &str, entry: &Entry) -> Result<(crate::config::Server, Translated), String> {
        check_name(name).map_err(|failure| failure.text)?;
        let mut translated = translate(entry, |runtime| self.config.bake.runtime(runtime).to_owned())?;
        let mut known: DocumentMut =
            self.text.replace("\r\n", "\n").parse().map_err(|error| format!("{error}"))?;
        let old = known.get("servers").and_then(|servers| servers.get(name)).and_then(Item::as_table_like);
        let text = match old {
            Some(old)
                if plain(&old.iter().collect::<Vec<_>>())
                    == plain(&translated.table.iter().collect::<Vec<_>>()) =>
            {
                self.text.clone()
            }
            Some(_) => {
                let file = self.path.display();
                return Err(format!("{file} has another [servers.{name}]; rename one of the two"));
            }
            None => appended(&self.text, &mut known, name, &translated.table),
        };
        let config = Config::parse(&text, self.path, self.home).map_err(|error| error.to_string())?;
        let server = config.server(name).map_err(|error| error.to_string())?.clone();
        if let Err(error) = config.mounts(&server, &variable) {
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

/// The configuration with one more server, behind all there is.
fn appended(text: &str, known: &mut DocumentMut, name: &str, table: &Table) -> String {
    let crlf = text.contains("\r\n");
    let is_closed = known.get("servers").is_some_and(|servers| !servers.is_table());
    let new = if is_closed {
        // An inline table takes no header of another.
        known["servers"][name] = Item::Value(table.clone().into_inline_table().into());
        known.to_string()
    } else {
        let mut alone = DocumentMut::new();
        let mut servers = Table::new();
        servers.set_implicit(true);
        servers.insert(name, Item::Table(table.clone()));
        alone.insert("servers", Item::Table(servers));
        let before = text.replace("\r\n", "\n");
        let gap = match before.as_str() {
            "" => "",
            before if before.ends_with('\n') => "\n",
            _ => "\n\n",
        };
        format!("{before}{gap}{}", alone.to_string().trim_start())
    };
    if crlf { new.replace('\n', "\r\n") } else { new }
}

/// What a table says, however it is laid out.
fn plain(entries: &[(&str, &Item)]) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> =
        entries.iter().map(|(key, item)| ((*key).to_owned(), value(item))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn value(item: &Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return plain(&table.iter().collect::<Vec<_>>()).into_iter().collect();
    }
    match item.as_value() {
        Some(toml_edit::Value::Array(list)) => {
            list.iter().map(|value| self::value(&Item::Value(value.clone()))).collect()
        }
        Some(value) => {
            value.as_str().map_or_else(|| value.clone().decorated("", "").to_string().into(), Value::from)
        }
        None => Value::Null,
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

/// Whatever a file's texts hold that must not be shown: variables, headers, and what is named like a credential.
fn secrets(draft: &Draft) -> Vec<String> {
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
    let mut secrets = Vec::new();
    for text in [draft.before(), &draft.after] {
        let read = serde_json::from_str(text).ok().or_else(|| toml::from_str(text).ok());
        walk(&read.unwrap_or_default(), false, &mut secrets);
    }
    secrets
}
