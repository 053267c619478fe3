//! `berth import`: a client's servers, taken over into berth's configuration and wired to berth in the client's.
//!
//! Planned as a whole before the first file is written, from one reading of the files: once before the servers are tried, and
//! once more without those that failed.

mod gather;
mod names;
mod renamed;
mod share;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{
    Asked, Draft, Entry, Found, Handed, Machine, Moving, Place, Scope, Surroundings, Translated, Wanted,
    is_berth, of_berth, translate,
};
use crate::config::{Config, Home, Server, edit};
use crate::failure::{Code, Failure};
use crate::human::count;
use crate::values::Lookup;
pub use gather::Change;
use names::candidates;
use share::Needed;
use shown::shown;

/// A server of one of the client's files: the place's title, and the client's own name.
pub type Which = (String, String);

/// What came of trying each server: what its tools are called, or why it does not start.
pub type Trials = BTreeMap<Which, Result<Vec<String>, String>>;

/// Whether the servers were tried before their entries are changed.
#[derive(Debug, Clone, Copy)]
pub enum Check<'a> {
    /// Nothing is going to be changed, or not before a trial.
    DryRun,
    LeftOut,
    Made(&'a Trials),
}

/// What the files will be, and what is to be said.
#[derive(Debug)]
pub struct Import {
    /// Those that change. berth's own first: a client's entry must never name a server that isn't there.
    pub drafts: Vec<Draft>,
    pub said: Vec<String>,
    /// How many could not be imported.
    pub failed: usize,
    /// Those that could.
    pub taken: Vec<Taken>,
    /// berth's configuration as it will be, before its servers are gathered into a profile.
    pub config: String,
    /// Whether it has folders to share that the daemon does not know yet.
    pub shares: bool,
    /// What became of a profile.
    pub profile: Option<Change>,
}

/// A server that was taken over.
#[derive(Debug)]
pub struct Taken {
    pub which: Which,
    pub server: Server,
    /// What its client will start berth with.
    pub handed: Handed,
}

/// The files as they are, and what decides what becomes of them.
#[derive(Debug)]
pub struct Reading<'a> {
    wanted: Wanted<'a>,
    config: &'a Config,
    home: &'a Home,
    /// berth's configuration.
    path: &'a Path,
    explicit: Option<&'a Path>,
    asked: Asked,
    around: Surroundings,
    own: Draft,
    places: Vec<(Place, Draft)>,
    /// The profile that they are gathered into.
    profile: Option<String>,
}

impl<'a> Reading<'a> {
    /// Reads the files. `explicit` is the configuration that the command line names.
    pub fn new(
        wanted: Wanted<'a>,
        asked: Asked,
        config: &'a Config,
        home: &'a Home,
        explicit: Option<&'a Path>,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        let around = Surroundings::here(lookup)?;
        let path = explicit.unwrap_or(&home.config_file);
        let own = Draft::of(path)?;
        let places = Place::chosen(wanted.client, wanted.scope, &around)?.into_iter();
        let places = places.map(|place| Ok((place.clone(), Draft::of(&place.path)?)));
        let places = places.collect::<Result<_, Failure>>()?;
        Ok(Self { wanted, config, home, path, explicit, asked, around, own, places, profile: None })
    }

    /// The servers become one entry, and a profile of this name.
    #[must_use]
    pub fn gathered(self, profile: Option<String>) -> Self {
        Self { profile, ..self }
    }

    /// The folder that the client works in.
    pub fn folder(&self) -> &Path {
        &self.around.folder
    }

