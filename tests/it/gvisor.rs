//! `isolation = "gvisor"`: a session in a kernel of its own is like any other, and its walls hold.
//!
//! Each test has a daemon of an image with `runsc`. The long examination of the same is `fixtures/matrix.sh`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use serde_json::{Value, json};

use crate::dind::own::{OwnDaemon, host};
use crate::hardening::world;
use crate::harness::{Berth, GONE_WITHIN, PATIENCE, Session, berth_says, daemon, eventually, home};
use crate::rewrite::roots_heard;

const SERVERS: &str = r#"
[servers.own]
image = "berth-fixture"
isolation = "gvisor"
network = "none"
on_failure = "exit"

[servers.online]
image = "berth-fixture"
isolation = "gvisor"
on_failure = "exit"

[servers.ahead]
image = "berth-fixture"
isolation = "gvisor"
network = "none"
standby = 1
prestart = true

[servers.ready]
image = "berth-fixture"
isolation = "gvisor"
network = "none"
standby = 1
standby_ttl = "1m"
"#;

struct Daemon(OwnDaemon);

impl Daemon {
    /// `dind` is more of that table.
    fn new(name: &str, port: u16, dind: &str) -> Self {
        let own = OwnDaemon::new(name, port);
        own.configure(&format!("port = {port}\nimage = \"berth-gvisor-dind\"\n{dind}\n{SERVERS}"));
        own.succeeds(&["up"]);
        Self(own)
    }

    fn start(&self, server: &str, client: &str, args: &[&str]) -> Session {
        let mut berth = Berth::run(server).client(client).env("BERTH_HOME", self.0.home_folder());
        for arg in args {
            berth = berth.args([*arg]);
        }
        let mut session = berth.start_without_daemon();
        session.initialize();
        session
    }

    /// Once each container has its name: a session is served before.
    fn rows(&self) -> Vec<Value> {
        let named = |rows: &Vec<Value>| rows.iter().all(|row| row["state"] != "starting");
        eventually("containers with names", PATIENCE, || Some(self.0.rows()).filter(named))
    }

    /// Waits until no container is left, nor anything that ran one.
    fn expect_empty(&self) {
        eventually("the end of all containers", GONE_WITHIN, || {
            self.0.inner(&["ps", "-aq"]).is_empty().then_some(())
        });
        let left = || {
            let found = host(&["exec", &self.0.name, "pgrep", "-fl", "runsc-|containerd-shim|keeper guard"]);
            String::from_utf8_lossy(&found.stdout).into_owned()
        };
        eventually("the end of what ran them", GONE_WITHIN, || left().is_empty().then_some(()));
    }
}

