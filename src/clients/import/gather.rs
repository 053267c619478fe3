//! The servers of one of a client's files become one entry, `berth run --profile`, and a profile of berth.toml.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::renamed::{SETTINGS, managed};
use super::{Check, Takeover};
use crate::clients::one_entry::{Carried, Gathered, OneEntry, carry, plain, put, refused};
use crate::clients::{
    Draft, Entry, Found, Kind, Place, Scope, file, is_berth, of_profile, profile_of, server_of, without_mark,
};
use crate::config::Config;
use crate::config::edit::{self, Profile};
use crate::failure::{Code, Failure};

/// What an import has done to a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub profile: String,
    /// It was not there before.
    pub is_new: bool,
    pub added: Vec<String>,
}

/// An entry that may become a part of the one.
struct Candidate {
    /// The client's name.
    name: String,
    /// berth's.
    server: String,
    /// What its tools begin with.
    prefix: String,
    entry: Entry,
}

/// Entries as one.
struct Joined {
    one: OneEntry,
    /// berth's names.
    servers: Vec<String>,
    entry: Entry,
    /// What Codex's tables say beside.
    carried: Option<Carried>,
}

/// Why servers stay entries of their own, by the client's names.
type Alone = BTreeMap<String, String>;

impl Takeover<'_> {
    /// Gathers what runs by berth now, and has the client's other files name its tools as they are called then.
    pub(super) fn gather(
        &mut self,
        profile: &str,
        drafts: &mut Vec<Draft>,
    ) -> Result<Option<Change>, Failure> {
        let Some((place, path, candidates)) = self.chosen(drafts)? else { return Ok(None) };
        let (title, text) = (place.title(), after(drafts, &path));
        let existing = place.read(&text)?.servers().into_iter().find_map(|(known, found)| match found {
            Found::Stdio(entry) if known == profile && profile_of(&entry) == Some(profile) => Some(entry),
            _ => None,
        });
        let is_new = existing.is_none();
        let mut alone = Alone::new();
        let joined = loop {
            let mut joined = self.joined(profile, &place, existing.as_ref(), &candidates, &mut alone);
            if place.kind == Kind::Codex {
                joined.carried = Some(carry(&text, &path, &joined.one)?);
            }
            match joined.carried.as_ref().map(|carried| &carried.alone) {
                Some(more) if !more.is_empty() => alone.extend(more.clone()),
                _ => break joined,
            }
        };
        for (name, why) in &alone {
            self.alone(&title, name, why);
        }
        let Joined { mut one, servers, entry, carried } = joined;
        if one.servers.is_empty() {
            return Ok(None);
        }
        self.others(&place, drafts, is_new, &mut one)?;
        if place.kind == Kind::ClaudeCode {
            let keys = unknown_keys(&text, &place, &one).into_iter();
            self.said.extend(keys.map(|(name, key)| format!("  `{key}` of `{name}` is not carried over")));
        }
        let mut document = place.read(&text)?;
        for server in &one.servers {
            document.remove(&server.name);
        }
        if is_new {
            document.put(profile, &entry);
        } else {
            document.rewire(profile, &entry);
        }
        let mut text = document.text();
        if let Some(carried) = &carried {
            text = put(&text, &path, profile, carried)?;
            self.said.extend(carried.notes.iter().map(|note| format!("  {note}")));
        }
        if let Some(draft) = drafts.iter_mut().find(|draft| draft.path() == path) {
            draft.after = text;
        }
        self.renamed(&place, &path, &one, is_new, drafts)?;
        let names: Vec<String> = one.servers.iter().map(|server| format!("`{}`", server.name)).collect();
        let names = names.join(", ");
        self.said.push(format!("{title}: {names} became the entry `{profile}`, by [profiles.{profile}]"));
        self.profile(profile, &servers).map(Some)
    }

    /// Writes the profile.
    fn profile(&mut self, profile: &str, servers: &[String]) -> Result<Change, Failure> {
        let known = edit::profile(&self.text, profile);
        let is_new = known.is_none();
        let mut all = known.unwrap_or_default();
        let mut added = Vec::new();
        for server in servers {
            if !all.contains(server) {
                all.push(server.clone());
                added.push(server.clone());
            }
        }
        self.text = edit::with_profile(&self.text, profile, Profile::With(&added)).map_err(wrong)?;
        self.config()?;
        Ok(Change { profile: profile.to_owned(), is_new, added })
    }

    /// berth's configuration as it will be.
    fn config(&self) -> Result<Config, Failure> {
        let parsed = Config::parse(&self.text, self.reading.path, self.reading.home);
        parsed.map_err(|error| wrong(error.to_string()))
    }

    /// The one place that has entries to gather.
    fn chosen(&mut self, drafts: &[Draft]) -> Result<Option<(Place, PathBuf, Vec<Candidate>)>, Failure> {
        let places =
            self.reading.places.iter().map(|(place, draft)| (place.clone(), draft.path().to_owned()));
        let mut found = Vec::new();
        for (place, path) in places.collect::<Vec<_>>() {
            let candidates = self.candidates(&place, &after(drafts, &path))?;
            if !candidates.is_empty() {
                found.push((place, path, candidates));
            }
        }
        if found.len() > 1 {
            let titles: Vec<String> = found.iter().map(|(place, ..)| place.title()).collect();
            return Err(Failure {
                code: Code::Usage,
                text: format!("there are servers in more than one place: {}", titles.join("; ")),
                next: Some("choose one with `--scope`".to_owned()),
            });
        }
        Ok(found.pop())
    }

    /// Joins those entries that one can stand for.
    fn joined(
        &self,
        profile: &str,
        place: &Place,
        existing: Option<&Entry>,
        candidates: &[Candidate],
        alone: &mut Alone,
    ) -> Joined {
        let kind = (place.kind, place.scope);
        let mut entry = of_profile(kind, (profile, profile), self.reading.explicit, self.machine.lookup);
        if let Some(existing) = existing {
            entry = Entry { command: entry.command, args: entry.args, ..existing.clone() };
        }
        let mut one = OneEntry {
            entry: profile.to_owned(),
            servers: Vec::new(),
            others: Vec::new(),
            of_project: place.scope == Scope::Project,
        };
        let mut servers = Vec::new();
        for candidate in candidates {
            if alone.contains_key(&candidate.name) {
                continue;
            }
            let is_first = existing.is_none() && servers.is_empty();
            if let Err(why) = merged(&mut entry, &candidate.entry, is_first) {
                alone.insert(candidate.name.clone(), why);
                continue;
            }
            let which = (place.title(), candidate.name.clone());
            let tools = match self.check {
                Check::Made(trials) => trials.get(&which).and_then(|tried| tried.clone().ok()),
                Check::DryRun | Check::LeftOut => None,
            };
            let (name, shown) = (candidate.name.clone(), candidate.prefix.clone());
            one.servers.push(Gathered { name, shown, tools });
            servers.push(candidate.server.clone());
        }
        Joined { one, servers, entry, carried: None }
    }

    fn alone(&mut self, title: &str, name: &str, why: &str) {
        self.said.push(format!("{title}: `{name}` stays an entry of its own: {why}"));
    }

    /// What runs by berth in one of the client's files, and by the client at all.
    fn candidates(&mut self, place: &Place, text: &str) -> Result<Vec<Candidate>, Failure> {
        let refused = if place.scope == Scope::Project { self.refused() } else { Vec::new() };
        let only = self.reading.wanted.servers;
        let config = self.config()?;
        let mut candidates = Vec::new();
        for (name, found) in place.read(text)?.servers() {
            let Found::Stdio(entry) = found else { continue };
            let is_wanted = only.is_empty() || only.contains(&name);
            let Some(server) = server_of(&entry).filter(|_| is_wanted && is_berth(&entry)).map(str::to_owned)
            else {
                continue;
            };
            if entry.disabled || refused.contains(&name) {
                self.alone(&place.title(), &name, "it is disabled");
                continue;
            }
            match config.server(&server) {
                Ok(known) => {
                    let prefix = known.prefix().to_owned();
                    candidates.push(Candidate { name, server, prefix, entry });
                }
                Err(error) => self.alone(&place.title(), &name, &error.to_string()),
            }
        }
        Ok(candidates)
    }

    /// The servers of a project's file that the person has refused.
    fn refused(&self) -> Vec<String> {
        let around = &self.reading.around;
        let read = |path: &Path| file::read(path).unwrap_or_default();
        let mut all = Vec::new();
        let own = self.settings_folders().into_iter();
        let own = own.flat_map(|folder| SETTINGS.map(|name| folder.join(name)));
        for path in own.chain(managed()) {
            all.extend(refused(&read(&path), None));
        }
        if let Ok(user) = Place::of(Kind::ClaudeCode, Scope::User, around) {
            for project in around.projects() {
                all.extend(refused(&read(&user.path), Some(&project.to_string_lossy())));
            }
        }
        all
    }

    /// What the client's other servers are called in its tools' names. None may be called as the entry is.
    fn others(
        &self,
        place: &Place,
        drafts: &[Draft],
        is_new: bool,
        one: &mut OneEntry,
    ) -> Result<(), Failure> {
        for other in Place::of_clients(&self.reading.around) {
            if other.kind != place.kind {
                continue;
            }
            let path = other.path.canonicalize().unwrap_or_else(|_| other.path.clone());
            let text = match drafts.iter().find(|draft| draft.path() == path) {
                Some(draft) => draft.after.clone(),
                None => file::read(&path).unwrap_or_default(),
            };
            for (part, document) in other.read_all(&text)? {
                let is_here = part.path == place.path && part.project() == place.project();
                for (name, _) in document.servers() {
                    let is_own = is_here
                        && (one.servers.iter().any(|server| server.name == name)
                            || (!is_new && name == one.entry));
                    if !is_own {
                        one.others.push(plain(&name));
                    }
                }
            }
        }
        one.others.sort();
        one.others.dedup();
        // A rule for the one would hold for the other.
        let own = plain(&one.entry);
        let is_near = |name: &str| {
            name == own || name.starts_with(&format!("{own}__")) || own.starts_with(&format!("{name}__"))
        };
        let other = one.others.iter().find(|other| is_near(other));
        let other = other.map(|other| format!("{} has another server `{other}`", place.kind.name()));
        let mine = one.servers.iter().find(|server| is_near(&plain(&server.name)));
        let mine = mine.map(|server| format!("a rule for `{}` would hold for the whole entry", server.name));
        match other.or(mine) {
            Some(text) => Err(Failure {
                code: Code::Usage,
                text,
                next: Some("choose another name for the entry: `--one-entry=NAME`".to_owned()),
            }),
            None => Ok(()),
        }
    }
}