    /// Changes no file.
    pub fn plan(&self, check: Check<'_>, lookup: Lookup<'_>) -> Result<Import, Failure> {
        let mut takeover = Takeover {
            reading: self,
            check,
            machine: Machine {
                around: &self.around,
                lookup,
                asked: Asked { client: self.wanted.client, ..self.asked },
            },
            needed: Needed::default(),
            shares: false,
            text: self.own.before().to_owned(),
            said: Vec::new(),
            held: Vec::new(),
            failed: 0,
            found: BTreeSet::new(),
            taken: Vec::new(),
        };
        let mut drafts: Vec<Draft> = Vec::new();
        for (place, draft) in &self.places {
            // Two scopes can be parts of one file.
            let draft = match drafts.iter().position(|known| known.path() == draft.path()) {
                Some(known) => drafts.remove(known),
                None => draft.clone(),
            };
            drafts.push(takeover.place(place, draft)?);
        }
        takeover.share()?;
        let config = takeover.text.clone();
        let gathered = self.profile.as_deref().map(|profile| takeover.gather(profile, &mut drafts));
        let profile = gathered.transpose()?.flatten();
        let Takeover { text, mut said, mut failed, found, taken, shares, .. } = takeover;
        let mut own = self.own.clone();
        own.after.clone_from(&text);
        for name in self.wanted.servers.iter().filter(|name| !found.contains(*name)) {
            failed += 1;
            said.push(format!("{}: there is no `{name}`", self.wanted.client.name()));
        }
        let drafts = std::iter::once(own).chain(drafts).filter(Draft::changes).collect();
        Ok(Import { drafts, said, failed, taken, config, shares, profile })
    }
}

impl Import {
    /// The differences of all files, without secrets.
    pub fn diffs(&self) -> Vec<String> {
        self.drafts.iter().map(|draft| draft.diff(shown)).collect()
    }
}

/// An import on its way through the client's files.
struct Takeover<'a> {
    reading: &'a Reading<'a>,
    check: Check<'a>,
    machine: Machine<'a>,
    /// What has to be shared for its servers.
    needed: Needed,
    shares: bool,
    /// berth's configuration as it grows.
    text: String,
    said: Vec<String>,
    /// What keeps somebody from tools, and would not hold any more.
    held: Vec<String>,
    failed: usize,
    found: BTreeSet<String>,
    taken: Vec<Taken>,
}

/// Why an entry stays as it is, and what there is to say of a server that was tried in vain: often the cause is among it.
#[derive(Debug)]
struct Stays {
    why: String,
    notes: Vec<String>,
}

impl<T: Into<String>> From<T> for Stays {
    fn from(why: T) -> Self {
        Self { why: why.into(), notes: Vec::new() }
    }
}

