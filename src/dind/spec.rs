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

impl Shared {
    /// Whether an engine's words are about the folder of the doors.
    pub(super) fn is_about_doors(&self, said: &str) -> bool {
        self.doors.as_ref().is_some_and(|doors| {
            said.contains(door::IN_DAEMON) || said.contains(&*doors.folder().to_string_lossy())
        })
    }
}

/// The body of `POST /containers/create`. The folders that are `shared` are as the kernel knows them; `image_id` is the image's own, so that another image under the same name
/// makes another container; the labels name its `owner`.
/// It may be given less than was `asked` for, which is what its label says.
pub fn create_body(dind: &Dind, asked: &Shared, shared: &Shared, image_id: &str, owner: &Owner) -> Value {
    let mut body = body(dind, shared);
    let (label, value) = labels::managed_by();
    body["Labels"] = json!({
        label: value,
        LABEL_SPEC: hash(dind, asked, image_id),
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
    mounts.extend(shared.doors.iter().map(|doors| {
        let mut mount = bind(doors.folder(), Path::new(door::IN_DAEMON));
        // Who listens there is on this side; to connect to a socket nothing has to be written.
        mount["ReadOnly"] = true.into();
        mount
    }));
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
mod tests;
