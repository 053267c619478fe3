//! The DinD container's definition: the body of `POST /containers/create`, and the files that are put into it. Pure.
//!
//! berth uploads the files, so the engine may be remote. The container sees only the folders of `share` on the engine's
//! host.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::addresses::LABEL_BIP;
use super::certs::ServerFiles;
use super::ids::Ids;
use super::owner::Owner;
use crate::config::Dind;
use crate::dock::door::{self, Doors};
use crate::dock::{keeper, labels};
use crate::human::hex;

/// The entry point: functions first, what runs them last.
const ENTRY: &str = concat!(
    include_str!("entry/common.sh"),
    include_str!("entry/cgroups.sh"),
    include_str!("entry/firewall.sh"),
    include_str!("entry/bridge.sh"),
    include_str!("entry/ids.sh"),
    include_str!("entry/names.sh"),
    include_str!("entry/apparmor.sh"),
    include_str!("entry/main.sh"),
);
/// The folder of our files in the container.
const FOLDER: &str = "berth";
/// The only port of the daemon: mTLS.
const PORT: &str = "2376/tcp";
pub(super) const PORT_NUMBER: u16 = 2376;
const SECOND_NS: u64 = 1_000_000_000;

/// Names the whole body, so that a change of any part is seen.
pub const LABEL_SPEC: &str = labels::LABEL_SPEC;

/// Found by leaving out one after another: without any of them the daemon does not start, cannot load images,
/// cannot run or enter containers, or a nested container that doesn't drop its own (a plain `docker run`, a server
/// with `cap_add`) fails, for nobody can be given what the daemon lacks.
///
/// The first fourteen are what Docker gives any container; the others are what nesting costs:
/// - `SYS_ADMIN`: mounts, namespaces, control groups;
/// - `NET_ADMIN`: the bridge, the containers' interfaces, the packet filter;
/// - `SYS_PTRACE`: entering another user's or a non-dumpable process's namespaces: each exec, and crun's hooks;
/// - `SYS_NICE`, with `userns` alone: putting the process of a user namespace that is not root's into its group of processors.
///
/// Of those that a privileged container has, these are not needed: `DAC_READ_SEARCH`, `LINUX_IMMUTABLE`,
/// `NET_BROADCAST`, `IPC_LOCK`, `IPC_OWNER`, `LEASE`, `SYS_RESOURCE`, `SYS_MODULE`, `SYS_RAWIO`, `SYS_BOOT`,
/// `SYS_TIME`, `SYSLOG`, `BPF`, `PERFMON` and the rest.
pub const CAPABILITIES: [&str; 18] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYS_PTRACE",
    "SYS_NICE",
];

/// The volume of the daemon's images and containers.
pub fn volume(dind: &Dind) -> String {
    format!("{}-data", dind.name)
}

/// What the daemon's container has of its engine's host.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// Those of `share`, at their own paths.
    pub folders: Vec<PathBuf>,
    /// Where sessions listen for their servers' pipes.
    pub doors: Option<Doors>,
}

/// The body of `POST /containers/create`. The folders that are `shared` are as the kernel knows them; `image_id` is the image's own, so that another image under the same name
/// makes another container; the labels name its `owner`.
pub fn create_body(dind: &Dind, shared: &Shared, image_id: &str, owner: &Owner) -> Value {
    let mut body = body(dind, shared);
    let (label, value) = labels::managed_by();
    body["Labels"] = json!({
        label: value,
        LABEL_SPEC: hash(dind, shared, image_id),
        labels::LABEL_VERSION: env!("CARGO_PKG_VERSION"),
    });
    if let Some(bip) = dind.bip {
        body["Labels"][LABEL_BIP] = bip.to_string().into();
    }
    for (label, value) in owner.labels() {
        body["Labels"][label] = value.into();
    }
    body
}

/// Sixteen hex digits: equal for the same container of the same image. Not of the version: a new one alone is no
/// reason to end sessions. A new keeper is: it is the daemon's runtime, and looks at each container.
pub fn hash(dind: &Dind, shared: &Shared, image_id: &str) -> String {
    let digest = Sha256::digest(format!("{image_id}\n{}\n{}", keeper::VOLUME, body(dind, shared)));
    hex(&digest)[..16].to_owned()
}

