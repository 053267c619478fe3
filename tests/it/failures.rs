//! No server: the client hears the cause and the next command, the exit code agrees, and nothing is left.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Berth, Session, berth, daemon, eventually, expect_gone, home};

/// A folder with a configuration of the test's own; everything of berth's is in there.
struct Home(TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("berth.toml"), config).unwrap();
        Self(folder)
    }

    /// The tests' daemon as a foreign one, at another address and with other certificates if need be.
    fn of_daemon(address: &str, certs: &Path, servers: &str) -> Self {
        daemon();
        Self::new(&format!("[dind]\nhost = \"{address}\"\ncerts = \"{}\"\n{servers}", certs.display()))
    }

    fn run(&self, server: &str, client: &str) -> Berth {
        Berth::run(server).client(client).env("BERTH_HOME", self.0.path().to_str().unwrap())
    }
}

const DAEMON: &str = "tcp://127.0.0.1:22376";
const FIXTURE: &str = "[servers.fixture]\nimage = \"berth-fixture\"\n";

fn certs() -> PathBuf {
    home().join("certs")
}

/// Where nobody listens: one that the kernel chose and was let go may be another's in a moment.
const CLOSED: &str = "tcp://127.0.0.1:1";

fn initialize(session: &mut Session) {
    session.send(&json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } },
    }));
}

/// Starts without caring for a daemon, asks once, and expects an error that contains all of `parts`, the same on
/// standard error, the exit code, and no container.
fn fails(run: Berth, code: i32, parts: &[&str]) {
    ends(run, code, code, parts);
}

/// The same, with an exit code that may be the server's own.
fn ends(run: Berth, code: i32, exit_code: i32, parts: &[&str]) {
    let mut session = run.start_without_daemon();
    initialize(&mut session);
    let answer = session.answer(0);
    assert_eq!(answer["error"]["code"], code, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
    assert_eq!(session.exit_code(), Some(exit_code));
    session.expect_stderr(message);
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new(), "one answer, and nothing else");
    daemon();
    expect_gone(session.client());
}

#[test]
fn nobody_has_started_a_daemon_yet() {
    let home = Home::new(FIXTURE);
    fails(home.run("fixture", "it-no-up"), 78, &["cannot read the certificate", "ca.pem", "`berth up`"]);
}

#[test]
fn nobody_has_said_which_cluster() {
    let home = Home::new(&format!(
        "[defaults]\nbackend = \"kubernetes\"\n{FIXTURE}command = [\"/berth-fixture\"]\n"
    ));
    let run = home.run("fixture", "it-no-cluster").env("KUBECONFIG", "/nowhere/config");
    fails(run, 78, &["there is no kubeconfig", "set `kubeconfig` in [kubernetes]"]);
}

#[test]
fn the_daemon_is_down() {
    let home = Home::of_daemon(CLOSED, &certs(), FIXTURE);
    let parts = [CLOSED, "onnection refused", "`berth up`", "`berth status`"];
    fails(home.run("fixture", "it-down"), 69, &parts);
}

#[test]
fn the_daemon_does_not_answer() {
    // Connections are accepted by the kernel, and by nobody else.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let servers = format!("[defaults]\nconnect_timeout = \"700ms\"\n{FIXTURE}");
    let home = Home::of_daemon(&address, &certs(), &servers);
    fails(home.run("fixture", "it-silent"), 69, &[&address, "did not answer within 700ms", "`berth status`"]);
}

#[test]
fn the_image_is_missing() {
    let home =
        Home::of_daemon(DAEMON, &certs(), "[servers.absent]\nimage = \"berth-image-that-is-nowhere\"\n");
    fails(home.run("absent", "it-absent"), 78, &["`berth-image-that-is-nowhere`", "`berth up`"]);
}

/// The tests' authority, and a client's certificate that it never signed.
fn stranger(expired: bool) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["berth".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = if expired { date_time_ymd(2021, 2, 3) } else { date_time_ymd(2096, 1, 1) };
    let cert = params.self_signed(&key).unwrap();
    daemon();
    fs::copy(certs().join("ca.pem"), folder.path().join("ca.pem")).unwrap();
    fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    folder
}

#[test]
fn the_certificate_has_expired() {
    let certs = stranger(true);
    let home = Home::of_daemon(DAEMON, certs.path(), FIXTURE);
    fails(home.run("fixture", "it-expired"), 78, &["cert.pem", "expired on", "2021", "`berth up`"]);
}

#[test]
fn the_daemon_does_not_trust_the_certificate() {
    let certs = stranger(false);
    let home = Home::of_daemon(DAEMON, certs.path(), FIXTURE);
    let parts = ["does not accept berth's certificate", "UnknownCA", "`berth up`", "`certs` in [dind]"];
    fails(home.run("fixture", "it-stranger"), 78, &parts);
}

