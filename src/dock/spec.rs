//! A session's container: the body of `POST /containers/create`.
//!
//! Pure: from the configuration to the Engine API's JSON. It never contains an environment (see `dock::exec`).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::labels::{
    LABEL_CLIENT, LABEL_CLIENT_SESSION, LABEL_CREATED, LABEL_PROJECT, LABEL_RESERVED, LABEL_SERVER,
    LABEL_SESSION, LABEL_SPEC, LABEL_VERSION, managed_by, of_container,
};
use super::owner::{self, Owner};
use super::place::Place;
use super::{declared, keeper, volume};
use crate::config::{Mount, Server};
use crate::values::Network;

/// How long a started container waits for its owner's first byte. The owner sends it as soon as the daemon has
/// attached it, so this counts only where the daemon started the container and never attached its owner. Below the
/// five seconds after which nothing may be left of a dead session, unless the daemon may take longer for everything.
pub const CLAIM_WITHIN_MS: u32 = 4_000;

/// A `start_timeout` that is longer than the default says that the daemon is slow, also with what the owner sends: so many
/// of its parts are the claim's.
const SLOW_START: u32 = 8;

/// No claim is waited for longer. What waits longer is on standby.
pub const LONGEST_CLAIM_MS: u32 = 30_000;

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
    /// `NAME=value`, of the server's process.
    pub env: Vec<String>,
    pub mounts: Vec<Mount>,
    /// Where its image has volumes (`declared::places`).
    pub declared: Vec<String>,
    /// Whether its daemon has berth's own runtime.
    pub looked_at: bool,
    /// Where names are reserved for it ([`reserved`](super::reserved)).
    pub reserved: String,
}

impl Spec {
    /// The container's name until it has a number; nobody else's, for the session's id is in it.
    pub fn starting_name(&self) -> String {
        match self.attempt {
            0 => format!("mcp-{}-{}.starting", self.client, self.session),
            attempt => format!("mcp-{}-{}-{attempt}.starting", self.client, self.session),
        }
    }

    /// Whom its container is for.
    pub fn owner(&self) -> Owner {
        Owner::new(&self.session, self.client_session.as_deref(), self.project.as_deref())
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
        let Owner { session, client_session, project } = self.owner();
        labels.insert(LABEL_SESSION.to_owned(), session.into());
        labels.extend(client_session.map(|session| (LABEL_CLIENT_SESSION.to_owned(), session.into())));
        labels.extend(project.map(|project| (LABEL_PROJECT.to_owned(), project.into())));
        labels.insert(LABEL_RESERVED.to_owned(), self.reserved.as_str().into());
        body["Labels"] = labels.into();
        body
    }

