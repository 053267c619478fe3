//! The daemon itself: made, repaired, taken down, and who may speak to it.

pub(crate) mod own;
mod said;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use jiff::{Timestamp, ToSpan};
use mcp_berth::dind::certs;

use serde_json::{Value, json};

use own::{OwnDaemon, host, remote_engine};

use crate::harness::{Berth, GONE_WITHIN, PATIENCE, berth_says, daemon, eventually, home};

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
    assert_eq!(session.call_text("echo", json!({ "text": "on" })), "on", "it has arrived");
    assert!(own.says(&["down"]).status.code() == Some(69), "a session is active; only --force ends it");
    host(&["restart", "-t", "2", &own.name]);
    let answer = session.answer("doomed");
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    // The same client goes on with another container.
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");
    let listed: Value = serde_json::from_str(&own.succeeds(&["ps", "--json"])).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "no container outlived the restart: {listed}");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    own.until_nobody();
    assert!(own.succeeds(&["gc"]).contains("nothing"));
}

#[test]
fn another_home_never_ends_this_ones_sessions() {
    let own = OwnDaemon::new("berth-test-dind-homes", 22379);
    own.succeeds(&["up"]);
    let before = own.run_id();
    let mut session = own.session("homes");

    // As it was made, and with other settings: neither is a reason.
    let other = OwnDaemon { home: tempfile::tempdir().expect("a folder"), name: own.name.clone() };
    for port in [22379, 22380] {
        other.configure(&format!("port = {port}"));
        for args in [&["up"][..], &["down"], &["down", "--volumes"]] {
            let said = other.fails(args, 78);
            assert!(said.contains("another berth home"), "{args:?}: {said}");
            assert!(said.contains(own.certs().to_str().expect("a plain path")), "{args:?}: {said}");
            assert!(said.contains("`berth down --force`"), "{args:?}: {said}");
        }
        let status: Value = serde_json::from_slice(&other.says(&["status", "--json"]).stdout).expect("JSON");
        assert!(
            status["problems"][0].as_str().is_some_and(|text| text.contains("another berth home")),
            "{status}"
        );
    }
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");

    // Nor does this home, when it has lost what the sessions' daemon knows it by.
    std::fs::remove_dir_all(own.certs()).expect("certificates");
    let said = own.fails(&["down"], 69);
    assert!(said.contains("1 session is active"), "{said}");
    let said = own.fails(&["up"], 69);
    assert!(said.contains("new certificates") && said.contains("1 session is active"), "{said}");
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");
    assert_eq!(own.run_id(), before);

    other.succeeds(&["down", "--force"]);
    assert_eq!(own.container(), None, "force is force");
    assert_eq!(session.request("tools/list", json!({}))["error"]["code"], 69);
}

#[test]
fn a_slow_daemon_keeps_its_sessions_and_one_that_is_paused_is_not_swept() {
    let own = OwnDaemon::new("berth-test-dind-slow", 22381);
    own.succeeds(&["up"]);
    let before = own.run_id();
    let mut session = own.session("slow");

    own.signal("STOP");
    let said = own.fails(&["down"], 69);
    assert!(said.contains("1 session is active"), "{said}");
    let mut up =
        own.command().arg("up").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("berth runs");
    let mut said = BufReader::new(up.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("does not answer yet")), "it was asked in vain");
    own.signal("CONT");
    let said: Vec<String> = said.collect();
    assert!(up.wait().expect("a child").success(), "{said:?}");
    assert_eq!(own.run_id(), before);
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");

    // As old as the session's, and never started.
    let labels = ["io.mcp-berth.managed-by=berth", "io.mcp-berth.client=slow"];
    own.inner(&[
        "create",
        "--name",
        "mcp-slow-99",
        "--label",
        labels[0],
        "--label",
        labels[1],
        "berth-fixture",
    ]);
    let paused = own.inner(&["ps", "--filter", "label=io.mcp-berth.client=slow", "--format", "{{.Names}}"]);
    assert_eq!(paused, "mcp-slow-1");
    own.inner(&["pause", &paused]);
    let swept = eventually("a sweep", PATIENCE, || {
        let said = own.swept();
        (said != "nothing was left behind").then_some(said)
    });
    assert_eq!(swept, "removed mcp-slow-99");
    own.inner(&["unpause", &paused]);
    assert_eq!(session.call("echo", json!({ "text": "alive" }))["content"][0]["text"], "alive");
}

