//! The daemon itself: made, repaired, taken down, and who may speak to it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Berth, GONE_WITHIN, Session, berth, berth_says, daemon, eventually, home};

/// A daemon of one test's own, taken down with its volume when the test ends.
struct OwnDaemon {
    home: tempfile::TempDir,
    name: String,
}

impl OwnDaemon {
    fn new(name: &str, port: u16) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let config = format!(
            "[dind]\nname = \"{name}\"\nimage = \"berth-dind\"\nport = {port}\n\
             [servers.fixture]\nimage = \"berth-fixture\"\nnetwork = \"none\"\n"
        );
        std::fs::write(home.path().join("berth.toml"), config).expect("a configuration");
        Self { home, name: name.to_owned() }
    }

    fn command(&self) -> Command {
        let mut command = berth();
        command.env("BERTH_HOME", self.home.path());
        command
    }

    fn says(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("berth runs")
    }

    fn succeeds(&self, args: &[&str]) -> String {
        let output = self.says(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// The container's id on the host's engine; `None` if there is none.
    fn container(&self) -> Option<String> {
        let output = host(&["ps", "-aq", "--no-trunc", "--filter", &format!("name=^{}$", self.name)]);
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!id.is_empty()).then_some(id)
    }

    fn session(&self, client: &str) -> Session {
        let home = self.home.path().to_str().expect("a plain path").to_owned();
        let mut session =
            Berth::run("fixture").client(client).env("BERTH_HOME", &home).start_without_daemon();
        session.initialize();
        session
    }
}

impl Drop for OwnDaemon {
    fn drop(&mut self) {
        self.says(&["down", "--volumes", "--force"]);
    }
}

/// The docker CLI on the host's engine.
fn host(args: &[&str]) -> Output {
    let mut docker = Command::new("docker");
    docker.args(args).stderr(Stdio::null());
    docker.output().expect("the docker CLI runs")
}

#[test]
fn up_repairs_what_crashed_and_changes_nothing_twice_and_down_leaves_nothing() {
    let own = OwnDaemon::new("berth-test-dind-own", 22377);
    assert_eq!(own.says(&["status"]).status.code(), Some(69), "not up yet");
    own.succeeds(&["up"]);
    let first = own.container().expect("a container");
    own.succeeds(&["up"]);
    assert_eq!(own.container().as_deref(), Some(first.as_str()), "up twice changes nothing");

    host(&["kill", &own.name]);
    assert_eq!(own.says(&["status"]).status.code(), Some(69));
    own.succeeds(&["up"]);
    let status: Value = serde_json::from_str(&own.succeeds(&["status", "--json"])).expect("JSON");
    assert_eq!(status["healthy"], true, "{status}");
    own.session("own").call("echo", json!({ "text": "repaired" }));

    std::fs::remove_dir_all(own.home.path().join("certs")).expect("certificates");
    assert_eq!(own.says(&["status"]).status.code(), Some(69), "nobody can speak to it now");
    own.succeeds(&["up"]);
    own.session("own").call("echo", json!({ "text": "new certificates" }));

    // The last session was killed a moment ago; its container is about to go.
    eventually("the end of the last session", GONE_WITHIN, || {
        own.says(&["down"]).status.success().then_some(())
    });
    assert_eq!(own.container(), None);
    own.succeeds(&["down", "--volumes"]);
    let volumes = host(&["volume", "ls", "-q", "--filter", &format!("name={}", own.name)]);
    assert!(volumes.stdout.is_empty(), "{}", String::from_utf8_lossy(&volumes.stdout));
}

#[test]
fn a_restart_of_the_daemon_answers_what_is_in_flight_and_leaves_no_container() {
    let own = OwnDaemon::new("berth-test-dind-restart", 22378);
    own.succeeds(&["up"]);
    let mut session = own.session("restarted");
    session.send(&json!({
        "jsonrpc": "2.0", "id": "doomed", "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 60_000 } },
    }));
    std::thread::sleep(Duration::from_millis(200));
    assert!(own.says(&["down"]).status.code() == Some(69), "a session is active; only --force ends it");
    host(&["restart", "-t", "2", &own.name]);
    let answer = session.answer("doomed");
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    assert_eq!(session.exit_code(), Some(69));
    eventually("the daemon's return", Duration::from_secs(30), || {
        own.says(&["status"]).status.success().then_some(())
    });
    assert_eq!(own.succeeds(&["ps", "--json"]).trim(), "[]");
    assert!(own.succeeds(&["gc"]).contains("nothing"), "no container outlived the restart");
}

#[test]
fn nobody_speaks_to_the_daemon_without_a_certificate() {
    daemon();
    let curl = |args: &[&str]| {
        let mut command = Command::new("docker");
        for name in ["DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_CONTEXT"] {
            command.env_remove(name);
        }
        command.args(args).output().expect("the docker CLI runs")
    };
    let tls_without_certificate = curl(&["--tls", "-H", "tcp://127.0.0.1:22376", "info"]);
    assert!(!tls_without_certificate.status.success());
    let plain = curl(&["-H", "tcp://127.0.0.1:22376", "version"]);
    assert!(!plain.status.success());

    let mut stream = TcpStream::connect("127.0.0.1:22376").expect("the port is open");
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains("200 OK"), "{answer}");
    assert!(TcpStream::connect("127.0.0.1:22375").is_err(), "no plain port");
}

#[test]
fn keys_are_the_owners_alone() {
    daemon();
    let certs = home().join("certs");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&certs), 0o700);
    for key in ["key.pem", "ca-key.pem", "server-key.pem"] {
        assert_eq!(mode(&certs.join(key)), 0o600, "{key}");
    }
}

#[test]
fn the_docker_cli_can_be_pointed_at_the_daemon() {
    daemon();
    let (code, said, _) = berth_says(&["env"]);
    assert_eq!(code, Some(0));
    let script = format!("{said}\ndocker info --format '{{{{.Name}}}}'");
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "berth-test-dind");
}

#[test]
fn the_daemon_runs_without_privileges_it_does_not_need() {
    daemon();
    let output = host(&["inspect", "berth-test-dind"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let config = &found[0]["HostConfig"];
    assert_eq!(config["Privileged"], false);
    assert_eq!(config["CapDrop"], json!(["ALL"]));
    assert_eq!(config["CapAdd"].as_array().map(Vec::len), Some(17), "{}", config["CapAdd"]);
    assert_eq!(config["Binds"], Value::Null, "nothing of the host is mounted");
    assert_eq!(config["RestartPolicy"]["Name"], "unless-stopped");
    let ports = &config["PortBindings"];
    assert_eq!(ports.as_object().map(serde_json::Map::len), Some(1), "{ports}");
    assert_eq!(ports["2376/tcp"][0]["HostIp"], "127.0.0.1");
}
