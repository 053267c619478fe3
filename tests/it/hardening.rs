//! What a server may see, use and touch, found out from inside its container.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mcp_berth::dock::dial::Endpoint;
use mcp_berth::dock::wire::{Request, Wire};
use serde_json::{Value, json};

use crate::dind::own::host;
use crate::harness::{Berth, Session, daemon, docker_says, expect_gone, home, inspect};

/// A tool's result if it did not fail; else what it said.
fn attempt(session: &mut Session, tool: &str, arguments: Value) -> Result<String, String> {
    let result = session.call(tool, arguments);
    let text = result["content"][0]["text"].as_str().unwrap().to_owned();
    if result["isError"] == true { Err(text) } else { Ok(text) }
}

fn read(session: &mut Session, path: &str) -> Result<String, String> {
    attempt(session, "read", json!({ "path": path }))
}

fn write(session: &mut Session, path: &str) -> Result<String, String> {
    attempt(session, "write", json!({ "path": path, "text": "text" }))
}

fn connect(session: &mut Session, address: &str, port: u16) -> Result<String, String> {
    attempt(session, "connect", json!({ "addr": address, "port": port }))
}

#[test]
fn privileges_are_dropped_and_limits_set_by_default() {
    let mut session = Berth::run("fixture").client("it-defaults").started();
    let limits = session.call("limits", json!({}))["structuredContent"].take();
    assert_eq!(limits["cap_eff"], "0000000000000000", "{limits}");
    assert_eq!(limits["cap_bnd"], "0000000000000000", "{limits}");
    assert_eq!(limits["no_new_privs"], true, "{limits}");
    assert_eq!(limits["seccomp"], "2", "a filter: {limits}");
    assert_eq!(limits["memory_bytes"], 512 << 20, "{limits}");
    assert_eq!(limits["cpus"], 1.0, "{limits}");
    assert_eq!(limits["pids"], 256, "{limits}");
    let mounts = read(&mut session, "/proc/self/mounts").unwrap();
    let tmp: Vec<&str> = mounts.lines().filter(|mount| mount.split(' ').nth(1) == Some("/tmp")).collect();
    let options: Vec<&str> = tmp[0].split(' ').nth(3).unwrap().split(',').collect();
    assert!(tmp.len() == 1 && tmp[0].starts_with("tmpfs "), "{tmp:?}");
    for option in ["size=262144k", "nosuid", "nodev", "noexec"] {
        assert!(options.contains(&option), "no {option} in {options:?}");
    }
    assert!(!mounts.contains("docker.sock"), "{mounts}");
}

#[test]
fn the_configurations_limits_are_the_kernels() {
    let mut session = Berth::run("limited").client("it-limited").started();
    let limits = session.call("limits", json!({}))["structuredContent"].take();
    assert_eq!(limits["memory_bytes"], 64 << 20, "{limits}");
    assert_eq!(limits["cpus"], 0.5, "{limits}");
    assert_eq!(limits["pids"], 32, "{limits}");
    assert_eq!(limits["root_read_only"], true, "{limits}");
    assert!(write(&mut session, "/new").unwrap_err().contains("Read-only file system"));
    write(&mut session, "/tmp/new").unwrap();
}

#[test]
fn flags_go_over_the_configuration() {
    let flags =
        ["--memory", "96m", "--cpus", "0.25", "--pids", "40", "--user", "1000:1000", "--cap-add", "NET_RAW"];
    let mut session = Berth::run("limited").client("it-flags").args(flags).start();
    session.initialize();
    let limits = session.call("limits", json!({}))["structuredContent"].take();
    assert_eq!(limits["memory_bytes"], 96 << 20, "{limits}");
    assert_eq!(limits["cpus"], 0.25, "{limits}");
    assert_eq!(limits["pids"], 40, "{limits}");
    assert_eq!(limits["uid"], "1000", "{limits}");
    assert_eq!(limits["cap_bnd"], "0000000000002000", "CAP_NET_RAW alone: {limits}");
}

#[test]
fn processes_are_bounded() {
    let mut session = Berth::run("limited").client("it-fork-bomb").started();
    let threads = session.call("threads", json!({ "count": 1000 }))["structuredContent"].take();
    let started = threads["started"].as_u64().unwrap();
    assert!(started < 32, "{threads}");
    assert!(threads["error"].as_str().is_some(), "{threads}");
    assert_eq!(session.call_text("echo", json!({ "text": "alive" })), "alive");
}