#[test]
fn what_is_new_waits_for_the_last_session_and_then_reaches_the_daemon() {
    let own = OwnDaemon::new("berth-test-dind-new", 22382);
    own.succeeds(&["up"]);
    let before = own.run_id();
    let mut session = own.session("new");

    let old = std::fs::read(own.certs().join("server-cert.pem")).expect("a certificate");
    std::fs::remove_file(own.certs().join("server-cert.pem")).expect("a certificate");
    let said = own.up();
    assert!(
        said.contains("new certificate ") && said.contains("must wait, since 1 session is active"),
        "{said}"
    );
    assert_ne!(std::fs::read(own.certs().join("server-cert.pem")).expect("a certificate"), old);
    own.session("second").call("echo", json!({ "text": "the old one is good still" }));

    // Where it listens now nobody answers; that is no reason to end what goes on.
    own.configure("port = 22383");
    let said = own.fails(&["up"], 69);
    assert!(said.contains("new settings"), "{said}");
    own.configure("port = 22382");
    assert_eq!(own.run_id(), before);
    assert_eq!(session.call("echo", json!({ "text": "on" }))["content"][0]["text"], "on");

    drop(session);
    own.until_nobody();
    assert!(own.up().contains("it has a new certificate"));
    assert_ne!(own.run_id(), before);
    let after = own.run_id();
    assert_eq!(own.up(), "", "the daemon shows the newest");
    assert_eq!(own.run_id(), after);
    own.session("new").call("echo", json!({ "text": "by the new one" }));

    own.until_nobody();
    own.configure("port = 22383");
    assert!(own.up().contains("its settings have changed"));
    own.session("new").call("echo", json!({ "text": "at the new port" }));
}

#[test]
fn status_warns_of_certificates_before_they_expire() {
    let own = OwnDaemon::new("berth-test-dind-expiry", 22384);
    let ago = |days: i64| Timestamp::now() - (days * 24 + 1).hours();
    // The authority has to be older than what it signs.
    certs::ensure(&own.certs(), &[], ago(364)).expect("certificates");
    own.succeeds(&["up"]);
    let server = std::fs::read(own.certs().join("server-cert.pem")).expect("a certificate");
    let client_made = |days| {
        std::fs::remove_file(own.certs().join("cert.pem")).expect("a certificate");
        certs::ensure(&own.certs(), &[], ago(days)).expect("certificates");
        std::fs::write(own.certs().join("server-cert.pem"), &server).expect("a certificate");
    };
    let status = |code| {
        let output = own.says(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.code(), Some(code), "{status}");
        status
    };
    assert_eq!(status(0)["warnings"], json!([]));

    client_made(345);
    let month = status(0);
    assert_eq!(month["warnings"], json!(["the client's certificate expires in 19 days"]));
    assert_eq!((&month["healthy"], &month["next"]), (&json!(true), &json!("berth up")));
    assert!(own.succeeds(&["status"]).contains("warning"));

    client_made(363);
    let last = status(69);
    assert_eq!(last["problems"], json!(["the client's certificate expires in 1 day"]));
    assert_eq!((&last["healthy"], &last["next"]), (&json!(false), &json!("berth up")));

    assert!(own.up().contains("made cert.pem"));
    assert_eq!(status(0)["warnings"], json!([]));
}

#[test]
fn a_remote_engines_daemon_is_found_where_it_is() {
    let engine = remote_engine();
    let own = OwnDaemon::new("berth-test-dind-remote", 22385);
    own.configure(&format!("port = 22385\nengine = \"{engine}\""));
    let said = own.fails(&["up"], 78);
    assert!(said.contains("another machine") && said.contains("`bind = \"0.0.0.0\"`"), "{said}");
    assert_eq!(own.container(), None);

    own.configure(&format!("port = 22385\nengine = \"{engine}\"\nbind = \"0.0.0.0\""));
    own.succeeds(&["up"]);
    let status: Value = serde_json::from_str(&own.succeeds(&["status", "--json"])).expect("JSON");
    let (host, _) = engine.rsplit_once(':').expect("a port");
    assert_eq!(status["endpoint"], format!("{host}:22385"));
    own.session("remote").call("echo", json!({ "text": "from afar" }));
    own.until_nobody();
    own.succeeds(&["down", "--volumes"]);
    assert_eq!(own.container(), None);
}

