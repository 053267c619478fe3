//! A server: its image, its limits, and its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::ConfigError;
use super::mount::MountEntry;
use super::overrides::{EnvEntry, Overrides};
use super::volume::Volume;
use crate::config::Recipe;
use crate::values::{
    Cpus, DEFAULT_TMPFS, Image, LineLimit, Lookup, Memory, Network, OnFailure, Pids, Span, Standby, Template,
    Timeout, ToolPattern, is_server_name, looks_secret,
};

/// The `user` that is whoever runs berth.
const CALLER: &str = "caller";

/// A server to run, in a container of its own for each session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Goes into labels.
    pub name: String,
    pub image: String,
    /// Instead of the image's ENTRYPOINT and CMD; never empty.
    pub command: Option<Vec<String>>,
    /// Behind `command`, or else instead of the image's CMD behind its ENTRYPOINT; templates until [`Server::resolve_args`].
    pub args: Option<Vec<String>>,
    /// Where the daemon lacks the image, it is baked by this.
    pub recipe: Option<Arc<Recipe>>,
    pub settings: Settings,
}

/// What a server's container may use, and the limits of its sessions.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the file, with `true` and `false`"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub network: Network,
    /// Bytes.
    pub memory: u64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    pub pids: u32,
    /// Added to none.
    pub cap_add: Vec<String>,
    pub read_only: bool,
    pub user: Option<String>,
    pub workdir: Option<String>,
    /// Bytes by path.
    pub tmpfs: BTreeMap<String, u64>,
    pub no_new_privileges: bool,
    /// Bytes, in each direction.
    pub max_line: usize,
    /// From the end of the server's stdin to SIGKILL.
    pub stop_grace: Duration,
    /// For a connection to the daemon.
    pub connect_timeout: Duration,
    /// For the container and the server's process.
    pub start_timeout: Duration,
    /// Containers that are kept started for the next sessions of one kind of client.
    pub standby: u32,
    /// How long one of them waits for its session.
    pub standby_ttl: Duration,
    /// Whether the server runs in them already.
    pub prestart: bool,
    pub on_failure: OnFailure,
    /// How long a lost server's replacement is tried for.
    pub recover_within: Duration,
    /// For a server's first answer.
    pub answer_timeout: Duration,
    /// For each of its answers; `None`: as long as it takes.
    pub call_timeout: Option<Duration>,
    /// The only tools that a client may use; `None`: all.
    pub tools: Option<Vec<ToolPattern>>,
    /// None of these, whatever `tools` says.
    pub deny_tools: Vec<ToolPattern>,
    /// Folders of this machine; expanded by [`Config::mounts`](super::Config::mounts) alone.
    pub(super) mounts: Vec<MountEntry>,
    pub volumes: Vec<Volume>,
    /// Whether sessions leave a history.
    pub journal: bool,
    /// By the variable's name; expanded by [`Server::resolve_env`] alone.
    pub(super) env: BTreeMap<String, EnvEntry>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            network: Network::Egress,
            memory: 512 << 20,
            nano_cpus: 1_000_000_000,
            pids: 256,
            cap_add: Vec::new(),
            read_only: false,
            user: None,
            workdir: None,
            tmpfs: DEFAULT_TMPFS.map(|(path, size)| (path.to_owned(), size)).into(),
            no_new_privileges: true,
            max_line: 16 << 20,
            stop_grace: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
            standby: 1,
            standby_ttl: Duration::from_mins(30),
            prestart: false,
            on_failure: OnFailure::Restart,
            recover_within: Duration::from_mins(1),
            answer_timeout: Duration::from_mins(2),
            call_timeout: None,
            tools: None,
            deny_tools: Vec::new(),
            mounts: Vec::new(),
            volumes: Vec::new(),
            journal: true,
            env: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub(super) fn apply(&mut self, over: &Overrides) {
        fn set<T, U>(setting: &mut T, over: Option<U>, convert: impl FnOnce(U) -> T) {
            if let Some(over) = over {
                *setting = convert(over);
            }
        }
        let text = |text: &str| Some(text.to_owned());
        set(&mut self.network, over.network, |network| network);
        set(&mut self.memory, over.memory, Memory::bytes);
        set(&mut self.nano_cpus, over.cpus, Cpus::nanos);
        set(&mut self.pids, over.pids, Pids::count);
        set(&mut self.cap_add, over.cap_add.as_ref(), |added| {
            added.iter().map(|capability| capability.as_str().to_owned()).collect()
        });
        set(&mut self.read_only, over.read_only, |read_only| read_only);
        set(&mut self.user, over.user.as_ref(), |user| text(user.as_str()));
        set(&mut self.workdir, over.workdir.as_ref(), |workdir| text(workdir.as_str()));
        set(&mut self.tmpfs, over.tmpfs.as_ref(), |tmpfs| {
            tmpfs.iter().map(|(path, size)| (path.as_str().to_owned(), size.bytes())).collect()
        });
        set(&mut self.no_new_privileges, over.no_new_privileges, |is_set| is_set);
        set(&mut self.max_line, over.max_line, LineLimit::bytes);
        set(&mut self.stop_grace, over.stop_grace, Span::duration);
        set(&mut self.connect_timeout, over.connect_timeout, Timeout::duration);
        set(&mut self.start_timeout, over.start_timeout, Timeout::duration);
        set(&mut self.standby, over.standby, Standby::count);
        set(&mut self.standby_ttl, over.standby_ttl, Timeout::duration);
        set(&mut self.prestart, over.prestart, |prestart| prestart);
        set(&mut self.on_failure, over.on_failure, |on_failure| on_failure);
        set(&mut self.recover_within, over.recover_within, Timeout::duration);
        set(&mut self.answer_timeout, over.answer_timeout, Timeout::duration);
        set(&mut self.call_timeout, over.call_timeout, |timeout| Some(timeout.duration()));
        set(&mut self.tools, over.tools.as_ref(), |tools| Some(tools.clone()));
        self.deny_tools.extend_from_slice(&over.deny_tools);
        if let Some(mounts) = &over.mounts {
            self.apply_mounts(mounts);
        }
        if let Some(volumes) = &over.volumes {
            self.apply_volumes(volumes);
        }
        set(&mut self.journal, over.journal, |journal| journal);
        for entry in &over.env {
            let mut entry = entry.clone();
            // A flag over a secret is as secret: it is another value of the same thing.
            entry.secret |= self.env.get(&entry.name).is_some_and(|below| below.secret);
            self.env.insert(entry.name.clone(), entry);
        }
    }

    /// Adds a layer's mounts, target by target; an empty list takes away those of the layers below.
    fn apply_mounts(&mut self, over: &[MountEntry]) {
        if over.is_empty() {
            self.mounts.clear();
        }
        self.mounts.retain(|mount| over.iter().all(|other| other.target != mount.target));
        self.mounts.extend_from_slice(over);
    }

    /// Adds a layer's volumes, target by target; an empty list takes away those of the layers below.
    fn apply_volumes(&mut self, over: &[Volume]) {
        if over.is_empty() {
            self.volumes.clear();
        }
        self.volumes.retain(|volume| over.iter().all(|other| other.target != volume.target));
        self.volumes.extend_from_slice(over);
    }
}

