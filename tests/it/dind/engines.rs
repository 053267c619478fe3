//! Daemons on other engines, out of other images, and of other people.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::own::{OwnDaemon, host, remote_engine};
use crate::harness::{Berth, GONE_WITHIN, PATIENCE, daemon, eventually, home};

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
        own.rows().into_iter().find(|row| row["state"] == state && row["client_session"] == whose)
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
    assert!(said.contains("names another daemon"), "{said}");
    assert!(!guest.certs().exists(), "nothing is made for a daemon that has all it needs");
    assert_eq!(guest.container(), None);
    let after = Command::new("docker").args(["inspect", "berth-test-dind"]).output().expect("docker runs");
    let started = |output: &Output| {
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        found[0]["State"]["StartedAt"].clone()
    };
    assert_eq!(started(&before), started(&after));
}
