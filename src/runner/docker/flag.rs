//! The flags of `docker run`: which are settings, which change nothing, and why the others are refused.

use super::super::flags::Flag;

/// The setting that a flag is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    AddHost,
    CapAdd,
    Cpus,
    Entrypoint,
    Env,
    EnvFile,
    Memory,
    Mount,
    Network,
    /// A namespace; the container has its own.
    Own,
    Pids,
    Publish,
    Pull,
    ReadOnly,
    Security,
    Shm,
    StopTimeout,
    Tmpfs,
    User,
    Volume,
    Workdir,
}

pub(super) fn flag(name: &str) -> Option<Flag<Meaning>> {
    use Flag::{Idle, IdleValue, Noted, NotedValue, Refused, Set, Takes};
    const SHARED: &str = "sessions share nothing";
    const OUT: &str = "leave it out";
    Some(match name {
        "-i"
        | "--interactive"
        | "--rm"
        | "--init"
        | "-t"
        | "--tty"
        | "-q"
        | "--quiet"
        | "--sig-proxy"
        | "--no-healthcheck"
        | "--disable-content-trust"
        | "--replace"
        | "--tls-verify" => Idle,
        "--name"
        | "-l"
        | "--label"
        | "--label-file"
        | "--annotation"
        | "-h"
        | "--hostname"
        | "--log-driver"
        | "--log-opt"
        | "--restart"
        | "--stop-signal"
        | "--cidfile"
        | "-a"
        | "--attach"
        | "--detach-keys"
        | "--expose"
        | "--cap-drop"
        | "--health-cmd"
        | "--health-interval"
        | "--health-retries"
        | "--health-timeout"
        | "--health-start-period"
        | "--memory-swap"
        | "--memory-swappiness"
        | "--oom-score-adj" => IdleValue,
        "-p" | "--publish" => Takes(Meaning::Publish),
        "-P" | "--publish-all" => Noted("berth publishes what `publish` names, at 127.0.0.1"),
        "--platform" => NotedValue("the daemon's own is used"),
        "-c"
        | "--cpu-shares"
        | "--cpuset-cpus"
        | "--cpuset-mems"
        | "--cpu-period"
        | "--cpu-quota"
        | "--memory-reservation"
        | "--kernel-memory"
        | "--blkio-weight"
        | "--ulimit" => NotedValue("`memory`, `cpus` and `pids` are the limits of a session"),
        "--oom-kill-disable" => Noted("`memory` is a limit"),
        "-e" | "--env" => Takes(Meaning::Env),
        "--env-file" => Takes(Meaning::EnvFile),
        "--pull" => Takes(Meaning::Pull),
        "-v" | "--volume" => Takes(Meaning::Volume),
        "--mount" => Takes(Meaning::Mount),
        "--network" | "--net" => Takes(Meaning::Network),
        "-m" | "--memory" => Takes(Meaning::Memory),
        "--cpus" => Takes(Meaning::Cpus),
        "--pids-limit" => Takes(Meaning::Pids),
        "-u" | "--user" => Takes(Meaning::User),
        "-w" | "--workdir" => Takes(Meaning::Workdir),
        "--read-only" => Set(Meaning::ReadOnly),
        "--tmpfs" => Takes(Meaning::Tmpfs),
        "--shm-size" => Takes(Meaning::Shm),
        "--cap-add" => Takes(Meaning::CapAdd),
        "--security-opt" => Takes(Meaning::Security),
        "--entrypoint" => Takes(Meaning::Entrypoint),
        "--stop-timeout" => Takes(Meaning::StopTimeout),
        "--ipc" | "--pid" | "--uts" | "--userns" | "--cgroupns" => Takes(Meaning::Own),
        "--privileged" => Refused(
            "a privileged server rules the machine",
            "leave it out, or name the one capability that it needs with `--cap-add`",
        ),
        "-d" | "--detach" => Refused("a server speaks over its input and output", OUT),
        "--add-host" => Takes(Meaning::AddHost),
        "--link" => Refused(
            "a session reaches no other container",
            "give the server the address of a service on the network",
        ),
        "--device" | "--gpus" | "--device-cgroup-rule" | "--volumes-from" | "--cgroup-parent" => {
            Refused(SHARED, "leave the server as it is where it needs that")
        }
        "--group-add" => Refused("berth has no such setting", "write user and group: `--user 1000:1000`"),
        "--dns" | "--dns-search" | "--dns-option" | "--ip" | "--ip6" | "--mac-address"
        | "--network-alias" => Refused("a session's network is the daemon's matter", OUT),
        "--runtime" | "--isolation" | "--sysctl" | "--storage-opt" | "--volume-driver" | "--userns-remap" => {
            Refused("how containers run is the daemon's matter", OUT)
        }
        _ => return None,
    })
}