/// Docker 29 keeps images in containerd's store, where their ids are other digests than in the engine's own.
#[test]
fn another_kind_of_image_store_makes_no_other_image() {
    let image = "berth-test-dind-containerd-store";
    let settings = r#"{"features":{"containerd-snapshotter":true}}"#;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("daemon.json"), settings).expect("a file");
    let file = folder.path().join("daemon.json");
    let made = String::from_utf8(host(&["create", "berth-dind", "dockerd"]).stdout).expect("an id");
    let made = made.trim();
    let place = format!("{made}:/etc/docker/");
    assert!(host(&["cp", file.to_str().expect("a plain path"), &place]).status.success());
    assert!(host(&["commit", made, image]).status.success());
    host(&["rm", "-v", made]);

    let own = OwnDaemon::new("berth-test-dind-store", 22389);
    own.configure(&format!("port = 22389\nimage = \"{image}\""));
    assert!(own.up().contains("loaded `berth-fixture`"));
    let id = |engine: &str| {
        let script = format!("{engine}\ndocker image inspect --format '{{{{.Id}}}}' berth-fixture");
        Command::new("sh").args(["-ec", &script]).output().expect("sh runs").stdout
    };
    assert_ne!(id(&own.succeeds(&["env"])), id(""), "the stores have it under two ids");
    assert_eq!(own.up(), "", "what is there is not loaded again");
    own.session("store").call("echo", json!({ "text": "of this image" }));
    own.until_nobody();
    drop(own);
    host(&["rmi", image]);
}

/// `docker:NN-dind`, which people with a registry have: its shell, its `ps` and all else are busybox's, and nothing in it
/// is made to be PID 1.
#[test]
fn a_daemon_out_of_an_alpine_image_is_as_good() {
    let own = OwnDaemon::new("berth-test-dind-alpine", 22390);
    let ready =
        "[servers.ready]\nimage = \"berth-fixture\"\nnetwork = \"none\"\nstandby = 1\nstandby_ttl = \"1m\"";
    own.configure(&format!("port = 22390\nimage = \"berth-alpine-dind\"\n{ready}"));
    own.up();
    assert_eq!(own.up(), "", "up twice changes nothing");
    let home = own.home.path().to_str().expect("a plain path").to_owned();
    let start = |session: &str| {
        let berth = Berth::run("ready").client("alpine").env("BERTH_HOME", &home);
        let mut session = berth.env("CLAUDE_CODE_SESSION_ID", session).start_without_daemon();
        session.initialize();
        session
    };
    let listed = |state: &str, whose: &str| {
        let rows: Value = serde_json::from_str(&own.succeeds(&["ps", "--json"])).expect("JSON");
        let row = |row: &&Value| row["state"] == state && row["client_session"] == whose;
        rows.as_array().expect("rows").iter().find(row).cloned()
    };
    for number in 1..=3 {
        let session = start(&format!("session-{number}"));
        eventually("the next one's container", PATIENCE, || listed("standby", ""));
        let row = listed("active", &format!("session-{number}")).expect("its session is known");
        assert_eq!(row["server"], "ready");
        drop(session);
    }
    let killed = start("session-killed");
    own.succeeds(&["kill", "session-killed"]);
    eventually("the end of the sessions", GONE_WITHIN, || {
        listed("active", "session-killed").is_none().then_some(())
    });
    drop(killed);
    let zombies = || {
        let states = host(&["exec", &own.name, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null"]);
        String::from_utf8_lossy(&states.stdout).lines().filter(|line| line.contains(") Z ")).count()
    };
    eventually("the end of what the shims left", GONE_WITHIN, || (zombies() == 0).then_some(()));
}

#[test]
fn a_daemon_of_somebody_elses_is_used_as_it_is() {
    daemon();
    let guest = OwnDaemon::new("berth-test-dind-guest", 22386);
    let certs = home().join("certs");
    guest.configure(&format!("host = \"tcp://127.0.0.1:22376\"\ncerts = \"{}\"", certs.display()));
    let before = Command::new("docker").args(["inspect", "berth-test-dind"]).output().expect("docker runs");
    assert!(guest.succeeds(&["up"]).contains("tcp://127.0.0.1:22376"));
    let status: Value = serde_json::from_str(&guest.succeeds(&["status", "--json"])).expect("JSON");
    assert_eq!((&status["healthy"], &status["container"]), (&json!(true), &Value::Null), "{status}");
    assert_eq!(status["certificates"]["folder"], certs.to_str().expect("a plain path"));
    guest.session("guest").call("echo", json!({ "text": "a guest" }));
    let said = guest.fails(&["down", "--force"], 78);
    assert!(said.contains("another one"), "{said}");
    assert!(!guest.certs().exists(), "nothing is made for a daemon that has all it needs");
    assert_eq!(guest.container(), None);
    let after = Command::new("docker").args(["inspect", "berth-test-dind"]).output().expect("docker runs");
    let started = |output: &Output| {
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        found[0]["State"]["StartedAt"].clone()
    };
    assert_eq!(started(&before), started(&after));
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