impl Server {
    /// A server that no file names (`berth run --image`), called after its image. An empty `command` is the
    /// image's own.
    pub fn from_image(image: Image, command: Vec<String>, defaults: &Settings) -> Self {
        let image = image.into_inner();
        let last = image.split('@').next().unwrap_or(&image).rsplit('/').next().unwrap_or(&image);
        let name = last.split(':').next().filter(|name| is_server_name(name)).unwrap_or("image").to_owned();
        let command = (!command.is_empty()).then_some(command);
        Self { name, image, command, args: None, recipe: None, settings: defaults.clone() }
    }

    /// The same server with what the flags change.
    #[must_use]
    pub fn with_overrides(&self, overrides: &Overrides) -> Self {
        let mut server = self.clone();
        server.settings.apply(overrides);
        server
    }

    /// What follows from the settings when all layers are there. The server runs as whoever runs berth (`caller`: user and
    /// group) where `user` says so, and by default where it has mounts; nothing is on standby that would hold a volume.
    pub fn settle(&mut self, caller: (u32, u32)) {
        let settings = &mut self.settings;
        let chosen = match settings.user.as_deref() {
            Some(user) => user == CALLER,
            None => !settings.mounts.is_empty(),
        };
        if chosen {
            settings.user = Some(format!("{}:{}", caller.0, caller.1));
        }
        if !settings.volumes.is_empty() {
            settings.standby = 0;
        }
    }

