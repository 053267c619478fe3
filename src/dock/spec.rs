//! A session's container: the body of `POST /containers/create`.
//!
//! Pure: from the configuration to the Engine API's JSON. It never contains an environment (see `dock::exec`).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::door::{Door, Doors};
use super::labels::{
    LABEL_CLIENT, LABEL_CLIENT_SESSION, LABEL_CREATED, LABEL_ISOLATION, LABEL_PROJECT, LABEL_RESERVED,
    LABEL_SERVER, LABEL_SESSION, LABEL_SPEC, LABEL_VERSION, managed_by, of_container,
};
use super::owner::{self, Owner, Parent};
use super::peers::NetworkOf;
use super::place::Place;
use super::volume::Purpose;
use super::{declared, keeper, refused, volume};
use crate::config::{Mount, Server, Settings};
use crate::human::hex;
use crate::values::{Isolation, Network, Way};

/// How long a started container waits for its owner's first byte. The owner sends it as soon as the daemon has
/// attached it, so this counts only where the daemon started the container and never attached its owner. Below the
/// five seconds after which nothing may be left of a dead session, unless the daemon may take longer for everything.
pub const CLAIM_WITHIN_MS: u32 = 4_000;

/// A `start_timeout` that is longer than the default says that the daemon is slow, also with what the owner sends: so many
/// of its parts are the claim's.
const SLOW_START: u32 = 8;

/// No claim is waited for longer. What waits longer is on standby.
pub const LONGEST_CLAIM_MS: u32 = 30_000;

/// Threads of gVisor's for each of the server's, and for itself, at the most.
const THREADS_EACH: u32 = 3;
const KERNEL_THREADS: u32 = 128;

/// Where a user has a home whom the image doesn't know.
const HOME: &str = "/tmp";

/// A session's container.
#[derive(Debug, Clone)]
pub struct Spec {
    pub server: Server,
    /// The client's name, fit for a container's name.
    pub client: String,
    pub session: String,
    /// Counts the containers of one session.
    pub attempt: u32,
    pub client_session: Option<String>,
    /// The folder that the client works in.
    pub project: Option<String>,
    /// What has started its berth, where somebody waits for it.
    pub parent: Option<Parent>,
    /// `NAME=value`, of the server's process.
    pub env: Vec<String>,
    pub mounts: Vec<Mount>,
    /// What it has its volumes for.
    pub volumes_for: Purpose,
    /// The id of the image that was judged: its name may lead to another by now. Empty until it is known.
    pub image: String,
    /// Where its image has volumes (`declared::places`).
    pub declared: Vec<String>,
    /// Whether its daemon has berth's own runtime.
    pub looked_at: bool,
    /// Where names are reserved for it ([`reserved`](super::reserved)).
    pub reserved: String,
    pub network_of: NetworkOf,
    /// Where its server's pipes can be handed over; `None`: its daemon has no such folder, or its streams are the daemon's.
    pub doors: Option<Doors>,
}

impl Spec {
    /// With nothing but what every container has; `looked_at` as for a daemon of berth's own.
    pub fn new(server: Server, client: &str, session: &str) -> Self {
        Self {
            server,
            client: client.to_owned(),
            session: session.to_owned(),
            attempt: 0,
            client_session: None,
            project: None,
            parent: None,
            env: Vec::new(),
            mounts: Vec::new(),
            volumes_for: Purpose::Use,
            image: String::new(),
            declared: Vec::new(),
            looked_at: true,
            reserved: String::new(),
            network_of: NetworkOf::default(),
            doors: None,
        }
    }

    /// The container's name until it has a number; nobody else's, for the session's id is in it.
    pub fn starting_name(&self) -> String {
        match self.attempt {
            0 => format!("mcp-{}-{}.starting", self.client, self.session),
            attempt => format!("mcp-{}-{}-{attempt}.starting", self.client, self.session),
        }
    }