#[test]
fn memory_is_bounded_and_the_client_is_told() {
    let mut session = Berth::run("limited").client("it-memory").started();
    assert_eq!(session.call("eat", json!({ "bytes": 8 << 20 }))["isError"], false);
    let answer = session.request("tools/call", json!({ "name": "eat", "arguments": { "bytes": 256 << 20 } }));
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    let text = answer["error"]["message"].as_str().unwrap();
    for part in ["`limited`", "memory limit of 64 MiB", "raise `memory`"] {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
    assert_eq!(session.exit_code(), Some(137));
    expect_gone("it-memory");
}

#[test]
fn nothing_of_our_environment_gets_in() {
    let mut session = Berth::run("fixture")
        .client("it-ambient")
        .env("BERTH_TEST_AMBIENT", "1")
        .env("ANTHROPIC_API_KEY", "sk-ambient")
        .args(["--env", "BERTH_TEST_NAMED=${BERTH_TEST_AMBIENT}"])
        .start();
    session.initialize();
    let names = session.call("env", json!({}))["structuredContent"]["names"].take();
    let mut names: Vec<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    // What the image and the daemon set, and what was named.
    names.retain(|name| !["PATH", "HOME", "HOSTNAME"].contains(name));
    assert_eq!(names, ["BERTH_TEST_NAMED"]);
}

#[tokio::test]
async fn secrets_reach_the_server_and_nobody_else() {
    let hidden = "hunter2-in-the-test";
    let mut session = Berth::run("secretive")
        .client("it-secret")
        .env("BERTH_TEST_HIDDEN", hidden)
        .env("BERTH_TEST_PLAIN", "plain")
        .args(["--trace", "--trace-bodies"])
        .start();
    session.initialize();
    let mut value = |name| session.call("env", json!({ "name": name }))["structuredContent"]["value"].take();
    assert_eq!(value("HIDDEN"), hidden);
    assert_eq!(value("PLAIN"), "plain");
    session.expect_stderr("\"plain\"");
    assert!(!session.stderr().contains(hidden), "the trace shows it: {}", session.stderr());

    let container = session.container();
    let inspected = inspect(&container);
    assert_eq!(inspected["Config"]["Labels"]["io.mcp-berth.client"], "it-secret");
    assert!(!inspected.to_string().contains(hidden), "{inspected}");
    // The docker CLI has no inspection of an exec.
    let endpoint = Endpoint::parse("tcp://127.0.0.1:22376", Some(&home().join("certs"))).unwrap();
    let exec = inspected["ExecIDs"][0].as_str().unwrap();
    let request = Request::get("inspect the exec", exec, format!("/exec/{exec}/json"));
    let exec = Wire::connect(&endpoint).await.unwrap().call(&request).await.unwrap();
    let session_id = inspected["Config"]["Labels"]["io.mcp-berth.session"].as_str().unwrap();
    assert!(exec.to_string().contains(session_id), "the owner can be read there: {exec}");
    assert!(!exec.to_string().contains(hidden), "{exec}");
    assert!(!docker_says(&["top", &container, "-eo", "pid,args"]).contains(hidden));
}

#[test]
fn the_keeper_is_out_of_reach() {
    let mut session = Berth::run("fixture").client("it-keeper").started();
    // The same user as the keeper, which holds the lifeline at 0: whoever had it, too, could outlive the session.
    assert!(read(&mut session, "/proc/self/environ").unwrap().contains("PATH="));
    for path in ["/proc/1/fd/0", "/proc/1/environ", "/proc/1/mem"] {
        let denied = read(&mut session, path).unwrap_err();
        assert!(denied.contains("Permission denied"), "{path}: {denied}");
    }
    assert!(write(&mut session, "/proc/1/fd/0").unwrap_err().contains("Permission denied"));
    assert!(write(&mut session, "/proc/1/oom_score_adj").is_err());
    // Others run the same program from this volume.
    let place = inspect(&session.container())["Path"].as_str().unwrap().replace("/keeper", "");
    for name in ["new", "keeper", "keeper.bin"] {
        let path = &format!("{place}/{name}");
        let denied = write(&mut session, path).unwrap_err();
        assert!(denied.contains("Read-only file system"), "{path}: {denied}");
    }
    write(&mut session, "/new").unwrap();
}

/// The names of the network interfaces.
fn interfaces(session: &mut Session) -> Vec<String> {
    let table = read(session, "/proc/net/dev").unwrap();
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    // Some kernels give every namespace idle tunnel devices.
    names.filter(|name| !name.contains("tunl") && !name.contains("gre") && !name.contains("sit")).collect()
}

/// The container's own address, as the daemon wrote it for the container.
fn address(session: &mut Session) -> String {
    let hosts = read(session, "/etc/hosts").unwrap();
    let own = hosts.lines().rfind(|line| !line.contains(':') && !line.starts_with("127.")).unwrap();
    own.split_whitespace().next().unwrap().to_owned()
}

/// The default gateway: the daemon's end of the bridge.
fn gateway(session: &mut Session) -> String {
    let routes = read(session, "/proc/net/route").unwrap();
    let row = routes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row[1] == "00000000").unwrap();
    let bytes = u32::from_str_radix(row[2], 16).unwrap().to_le_bytes();
    bytes.map(|byte| byte.to_string()).join(".")
}