fn body(dind: &Dind, shared: &Shared) -> Value {
    // Its labels are for the engine, which makes it again where a `down` took it away from under a container that was
    // being created: one without them would be nobody's.
    let (label, value) = labels::managed_by();
    let mut mounts = vec![json!({
        "Type": "volume", "Source": volume(dind), "Target": "/var/lib/docker",
        "VolumeOptions": { "Labels": { label: value } },
    })];
    // What is mounted below is there, too: a mount of a session's may be of that alone.
    mounts.extend(shared.folders.iter().map(|folder| bind(folder, folder)));
    mounts.extend(shared.doors.iter().map(|doors| bind(doors.folder(), Path::new(door::IN_DAEMON))));
    let mut host = json!({
        "Mounts": mounts,
        // Sockets and pid files of a daemon that was killed must not survive it.
        "Tmpfs": { "/run": "rw,nosuid,nodev,mode=755" },
        "PortBindings": { PORT: [{ "HostIp": dind.bind.to_string(), "HostPort": dind.port.to_string() }] },
        "RestartPolicy": { "Name": "unless-stopped" },
        "LogConfig": { "Type": "json-file", "Config": { "max-size": "10m", "max-file": "2" } },
        "CgroupnsMode": "private",
    });
    if dind.privileged {
        host["Privileged"] = true.into();
    } else {
        host["CapDrop"] = json!(["ALL"]);
        let is_needed = |capability: &&str| dind.userns || *capability != "SYS_NICE";
        host["CapAdd"] = CAPABILITIES.into_iter().filter(is_needed).collect();
        // The default profiles forbid mounts to whatever capability; nested containers get profiles of their own.
        host["SecurityOpt"] = json!(["seccomp=unconfined", "apparmor=unconfined"]);
        // What `systempaths=unconfined` stands for: /proc/sys has to be writable for the network's settings, and
        // a masked path would keep nested containers from mounting their own /proc.
        host["MaskedPaths"] = json!([]);
        host["ReadonlyPaths"] = json!([]);
    }
    let mut test = vec!["CMD".to_owned()];
    test.extend(health_check());
    json!({
        "Image": dind.image,
        "Hostname": hostname(&dind.name),
        // Whatever the image says: the daemon needs root, and its files are root's.
        "User": "0:0",
        "WorkingDir": "/",
        "Entrypoint": ["/bin/sh", "-c", ENTRY],
        "Cmd": [],
        "Env": environment(dind),
        "ExposedPorts": { PORT: {} },
        "StopSignal": "SIGTERM",
        "StopTimeout": 20,
        "Healthcheck": {
            "Test": test,
            "Interval": 30 * SECOND_NS,
            "Timeout": 5 * SECOND_NS,
            "StartPeriod": 60 * SECOND_NS,
            "Retries": 3,
        },
        "HostConfig": host,
    })
}

/// What the entry point and dockerd are told.
fn environment(dind: &Dind) -> Vec<String> {
    // `docker:dind` would make certificates of its own.
    let mut env = vec!["DOCKER_TLS_CERTDIR=".to_owned()];
    env.extend(dind.proxies.variables().map(|(name, value)| format!("{name}={value}")));
    env.push(format!("BERTH_IDS={}", Ids::of(&dind.name)));
    if !dind.userns {
        env.push("BERTH_USERNS=false".to_owned());
    }
    env.extend(dind.bip.map(|bip| format!("BERTH_BIP={bip}")));
    if !dind.address_pools.is_empty() {
        let pools: Vec<_> = dind.address_pools.iter().map(ToString::to_string).collect();
        env.push(format!("BERTH_POOLS={}", pools.join(" ")));
    }
    env
}

/// The same body for an engine that has no such folder.
pub(super) fn without_doors(mut body: Value) -> Value {
    if let Some(mounts) = body["HostConfig"]["Mounts"].as_array_mut() {
        mounts.retain(|mount| mount["Target"] != door::IN_DAEMON);
    }
    body
}

