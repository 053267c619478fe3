//! The configuration: `berth.toml`, the flags over it, and the environment behind `${VAR}`.
//!
//! A [`Config`] is validated as a whole when it is read, and never changes afterwards. Each mistake is a
//! [`ConfigError`] with file, line and, where possible, the nearest right name. Nothing here reads the process's
//! environment by itself: it is handed in as a [`Lookup`](crate::values::Lookup). Nothing here speaks to a daemon. No
//! message and no `Debug` output contains a secret's value.

pub mod bake;
mod check;
mod daemon;
pub mod dind;
pub mod edit;
mod engine;
mod env;
mod env_file;
mod error;
mod home;
mod in_pod;
mod kept;
mod key;
pub mod kubernetes;
pub mod limits;
pub mod manager;
mod mount;
mod network;
mod overrides;
mod peers;
mod pinned;
mod places;
mod ports;
pub mod profile;
pub mod program;
pub mod protect;
mod reader;
pub(crate) mod recipe;
mod resolved;
mod secret_files;
mod server;
mod settings;
mod share;
mod unshared;
mod verify;
mod volume;
pub mod within;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use bake::Bake;
pub use daemon::{Daemon, Origin};
pub use dind::Dind;
pub use env::{EnvEntry, EnvError, EnvVar};
pub use error::ConfigError;
pub use home::Home;
pub use kept::{Kept, SecretKeeper, is_keyring_name};
pub use key::Key;
pub use kubernetes::Kubernetes;
pub use limits::{Ceiling, Limits};
pub use manager::{Collector, Manager};
pub use mount::{Mount, MountEntry};
pub use overrides::Overrides;
pub use pinned::ChangedImage;
pub use profile::Profile;
pub use recipe::{Recipe, is_for_installation};
pub use resolved::Resolved;
pub use server::Server;
pub use settings::definition::{DefaultValue, Opt, Setting, Takes};
pub use settings::every::every_setting;
pub use settings::{Policy, Settings};
pub use share::{Apart, Shares};
pub use unshared::Unshared;
pub use volume::Volume;

use error::{COMMAND_LINE, nearest};
use reader::{Item, Section, Source};

use crate::runner;
use crate::values::{Backend, is_server_name};

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub dind: Dind,
    /// How packages become images.
    pub bake: Bake,
    /// What all sessions may use together.
    pub limits: Limits,
    pub manager: Manager,
    /// The cluster of the servers whose `backend` it is.
    pub kubernetes: Kubernetes,
    /// What every server starts from: `[defaults]` over the built-in ones.
    pub defaults: Settings,
    pub servers: BTreeMap<String, Server>,
    /// Several servers behind one entry of a client's.
    pub profiles: BTreeMap<String, Profile>,
    /// The file that was read; `None` if there is none at the default place.
    pub file: Option<PathBuf>,
    /// Where a file is looked for, for the message that says that a server is missing.
    expected: PathBuf,
}