/// What Claude Code's entries say beside what is started.
fn unknown_keys(text: &str, place: &Place, one: &OneEntry) -> Vec<(String, String)> {
    let root: Value = serde_json::from_str(without_mark(text).1).unwrap_or_default();
    let part = place.project().map_or(&root, |project| &root["projects"][project]);
    let known = ["type", "command", "args", "env", "enabled"];
    let of = |server: &Gathered| {
        let keys = part["mcpServers"][&server.name].as_object().into_iter().flat_map(|entry| entry.keys());
        let keys = keys.filter(|key| !known.contains(&key.as_str()));
        keys.map(|key| (server.name.clone(), key.clone())).collect::<Vec<_>>()
    };
    one.servers.iter().flat_map(of).collect()
}

fn wrong(why: String) -> Failure {
    Failure { code: Code::Configuration, text: why, next: None }
}

/// What a file will be.
fn after(drafts: &[Draft], path: &Path) -> String {
    drafts.iter().find(|draft| draft.path() == path).map(|draft| draft.after.clone()).unwrap_or_default()
}

/// Adds what an entry hands on to its server, or says why it would change what another one gets.
fn merged(into: &mut Entry, from: &Entry, is_first: bool) -> Result<(), String> {
    let value = |entry: &Entry, name: &str| {
        entry.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    for (name, own) in &from.env {
        let is_other = value(into, name).is_some_and(|known| known != *own);
        if is_other || into.env_vars.contains(name) {
            return Err(format!("its variable `{name}` has another value than that of another server"));
        }
    }
    if let Some(name) = from.env_vars.iter().find(|name| value(into, name).is_some()) {
        return Err(format!("its variable `{name}` has another value than that of another server"));
    }
    if is_first {
        into.cwd.clone_from(&from.cwd);
    } else if into.cwd != from.cwd {
        return Err("it starts in another folder than another server".to_owned());
    }
    for (name, own) in &from.env {
        if value(into, name).is_none() {
            into.env.push((name.clone(), own.clone()));
        }
    }
    for name in &from.env_vars {
        if !into.env_vars.contains(name) {
            into.env_vars.push(name.clone());
        }
    }
    into.required |= from.required;
    Ok(())
}
