//! `berth validate` for real: a healthy system passes, and faults are found.
//!
//! Each of these checks fails here, with a real cause: all of **orchestrator**; of **deployment** all but «servers
//! answer before their clients give up» (half a minute long); all of **concurrent access**, **isolation** and
//! **resources**; of **TLS** «plain HTTP on the port is refused» and both plain ports; all of **clean-up**. The other
//! three of TLS need a daemon that berth would not make. `src/validate/checks/tests.rs` proves them as pure judgements,
//! as it does everything else.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mcp_berth::dock::keeper;
use serde_json::Value;

use crate::dind::own::{OwnDaemon, host};
use crate::harness::{PATIENCE, berth, berth_says, daemon, docker, docker_says, eventually, home, inspect};

/// What an examination said.
struct Verdict {
    code: Option<i32>,
    report: Value,
    stderr: String,
}

impl Verdict {
    fn of(output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout);
        Self { code: output.status.code(), report: report.expect(&stderr), stderr }
    }

    fn checks(&self) -> Vec<&Value> {
        let sections = self.report["sections"].as_array().expect("sections");
        sections.iter().flat_map(|section| section["checks"].as_array().expect("checks")).collect()
    }

    fn with(&self, outcome: &str) -> Vec<&str> {
        let checks = self.checks();
        let those = checks.iter().filter(|check| check["outcome"] == outcome);
        those.map(|check| check["name"].as_str().expect("a name")).collect()
    }

    /// The check has failed for a reason with these words in it, and says what to do.
    fn failed(&self, name: &str, why: &str) {
        let checks = self.checks();
        let check =
            checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check «{name}»"));
        assert_eq!(check["outcome"], "failed", "{check}; all: {:#}", self.report["sections"]);
        let detail = check["detail"].as_str().expect("a detail");
        assert!(detail.contains(why), "«{name}» says {detail:?}, not {why:?}");
        assert!(check["next"].is_string(), "{check}");
    }
}