#[test]
fn without_a_network_there_is_nothing_but_itself() {
    let mut session = Berth::run("fixture").client("it-no-network").started();
    assert_eq!(interfaces(&mut session), ["lo"]);
    let refused = connect(&mut session, "192.0.2.1", 80).unwrap_err();
    assert!(refused.contains("unreachable"), "{refused}");
}

/// The fixture in a plain container on the host's engine, beside the daemon: a part of the world. Ends with its input.
pub(crate) fn world() -> (Session, String) {
    // Tests run at once in one process.
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    let name = format!("berth-test-world-{}-{}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
    let mut command = Command::new("docker");
    command.args(["run", "-i", "--rm", "--name", &name, "berth-fixture"]);
    let mut session = Berth::instead(command).start();
    session.initialize();
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let output =
        Command::new("docker").args(["inspect", "--format", format, &name]).stderr(Stdio::inherit()).output();
    let address = String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned();
    (session, address)
}

#[test]
fn egress_leads_out_and_not_across_or_to_the_daemon() {
    let (mut world, world_address) = world();
    world.call("listen", json!({ "port": 8080 }));
    let mut one = Berth::run("online").client("it-egress-1").started();
    let mut other = Berth::run("online").client("it-egress-2").started();
    assert_eq!(interfaces(&mut one).len(), 2);

    assert_eq!(connect(&mut one, &world_address, 8080).unwrap(), "connected", "out to the world");
    one.call("listen", json!({ "port": 8080 }));
    let own = address(&mut one);
    assert_ne!(own, address(&mut other));
    assert_eq!(connect(&mut one, &own, 8080).unwrap(), "connected", "it listens there");
    connect(&mut other, &own, 8080).unwrap_err();
    // The daemon itself listens on all of its addresses, with TLS.
    let gateway = gateway(&mut one);
    for port in [2376, 2375] {
        let blocked = connect(&mut one, &gateway, port).unwrap_err();
        assert!(blocked.contains("timed out"), "dropped, not answered: {blocked}");
    }
    world.close();
    world.wait();
}

#[test]
fn sessions_of_one_server_share_no_files_and_no_processes() {
    let mut one = Berth::run("fixture").client("it-apart-1").started();
    let mut other = Berth::run("fixture").client("it-apart-2").started();
    write(&mut one, "/tmp/mine").unwrap();
    write(&mut one, "/mine").unwrap();
    for path in ["/tmp/mine", "/mine"] {
        read(&mut one, path).unwrap();
        read(&mut other, path).unwrap_err();
    }
    // The keeper, and one server.
    let seen = docker_says(&["top", &other.container(), "-eo", "pid,args"]);
    assert_eq!(seen.lines().count(), 3, "{seen}");
    let pid = other.call("pid", json!({}))["structuredContent"]["pid"].as_u64().unwrap();
    assert!((2..1000).contains(&pid), "a process id of its own namespace: {pid}");
}

#[test]
fn orphans_are_reaped_by_the_keeper() {
    let mut session = Berth::run("fixture").client("it-orphan-process").started();
    for _ in 0..3 {
        session.call("orphan", json!({ "ms": 50 }));
    }
    crate::harness::eventually("the end of the orphans", Duration::from_secs(10), || {
        let left = docker_says(&["top", &session.container(), "-eo", "pid,args"]).lines().count();
        let zombies = session.call("zombies", json!({}))["structuredContent"]["zombies"].as_u64();
        (left == 3 && zombies == Some(0)).then_some(())
    });
}

#[test]
fn the_daemons_network_forwards_nothing_to_a_session() {
    daemon();
    let rules = host(&["exec", "berth-test-dind", "iptables", "-S"]);
    let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
    let bridges = host(&["exec", "berth-test-dind", "ebtables-nft", "-L", "FORWARD"]);
    let bridges = String::from_utf8_lossy(&bridges.stdout).into_owned();
    assert!(bridges.contains("policy: DROP"), "{bridges}");
    for rule in ["-P FORWARD DROP", "-A INPUT -j BERTH", "-A FORWARD -i docker0 -o docker0 -j DROP"] {
        assert!(rules.lines().any(|line| line == rule), "{rule} is missing in\n{rules}");
    }
}