impl Takeover<'_> {
    /// Takes over what there is in one of a client's files.
    fn place(&mut self, place: &Place, mut draft: Draft) -> Result<Draft, Failure> {
        let mut document = place.read(&draft.after)?;
        self.machine.asked.foreign = place.scope == Scope::Project;
        let only = self.reading.wanted.servers;
        for (name, found) in document.servers() {
            if !only.is_empty() && !only.contains(&name) {
                continue;
            }
            self.found.insert(name.clone());
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
                    self.refuse(&title, &name, why);
                    continue;
                }
            };
            let which = (title.clone(), name.clone());
            let (server, translated) = match self.server(&which, &entry) {
                Ok(taken) => taken,
                Err(Stays { why, notes }) => {
                    self.refuse(&title, &name, &why);
                    if !notes.is_empty() {
                        self.said.push("  what would be so in its container:".to_owned());
                    }
                    self.said.extend(notes.iter().map(|note| format!("    {note}")));
                    continue;
                }
            };
            let mut new =
                of_berth((place.kind, place.scope), &server, self.reading.explicit, self.machine.lookup);
            new.env = translated.env;
            // What the entry itself sets need not come from elsewhere.
            let is_set = |name: &String| {
                let stays = entry.env.iter().filter(|(known, _)| !translated.without.contains(known));
                stays.chain(&new.env).any(|(known, _)| known == name)
            };
            let env_vars: Vec<String> = new.env_vars.iter().filter(|name| !is_set(name)).cloned().collect();
            new.env_vars = env_vars;
            document.unset(&name, &translated.without);
            document.rewire(&name, &new);
            self.said.push(format!("{title}: `{name}` {}", self.outcome(&which)));
            if server.name != name {
                self.said.push(format!("  berth.toml has it as [servers.{}]", server.name));
            }
            self.said.extend(translated.notes.iter().map(|note| format!("  {note}")));
            let now = document.servers().into_iter().find(|(known, _)| *known == name);
            if let Some((_, Found::Stdio(entry))) = now {
                self.taken.push(Taken { which, server, handed: Handed::of_entry(place, &entry) });
            }
        }
        draft.after = document.text();
        Ok(draft)
    }

    /// Says what has to be shared for all of them, or writes it.
    fn share(&mut self) -> Result<(), Failure> {
        let Reading { home, path, .. } = self.reading;
        let wrong = |why: String| Failure { code: Code::Configuration, text: why, next: None };
        let config = Config::parse(&self.text, path, home).map_err(|error| wrong(error.to_string()))?;
        let write = self.machine.asked.share;
        let needed = std::mem::take(&mut self.needed);
        let is_up = matches!(self.check, Check::Made(_));
        let before = self.text.clone();
        self.said.extend(needed.settle(&config, &mut self.text, path, write, is_up).map_err(wrong)?);
        self.shares = self.text != before;
        Ok(())
    }

    fn refuse(&mut self, title: &str, name: &str, why: &str) {
        self.failed += 1;
        self.said.push(format!("{title}: `{name}` stays as it is: {why}"));
    }

    /// What has become of an entry that was taken over.
    fn outcome(&self, which: &Which) -> String {
        match self.check {
            Check::DryRun => "would run in a container; not tried".to_owned(),
            Check::LeftOut => "is taken over; not tried".to_owned(),
            Check::Made(trials) => match trials.get(which) {
                Some(Ok(tools)) => format!("runs in a container now; it has {}", count(tools.len(), "tool")),
                _ => "is taken over; not tried".to_owned(),
            },
        }
    }

    /// What a person types to have the credentials of a server moved.
    fn moving_command(&self, name: &str) -> String {
        let mut words = vec!["berth", "import", self.reading.wanted.client.id(), name, "--move-secrets"];
        words.extend(self.reading.wanted.scope.iter().flat_map(|scope| ["--scope", scope.as_str()]));
        let config = self.reading.explicit.map(|path| path.display().to_string());
        words.extend(config.iter().flat_map(|config| ["--config", config]));
        shlex::try_join(words).unwrap_or_else(|_| "berth import --move-secrets".to_owned())
    }

    /// Adds one server to berth's configuration, or finds that it is there.
    fn server(&mut self, which: &Which, entry: &Entry) -> Result<(Server, Translated), Stays> {
        let Reading { config, home, path, .. } = self.reading;
        let command = self.moving_command(&which.1);
        let moving = if self.reading.wanted.move_secrets {
            Moving::Moved
        } else {
            Moving::Refused { command: &command }
        };
        let base = |runtime| config.bake.runtime(runtime).to_owned();
        let mut translated = translate(entry, &self.machine, moving, base)?;
        let mut fit = None;
        for name in candidates(&which.1) {
            // One that is there already is the same server's, or has its name for itself.
            if let Some(text) = edit::with_server(&self.text, &name, &translated.table)? {
                fit = Some((name, text));
                break;
            }
        }
        let (name, text) = fit.ok_or("berth.toml has no name left for it")?;
        let config = Config::parse(&text, path, home).map_err(|error| error.to_string())?;
        let server = config.server(&name).map_err(|error| error.to_string())?.clone();
        if let Some((key, why)) = server.is_in_pod().then(|| server.lacking_in_pod()).flatten() {
            let notes = translated.notes;
            return Err(Stays { why: format!("it cannot have `{key}` in a pod: {why}"), notes });
        }
        let tried = match self.check {
            Check::Made(trials) => trials.get(which),
            Check::DryRun | Check::LeftOut => None,
        };
        // What a server would need that cannot start is told, and not written.
        let notes = match tried {
            Some(Err(_)) if self.machine.asked.share => Vec::new(),
            _ => self.needed.add(&config, &server, self.machine.lookup),
        };
        if let Some(Err(why)) = tried {
            return Err(Stays { why: why.clone(), notes: translated.notes });
        }
        if tried.is_none() {
            translated.notes.extend(notes);
            if server.is_in_pod() {
                if server.recipe.is_some() {
                    translated.notes.push(format!("type `berth bake --push {name}` before it starts"));
                }
            } else if server.recipe.is_none() {
                let note =
                    format!("type `berth up` before it starts: that loads its image `{}`", server.image);
                translated.notes.push(note);
            }
        }
        self.text = text;
        Ok((server, translated))
    }
}

#[cfg(test)]
mod tests;