/// A folder of the engine's host. The engine never makes it.
pub(super) fn bind(folder: &Path, target: &Path) -> Value {
    json!({ "Type": "bind", "Source": folder, "Target": target, "BindOptions": { "Propagation": "rprivate" } })
}

/// Succeeds in a container whose daemon answers.
pub(super) fn health_check() -> Vec<String> {
    [&format!("/{FOLDER}/keeper"), "ping", "/var/run/docker.sock"].map(str::to_owned).to_vec()
}

/// A host's name has at most 63 characters; what ends in one of these would be refused.
fn hostname(name: &str) -> String {
    let name: String = name.chars().take(63).map(|c| if c == '_' { '-' } else { c }).collect();
    name.trim_end_matches(['-', '.']).to_owned()
}

/// What is unpacked at the root of the container: certificates that root alone can read, and the keeper for the
/// health check.
pub fn archive(certs: &ServerFiles) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::with_capacity(keeper::KEEPER.len() + 16 * 1024));
    let mut entry = |kind, path: &str, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, content)
    };
    entry(tar::EntryType::Directory, &format!("{FOLDER}/"), 0o700, &[])?;
    entry(tar::EntryType::Directory, &format!("{FOLDER}/certs/"), 0o700, &[])?;
    for (name, content) in certs.iter() {
        entry(tar::EntryType::Regular, &format!("{FOLDER}/certs/{name}"), 0o600, content)?;
    }
    entry(tar::EntryType::Regular, &format!("{FOLDER}/keeper"), 0o500, keeper::KEEPER)?;
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn dind() -> Dind {
        Dind { name: "d".into(), port: 23376, ..Dind::default() }
    }

    fn owner() -> Owner {
        let home = |name: &str| (name == "BERTH_HOME").then(|| "/b".to_owned());
        Owner::of(&crate::config::Home::from_env(&home).unwrap())
    }

    #[test]
    fn the_container_says_whose_it_is() {
        let labels = create_body(&dind(), &Shared::default(), "sha256:1", &owner())["Labels"].clone();
        let place = labels[super::super::owner::LABEL_HOME].as_str().unwrap();
        assert!(place.ends_with(":/b/certs"), "{place}");
    }

    #[test]
    fn one_port_is_published_and_it_is_the_one_with_tls() {
        let body = create_body(&dind(), &Shared::default(), "sha256:1", &owner());
        let published = json!({ "2376/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "23376" }] });
        assert_eq!(body["HostConfig"]["PortBindings"], published);
        assert!(ENTRY.contains("--tlsverify"));
        assert_eq!(ENTRY.matches("tcp://").count(), 1, "no second, plain port");
        assert!(!ENTRY.contains("2375"));
    }

    #[test]
    fn nothing_of_the_host_is_in_reach() {
        let host = &create_body(&dind(), &Shared::default(), "sha256:1", &owner())["HostConfig"];
        assert_eq!(
            host["Mounts"],
            json!([{
                "Type": "volume", "Source": "d-data", "Target": "/var/lib/docker",
                "VolumeOptions": { "Labels": { "io.mcp-berth.managed-by": "berth" } },
            }])
        );
        for key in ["Binds", "Privileged", "Devices", "NetworkMode", "PidMode", "IpcMode", "VolumesFrom"] {
            assert!(host[key].is_null(), "{key}");
        }
        assert_eq!(host["CapDrop"], json!(["ALL"]));
    }

    #[test]
    fn registries_are_reached_by_the_proxy() {
        let proxies = crate::docker_cli::Proxies::of(Some("http://p:1"), Some("box"));
        let by_proxy = Dind { proxies, ..dind() };
        let env = create_body(&by_proxy, &Shared::default(), "sha256:1", &owner())["Env"].take();
        for var in ["DOCKER_TLS_CERTDIR=", "HTTP_PROXY=http://p:1", "HTTPS_PROXY=http://p:1", "NO_PROXY=box"]
        {
            assert!(env.as_array().unwrap().contains(&var.into()), "{env}");
        }
        assert_ne!(
            hash(&by_proxy, &Shared::default(), "sha256:1"),
            hash(&dind(), &Shared::default(), "sha256:1")
        );
        let ids = format!("BERTH_IDS={}", Ids::of("d"));
        assert_eq!(
            create_body(&dind(), &Shared::default(), "sha256:1", &owner())["Env"],
            json!(["DOCKER_TLS_CERTDIR=", ids])
        );
    }

    #[test]
    fn what_is_shared_is_at_its_own_path_and_makes_another_container() {
        let shared = Shared { folders: vec![PathBuf::from("/home/me/src")], doors: None };
        let mounts = create_body(&dind(), &shared, "sha256:1", &owner())["HostConfig"]["Mounts"].take();
        let share = json!({
            "Type": "bind", "Source": "/home/me/src", "Target": "/home/me/src",
            "BindOptions": { "Propagation": "rprivate" },
        });
        assert_eq!((mounts.as_array().map(Vec::len), &mounts[1]), (Some(2), &share));
        assert_ne!(hash(&dind(), &shared, "sha256:1"), hash(&dind(), &Shared::default(), "sha256:1"));
    }

    #[test]
    fn privileged_is_an_option_that_stands_alone() {
        let host = &create_body(
            &Dind { privileged: true, ..dind() },
            &Shared::default(),
            "sha256:1",
            &owner(),
        )["HostConfig"];
        assert_eq!(host["Privileged"], true);
        // With `CapDrop` the engine would take from a privileged container what it was to have.
        assert!(host["CapDrop"].is_null() && host["CapAdd"].is_null() && host["MaskedPaths"].is_null());
    }

    #[test]
    fn the_hash_tells_settings_and_images_apart_and_nothing_else() {
        let one = hash(&dind(), &Shared::default(), "sha256:1");
        assert_eq!(one, hash(&dind(), &Shared::default(), "sha256:1"));
        assert_eq!(create_body(&dind(), &Shared::default(), "sha256:1", &owner())["Labels"][LABEL_SPEC], one);
        assert_ne!(one, hash(&dind(), &Shared::default(), "sha256:2"));
        for other in [
            Dind { port: 1, ..dind() },
            Dind { bind: [0, 0, 0, 0].into(), ..dind() },
            Dind { privileged: true, ..dind() },
            Dind { image: "other".into(), ..dind() },
            Dind { bip: "10.1.0.1/20".parse().ok(), ..dind() },
        ] {
            assert_ne!(one, hash(&other, &Shared::default(), "sha256:1"), "{other:?}");
        }
    }

    #[test]
    fn the_images_own_user_and_entry_point_are_of_no_account() {
        let body = create_body(&dind(), &Shared::default(), "sha256:1", &owner());
        assert_eq!(body["User"], "0:0");
        assert_eq!(body["Entrypoint"], json!(["/bin/sh", "-c", ENTRY]));
        assert_eq!(body["Cmd"], json!([]));
    }

    #[test]
    fn a_name_becomes_a_hosts_name() {
        assert_eq!(hostname("berth-dind"), "berth-dind");
        assert_eq!(hostname("a_b"), "a-b");
        assert_eq!(hostname(&format!("{}-x", "a".repeat(62))), "a".repeat(62));
    }

    #[test]
    fn the_archive_is_roots_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        super::super::certs::ensure(folder.path(), &[], jiff::Timestamp::now()).unwrap();
        let files = super::super::certs::server_files(folder.path()).unwrap();
        let packed = archive(&files).unwrap();
        let mut tar = tar::Archive::new(&packed[..]);
        let mut found = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mode().unwrap() & 0o077, 0);
            found.push((entry.path().unwrap().display().to_string(), content.len()));
        }
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "berth/",
            "berth/certs/",
            "berth/certs/ca.pem",
            "berth/certs/server-cert.pem",
            "berth/certs/server-key.pem",
            "berth/keeper",
        ];
        assert_eq!(names, expected);
        assert_eq!(found[5].1, keeper::KEEPER.len());
    }
}