    /// Whom its container is for.
    pub fn owner(&self) -> Owner {
        let owner = Owner::new(&self.session, self.client_session.as_deref(), self.project.as_deref());
        Owner { parent: self.parent.clone(), ..owner }
    }

    fn claim_within_ms(&self) -> u32 {
        let slow = self.server.settings.start_timeout / SLOW_START;
        let first =
            u32::try_from(slow.as_millis()).unwrap_or(u32::MAX).clamp(CLAIM_WITHIN_MS, LONGEST_CLAIM_MS);
        // Who was too late for the container more than once has longer.
        (first << self.attempt.saturating_sub(1).min(3)).min(LONGEST_CLAIM_MS)
    }

    /// The body of `POST /containers/create` for the session's own container, with the keeper at `place`.
    pub fn create_body(&self, place: &Place) -> Value {
        let mut body = self.body(place, &self.declared, self.claim_within_ms());
        let mut labels = self.labels();
        let Owner { session, client_session, project, .. } = self.owner();
        labels.insert(LABEL_SESSION.to_owned(), session.into());
        labels.extend(client_session.map(|session| (LABEL_CLIENT_SESSION.to_owned(), session.into())));
        labels.extend(project.map(|project| (LABEL_PROJECT.to_owned(), project.into())));
        labels.insert(LABEL_RESERVED.to_owned(), self.reserved.as_str().into());
        body["Labels"] = labels.into();
        body["Image"] = self.judged_image().into();
        body
    }

    /// The same for a container that waits for some session, with the server running in it already where the settings say
    /// so; `argv` is what it runs.
    pub fn standby_body(&self, place: &Place, argv: &[String]) -> Value {
        let settings = &self.server.settings;
        let wait = u32::try_from(settings.standby_ttl.as_millis()).unwrap_or(u32::MAX);
        let mut body = self.body(place, &self.declared, wait);
        body["Labels"] = self.labels().into();
        body["Image"] = self.judged_image().into();
        if settings.prestart
            && let Some(arguments) = body["Cmd"].as_array_mut()
        {
            arguments.extend(self.plain_modes().chain(self.home()).map(Value::from));
            arguments.push("--".into());
            arguments.extend(argv.iter().map(|word| word.as_str().into()));
            // No secret is among them: `Server::check`.
            body["Env"] = json!(self.env);
        }
        body
    }

    /// The way of the server's bytes that is tried first.
    pub fn way(&self) -> Way {
        match self.server.settings.streams {
            // Even where it can only fail.
            Way::Direct => Way::Direct,
            Way::Auto if self.doors.is_some() => Way::Direct,
            Way::Auto | Way::Exec => Way::Exec,
        }
    }

    /// The door of a container of it that is to be, with its keeper at `place`.
    pub(super) fn door(&self, place: &Place) -> Option<Door> {
        let made = self.doors.as_ref()?.door(place);
        made.inspect_err(|error| {
            tracing::warn!("the server's bytes pass through the daemon: no door: {error}");
        })
        .ok()
    }

    /// What a container of it is made of.
    pub(super) fn judged_image(&self) -> &str {
        if self.image.is_empty() { &self.server.image } else { &self.image }
    }

    /// What the keeper sees to before it starts the server: that each mount is what it was taken for, and that whoever runs
    /// it has a place of his own.
    pub fn keeper_options(&self) -> Vec<String> {
        self.own_kernel().chain(self.identities()).chain(self.plain_modes()).chain(self.home()).collect()
    }

    /// The keeper cannot see what files really are.
    fn own_kernel(&self) -> impl Iterator<Item = String> {
        let has_one = self.server.settings.isolation == Isolation::Gvisor;
        has_one.then(|| "--own-kernel".to_owned()).into_iter()
    }