/// What a tool said, which must have failed.
fn refused(session: &mut Session, tool: &str, arguments: Value) -> String {
    let result = session.call(tool, arguments.clone());
    assert_eq!(result["isError"], true, "{tool} {arguments} was done: {result}");
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

fn write(session: &mut Session, path: &str) -> Result<(), String> {
    let result = session.call("write", json!({ "path": path, "text": "text" }));
    let text = result["content"][0]["text"].as_str().unwrap().to_owned();
    if result["isError"] == true { Err(text) } else { Ok(()) }
}

#[test]
fn a_session_with_a_kernel_of_its_own_is_like_any_other() {
    let daemon = Daemon::new("berth-test-dind-gvisor", 22451, "");

    // Which kernel it is, from inside, and by berth's own words.
    let mut session = daemon.start("own", "gvisor", &[]);
    let version = session.call_text("read", json!({ "path": "/proc/version" }));
    assert!(version.starts_with("Linux version 4.4.0 "), "{version}");
    let rows = daemon.rows();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&row["isolation"], &row["state"]), (&json!("gvisor"), &json!("active")));
    assert!(!row["session"].as_str().unwrap().is_empty(), "the keeper says whose it is: {row}");
    let script = "for of in $(pgrep -f '^runsc-(sandbox|gofer)'); do stat -c %u /proc/$of; done; cut -d: -f1 /berth/ids";
    let users = host(&["exec", &daemon.0.name, "sh", "-c", script]);
    let users = String::from_utf8_lossy(&users.stdout).into_owned();
    let users: Vec<u32> = users.lines().map(|user| user.parse().expect("a number")).collect();
    let [processes @ .., first] = users.as_slice() else { panic!("{users:?}") };
    let is_own = |user: &u32| (*first..first + 262_144).contains(user);
    assert!(processes.len() == 2 && processes.iter().all(is_own), "nobody of the machine: {users:?}");
    let container = row["name"].as_str().unwrap();
    assert!(daemon.0.inner(&["inspect", container]).contains("\"Runtime\": \"berth-gvisor\""));
    let report: Value =
        serde_json::from_str(&daemon.0.succeeds(&["doctor", "--json"])).expect("a healthy report");
    let lines = report["lines"].as_array().expect("lines").iter();
    let line = lines.into_iter().find(|line| line["name"] == "gvisor").expect("a line of it");
    assert_eq!(line["state"], "ok", "{line}");
    assert!(line["fact"].as_str().unwrap().contains("says it is gVisor"), "{line}");

    // The end of the input, and an exit code.
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    daemon.expect_empty();
    let mut session = daemon.start("own", "gvisor", &[]);
    session.send(&json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": { "name": "crash", "arguments": { "code": 3 } } }));
    let text = session.answer(5)["error"]["message"].as_str().unwrap().to_owned();
    assert!(text.contains("exited with code 3"), "{text}");
    drop(session);

    // The proxy is killed: the kernel goes as well.
    let mut session = daemon.start("own", "gvisor", &[]);
    session.call("ignore_eof", json!({}));
    session.kill();
    daemon.expect_empty();

    // What waits is taken by the next session, and its owner is shown.
    for server in ["ready", "ahead"] {
        let mut session = daemon.start(server, "gvisor-ready", &[]);
        // It runs once it has memory. A session that ends at once begins nothing that takes long.
        let waits = |row: &Value| row["state"] == "standby" && row["memory_bytes"] != 0;
        let one_waits = || daemon.rows().iter().any(waits).then_some(());
        eventually("a container on standby", PATIENCE, one_waits);
        session.close().wait();
        eventually("the end of its own", PATIENCE, || (daemon.rows().len() == 1).then_some(()));
        let mut session = daemon.start(server, "gvisor-ready", &["--trace"]);
        let how = if server == "ahead" { "prestarted" } else { "standby" };
        session.expect_stderr(&format!("up           {how} "));
        assert_eq!(session.call_text("echo", json!({ "text": server })), server);
        let rows = daemon.rows();
        let active = rows.iter().find(|row| row["state"] == "active").expect("its own");
        let id = active["session"].as_str().unwrap().to_owned();
        assert!(!id.is_empty(), "{active}");
        // The next one is made meanwhile, and would come after all is removed.
        eventually("the next container on standby", PATIENCE, one_waits);
        // `berth kill` reaches the keeper in that kernel.
        daemon.0.succeeds(&["kill", &id]);
        assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
        assert!(session.stderr().contains("was ended by `berth kill`"), "{}", session.stderr());
        session.wait();
        daemon.0.inner(&["ps", "-aq"]).lines().for_each(|id| drop(daemon.0.inner(&["rm", "-f", id])));
    }
    daemon.expect_empty();

    // A start that fails leaves nothing.
    let mut session = Berth::image("berth-fixture")
        .client("gvisor-fails")
        .env("BERTH_HOME", daemon.0.home_folder())
        .args(["--isolation", "gvisor", "--user", "nobody-knows-him", "--on-failure", "exit", "--", "/no"])
        .start_without_daemon();
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
    assert!(session.answer(1).get("error").is_some());
    drop(session);
    daemon.expect_empty();
}

