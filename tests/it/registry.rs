//! Private registries: the person's login is used, and the host's engine pulls images that the daemon cannot reach.
//!
//! The registry is a stand-in on a port of this machine's loopback, which an engine trusts without TLS. The daemon has
//! a loopback of its own, so the engine has to pull for it.

mod stand_in;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::dind::own::{OwnDaemon, host};
use crate::harness::{daemon, docker, home};
use stand_in::StandIn;

const REGISTRY: &str = "127.0.0.1:22400";
const IMAGE: &str = "127.0.0.1:22400/berth-test-private:1";

/// A credential helper of this name.
fn helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
}

/// `berth up` with this `config.json` of the docker CLI's, which may name helpers in the same folder.
fn up(own: &OwnDaemon, folder: &Path, config: &str) -> Output {
    std::fs::write(folder.join("config.json"), config).expect("a file");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = own.command();
    command.env("DOCKER_CONFIG", folder).env("PATH", format!("{}:{path}", folder.display()));
    command.arg("up").output().expect("berth runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_private_image_comes_by_the_persons_login_and_by_the_hosts_engine() {
    daemon();
    let registry = StandIn::start(REGISTRY, "berth-test-private", "me:hunter2");
    let forget = || {
        host(&["rmi", "-f", IMAGE]);
        docker(&["rmi", "-f", IMAGE]);
    };
    forget();
    let own = OwnDaemon::new("berth-test-dind-private", 22401);
    let certs = home().join("certs");
    own.configure(&format!(
        "host = \"tcp://127.0.0.1:22376\"\ncerts = \"{}\"\n[servers.private]\nimage = \"{IMAGE}\"",
        certs.display()
    ));
    let folder = tempfile::tempdir().expect("a folder");

    let output = up(&own, folder.path(), "{}");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains(&format!("`docker login {REGISTRY}`")), "{said}");
    assert_eq!(registry.logins(), [] as [&str; 0]);

    helper(folder.path(), "broken", "echo hunter2; exit 2");
    let output = up(&own, folder.path(), r#"{"credsStore": "broken"}"#);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("warning: the credential helper `docker-credential-broken` failed"), "{said}");
    assert_eq!(said.matches("warning: ").count(), 1, "one question, whoever pulls: {said}");
    assert!(!said.contains("hunter2"), "{said}");

    let wrong = r#"{"auths": {"127.0.0.1:22400": {"username": "me", "password": "wrong-one"}}}"#;
    let said = stderr(&up(&own, folder.path(), wrong));
    assert!(said.contains(&format!("`docker login {REGISTRY}`")) && !said.contains("wrong-one"), "{said}");

    helper(folder.path(), "works", r#"echo '{"ServerURL":"x","Username":"me","Secret":"hunter2"}'"#);
    let output = up(&own, folder.path(), r#"{"credHelpers": {"127.0.0.1:22400": "works"}}"#);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("loaded `{IMAGE}` from the host's engine")), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(docker(&["image", "inspect", IMAGE]).status.success());
    assert!(registry.logins().contains(&"me:hunter2".to_owned()));
    forget();
}