impl Config {
    /// Reads `explicit`, which must exist, or the default file of `home`, which need not.
    pub fn load(home: &Home, explicit: Option<&Path>) -> Result<Self, ConfigError> {
        let file = explicit.unwrap_or(&home.config_file);
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, file, home),
            Err(error) if explicit.is_none() && error.kind() == ErrorKind::NotFound => Ok(Self {
                dind: Dind::default(),
                bake: Bake::default(),
                limits: Limits::default(),
                manager: Manager::default(),
                kubernetes: Kubernetes::default(),
                defaults: Settings::default(),
                servers: BTreeMap::new(),
                profiles: BTreeMap::new(),
                file: None,
                expected: file.to_owned(),
            }),
            Err(error) => Err(ConfigError::unreadable(file, error)),
        }
    }

    /// The servers that a Docker daemon runs.
    fn in_daemon(&self) -> impl Iterator<Item = &Server> {
        self.servers.values().filter(|server| server.settings.backend == Backend::Docker)
    }

    /// Whether a server may run there.
    pub fn uses(&self, backend: Backend) -> bool {
        let is_named = backend == Backend::Kubernetes && self.kubernetes != Kubernetes::default();
        // What nobody has configured starts from the defaults.
        let unnamed = self.servers.is_empty() && self.defaults.backend == backend;
        is_named || unnamed || self.servers.values().any(|server| server.settings.backend == backend)
    }

    /// Reads [dind] and [kubernetes] of the same file, whatever else stands there.
    pub fn load_dind(home: &Home, explicit: Option<&Path>) -> Result<Self, ConfigError> {
        let file = explicit.unwrap_or(&home.config_file);
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError::unreadable(file, error))?;
        let source = Source::new(file, &text);
        let mut root = source.root()?;
        let dind = match root.take_section("dind")? {
            Some(section) => Dind::read(section, file, home)?,
            None => Dind::default(),
        };
        let kubernetes = match root.take_section("kubernetes")? {
            Some(section) => Kubernetes::read(section, file, home)?,
            None => Kubernetes::default(),
        };
        Ok(Self {
            dind,
            bake: Bake::default(),
            limits: Limits::default(),
            manager: Manager::default(),
            kubernetes,
            defaults: Settings::default(),
            servers: BTreeMap::new(),
            profiles: BTreeMap::new(),
            file: Some(file.to_owned()),
            expected: file.to_owned(),
        })
    }

    /// Reads a configuration's text; `file` names it in errors and anchors relative paths.
    pub fn parse(text: &str, file: &Path, home: &Home) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let mut root = source.root()?;
        let dind = match root.take_section("dind")? {
            Some(section) => Dind::read(section, file, home)?,
            None => Dind::default(),
        };
        let bake = match root.take_section("bake")? {
            Some(section) => Bake::read(section, file, home)?,
            None => Bake::default(),
        };
        let limits = root.take_section("limits")?.map(Limits::read).transpose()?.unwrap_or_default();
        let kubernetes = match root.take_section("kubernetes")? {
            Some(section) => Kubernetes::read(section, file, home)?,
            None => Kubernetes::default(),
        };
        let manager = root.take_section("manager")?.map(Manager::read).transpose()?.unwrap_or_default();
        let mut defaults = Settings::default();
        if let Some(section) = root.take_section("defaults")? {
            defaults.apply(&read_defaults(section)?);
            defaults.resolve_verify(home, file);
        }
        let mut servers = BTreeMap::new();
        for item in root.take_section("servers")?.map(Section::entries).unwrap_or_default() {
            let name = checked_name(&item, "server")?;
            let title = format!("[servers.{name}]");
            let mut server = program::read_server(name.clone(), item.section(title)?, &defaults, &bake)?;
            server.settings.resolve_verify(home, file);
            servers.insert(name, server);
        }
        let mut profiles = BTreeMap::new();
        for item in root.take_section("profiles")?.map(Section::entries).unwrap_or_default() {
            let name = checked_name(&item, "profile")?;
            let section = item.section(format!("[profiles.{name}]"))?;
            profiles.insert(name.clone(), Profile::read(&name, section, &servers)?);
        }
        root.finish()?;
        let (file, expected) = (Some(file.to_owned()), file.to_owned());
        Ok(Self { dind, bake, limits, manager, kubernetes, defaults, servers, profiles, file, expected })
    }

    /// The server of that name; the error names the nearest and lists the known ones.
    pub fn server(&self, name: &str) -> Result<&Server, ConfigError> {
        self.servers.get(name).ok_or_else(|| {
            let file = self.expected.display();
            if self.file.is_none() {
                return ConfigError::new(format!("unknown server `{name}`: there is no {file}")).with_hint(
                    format!("write it with a [servers.{name}], or use `berth run --image IMAGE`"),
                );
            }
            if self.servers.is_empty() {
                return ConfigError::new(format!("unknown server `{name}`: {file} has no servers"))
                    .with_hint(format!("add a [servers.{name}], or use `berth run --image IMAGE`"));
            }
            self.unknown("server", name, self.servers.keys())
        })
    }

    /// The profile of that name; the error names the nearest and lists the known ones.
    pub fn profile(&self, name: &str) -> Result<&Profile, ConfigError> {
        self.profiles.get(name).ok_or_else(|| {
            if self.profiles.is_empty() {
                let file = self.expected.display();
                let has = if self.file.is_none() {
                    format!("there is no {file}")
                } else {
                    format!("{file} has no profiles")
                };
                return ConfigError::new(format!("unknown profile `{name}`: {has}"))
                    .with_hint(format!("add a [profiles.{name}] with `servers`, or name the servers"));
            }
            self.unknown("profile", name, self.profiles.keys())
        })
    }

    fn unknown<'a>(
        &self,
        kind: &str,
        name: &str,
        known: impl Iterator<Item = &'a String> + Clone,
    ) -> ConfigError {
        let file = self.expected.display();
        let list = known.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let error = ConfigError::new(format!("unknown {kind} `{name}`: {file} has {list}"));
        match nearest(name, known.map(String::as_str)) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("add a [{kind}s.{name}], or use one of these")),
        }
    }

    /// The names of the profiles that have this server.
    pub fn profiles_of(&self, server: &str) -> Vec<&str> {
        let having =
            self.profiles.values().filter(|profile| profile.servers.iter().any(|known| known == server));
        having.map(|profile| profile.name.as_str()).collect()
    }

    /// The images that the servers need.
    pub fn images(&self) -> BTreeSet<&str> {
        self.servers.values().map(|server| server.image.as_str()).collect()
    }

    /// Those that are not baked here.
    pub fn foreign_images(&self) -> BTreeSet<&str> {
        let foreign = self.in_daemon().filter(|server| server.recipe.is_none());
        foreign.map(|server| server.image.as_str()).collect()
    }

    /// The servers of an image whose digests are pinned.
    pub fn pinned<'a>(&'a self, image: &'a str) -> impl Iterator<Item = &'a Server> {
        self.servers.values().filter(move |server| server.image == image && !server.digests.is_empty())
    }

    /// The servers of an image that needs a signature.
    pub fn signed<'a>(&'a self, image: &'a str) -> impl Iterator<Item = &'a Server> {
        self.servers.values().filter(move |server| server.image == image && server.verify().is_some())
    }

    /// Whether a registry is asked for an image that is there: for a server of it that says so, unless another's pin is to
    /// hold.
    pub fn renews(&self, image: &str) -> bool {
        let mut of_image = self.servers.values().filter(|server| server.image == image);
        of_image.clone().any(Server::wants_newest) && of_image.all(|server| server.digests.is_empty())
    }

    /// Whether a session of `server` may have the daemon's image replaced: nobody else wants more of it than it does itself.
    pub fn may_renew(&self, server: &Server) -> bool {
        let mut others = self.servers.values().filter(|other| other.image == server.image);
        server.wants_newest()
            && others.all(|other| other.digests.is_empty() && other.verify() == server.verify())
    }

    /// The recipes of the servers, each once.
    pub fn recipes(&self) -> Vec<Arc<Recipe>> {
        let recipes = self.in_daemon().filter_map(|server| server.recipe.clone());
        recipes.map(|recipe| (recipe.image(), recipe)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// The server of a command line that people start it with, and what of the line is left out.
    pub fn server_of_line(&self, argv: &[String]) -> Result<(Server, Vec<String>), ConfigError> {
        let parsed = runner::parse(argv)
            .map_err(|error| ConfigError::new(error.message.clone()).with_hint(error.next))?;
        if let Some(error) = parsed.host_access.refusal() {
            return Err(ConfigError::new(error.message).with_hint(error.next));
        }
        let table = parsed.table(|runtime| self.bake.runtime(runtime).to_owned()).to_string();
        // The same reader as for the file, so that both take and refuse the same.
        let source = Source::new(Path::new(COMMAND_LINE), &table);
        let server = program::read_server(parsed.name, source.root()?, &self.defaults, &self.bake)?;
        Ok((server, parsed.notes))
    }
}

/// The name of an entry, which goes into labels and names.
fn checked_name(item: &Item, kind: &str) -> Result<String, ConfigError> {
    if is_server_name(&item.name) {
        return Ok(item.name.clone());
    }
    Err(item
        .key_error(format!("`{}` cannot be a {kind}'s name", item.name))
        .with_hint("a name is at most 64 letters, digits, `_`, `.` and `-`, with a letter or digit first"))
}

fn read_defaults(mut section: Section) -> Result<Overrides, ConfigError> {
    for key in program::KEYS.iter().map(|key| key.key).chain(ports::OF_ONE_SERVER) {
        if let Some(item) = section.remove(key) {
            return Err(item
                .key_error(format!("`{key}` is not allowed in [defaults]"))
                .with_hint("set it for each server, in [servers.NAME]"));
        }
    }
    let overrides = Overrides::read(&mut section, every_setting())?;
    section.finish()?;
    Ok(overrides)
}

#[cfg(test)]
mod tests;