#[test]
fn the_server_is_not_in_the_configuration() {
    fails(Berth::run("fixtrue").client("it-unknown"), 78, &["`fixtrue`", "did you mean `fixture`?"]);
    let home = Home::new("");
    let parts = ["`fixture`", "[servers.fixture]", "`berth run --image IMAGE`"];
    fails(home.run("fixture", "it-unknown"), 78, &parts);
}

#[test]
fn the_configuration_has_a_mistake() {
    let home = Home::new("[servers.fixture]\nimage = \"berth-fixture\"\nmemroy = \"64m\"\n");
    let place = format!("{}:3", home.0.path().join("berth.toml").display());
    fails(home.run("fixture", "it-mistake"), 78, &[&place, "`memroy`", "`memory`"]);
    // Also where `--config` names the file.
    let file = home.0.path().join("berth.toml");
    let run = Berth::run("fixture").client("it-mistake").args(["--config", file.to_str().unwrap()]);
    fails(run, 78, &[&place]);
    fails(
        Berth::run("fixture").client("it-mistake").args(["--config", "/nowhere.toml"]),
        78,
        &["/nowhere.toml"],
    );
}

#[test]
fn a_variable_is_missing() {
    let parts = ["`secretive`", "`BERTH_TEST_HIDDEN`", "berth.toml:"];
    fails(Berth::run("secretive").client("it-variable"), 78, &parts);
}

#[test]
fn the_server_exits_at_once() {
    let parts =
        ["`broken` exited with code 3", "fixture: exiting with code 3, as FIXTURE_EXIT says", "--dry-run"];
    ends(Berth::run("broken").client("it-broken"), 69, 3, &parts);
}

#[test]
fn the_command_is_not_in_the_image() {
    let run = Berth::image("berth-fixture").client("it-no-command").args(["--", "/nope"]);
    ends(run, 69, 127, &["exited with code 127", "cannot run `/nope`", "`berth run --dry-run`"]);
}

#[test]
fn a_probe_is_answered_and_so_is_the_question_behind_it() {
    let mut session = Berth::run("fixtrue").client("it-probe").start();
    session.send(&json!({
        "jsonrpc": "2.0", "id": "server-discover-probe-1", "method": "server/discover", "params": {},
    }));
    let probe = session.message();
    assert_eq!((&probe["id"], &probe["error"]["code"]), (&json!("server-discover-probe-1"), &json!(78)));
    // The client makes up its mind.
    assert_eq!(session.line_within(Duration::from_millis(1500)), None);
    initialize(&mut session);
    let answer = session.answer(0);
    assert_eq!(answer["error"], probe["error"]);
    assert_eq!(session.exit_code(), Some(78));
}

#[test]
fn without_a_question_the_exit_code_tells() {
    let absent = Home::of_daemon(CLOSED, &certs(), FIXTURE);
    for (run, code, text) in [
        (Berth::run("fixtrue").client("it-silent-end"), 78, "did you mean"),
        (absent.run("fixture", "it-silent-end"), 69, "onnection refused"),
        (Berth::run("broken").client("it-silent-end"), 3, "exited with code 3"),
    ] {
        let mut session = run.start();
        session.expect_stderr(text);
        assert_eq!(session.line_within(Duration::ZERO), None);
        session.close();
        assert_eq!(session.exit_code(), Some(code));
        assert_eq!(session.rest(), Vec::<Vec<u8>>::new(), "nobody asked");
    }
    expect_gone("it-silent-end");
}

#[test]
fn notifications_and_answers_get_no_error() {
    let mut session = Berth::run("fixtrue").client("it-notified").start();
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    session.send(&json!([
        { "jsonrpc": "2.0", "id": "a", "method": "x" },
        { "jsonrpc": "2.0", "method": "n" },
        { "jsonrpc": "2.0", "id": "b", "method": "x" },
    ]));
    let ids: Vec<Value> = (0..2).map(|_| session.message()["id"].take()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(session.exit_code(), Some(78));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_person_at_a_terminal_sees_the_error_without_typing() {
    let berth = berth();
    let mut command = Command::new("script");
    let line = format!("'{}' run fixtrue --client it-terminal", berth.get_program().display());
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.envs(berth.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Its own input stays open, and nothing is typed.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("util-linux's script runs");
    let keyboard = child.stdin.take();
    eventually("the end without a key", Duration::from_secs(10), || child.try_wait().unwrap());
    drop(keyboard);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("did you mean `fixture`?"), "{text}");
    assert!(!text.contains("jsonrpc"), "nobody asked in JSON: {text}");
    assert_eq!(output.status.code(), Some(78));
}