    /// The variables of the client's environment that it takes something from.
    pub fn variables(&self) -> BTreeSet<String> {
        let env = self.settings.env.values().flat_map(|entry| entry.template.variables());
        let mounts = self.settings.mounts.iter().flat_map(MountEntry::variables);
        let args = self.args.iter().flatten().filter_map(|arg| Template::parse(arg).ok());
        let args: Vec<String> =
            args.flat_map(|arg| arg.variables().map(str::to_owned).collect::<Vec<_>>()).collect();
        env.chain(mounts).map(str::to_owned).chain(args).collect()
    }

    /// The server's environment, in the order of the names, with the variables' values from `lookup` put in.
    pub fn resolve_env(&self, lookup: Lookup) -> Result<Vec<EnvVar>, ConfigError> {
        let resolve = |entry: &EnvEntry| {
            let value = entry.template.expand(lookup).map_err(|variable| {
                ConfigError::new(format!(
                    "server `{}` needs the variable `{variable}`, which is not set",
                    self.name
                ))
                .at(entry.place.clone())
                .with_hint(format!(
                    "set it for the client that starts berth (Codex passes what its `env_vars` names), \
                         or write `${{{variable}:-default}}`"
                ))
            })?;
            let looks_secret = looks_secret(&entry.name) || entry.template.variables().any(looks_secret);
            Ok(EnvVar { name: entry.name.clone(), value, secret: entry.secret || looks_secret })
        };
        self.settings.env.values().map(resolve).collect()
    }
}

/// A variable of a server's environment. A secret's value is for the server alone: `Debug` and `Display`
/// hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVar {
    pub name: String,
    pub value: String,
    pub secret: bool,
}

impl fmt::Display for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, if self.secret { "[redacted]" } else { &self.value })
    }
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_file_is_called_after_its_image() {
        let name =
            |image: &str| Server::from_image(image.parse().unwrap(), Vec::new(), &Settings::default()).name;
        assert_eq!(name("berth-everything"), "berth-everything");
        assert_eq!(name("localhost:5000/a/node:24"), "node");
        assert_eq!(name("ghcr.io/a/b@sha256:00ff"), "b");
        assert_eq!(name("a/_b"), "image");
        assert_eq!(name(&"a".repeat(65)), "image");
    }

    #[test]
    fn an_empty_command_is_the_images_own() {
        let command =
            |command| Server::from_image("a".parse().unwrap(), command, &Settings::default()).command;
        assert_eq!(command(Vec::new()), None);
        assert_eq!(command(vec!["/bin/cat".to_owned()]), Some(vec!["/bin/cat".to_owned()]));
    }

    #[test]
    fn flags_give_variables_too() {
        let overrides = Overrides {
            env: vec!["A=${X}".parse().unwrap(), "B=2".parse::<EnvEntry>().unwrap().secret()],
            ..Overrides::default()
        };
        let server = Server::from_image("a".parse().unwrap(), Vec::new(), &Settings::default())
            .with_overrides(&overrides);
        let env = server.resolve_env(&|name| (name == "X").then(|| "1".to_owned())).unwrap();
        assert_eq!(format!("{env:?}"), "[A=1, B=[redacted]]");
        let error = server.resolve_env(&|_| None).unwrap_err();
        assert_eq!(error.line(), None);
        assert_eq!(error.message(), "server `a` needs the variable `X`, which is not set");
    }
}