/// An examination by two clients with the configuration in `home`.
fn examine(home: &Path, server: &str) -> Command {
    let mut command = berth();
    command.env("BERTH_HOME", home).args(["validate", "--clients", "2", "--calls", "2", "--json"]);
    command.args(["--server", server]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A state folder whose configuration points at `address`, with the certificates of the tests' daemon.
fn pointing_at(address: &str, servers: &str) -> tempfile::TempDir {
    daemon();
    let folder = tempfile::tempdir().expect("a folder");
    let certs = home().join("certs");
    let config = format!("[dind]\nhost = \"{address}\"\ncerts = \"{}\"\n{servers}", certs.display());
    std::fs::write(folder.path().join("berth.toml"), config).expect("a configuration");
    folder
}

const TESTS_DAEMON: &str = "tcp://127.0.0.1:22376";

#[test]
fn a_healthy_daemon_passes_and_what_is_wrong_with_it_is_found() {
    let liar = "[servers.liar]\nimage = \"berth-fixture\"\nnetwork = \"none\"\n\
                env = { FIXTURE_LIE = \"1\", FIXTURE_ECHO_MS = \"2100\" }\n";
    let own = OwnDaemon::new("berth-test-dind-validate", 22388);
    own.configure(&format!("port = 22388\n{liar}"));
    own.succeeds(&["up"]);
    passes(&own);
    fails_where_it_should(&own);

    host(&["kill", "berth-test-dind-validate"]);
    let stopped = Verdict::of(&own.says(&["validate", "--clients", "2", "--json"]));
    assert_eq!(stopped.code, Some(69), "{}", stopped.stderr);
    stopped.failed("its container is healthy", "`berth-test-dind-validate` is exited");
    stopped.failed("the daemon answers", "22388");
}

fn passes(own: &OwnDaemon) {
    let folder = tempfile::tempdir().expect("a folder");
    let written = folder.path().join("made/by berth");
    let mut command = own.command();
    command.args(["validate", "--clients", "4", "--calls", "5", "--server", "fixture", "--json", "--report"]);
    let verdict = Verdict::of(&command.arg(&written).output().expect("berth runs"));
    let report = &verdict.report;
    assert_eq!(
        (verdict.code, &report["passed"]),
        (Some(0), &Value::Bool(true)),
        "{report:#}{}",
        verdict.stderr
    );
    assert_eq!(verdict.with("failed"), Vec::<&str>::new());
    let names: Vec<_> =
        report["sections"].as_array().unwrap().iter().map(|section| &section["name"]).collect();
    let sections =
        ["orchestrator", "deployment", "concurrent access", "isolation", "resources", "TLS", "clean-up"];
    assert_eq!(names, sections);
    assert!(verdict.with("passed").len() >= 38, "{:#}", report["sections"]);
    // No read-only root is configured: that is no pass.
    assert_eq!(verdict.with("not_applicable"), ["the root file system is read-only"]);

    let reference: Vec<_> =
        report["figures"].as_array().unwrap().iter().map(|row| &row["reference"]).collect();
    assert_eq!(reference, ["4.5 s", "0.51 s", "21 s", "100 % (20 of 20)"]);
    let ours: Vec<_> = report["figures"].as_array().unwrap().iter().map(|row| &row["ours"]).collect();
    assert!(ours[..3].iter().all(|ours| ours.as_str().is_some_and(|ours| ours.contains('s'))), "{ours:?}");
    assert_eq!(ours[3], "100 % (20 of 20)");
    assert_eq!(report["operation"], "tools/call echo");
    assert_eq!((&report["all"]["calls"], &report["clients"]), (&20.into(), &4.into()));
    let mut containers: Vec<_> =
        report["sessions"].as_array().unwrap().iter().map(|row| row["container"].as_str().unwrap()).collect();
    containers.sort_unstable();
    assert_eq!(containers, ["mcp-claude-code-1", "mcp-claude-code-2", "mcp-codex-1", "mcp-codex-2"]);

    let json = std::fs::read(written.join("validation.json")).expect("a report");
    assert_eq!(&serde_json::from_slice::<Value>(&json).expect("JSON"), report);
    let markdown = std::fs::read_to_string(written.join("validation.md")).expect("a report");
    let lower = markdown.to_lowercase();
    for name in verdict.with("passed").iter().chain(&containers).chain(&["4.5 s", "0.51 s", "21 s"]) {
        assert!(lower.contains(&name.to_lowercase()), "no «{name}» in:\n{markdown}");
    }
}

/// A server that lies and dawdles, holes in the daemon's walls, something on the plain port, somebody's leftover.
fn fails_where_it_should(own: &OwnDaemon) {
    let inside = |script: &str| {
        let script = format!("PATH=/run/berth/bin:$PATH\n{script}");
        let done = host(&["exec", "berth-test-dind-validate", "sh", "-ec", &script]);
        assert!(done.status.success(), "{script}");
    };
    inside(
        "iptables -D INPUT -j BERTH
        ebtables-nft -P FORWARD ACCEPT
        iptables -I FORWARD -i docker0 -o docker0 -j ACCEPT
        iptables -t nat -I PREROUTING -p tcp --dport 2375 -j REDIRECT --to-ports 2376",
    );
    let create = "docker create --name left-behind --label io.mcp-berth.managed-by=berth --label io.mcp-berth.client=x";
    let script = format!("{}\n{create} berth-fixture", own.succeeds(&["env"]));
    let created = Command::new("sh").args(["-ec", &script]).output().expect("sh runs");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let _plain_port = TcpListener::bind("127.0.0.1:22387").expect("the tests' plain port is free");

    let arguments = ["validate", "--clients", "2", "--calls", "2", "--server", "liar", "--json"];
    let verdict = Verdict::of(&own.says(&arguments));
    assert_eq!((verdict.code, &verdict.report["passed"]), (Some(1), &Value::Bool(false)));
    verdict.failed("every call gets the right answer", "0 of 2 (its marker did not come back)");
    verdict.failed("no message crosses to another session", "in the answer to");
    verdict.failed("the mean stays under the reference's target", "mean 2.1");
    verdict.failed("sessions with a network are out of reach", "spare 1 reaches spare 2 at ");
    verdict.failed("the daemon is out of reach from inside", ":2376");
    verdict.failed("no plain port on the host", "127.0.0.1:22387");
    verdict.failed("no plain port in the daemon's container", ":2375 is open");
    verdict.failed("no container was created and never started", "left-behind");
    assert_eq!(verdict.with("failed").len(), 8, "and nothing else: {:?}", verdict.with("failed"));
}

#[test]
fn a_daemon_that_is_not_there_is_unavailable() {
    let home = pointing_at("tcp://127.0.0.1:1", "[servers.fixture]\nimage = \"berth-fixture\"\n");
    let verdict = Verdict::of(&examine(home.path(), "fixture").output().expect("berth runs"));
    assert_eq!(verdict.code, Some(69), "{}", verdict.stderr);
    assert_eq!(
        verdict.report["sections"].as_array().map(Vec::len),
        Some(1),
        "nothing else could be examined"
    );
    verdict.failed("the daemon answers", "127.0.0.1:1");
    verdict.failed("both ends show certificates", "no request");
}

#[test]
fn servers_that_do_not_start_fail_the_deployment() {
    let servers = "[servers.broken]\nimage = \"berth-fixture\"\nenv = { FIXTURE_EXIT = \"3\" }\n\
                   [servers.missing]\nimage = \"berth-no-such\"\n";
    let home = pointing_at(TESTS_DAEMON, servers);
    let verdict = Verdict::of(&examine(home.path(), "broken").output().expect("berth runs"));
    assert_eq!(verdict.code, Some(1), "{}", verdict.stderr);
    verdict.failed("every session's server answers", "exited with code 3");
    verdict.failed("every session has a running container", "codex 1 could not be examined");
    let why = "nothing could be examined: no session is live (claude-code 1: ";
    let says_why = |detail: &str| detail.starts_with(why) && detail.contains("exited with code 3");
    let unexamined =
        verdict.checks().into_iter().filter(|check| check["detail"].as_str().is_some_and(says_why));
    assert!(unexamined.clone().count() > 10, "what was not examined has not passed");
    assert!(unexamined.into_iter().all(|check| check["outcome"] == "failed"));
    assert!(verdict.checks().iter().all(|check| check["detail"] != "nothing could be examined"));

    let verdict = Verdict::of(&examine(home.path(), "missing").output().expect("berth runs"));
    assert_eq!(verdict.code, Some(1), "{}", verdict.stderr);
    verdict.failed("the server's image is there", "`berth-no-such` is not in the daemon");
    verdict.failed("`berth status` finds nothing wrong", "berth-no-such");
    verdict.failed("every session's server answers", "berth-no-such");
}

#[test]
fn a_killed_session_and_a_server_that_will_not_end_are_found() {
    // The first session's last question is not answered while it lives, however late its end comes: a server that will
    // not end is given its grace before the kill, and would still answer.
    let servers = "[servers.stubborn]\nimage = \"berth-fixture\"\nnetwork = \"none\"\nstop_grace = \"7s\"\n\
                   env = { FIXTURE_STUBBORN = \"1\", FIXTURE_HOLD = \"later-0\" }\n";
    let home = pointing_at(TESTS_DAEMON, servers);
    let mut examination = examine(home.path(), "stubborn").spawn().expect("berth runs");
    // The spare sessions start when the examined ones have made their calls.
    let victim = eventually("the examination's spare sessions", PATIENCE, || {
        let of = |client: &str| {
            let client = format!("label=io.mcp-berth.client={client}");
            let server = "label=io.mcp-berth.server=stubborn";
            docker_says(&["ps", "-q", "--filter", &client, "--filter", server])
        };
        assert_eq!(examination.try_wait().expect("a child"), None, "it is over already");
        (of("codex").lines().count() > 1).then(|| of("claude-code"))
    });
    let session = inspect(&victim)["Config"]["Labels"]["io.mcp-berth.session"].clone();
    let (code, _, said) = berth_says(&["kill", session.as_str().expect("a session")]);
    assert_eq!(code, Some(0), "{said}");

    let verdict = Verdict::of(&examination.wait_with_output().expect("its output"));
    assert_eq!(verdict.code, Some(1), "{}", verdict.stderr);
    verdict.failed("every session stays alive", "claude-code 1: ");
    verdict.failed("ended sessions exit with 0", "claude-code 1 exited with 69");
    verdict.failed("nothing is left after SIGTERM", "codex 1 took ");
    assert!(!verdict.with("failed").contains(&"every call gets the right answer"), "they were before that");
}

/// What takes berth's place once the examination runs: it prints what is no message, lives on after a signal, exits with
/// a code of its own, and says that the container of its session is one that was never berth's.
const IMPOSTOR: &str = r#"#!/bin/sh
for argument; do
    shift
    case $argument in --trace=*) trace=${argument#--trace=}; argument=$argument.own ;; esac
    set -- "$@" "$argument"
done
printf '{"name":"create, start and attach","detail":"%s"}\n' "CONTAINER" >"$trace"
echo "this is no message"
"PROGRAM" "$@"
exit 3
"#;

#[test]
fn sessions_that_are_not_what_they_say_are_found() {
    let gate = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", gate.local_addr().expect("its address"));
    let servers = "[servers.plain]\nimage = \"berth-fixture\"\nnetwork = \"none\"\nread_only = true\n";
    let home = pointing_at(&address, servers);
    let container = Foreign::start();

    // Beside the real program, for a link to it; and a link, because a program's own path is where it was started.
    let real = Path::new(env!("CARGO_BIN_EXE_berth"));
    let folder = tempfile::tempdir_in(real.parent().expect("a folder")).expect("a folder");
    let (program, impostor) = (folder.path().join("berth"), folder.path().join("impostor"));
    std::fs::hard_link(real, &program).expect("a link");
    let script =
        IMPOSTOR.replace("PROGRAM", real.to_str().expect("a plain path")).replace("CONTAINER", &container.0);
    std::fs::write(&impostor, script).expect("a script");
    std::fs::set_permissions(&impostor, std::fs::Permissions::from_mode(0o755)).expect("a program");

    let own = examine(home.path(), "plain");
    let mut command = Command::new(&program);
    command.args(own.get_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let examination = command.spawn().expect("berth runs");
    // Its first connection says that it runs; none of its sessions does yet.
    let first = gate.accept().expect("a connection").0;
    std::fs::rename(&impostor, &program).expect("the impostor takes its place");
    std::thread::spawn(move || {
        pass_on(first);
        gate.incoming().flatten().for_each(pass_on);
    });
    let verdict = Verdict::of(&examination.wait_with_output().expect("its output"));
    assert_eq!(verdict.code, Some(1), "{}", verdict.stderr);

    let name = container.0[..12].to_owned();
    verdict.failed("containers are named mcp-CLIENT-N", "claude-code 1 has somebodys");
    verdict.failed("labels say client, server and session", "somebodys says client `somebody`");
    verdict.failed("nothing but messages on standard output", "`this is no message`");
    verdict.failed("no container serves two sessions", &name);
    verdict.failed("other sessions' processes are invisible", "claude-code 1 sees a process of codex 1");
    verdict.failed("other sessions are out of reach", "claude-code 1 reaches codex 1");
    verdict.failed("sessions with a network are out of reach", "spare 1 reaches spare 2");
    verdict.failed("the shared volume is read-only", "/run/docker.sock mounted writable");
    verdict.failed("each session has its own files", "written in claude-code 1, is in codex 1");
    verdict.failed("no Docker socket inside", "/run/docker.sock");
    verdict.failed("the memory limit is as configured", "configured 512 MiB");
    verdict.failed("the process limit is as configured", "configured 256");
    verdict.failed("the processor limit is as configured", "configured 1");
    verdict.failed("memory beyond the limit is refused", "544 MiB could be allocated");
    verdict.failed("processes beyond the limit are refused", "all of 272 could be started");
    verdict.failed("capabilities are as configured", "configured 0");
    verdict.failed("new privileges are out of reach", "NoNewPrivs is 0");
    verdict.failed("the root file system is read-only", "it can be written to");
    verdict.failed("plain HTTP on the port is refused", "answered with HTTP 200");
    for way in ["the end of input", "SIGTERM", "SIGKILL"] {
        verdict.failed(&format!("nothing is left after {way}"), "still there after 15 s");
    }
    verdict.failed("ended sessions exit with 0", "claude-code 1 exited with 3; codex 1 was killed");
}

/// A container in the tests' daemon that the docker CLI made as people do: no limits, and the daemon's socket in it.
/// Removed when it is dropped.
struct Foreign(String);

impl Foreign {
    fn start() -> Self {
        let keeper = format!("{}:{}:ro", keeper::VOLUME, "/.berth");
        let arguments = ["run", "-di", "--name", "somebodys", "--label", "io.mcp-berth.managed-by=berth"];
        let labels = ["--label", "io.mcp-berth.client=somebody", "-v", &keeper];
        let socket = ["-v", "/var/run/docker.sock:/run/docker.sock", "--tmpfs", "/tmp", "berth-fixture"];
        Self(docker_says(&[&arguments[..], &labels, &socket].concat()))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.0]);
    }
}

/// Passes a connection on to the tests' daemon, unless it speaks plain HTTP: that is answered here.
fn pass_on(mut client: TcpStream) {
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut first = [0];
        if client.peek(&mut first)? == 1 && first[0].is_ascii_uppercase() {
            return client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
        }
        let mut daemon = TcpStream::connect(TESTS_DAEMON.trim_start_matches("tcp://"))?;
        let (mut to_client, mut from_daemon) = (client.try_clone()?, daemon.try_clone()?);
        std::thread::spawn(move || {
            // An end in whatever way is passed on as an end.
            let _ = std::io::copy(&mut from_daemon, &mut to_client);
            to_client.shutdown(Shutdown::Write)
        });
        let _ = std::io::copy(&mut client, &mut daemon);
        daemon.shutdown(Shutdown::Write)
    });
}