#[test]
fn files_are_as_safe_as_in_any_container() {
    let files = tempfile::tempdir().expect("a folder");
    let folder = fs::canonicalize(files.path()).expect("a folder");
    let daemon =
        Daemon::new("berth-test-dind-gvisor-files", 22452, &format!("share = [\"{}\"]", folder.display()));
    let project = folder.join("project");
    fs::create_dir_all(project.join(".git/hooks")).unwrap();
    fs::write(project.join("file"), "here").unwrap();
    fs::create_dir(folder.join("look")).unwrap();
    fs::write(folder.join(".mcp.json"), "{}").unwrap();
    for path in ["project", "project/.git", "project/.git/hooks", "project/file"] {
        chown(folder.join(path), Some(1000), Some(1000)).unwrap();
    }
    let at = |path: &str, target: &str| format!("{}:{target}", folder.join(path).display());
    let mounts = ["--mount", &at("project", "/w:rw"), "--mount", &at("look", "/look")];
    for user in ["1000:1000", "0:0"] {
        let mut session = daemon.start("own", "gvisor-files", &[&mounts[..], &["--user", user]].concat());
        assert_eq!(session.call_text("read", json!({ "path": "/w/file" })), "here");
        let roots = json!([{ "uri": format!("file://{}", project.display()) }, { "uri": "file:///etc" }]);
        let heard = roots_heard(&mut session, &roots).to_string();
        assert!(heard.contains(r#""file:///w""#) && !heard.contains("/etc"), "{heard}");
        if user == "1000:1000" {
            write(&mut session, "/w/new").unwrap();
            let found = fs::metadata(project.join("new")).unwrap();
            assert_eq!((found.uid(), found.gid()), (1000, 1000), "the person's own");
        }
        // The names that the host obeys, what is only to be read, and the keeper's folder.
        assert!(write(&mut session, "/w/.git/hooks/pre-commit").is_err());
        assert!(write(&mut session, "/look/new").is_err());
        let place = daemon.0.inner(&["inspect", "--format", "{{.Path}}", &only(&daemon)]);
        assert!(write(&mut session, &place.replace("/keeper", "/new")).is_err());
        expect_read_only(&daemon, &["/w/.git", "/look", &place.replace("/keeper", "")]);
        write(&mut session, "/tmp/new").unwrap();
        session.close();
        assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    }
    daemon.expect_empty();

    // A program of the host replaces a protected name: the server lives no longer.
    let mut session = daemon.start("own", "gvisor-files", &[&mounts[..], &["--user", "1000:1000"]].concat());
    fs::rename(project.join(".git"), project.join("was")).unwrap();
    fs::create_dir_all(project.join(".git/hooks")).unwrap();
    fs::remove_dir_all(project.join("was")).unwrap();
    eventually("the end of the container", GONE_WITHIN, || {
        daemon.0.inner(&["ps", "-aq"]).is_empty().then_some(())
    });
    session.close();
    session.wait();
    assert!(fs::read_dir(project.join(".git/hooks")).unwrap().next().is_none());

    // Nobody ends one guard of a volume and has it beside its owner.
    let volume = ["--volume", "guarded:/data", "--stop-grace", "100ms"];
    let mut session = daemon.start("own", "gvisor-guarded", &volume);
    write(&mut session, "/data/kept").unwrap();
    host(&["exec", &daemon.0.name, "pkill", "-KILL", "-of", "keeper guard"]);
    eventually("the end of the container", GONE_WITHIN, || {
        daemon.0.inner(&["ps", "-aq"]).is_empty().then_some(())
    });
    session.close();
    session.wait();

    // A volume is kept, and one session at a time has it, whatever its isolation.
    let volume = ["--volume", "memory:/data", "--stop-grace", "100ms"];
    let mut session = daemon.start("own", "gvisor-volume", &volume);
    write(&mut session, "/data/kept").unwrap();
    for isolation in ["container", "gvisor"] {
        let mut other = Berth::run("own")
            .client("gvisor-volume")
            .env("BERTH_HOME", daemon.0.home_folder())
            .args(volume)
            .args(["--isolation", isolation])
            .start_without_daemon();
        other.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
        let text = other.answer(1)["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(text.contains("the volume `memory` is in use by `mcp-gvisor-volume-"), "{isolation}: {text}");
    }
    session.close();
    session.wait();
    let mut session = daemon.start("own", "gvisor-volume", &volume);
    assert_eq!(session.call_text("read", json!({ "path": "/data/kept" })), "text");
    session.close();
    session.wait();
    let mut session = daemon.start("own", "gvisor-read-only", &["--read-only"]);
    assert!(write(&mut session, "/new").unwrap_err().contains("Read-only"));
    write(&mut session, "/tmp/new").unwrap();
    session.close();
    session.wait();
    daemon.expect_empty();
}

/// The name of the only container.
fn only(daemon: &Daemon) -> String {
    let names = daemon.0.inner(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(names.lines().count(), 1, "{names}");
    names
}

/// Whether the daemon's own kernel has these read-only where gVisor gets its files from: a server that has broken into its
/// own kernel cannot write them either.
fn expect_read_only(daemon: &Daemon, paths: &[&str]) {
    let script = "cat /proc/$(pgrep -f ^runsc-gofer)/mountinfo";
    let list = host(&["exec", &daemon.0.name, "sh", "-c", script]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for path in paths {
        let options = list.lines().rev().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields.get(4) == Some(path)).then(|| fields[5].to_owned())
        });
        let options = options.unwrap_or_else(|| panic!("{path} is not mounted: {list}"));
        assert!(options.split(',').any(|option| option == "ro"), "{path}: {options}");
    }
}

#[test]
fn limits_hold_and_the_network_is_as_configured() {
    let daemon = Daemon::new("berth-test-dind-gvisor-limits", 22453, "");
    let mut session = daemon.start("own", "gvisor-limits", &["--memory", "64m", "--pids", "32"]);
    let threads = session.call("threads", json!({ "count": 1000 }))["structuredContent"].take();
    assert!(threads["started"].as_u64().unwrap() < 32, "{threads}");
    assert!(threads["error"].as_str().is_some(), "refused in order: {threads}");
    assert_eq!(session.call("eat", json!({ "bytes": 8 << 20 }))["isError"], false);
    let answer = session.request("tools/call", json!({ "name": "eat", "arguments": { "bytes": 256 << 20 } }));
    let text = answer["error"]["message"].as_str().unwrap();
    assert!(text.contains("memory limit of 64 MiB"), "{text}");
    drop(session);

    let mut session = daemon.start("own", "gvisor-limits", &["--pids", "32"]);
    session.call("fork", json!({}));
    let processes = || {
        let script = "cat /sys/fs/cgroup/pids/docker/*/pids.current /sys/fs/cgroup/docker/*/pids.current";
        let found = host(&["exec", &daemon.0.name, "sh", "-c", script]);
        String::from_utf8_lossy(&found.stdout).lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0)
    };
    for _ in 0..20 {
        assert_eq!(session.call_text("echo", json!({ "text": "alive" })), "alive");
        let processes: u32 = processes();
        assert!(processes <= 32 * 3 + 128, "{processes} processes");
    }
    session.close();
    session.wait();
    daemon.expect_empty();

    let mut session = daemon.start("own", "gvisor-network", &[]);
    let said = refused(&mut session, "connect", json!({ "addr": "192.0.2.1", "port": 80 }));
    assert!(said.contains("No route"), "{said}");
    drop(session);
    let mut one = daemon.start("online", "gvisor-network-1", &[]);
    let mut other = daemon.start("online", "gvisor-network-2", &[]);
    let gateway =
        daemon.0.inner(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
    assert_eq!(one.call("connect", json!({ "addr": gateway, "port": 53 }))["isError"], false, "names");
    let said = refused(&mut one, "connect", json!({ "addr": gateway, "port": 2376 }));
    assert!(said.contains("timed out"), "dropped, not answered: {said}");
    one.call("listen", json!({ "port": 8080 }));
    let hosts = one.call_text("read", json!({ "path": "/etc/hosts" }));
    let own = hosts.lines().rfind(|line| !line.contains(':') && !line.starts_with("127.")).unwrap();
    let own = own.split_whitespace().next().unwrap();
    assert_eq!(
        one.call("connect", json!({ "addr": own, "port": 8080 }))["isError"],
        false,
        "it listens there"
    );
    refused(&mut other, "connect", json!({ "addr": own, "port": 8080 }));

    // A container of the host's engine is the local network's.
    let (mut world, address) = world();
    world.call("listen", json!({ "port": 8080 }));
    let mut lan = daemon.start("online", "gvisor-lan", &["--network", "lan"]);
    let there = json!({ "addr": address, "port": 8080 });
    assert_eq!(lan.call("connect", there.clone())["isError"], false, "it was asked for");
    let said = refused(&mut one, "connect", there);
    assert!(said.contains("No route"), "refused at once: {said}");
    let closed = || host(&["exec", &daemon.0.name, "ls", "/run/berth/closed"]).stdout;
    assert_eq!(
        closed().split(|byte| *byte == b'\n').filter(|id| !id.is_empty()).count(),
        2,
        "both, and no third"
    );
    for mut session in [one, other, lan, world] {
        session.close();
        session.wait();
    }
    daemon.expect_empty();
    assert!(closed().is_empty(), "{}", String::from_utf8_lossy(&closed()));
    let pid = host(&["inspect", "--format", "{{.State.Pid}}", &daemon.0.name]).stdout;
    let pid = String::from_utf8_lossy(&pid).trim().to_owned();
    let rules =
        Command::new("nsenter").args(["-t", &pid, "-n", "ip", "rule"]).output().expect("nsenter runs");
    let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
    assert!(rules.contains("main") && !rules.contains("117"), "its addresses are others' soon: {rules}");
}

#[test]
fn who_cannot_have_it_is_told_so() {
    daemon();
    let mut session = Berth::run("fixture").client("it-no-gvisor").args(["--isolation", "gvisor"]).start();
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
    let text = session.answer(1)["error"]["message"].as_str().unwrap().to_owned();
    for part in ["its image has no `runsc`", "`berth help isolation`"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(session.exit_code(), Some(78));

    let (code, _, said) =
        berth_says(&["run", "fixture", "--isolation", "gvisor", "--network", "allow=example.org"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("no forwarder listens in a kernel of its own"), "{said}");

    let folder = tempfile::tempdir().expect("a folder");
    let certs = home().join("certs");
    let config = format!(
        "[dind]\nhost = \"tcp://127.0.0.1:22376\"\ncerts = \"{}\"\n[servers.own]\nimage = \"berth-fixture\"\nisolation = \"gvisor\"\n",
        certs.display()
    );
    fs::write(folder.path().join("berth.toml"), config).expect("a configuration");
    let file = folder.path().join("berth.toml");
    let (code, _, said) = berth_says(&["run", "own", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("a daemon that berth did not make"), "{said}");
}