    /// What the daemon's kernel allows the container. A kernel of its own is a process there, with threads for itself and
    /// for each of the server's; without one more it ends with all that it has.
    fn pids(&self) -> u32 {
        let Settings { isolation, pids, .. } = self.server.settings;
        match isolation {
            Isolation::Container => pids,
            Isolation::Gvisor => pids.saturating_mul(THREADS_EACH).saturating_add(KERNEL_THREADS),
        }
    }

    /// Of these the container's own kernel refuses one more, as a server knows it.
    fn limits_inside(&self) -> Value {
        let Settings { isolation, pids, .. } = self.server.settings;
        match isolation {
            Isolation::Container => json!([]),
            Isolation::Gvisor => json!([{ "Name": "nproc", "Soft": pids, "Hard": pids }]),
        }
    }

    /// The runtime that makes its container; `None`: the daemon's usual one.
    fn runtime(&self) -> Option<&'static str> {
        match self.server.settings.isolation {
            Isolation::Container if self.network_of.is_joined() => {
                self.looked_at.then_some(keeper::RUNTIME_PEERS)
            }
            Isolation::Container => self.looked_at.then_some(keeper::RUNTIME),
            Isolation::Gvisor => Some(keeper::RUNTIME_GVISOR),
        }
    }

    /// Where a link in the image would lead what other sessions may write to, and nobody but us looks before it runs.
    pub(super) fn unseen(&self) -> Vec<&str> {
        if self.looked_at { Vec::new() } else { self.server.settings.mounted().collect() }
    }

    /// No file of the person's becomes another user's program.
    fn plain_modes(&self) -> impl Iterator<Item = String> {
        self.mounts.iter().any(|mount| mount.writable).then(|| "--plain-modes".to_owned()).into_iter()
    }

    fn home(&self) -> impl Iterator<Item = String> {
        let homeless =
            self.server.settings.user.is_some() && !self.env.iter().any(|var| var.starts_with("HOME="));
        homeless.then(|| ["--home".to_owned(), HOME.to_owned()]).into_iter().flatten()
    }

    /// What is to be mounted, for whoever looks whether it is, and what the keeper watches.
    fn identities(&self) -> impl Iterator<Item = String> {
        self.mounts.iter().flat_map(Mount::option)
    }

    fn labels(&self) -> serde_json::Map<String, Value> {
        let (managed_by, berth) = managed_by();
        of_container(&[
            (&managed_by, &berth),
            (LABEL_CLIENT, &self.client),
            (LABEL_SERVER, &self.server.name),
            (LABEL_ISOLATION, self.server.settings.isolation.as_str()),
            (LABEL_SPEC, &self.hash()),
            (LABEL_VERSION, env!("CARGO_PKG_VERSION")),
            (LABEL_CREATED, &jiff::Timestamp::now().to_string()),
        ])
    }

    /// Twelve hex digits: equal for containers that could stand for one another, if they are of one image.
    pub fn hash(&self) -> String {
        let Server { name, command, args, settings, .. } = &self.server;
        // A server that runs already has its variables' values, too.
        let known = |var: &str| if settings.prestart { var.len() } else { var.find('=').unwrap_or_default() };
        let env = self.env.iter().map(|var| &var[..known(var)]);
        // No container differs by what a client happens to have set.
        let env: Vec<&str> = env.filter(|name| !settings.passes(name)).collect();
        let options = self.keeper_options();
        // The image alone says what it declares, and whose network it has is no difference.
        let like = Self { network_of: self.network_of.like(), ..self.clone() };
        let body = like.body(&Place::example(), &[], CLAIM_WITHIN_MS);
        let mut like = json!([body, name, command, args, settings.prestart, env, options]);
        // A server that runs already has its streams.
        if settings.prestart && settings.streams != Way::Auto {
            like = json!([like, settings.streams.as_str()]);
        }
        if self.network_of.is_joined() {
            like = json!([like, settings.network.to_string()]);
        }
        hex(&Sha256::digest(like.to_string())[..6])
    }

    fn body(&self, place: &Place, declared: &[String], claim_within_ms: u32) -> Value {
        let settings = &self.server.settings;
        let network = self.network_of.own(&settings.network);
        let tmpfs: serde_json::Map<String, Value> = settings
            .tmpfs
            .iter()
            // The daemon makes a volume of its own where the mount is not among its `Mounts`.
            .filter(|(path, _)| !declared.iter().any(|place| declared::is_at(path, place)))
            .map(|(path, tmpfs)| (path.clone(), tmpfs.options().into()))
            .collect();
        let mut mounts = vec![json!({
            "Type": "volume", "Source": keeper::volume(settings.isolation), "Target": place.folder(), "ReadOnly": true,
            "VolumeOptions": { "NoCopy": true },
        })];
        mounts.extend(self.mounts.iter().map(bind));
        mounts
            .extend(settings.volumes.iter().map(|kept| volume::mount(kept, &self.client, self.volumes_for)));
        mounts.extend(declared.iter().map(|place| declared::mount(place, settings)));
        mounts.extend(refused::mount(network, place));
        let mut arguments = vec![
            "--claim-within".to_owned(),
            claim_within_ms.to_string(),
            "--grace".to_owned(),
            settings.stop_grace.as_millis().to_string(),
        ];
        arguments.extend(
            volume::written(settings)
                .flat_map(|kept| [volume::lock(kept, self.volumes_for).to_owned(), kept.target.clone()]),
        );
        // For the runtime.
        let caller = settings.caller.map(|(uid, gid)| ["--caller".to_owned(), format!("{uid}:{gid}")]);
        arguments.extend(caller.into_iter().flatten());
        // For the keeper, too, where it starts the server.
        arguments.extend(self.own_kernel().chain(self.identities()));
        arguments.extend(refused::options(network, place));
        let mut body = json!({
            "Image": self.server.image,
            // The room is where the keeper shows whom it holds the container for.
            "Entrypoint": [place.program(), "hold", "--room", "-".repeat(owner::ROOM)],
            "Cmd": arguments,
            "OpenStdin": true,
            "StdinOnce": true,
            "AttachStdin": true,
            "AttachStdout": true,
            "User": settings.user.as_deref().unwrap_or_default(),
            "WorkingDir": settings.workdir.as_deref().unwrap_or_default(),
            // Nothing that the image has the daemon do by itself.
            "Healthcheck": { "Test": ["NONE"] },
            "StopSignal": "SIGTERM",
            "HostConfig": {
                "AutoRemove": true,
                "Runtime": self.runtime(),
                "CapDrop": ["ALL"],
                "CapAdd": settings.cap_add,
                "SecurityOpt": if settings.no_new_privileges { json!(["no-new-privileges=true"]) } else { json!([]) },
                "Memory": settings.memory,
                // Equal to the memory: no swap on top of it.
                "MemorySwap": settings.memory,
                "NanoCpus": settings.nano_cpus,
                "PidsLimit": self.pids(),
                "Ulimits": self.limits_inside(),
                "ReadonlyRootfs": settings.read_only,
                "Tmpfs": tmpfs,
                "CgroupnsMode": "private",
                "NetworkMode": self.network_of.mode(network),
                // The keeper prints nothing, and the server's output is the client's alone.
                "LogConfig": { "Type": "none" },
                "Mounts": mounts,
            },
        });
        let hosts = self.network_of.hosts(settings);
        if !hosts.is_empty() {
            body["HostConfig"]["ExtraHosts"] = hosts.into();
        }
        if let Network::Allow(_) = network {
            refused::ask_the_forwarder(&mut body["HostConfig"]);
        }
        body
    }
}

/// Of one file system, without those that are mounted below: older daemons and kernels would leave them writable where
/// the mount itself is not.
fn bind(mount: &Mount) -> Value {
    json!({
        "Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": !mount.writable,
        "BindOptions": { "Propagation": "private", "NonRecursive": true },
    })
}

#[cfg(test)]
mod tests;
