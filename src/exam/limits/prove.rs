//! Reads a container's limits from inside. Oversteps them in a container that may break.

use serde_json::Value;

use super::{Limits, Proof, Resources, Went};
use crate::config::Settings;
use crate::exam::check::Seen;
use crate::exam::inside::Inside;
use crate::values::{Backend, Isolation};

/// Higher limits than these are not overstepped: that would take the machine's memory, or minutes. The session for
/// it gets these instead.
const MOST_MEMORY: u64 = 1 << 30;
const MOST_PIDS: u32 = 1024;

/// By so much a limit is overstepped.
const MORE_MEMORY: u64 = 32 << 20;
const MORE_PIDS: u32 = 16;

/// An exit code of a process that a signal ended: 128 and the signal's number, here `SIGKILL`.
const KILLED: i64 = 137;
/// What gVisor gives where the process's kernel has ended.
const KERNEL_ENDED: i64 = 128;

/// The kernel's names of the capabilities, by their numbers.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The limits that a container to break is given: memory in bytes, processes.
pub(crate) fn overstepped(settings: &Settings) -> (u64, u32) {
    (settings.memory.min(MOST_MEMORY), settings.pids.min(MOST_PIDS))
}

/// The same of containers, whoever made them; both may be one.
pub(crate) async fn prove(
    settings: &Settings,
    examined: Option<&Inside>,
    spare: Option<&Inside>,
) -> Resources {
    let own_kernel = settings.isolation == Isolation::Gvisor;
    let pids_of_node = settings.backend == Backend::Kubernetes;
    let mut resources =
        Resources { own_kernel, pids_of_node, wanted: wanted(settings), ..Resources::default() };
    if let Some(inside) = examined {
        resources.seen = inside.ask(&["limits"]).await.map(|answer| read(&answer));
    }
    if let Some(inside) = spare {
        let (memory, pids) = overstepped(settings);
        // The processes first: running out of memory may end the session.
        if !pids_of_node {
            resources.pids =
                Proof { under: fork(inside, 2).await, over: fork(inside, pids + MORE_PIDS).await };
        }
        resources.memory = Proof {
            under: allocate(inside, memory / 8, own_kernel).await,
            over: allocate(inside, memory + MORE_MEMORY, own_kernel).await,
        };
    }
    resources
}

fn wanted(settings: &Settings) -> Limits {
    let capabilities = mask(&settings.cap_add);
    #[expect(clippy::cast_precision_loss, reason = "far fewer processors than a float is exact for")]
    let cpus = settings.nano_cpus as f64 / 1e9;
    Limits {
        memory: Some(settings.memory),
        pids: Some(settings.pids.into()),
        cpus: Some(cpus),
        effective: capabilities,
        bounding: capabilities,
        no_new_privileges: settings.no_new_privileges,
        read_only_root: settings.read_only,
    }
}

/// `None`: all.
fn mask(added: &[String]) -> Option<u64> {
    added.iter().try_fold(0, |mask, name| {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        // One that this list doesn't know is newer than it; the daemon would have refused anything else.
        let bit = CAPABILITIES.iter().position(|known| *known == name);
        (name != "ALL").then(|| mask | bit.map_or(0, |bit| 1 << bit))
    })
}

/// The answer of the probe `limits`.
fn read(answer: &Value) -> Limits {
    let mask = |key: &str| answer[key].as_str().and_then(|hex| u64::from_str_radix(hex, 16).ok());
    Limits {
        memory: answer["memory_bytes"].as_u64(),
        pids: answer["pids"].as_u64(),
        cpus: answer["cpus"].as_f64(),
        effective: mask("cap_eff"),
        bounding: mask("cap_bnd"),
        no_new_privileges: answer["no_new_privs"] == true,
        read_only_root: answer["root_writable"] == false,
    }
}

async fn fork(inside: &Inside, count: u32) -> Seen<Went> {
    let answer = inside.ask(&["fork", &count.to_string()]).await?;
    let started = answer["started"].as_u64().ok_or_else(|| "probe `fork`: no proper answer".to_owned())?;
    Ok(if started < u64::from(count) {
        let why = answer["error"].as_str().unwrap_or_default();
        Went::Stopped(format!("{started} of {count} could be started: {why}"))
    } else {
        Went::Through(format!("all of {count} could be started"))
    })
}

async fn allocate(inside: &Inside, bytes: u64, own_kernel: bool) -> Seen<Went> {
    let ended = inside.run(&["allocate", &bytes.to_string()]).await?;
    let size = format!("{} MiB", bytes >> 20);
    let allocated =
        serde_json::from_str::<Value>(&ended.output).ok().and_then(|answer| answer["allocated"].as_u64());
    match (allocated, ended.code) {
        (Some(allocated), 0) if allocated >= bytes => Ok(Went::Through(format!("{size} could be allocated"))),
        (None, KERNEL_ENDED) if own_kernel => {
            Ok(Went::Stopped(format!("killed on the way to {size}, with the container's own kernel")))
        }
        (None, KILLED) => Ok(Went::Stopped(format!("killed on the way to {size}"))),
        (_, code) => Err(format!("probe `allocate`: ended with {code} and said `{}`", ended.output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn capabilities_are_the_kernels_bits() {
        let mask = |names: &[&str]| mask(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(mask(&[]), Some(0));
        assert_eq!(mask(&["CHOWN", "CAP_NET_RAW"]), Some(0x2001));
        assert_eq!(mask(&["CHECKPOINT_RESTORE"]), Some(1 << 40));
        assert_eq!(mask(&["NET_RAW", "ALL"]), None);
    }

    #[test]
    fn the_probes_answer_is_read() {
        let limits = read(&json!({
            "cap_eff": "0000000000000000", "cap_bnd": "0000000000002001", "no_new_privs": true,
            "memory_bytes": 536_870_912, "pids": null, "cpus": 0.5, "root_writable": false,
        }));
        let expected = Limits {
            memory: Some(512 << 20),
            pids: None,
            cpus: Some(0.5),
            effective: Some(0),
            bounding: Some(0x2001),
            no_new_privileges: true,
            read_only_root: true,
        };
        assert_eq!(limits, expected);
        assert_eq!(read(&json!({})), Limits::default());
    }
}
