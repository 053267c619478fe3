//! The settings of a server, as the rest of berth uses them. Their keys, defaults and words are in `settings/every.rs`.

pub(super) mod definition;
pub(super) mod every;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::env::{EnvEntry, Given};
use super::env_file::EnvFile;
use super::mount::MountEntry;
use super::protect::ProtectedName;
use super::volume::Volume;
use crate::values::{
    Backend, BrokenAnswers, Definitions, HostService, Isolation, Journaling, Network, OnFailure,
    PublishedPort, Pull, Standby, Start, Tmpfs, ToolPattern, Way,
};

/// Whose signature an image needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// The holder's of the key whose public half is in this file.
    CosignKey(PathBuf),
    /// An identity's, without a key of its own (keyless).
    Identity { identity: String, issuer: String, trust_root: Option<PathBuf> },
}

/// What a server's container may use, and the limits of its sessions.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the file, with `true` and `false`"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it runs.
    pub backend: Backend,
    pub isolation: Isolation,
    pub network: Network,
    /// Of this machine's loopback.
    pub host_services: Vec<HostService>,
    /// Of the container, on this machine's loopback.
    pub publish: Vec<PublishedPort>,
    /// Bytes.
    pub memory: u64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    pub pids: u32,
    /// Added to none.
    pub cap_add: Vec<String>,
    pub read_only: bool,
    pub user: Option<String>,
    /// Whose rights on its mounts the image's own user has, as user and group; by [`Server::settle`](super::Server::settle).
    pub caller: Option<(u32, u32)>,
    pub workdir: Option<String>,
    /// By path.
    pub tmpfs: BTreeMap<String, Tmpfs>,
    pub no_new_privileges: bool,
    /// Whose signature the image needs.
    pub verify: Option<Policy>,
    pub pull: Pull,
    /// Bytes, in each direction.
    pub max_line: usize,
    /// From the end of the server's stdin to SIGKILL.
    pub stop_grace: Duration,
    /// For a connection to the daemon.
    pub connect_timeout: Duration,
    /// For the container and the server's process.
    pub start_timeout: Duration,
    /// Containers that are kept started for the next sessions of one kind of client.
    pub standby: Standby,
    /// How long one of them waits for its session.
    pub standby_ttl: Duration,
    /// Whether the server runs in them already.
    pub prestart: bool,
    /// How its bytes come to its session.
    pub streams: Way,
    pub on_failure: OnFailure,
    /// How long a cut to its cluster lasts before its server is given up.
    pub reconnect: Duration,
    /// How long a lost server's replacement is tried for.
    pub recover_within: Duration,
    /// For the client's first message, which names it.
    pub name_timeout: Duration,
    /// For a server's first answer.
    pub answer_timeout: Duration,
    /// For each of its answers; `None`: as long as it takes.
    pub call_timeout: Option<Duration>,
    pub broken_answers: BrokenAnswers,
    /// The only tools that a client may use; `None`: all.
    pub tools: Option<Vec<ToolPattern>>,
    /// None of these, whatever `tools` says.
    pub deny_tools: Vec<ToolPattern>,
    /// When it starts, where that is said; see [`Settings::start`].
    pub(super) start: Option<Start>,
    /// Whether all pages of its lists are given in one.
    pub flatten_pages: bool,
    /// How long it has nothing to do before it gives its container back; `None`: it keeps it.
    pub idle: Option<Duration>,
    /// Whether it may be replaced between two calls.
    pub stateless: bool,
    pub definitions: Definitions,
    /// Folders of this machine; expanded by [`Config::mounts`](super::Config::mounts) alone.
    pub(super) mounts: Vec<MountEntry>,
    pub volumes: Vec<Volume>,
    /// Names in the folders that it may write, which it may not.
    pub protect: Vec<ProtectedName>,
    /// Whether no server can make a name of these that is missing.
    pub reserve: bool,
    /// Whether sessions leave a history.
    pub journal: Journaling,
    /// Whether its requests say of which trace they are a part.
    pub trace_context: bool,
    /// By the variable's name; expanded by [`Server::resolve_env`](super::Server::resolve_env) alone.
    pub(super) env: BTreeMap<String, EnvEntry>,
    /// Read by [`Server::resolve_env`](super::Server::resolve_env), the later over the former.
    pub(super) env_files: Vec<EnvFile>,
}

