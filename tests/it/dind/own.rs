//! A daemon of one test's own, and the engine that holds it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Berth, GONE_WITHIN, Session, berth, eventually};

/// A daemon of one test's own, taken down with its volume when the test ends.
pub(crate) struct OwnDaemon {
    pub(super) home: tempfile::TempDir,
    pub(crate) name: String,
}

impl OwnDaemon {
    pub(crate) fn new(name: &str, port: u16) -> Self {
        let own = Self { home: tempfile::tempdir().expect("a folder"), name: name.to_owned() };
        own.configure(&format!("port = {port}"));
        own
    }

    /// `dind` is the rest of that table.
    pub(crate) fn configure(&self, dind: &str) {
        let of_table = dind.split('[').next().unwrap_or_default();
        let image = if of_table.contains("image = ") { "" } else { "image = \"berth-dind\"\n" };
        let config = format!(
            "[dind]\nname = \"{}\"\n{image}{dind}\n\
             [defaults]\nstandby = 0\n[servers.fixture]\nimage = \"berth-fixture\"\nnetwork = \"none\"\n",
            self.name
        );
        std::fs::write(self.home.path().join("berth.toml"), config).expect("a configuration");
    }

    pub(crate) fn home_folder(&self) -> &str {
        self.home.path().to_str().expect("a plain path")
    }

    pub(crate) fn certs(&self) -> PathBuf {
        self.home.path().join("certs")
    }

    /// Has a command fail, and gives what it says.
    pub(crate) fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.says(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        text
    }

    /// What a successful `up` did.
    pub(crate) fn up(&self) -> String {
        let output = self.says(&["up"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text
    }

    /// Waits until the sessions that were killed a moment ago have gone.
    pub(crate) fn until_nobody(&self) {
        eventually("the end of the sessions", GONE_WITHIN, || self.rows().is_empty().then_some(()));
    }

    /// What `berth ps` shows.
    pub(crate) fn rows(&self) -> Vec<Value> {
        serde_json::from_str(&self.succeeds(&["ps", "--json"])).expect("JSON")
    }

    /// Waits until a session's container has its number: it is served before.
    pub(crate) fn until_named(&self, name: &str) {
        eventually(name, GONE_WITHIN, || self.rows().iter().any(|row| row["name"] == name).then_some(()));
    }

    /// Sends a signal to the dockerd in the container.
    pub(super) fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} \"$(cat /var/run/docker.pid)\"");
        assert!(host(&["exec", &self.name, "sh", "-c", &script]).status.success());
    }

    /// Which run of which container it is.
    pub(super) fn run_id(&self) -> String {
        let output = host(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &self.name]);
        assert!(output.status.success(), "there is no `{}`", self.name);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = berth();
        command.env("BERTH_HOME", self.home.path());
        command
    }

    pub(crate) fn says(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("berth runs")
    }

    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.says(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// The same, which takes at once for a crash's what does not run.
    pub(crate) fn impatient(&self) -> Command {
        let mut command = self.command();
        command.env("BERTH_STALE_AFTER", "0s");
        command
    }

    /// What an impatient `berth gc` says.
    pub(crate) fn swept(&self) -> String {
        let output = self.impatient().arg("gc").output().expect("berth runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The docker CLI on this daemon.
    pub(crate) fn inner(&self, args: &[&str]) -> String {
        let script = format!("{}\nexec docker \"$@\"", self.succeeds(&["env"]));
        let output = Command::new("sh").args(["-ec", &script, "sh"]).args(args).output().expect("sh runs");
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The container's id on the host's engine; `None` if there is none.
    pub(crate) fn container(&self) -> Option<String> {
        let output = host(&["ps", "-aq", "--no-trunc", "--filter", &format!("name=^{}$", self.name)]);
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!id.is_empty()).then_some(id)
    }

    pub(crate) fn session(&self, client: &str) -> Session {
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
pub(crate) fn host(args: &[&str]) -> Output {
    let mut docker = Command::new("docker");
    docker.args(args).stderr(Stdio::null());
    docker.output().expect("the docker CLI runs")
}

/// A host's engine at an address that is not this machine's loopback, as a remote one would be.
pub(super) fn remote_engine() -> String {
    let own = Command::new("hostname").arg("-I").output().expect("hostname runs");
    let own = String::from_utf8_lossy(&own.stdout).into_owned();
    let address = own.split_whitespace().find(|address| address.contains('.')).expect("docker0 has one");
    let listener = TcpListener::bind((address, 0)).expect("an address of this machine");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let engine = UnixStream::connect("/var/run/docker.sock").expect("the host's engine");
            let (mut from, mut to) =
                (stream.try_clone().expect("a socket"), engine.try_clone().expect("a socket"));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || {
                let (mut from, mut to) = (engine, stream);
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    format!("tcp://{address}:{port}")
}

/// Two at once would end each other's start.
#[test]
fn each_daemon_of_a_test_has_a_port_of_its_own() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")];
    let mut ports = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap();
            for (name, after) in
                text.split("\"berth-test-").skip(1).filter_map(|rest| rest.split_once("\", "))
            {
                let digits = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
                if let Ok(port) = after[..digits].parse::<u16>() {
                    let other = ports.insert(port, name.to_owned());
                    assert_eq!(other, None, "{port} is `{name}`'s, too ({})", entry.display());
                }
            }
        }
    }
    assert!(ports.len() > 30, "{ports:?}");
}