    /// The same for a container that waits for some session, with the server running in it already where the settings say
    /// so; `argv` is what it runs.
    pub fn standby_body(&self, place: &Place, argv: &[String]) -> Value {
        let settings = &self.server.settings;
        let wait = u32::try_from(settings.standby_ttl.as_millis()).unwrap_or(u32::MAX);
        let mut body = self.body(place, &self.declared, wait);
        body["Labels"] = self.labels().into();
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

    /// What the keeper sees to before it starts the server: that each mount is what it was taken for, and that whoever runs
    /// it has a place of his own.
    pub fn keeper_options(&self) -> Vec<String> {
        self.identities().chain(self.plain_modes()).chain(self.home()).collect()
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
            (LABEL_SPEC, &self.hash()),
            (LABEL_VERSION, env!("CARGO_PKG_VERSION")),
            (LABEL_CREATED, &jiff::Timestamp::now().to_string()),
        ])
    }

    /// Twelve hex digits: equal for containers that could stand for one another, if they are of one image.
    pub fn hash(&self) -> String {
        use std::fmt::Write;
        let Server { name, command, args, settings, .. } = &self.server;
        // A server that runs already has its variables' values, too.
        let known = |var: &str| if settings.prestart { var.len() } else { var.find('=').unwrap_or_default() };
        let env: Vec<&str> = self.env.iter().map(|var| &var[..known(var)]).collect();
        let options = self.keeper_options();
        // The image alone says what it declares.
        let body = self.body(&Place::example(), &[], CLAIM_WITHIN_MS);
        let like = json!([body, name, command, args, settings.prestart, env, options]);
        let digest = Sha256::digest(like.to_string());
        digest.iter().take(6).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn body(&self, place: &Place, declared: &[String], claim_within_ms: u32) -> Value {
        let settings = &self.server.settings;
        let tmpfs: serde_json::Map<String, Value> = settings
            .tmpfs
            .iter()
            // The daemon makes a volume of its own where the mount is not among its `Mounts`.
            .filter(|(path, _)| !declared.iter().any(|place| declared::is_at(path, place)))
            .map(|(path, bytes)| {
                (path.clone(), format!("rw,nosuid,nodev,noexec,mode=1777,size={bytes}").into())
            })
            .collect();
        let mut mounts = vec![json!({
            "Type": "volume", "Source": keeper::VOLUME, "Target": place.folder(), "ReadOnly": true,
            "VolumeOptions": { "NoCopy": true },
        })];
        mounts.extend(self.mounts.iter().map(bind));
        mounts.extend(settings.volumes.iter().map(|kept| volume::mount(kept, &self.client)));
        mounts.extend(declared.iter().map(|place| declared::mount(place, settings)));
        let mut arguments = vec![
            "--claim-within".to_owned(),
            claim_within_ms.to_string(),
            "--grace".to_owned(),
            settings.stop_grace.as_millis().to_string(),
        ];
        arguments
            .extend(volume::written(settings).flat_map(|kept| ["--lock".to_owned(), kept.target.clone()]));
        // For the runtime; for the keeper, too, where it starts the server.
        arguments.extend(self.identities());
        json!({
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
                "Runtime": self.looked_at.then_some(keeper::RUNTIME),
                "CapDrop": ["ALL"],
                "CapAdd": settings.cap_add,
                "SecurityOpt": if settings.no_new_privileges { json!(["no-new-privileges=true"]) } else { json!([]) },
                "Memory": settings.memory,
                // Equal to the memory: no swap on top of it.
                "MemorySwap": settings.memory,
                "NanoCpus": settings.nano_cpus,
                "PidsLimit": settings.pids,
                "ReadonlyRootfs": settings.read_only,
                "Tmpfs": tmpfs,
                "CgroupnsMode": "private",
                "NetworkMode": match settings.network { Network::Egress => "bridge", Network::None => "none" },
                // The keeper prints nothing, and the server's output is the client's alone.
                "LogConfig": { "Type": "none" },
                "Mounts": mounts,
            },
        })
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
mod tests {
    use super::*;
    use crate::config::{Overrides, Settings};

    fn spec(overrides: &Overrides) -> Spec {
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
        Spec {
            server: server.with_overrides(overrides),
            client: "x".to_owned(),
            session: "0123456789ab".to_owned(),
            attempt: 0,
            client_session: None,
            project: None,
            env: vec!["A=1".to_owned(), "B=2=3".to_owned()],
            mounts: Vec::new(),
            declared: Vec::new(),
            looked_at: true,
            reserved: String::new(),
        }
    }

    fn plain() -> Spec {
        spec(&Overrides::default())
    }

    fn prestarted() -> Spec {
        spec(&Overrides::default().with("prestart", &["true"]))
    }

    fn with_env(spec: Spec, env: &[&str]) -> Spec {
        Spec { env: env.iter().map(|var| (*var).to_owned()).collect(), ..spec }
    }

    #[test]
    fn a_hash_tells_one_kind_from_another() {
        let with = |key, text| spec(&Overrides::default().with(key, &[text])).hash();
        let command = |command: &[&str]| {
            let mut spec = plain();
            spec.server.command = Some(command.iter().map(|word| (*word).to_owned()).collect());
            spec.hash()
        };
        let named = |name: &str, image: &str| {
            let mut spec = plain();
            spec.server.name = name.to_owned();
            spec.server.image = image.to_owned();
            spec.hash()
        };
        let kinds = [
            plain().hash(),
            prestarted().hash(),
            command(&["a", "b"]),
            command(&["a b"]),
            named("i", "j"),
            named("j", "i"),
            with_env(plain(), &["A=1"]).hash(),
            with_env(plain(), &["A=1", "C=2"]).hash(),
            with_env(plain(), &[]).hash(),
            with("memory", "96m"),
            with("network", "none"),
            with("pids", "9"),
            with("cpus", "2"),
            with("user", "1:1"),
            with("read_only", "true"),
            with("stop_grace", "9s"),
        ];
        let different: std::collections::BTreeSet<_> = kinds.iter().collect();
        assert_eq!(different.len(), kinds.len(), "{kinds:?}");
        assert!(kinds.iter().all(|hash| hash.len() == 12), "{kinds:?}");
    }

    fn mounted(identity: (u64, u64), writable: bool) -> Spec {
        Spec { mounts: vec![Mount::new("/home/me/project", "/workspace", writable, identity)], ..plain() }
    }

    #[test]
    fn a_mount_is_of_one_file_system_and_the_keeper_knows_it() {
        let host = &mounted((1, 2), false).create_body(&Place::example())["HostConfig"];
        let mount = json!({
            "Type": "bind", "Source": "/home/me/project", "Target": "/workspace", "ReadOnly": true,
            "BindOptions": { "Propagation": "private", "NonRecursive": true },
        });
        assert_eq!(host["Mounts"][1], mount);
        assert_eq!(host["Binds"], Value::Null, "it would make what is not there");
        let writable = mounted((1, 2), true);
        assert_eq!(writable.create_body(&Place::example())["HostConfig"]["Mounts"][1]["ReadOnly"], false);
        assert_eq!(writable.keeper_options(), ["--mount", "1:2:/workspace", "--plain-modes"]);
        assert_eq!(mounted((1, 2), false).keeper_options(), ["--mount", "1:2:/workspace"]);
        let mut ahead = mounted((1, 2), true);
        ahead.server.settings.prestart = true;
        ahead.server.settings.user = Some("1:1".to_owned());
        let held = ahead.standby_body(&Place::example(), &["server".to_owned()])["Cmd"].take();
        assert_eq!(
            held.as_array().unwrap()[4..],
            ["--mount", "1:2:/workspace", "--plain-modes", "--home", "/tmp", "--", "server"]
        );
        ahead.env = vec!["HOME=/srv".to_owned()];
        assert_eq!(ahead.keeper_options(), ["--mount", "1:2:/workspace", "--plain-modes"], "it has a home");
    }

    #[test]
    fn an_images_volumes_are_mounts_of_the_sessions_own() {
        let mut spec = plain();
        spec.server.settings.tmpfs.insert("/data".to_owned(), 1 << 20);
        spec.declared = vec!["/data".to_owned(), "/other".to_owned()];
        let body = spec.create_body(&Place::example());
        let host = &body["HostConfig"];
        for (n, place, bytes) in [(1, "/data", 1 << 20), (2, "/other", 64 << 20)] {
            let mount = &host["Mounts"][n];
            assert_eq!((&mount["Type"], &mount["Target"]), (&json!("tmpfs"), &json!(place)));
            assert_eq!(mount["TmpfsOptions"]["SizeBytes"], bytes, "{place}");
        }
        assert_eq!(host["Tmpfs"].get("/data"), None, "once is enough");
        assert_eq!(
            spec.hash(),
            Spec { declared: Vec::new(), ..spec.clone() }.hash(),
            "the image's id says it"
        );
        assert_eq!(
            (&body["StopSignal"], &body["Healthcheck"]["Test"]),
            (&json!("SIGTERM"), &json!(["NONE"]))
        );
    }

    #[test]
    fn the_keepers_place_is_each_containers_own() {
        let (one, other) = (Place::new().unwrap(), Place::new().unwrap());
        let body = plain().create_body(&one);
        assert_eq!(body["Entrypoint"][0], one.program());
        assert_eq!(body["HostConfig"]["Mounts"][0]["Target"], one.folder());
        assert_ne!(body["Entrypoint"], plain().create_body(&other)["Entrypoint"]);
    }

    #[test]
    fn containers_of_other_folders_are_of_another_kind() {
        let hashes = [
            plain(),
            mounted((1, 2), false),
            mounted((1, 2), true),
            mounted((1, 3), false),
            mounted((2, 2), false),
        ]
        .map(|spec| spec.hash());
        let different: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len(), "{hashes:?}");
        assert_eq!(mounted((1, 2), false).hash(), hashes[1]);
    }

    #[test]
    fn a_hash_is_the_same_for_all_sessions_of_a_kind() {
        let hash = plain().hash();
        let other = Spec {
            session: "ba9876543210".to_owned(),
            client_session: Some("theirs".to_owned()),
            project: Some("/theirs".to_owned()),
            client: "y".to_owned(),
            ..plain()
        };
        assert_eq!(other.hash(), hash);
        assert_eq!(with_env(plain(), &["A=", "B=other"]).hash(), hash, "the values are the sessions' own");
        assert_ne!(with_env(prestarted(), &["A=", "B=other"]).hash(), prestarted().hash());
        assert_ne!(with_env(prestarted(), &["A=1", "B=2=4"]).hash(), prestarted().hash());
        // The variable is the server's own process's alone, and given with it.
        let many =
            Overrides::default().with("standby", &["9"]).with("standby_ttl", &["9s"]).with("env", &["A=1"]);
        assert_eq!(spec(&many).hash(), hash, "how many and how long makes no other kind");
    }

    #[test]
    fn a_slow_daemon_has_longer_to_deliver_the_claim() {
        let waits = |timeout| {
            let body =
                spec(&Overrides::default().with("start_timeout", &[timeout])).create_body(&Place::example());
            body["Cmd"][1].as_str().unwrap().to_owned()
        };
        let again = |attempt| Spec { attempt, ..plain() }.claim_within_ms();
        assert_eq!(
            [0, 1, 2, 3, 4, 9].map(again),
            [4000, 4000, 8000, 16_000, 30_000, 30_000],
            "it was late before"
        );
        assert_eq!([waits("1s"), waits("30s"), waits("2m"), waits("1h")], ["4000", "4000", "15000", "30000"]);
        let slow = spec(&Overrides::default().with("start_timeout", &["5m"]));
        assert_eq!(slow.hash(), plain().hash(), "it makes no other kind");
    }

    #[test]
    fn a_container_on_standby_waits_longer_and_is_nobodys() {
        let ttl = Overrides::default().with("standby_ttl", &["90s"]);
        let argv = ["server".to_owned(), "--flag".to_owned()];
        let spec = spec(&ttl);
        let (own, standby) =
            (spec.create_body(&Place::example()), spec.standby_body(&Place::example(), &argv));
        assert_eq!(own["Cmd"], json!(["--claim-within", "4000", "--grace", "3000"]));
        assert_eq!(standby["Cmd"], json!(["--claim-within", "90000", "--grace", "3000"]));
        assert_eq!(own["Labels"][LABEL_SESSION], "0123456789ab");
        assert_eq!(standby["Labels"][LABEL_SESSION], "");
        assert_eq!(standby["Labels"][LABEL_SPEC], own["Labels"][LABEL_SPEC]);
        assert_eq!((own.get("Env"), standby.get("Env")), (None, None));
        for part in ["Image", "Entrypoint", "HostConfig", "User", "OpenStdin", "StdinOnce"] {
            assert_eq!(own[part], standby[part], "{part}");
        }
        // Only what waits with its server in it knows what the server runs, and with what.
        let ahead = prestarted().standby_body(&Place::example(), &argv);
        let held = ["--claim-within", "1800000", "--grace", "3000", "--", "server", "--flag"];
        assert_eq!((&ahead["Cmd"], &ahead["Env"]), (&json!(held), &json!(["A=1", "B=2=3"])));
        assert_eq!(prestarted().create_body(&Place::example()).get("Env"), None);
    }
}