impl Settings {
    /// Those that nobody has given a value.
    pub(super) fn blank() -> Self {
        Self {
            backend: Backend::Docker,
            isolation: Isolation::Container,
            network: Network::None,
            host_services: Vec::new(),
            publish: Vec::new(),
            memory: 0,
            nano_cpus: 0,
            pids: 0,
            cap_add: Vec::new(),
            read_only: false,
            user: None,
            caller: None,
            workdir: None,
            tmpfs: BTreeMap::new(),
            no_new_privileges: false,
            verify: None,
            pull: Pull::Missing,
            max_line: 0,
            stop_grace: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            start_timeout: Duration::ZERO,
            standby: Standby::NONE,
            standby_ttl: Duration::ZERO,
            prestart: false,
            streams: Way::Auto,
            on_failure: OnFailure::Exit,
            reconnect: Duration::ZERO,
            recover_within: Duration::ZERO,
            name_timeout: Duration::ZERO,
            answer_timeout: Duration::ZERO,
            call_timeout: None,
            broken_answers: BrokenAnswers::Refuse,
            tools: None,
            deny_tools: Vec::new(),
            start: None,
            flatten_pages: false,
            idle: None,
            stateless: false,
            definitions: Definitions::Warn,
            mounts: Vec::new(),
            volumes: Vec::new(),
            protect: Vec::new(),
            reserve: false,
            journal: Journaling::Off,
            trace_context: false,
            env: BTreeMap::new(),
            env_files: Vec::new(),
        }
    }

    /// When the server starts, alone in its session or as one of a profile. Nothing that varies can stand in a catalogue.
    pub fn start(&self, in_profile: bool) -> Start {
        match self.start {
            _ if self.definitions == Definitions::Varying => Start::Session,
            None if in_profile => Start::FirstCall,
            said => said.unwrap_or(Start::Session),
        }
    }

    /// Whether it matters who the client is: whose volumes they are is not guessed.
    pub fn needs_name(&self) -> bool {
        self.volumes.iter().any(|volume| !volume.shared)
    }

    /// Folders of this machine, their sources not yet expanded.
    pub fn mounts(&self) -> &[MountEntry] {
        &self.mounts
    }

    /// Adds variables to those of the layers below, one by one.
    pub(super) fn apply_env(&mut self, over: &[EnvEntry]) {
        for entry in over {
            let mut entry = entry.clone();
            // A flag over a secret is as secret: it is another value of the same thing.
            entry.secret |= self.env.get(&entry.name).is_some_and(|below| below.secret);
            self.env.insert(entry.name.clone(), entry);
        }
    }

    /// For a daemon that lends nobody's rights: the person is the server's user.
    pub fn be_the_caller(&mut self) {
        if let Some((uid, gid)) = self.caller.take() {
            self.user = Some(format!("{uid}:{gid}"));
        }
    }

    /// Whether the client's variable of that name is handed on where there is one.
    pub fn passes(&self, name: &str) -> bool {
        self.env.get(name).is_some_and(|entry| entry.given == Given::Passed)
    }

    /// Adds a layer's mounts, target by target; an empty list takes away those of the layers below.
    pub(super) fn apply_mounts(&mut self, over: &[MountEntry]) {
        if over.is_empty() {
            self.mounts.clear();
        }
        self.mounts.retain(|mount| over.iter().all(|other| other.target != mount.target));
        self.mounts.extend_from_slice(over);
    }

    /// Another list takes the place of the former.
    pub(super) fn apply_protect(&mut self, over: &[ProtectedName]) {
        self.protect = over.to_vec();
        self.reserve = true;
    }

    pub(super) fn apply_protect_existing(&mut self, over: &[ProtectedName]) {
        self.protect = over.to_vec();
        self.reserve = false;
    }

    /// Adds a layer's volumes, target by target; an empty list takes away those of the layers below.
    pub(super) fn apply_volumes(&mut self, over: &[Volume]) {
        if over.is_empty() {
            self.volumes.clear();
        }
        self.volumes.retain(|volume| over.iter().all(|other| other.target != volume.target));
        self.volumes.extend_from_slice(over);
    }
}
