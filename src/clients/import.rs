//! `berth import`: a client's servers, taken over into berth's configuration and wired to berth in the client's.
//!
//! Planned as a whole before the first file is written.

mod share;
mod shown;

use std::path::Path;

use super::{
    Asked, Draft, Entry, Found, Machine, Place, Scope, Surroundings, Translated, Wanted, check_name,
    is_berth, of_berth, translate,
};
use crate::config::{Config, Home, Server, edit};
use crate::failure::{Code, Failure};
use crate::values::Lookup;
use share::Needed;
use shown::{secrets, shown};

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
        asked: Asked,
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
            machine: Machine { around: &around, lookup, asked: Asked { client: wanted.client, ..asked } },
            needed: Needed::default(),
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
        takeover.share()?;
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
    machine: Machine<'a>,
    /// What has to be shared for its servers.
    needed: Needed,
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
        self.machine.asked.foreign = place.scope == Scope::Project;
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
                    let mut new = of_berth(place.kind, &server, self.explicit, self.machine.lookup);
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

    /// Says what has to be shared for all of them, or writes it.
    fn share(&mut self) -> Result<(), Failure> {
        let wrong = |why: String| Failure { code: Code::Configuration, text: why, next: None };
        let config =
            Config::parse(&self.text, self.path, self.home).map_err(|error| wrong(error.to_string()))?;
        let (file, write) = (self.path.display().to_string(), self.machine.asked.share);
        let needed = std::mem::take(&mut self.needed);
        self.said.extend(needed.settle(&config, &mut self.text, &file, write).map_err(wrong)?);
        Ok(())
    }

    /// Adds one server to berth's configuration, or finds that it is there.
    fn server(&mut self, name: &str, entry: &Entry) -> Result<(Server, Translated), String> {
        check_name(name).map_err(|failure| failure.text)?;
        let mut translated =
            translate(entry, &self.machine, |runtime| self.config.bake.runtime(runtime).to_owned())?;
        let Some(text) = edit::with_server(&self.text, name, &translated.table)? else {
            let file = self.path.display();
            return Err(format!("{file} has another [servers.{name}]; rename one of the two"));
        };
        let config = Config::parse(&text, self.path, self.home).map_err(|error| error.to_string())?;
        let server = config.server(name).map_err(|error| error.to_string())?.clone();
        translated.notes.extend(self.needed.add(&config, &server, self.machine.lookup));
        if server.recipe.is_none() {
            let note = format!("type `berth up` before it starts: that loads its image `{}`", server.image);
            translated.notes.push(note);
        }
        self.text = text;
        Ok((server, translated))
    }
}
