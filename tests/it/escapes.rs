//! Ways out of a container, tried from inside: each is refused, or ends only that container.

mod door;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Berth, Session, docker_says, expect_gone, own_kernel};

/// What a tool said, which must have failed.
fn refused(session: &mut Session, tool: &str, arguments: Value) -> String {
    let result = session.call(tool, arguments.clone());
    assert_eq!(result["isError"], true, "{tool} {arguments} was done: {result}");
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

fn names(session: &mut Session, path: &str) -> Vec<String> {
    let list = session.call("list", json!({ "path": path }));
    let names = list["structuredContent"]["names"].as_array().unwrap_or_else(|| panic!("{path}: {list}"));
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn other_processes_are_not_to_be_seen() {
    let mut one = Berth::run("fixture").client("it-proc-1").started();
    let mut other = Berth::run("fixture").client("it-proc-2").started();
    for session in [&mut one, &mut other] {
        let own = session.call("pid", json!({}))["structuredContent"]["pid"].to_string();
        let mut seen = names(session, "/proc");
        seen.retain(|name| name.parse::<u32>().is_ok());
        seen.sort();
        assert_eq!(seen, ["1".to_owned(), own], "the keeper and itself");
    }
}

#[test]
fn the_keeper_takes_no_debugger_and_no_signal() {
    let mut session = Berth::run("fixture").client("it-signals").started();
    let mut other = Berth::run("fixture").client("it-signals-beside").started();
    let denied = refused(&mut session, "debug", json!({ "pid": 1 }));
    assert!(denied.contains("not permitted"), "{denied}");
    for signal in 1..=64 {
        session.call("signal", json!({ "pid": 1, "signal": signal }));
    }
    // One of them announces a claim, which a keeper that is claimed already must not wait for.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(session.call_text("echo", json!({ "text": "alive" })), "alive");
    let state = session.call_text("read", json!({ "path": "/proc/1/stat" }));
    assert_eq!(state.split(' ').nth(2), Some("S"), "not stopped: {state}");

    session.close();
    session.wait();
    expect_gone("it-signals");
    assert_eq!(other.call_text("echo", json!({ "text": "unharmed" })), "unharmed");
}

/// What takes processor time or limits from a process of the same user.
const STARVE: &str = r#"
    for call in "chrt --batch --pid 0" "chrt --idle --pid 0" "taskset -p 1" "ionice -c 3 -p" "renice -n 19 -p" \
        "prlimit --nofile=99:99 --pid"; do
        for pid in 1 $$; do
            $call $pid >/dev/null 2>/tmp/said && echo "tried $call: done" >&2 || echo "tried $call: $(cat /tmp/said)" >&2
        done
    done
    renice -n 19 -u $(id -u) 2>&1 | sed 's/^/tried renice -u: /' >&2
    echo "all was tried" >&2
    exec cat"#;

#[test]
fn the_keeper_keeps_its_processor_time() {
    let mut session =
        Berth::image("berth-everything").client("it-starve").args(["--", "sh", "-c", STARVE]).start();
    session.expect_stderr("all was tried");
    let said = session.stderr();
    let tried: Vec<&str> = said.lines().filter(|line| line.starts_with("tried ")).collect();
    assert_eq!(tried.len(), 13, "{said}");
    for pair in tried[..12].chunks(2) {
        assert!(pair[0].contains("Operation not permitted"), "{pair:?}");
        // gVisor knows few of these calls.
        assert!(pair[1].ends_with(": done") || own_kernel(), "its own: {pair:?}");
    }
    assert!(tried[12].contains("Operation not permitted"), "{}", tried[12]);
    session.close();
    expect_gone("it-starve");
}

#[test]
fn the_kernels_switches_are_out_of_reach() {
    let mut session = Berth::run("fixture").client("it-switches").started();
    let before = session.call("limits", json!({}))["structuredContent"].take();
    // Version 2 has the files here, version 1 in a folder for each controller.
    let groups = names(&mut session, "/sys/fs/cgroup");
    let switches = |file: &str| {
        let of = |group: &String| {
            if group == file {
                format!("/sys/fs/cgroup/{file}")
            } else {
                format!("/sys/fs/cgroup/{group}/{file}")
            }
        };
        groups.iter().map(of).collect::<Vec<_>>()
    };
    // A kernel of the container's own has groups of its own, which limit nothing but the container.
    let shared = [&["memory.max", "memory.limit_in_bytes"][..], &["pids.max"], &["cgroup.procs"]];
    for files in shared.into_iter().filter(|_| !own_kernel()) {
        let said = files.iter().flat_map(|file| switches(file));
        let said: Vec<_> =
            said.map(|path| refused(&mut session, "write", json!({ "path": path, "text": "1" }))).collect();
        // Its own root is nobody to these files. For the machine's root they are read-only all the same.
        let refused = |said: &String| ["Read-only", "Permission denied"].iter().any(|why| said.contains(why));
        assert!(said.iter().any(refused), "{files:?} are nowhere: {said:?}");
    }
    let mounts = session.call_text("read", json!({ "path": "/proc/self/mounts" }));
    for mount in mounts.lines().filter(|mount| mount.contains(" cgroup") && !own_kernel()) {
        let [_, path, _, options, ..] = mount.split(' ').collect::<Vec<_>>()[..] else { panic!("{mount}") };
        let is_bare = path == "/sys/fs/cgroup" && mount.contains(" tmpfs ");
        assert!(is_bare || options.split(',').any(|option| option == "ro"), "{mount}");
    }
    for path in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/memory/release_agent",
    ] {
        refused(&mut session, "write", json!({ "path": path, "text": "1" }));
    }
    assert_eq!(session.call("limits", json!({}))["structuredContent"], before);
    // The host's memory, where the kernel has this file at all, and its disks.
    let memory = session.call_text("read", json!({ "path": "/proc/kcore" }));
    assert!(memory.is_empty() || memory.contains("No such file"), "{} bytes", memory.len());
    let mut devices = names(&mut session, "/dev");
    assert!(devices.contains(&"null".to_owned()), "{devices:?}");
    let usual = [
        "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    devices.retain(|name| !usual.contains(&name.as_str()));
    // Of gVisor's own making, without the daemon's kernel.
    devices.retain(|name| !(own_kernel() && ["fuse", "net"].contains(&name.as_str())));
    assert_eq!(devices, [""; 0]);
}

#[test]
fn the_daemon_answers_at_none_of_its_addresses() {
    let host = [
        "run",
        "--rm",
        "--network",
        "host",
        "--userns",
        "host",
        "--entrypoint",
        "hostname",
        "berth-everything",
        "-I",
    ];
    let addresses = docker_says(&host);
    let addresses: Vec<&str> =
        addresses.split_whitespace().filter(|address| !address.contains(':')).collect();
    assert!(addresses.len() > 1, "one of its own, and the gateway of the sessions: {addresses:?}");
    let mut session = Berth::run("online").client("it-daemon-port").started();
    for address in addresses {
        let said = refused(&mut session, "connect", json!({ "addr": address, "port": 2376 }));
        assert!(said.contains("timed out"), "dropped, not answered: {address}: {said}");
    }
    for socket in ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"] {
        let said = refused(&mut session, "read", json!({ "path": socket }));
        assert!(said.contains("No such file"), "{socket}: {said}");
    }
}
