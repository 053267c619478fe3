//! Which engine berth uses, which source it names for that choice, and what it says of an engine that is not Docker.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::dind::own::{OwnDaemon, host};
use crate::harness::{Berth, berth};

/// A folder of the docker CLI's with a context of this name, made by the CLI itself.
fn in_context(name: &str, socket: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let docker = |args: &[&str]| {
        let mut command = Command::new("docker");
        command.args(args).env("DOCKER_CONFIG", folder.path());
        for variable in ["DOCKER_HOST", "DOCKER_CONTEXT"] {
            command.env_remove(variable);
        }
        let output = command.output().expect("the docker CLI runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    docker(&["context", "create", name, "--docker", &format!("host=unix://{}", socket.display())]);
    docker(&["context", "use", name]);
    folder
}

/// berth with these variables, and none of the docker CLI's besides.
fn says(own: &OwnDaemon, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = own.command();
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY"] {
        command.env_remove(variable);
    }
    command.args(args).envs(variables.iter().copied()).output().expect("berth runs")
}

fn refused(own: &OwnDaemon, code: i32, variables: &[(&str, &str)]) -> String {
    let output = says(own, &["up"], variables);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn the_engine_of_the_current_context_holds_the_daemon_unless_docker_host_says_another() {
    let own = OwnDaemon::new("berth-test-dind-context", 22402);
    let nowhere = own.certs().join("nowhere.sock");
    let folder = in_context("berth-test-gone", &nowhere);
    let config = folder.path().to_str().expect("a plain path");
    let said = refused(&own, 69, &[("DOCKER_CONFIG", config)]);
    let tried = format!("the Docker engine at `unix://{}`", nowhere.display());
    for part in [&tried, "the current docker context `berth-test-gone`", "type `docker context use default`"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    let said = refused(&own, 69, &[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "berth-test-gone")]);
    assert!(said.contains("from DOCKER_CONTEXT") && said.contains("unset DOCKER_CONTEXT"), "{said}");
    let said = refused(&own, 78, &[("DOCKER_CONFIG", config), ("DOCKER_CONTEXT", "berth-test-other")]);
    assert!(said.contains("there is no docker context `berth-test-other`"), "{said}");
    let said = refused(&own, 69, &[("DOCKER_CONFIG", config), ("DOCKER_HOST", "unix:///nowhere.sock")]);
    assert!(said.contains("`unix:///nowhere.sock` (from DOCKER_HOST)"), "{said}");

    let output = host(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let engine = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let socket = engine.strip_prefix("unix://").expect("an engine of this machine");
    let folder = in_context("berth-test-here", Path::new(socket));
    let config = folder.path().to_str().expect("a plain path");
    let output = says(&own, &["up"], &[("DOCKER_CONFIG", config)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(own.container().is_some());
    own.session("context").call("echo", json!({ "text": "by a context" }));
}

/// Answers each request on a socket as Podman answers `GET /version`.
fn podman(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
    let body = json!({
        "Version": "4.3.1", "ApiVersion": "1.41", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64",
        "Components": [{ "Name": "Podman Engine", "Version": "4.3.1", "Details": { "APIVersion": "4.3.1" } }],
    })
    .to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let _ = stream.read(&mut [0; 4096]);
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
            let _ = write!(stream, "{head}Connection: close\r\n\r\n{body}");
        }
    });
}

#[test]
fn podman_is_refused_by_name() {
    let own = OwnDaemon::new("berth-test-dind-podman", 22403);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("podman.sock");
    podman(&socket);
    let engine = format!("unix://{}", socket.display());
    let said = refused(&own, 78, &[("DOCKER_HOST", &engine)]);
    assert!(said.contains("is Podman 4.3.1, which berth does not support"), "{said}");
    assert!(said.contains("install Docker Engine"), "{said}");
    let output = says(&own, &["doctor", "--quick"], &[("DOCKER_HOST", &engine)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("is Podman 4.3.1"), "{said}");
    own.configure(&format!("host = \"{engine}\""));
    let said = refused(&own, 78, &[]);
    assert!(said.contains("is Podman 4.3.1"), "{said}");
    let output = says(&own, &["status"], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("is Podman 4.3.1"), "{said}");
}

#[test]
fn a_server_has_the_proxies_that_docker_run_would_give_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxies = json!({ "proxies": { "default": {
        "httpProxy": "http://me:hunter2@10.0.0.9:3128", "httpsProxy": "http://127.0.0.1:3128", "noProxy": "box",
    } } });
    std::fs::write(folder.path().join("config.json"), proxies.to_string()).expect("a file");
    let config = folder.path().to_str().expect("a plain path");
    let mut session = Berth::run("online").client("proxies").env("DOCKER_CONFIG", config).start();
    session.initialize();
    let mut value = |name: &str| -> Value {
        let said = session.call_text("env", json!({ "name": name }));
        serde_json::from_str::<Value>(&said).expect("JSON")["value"].take()
    };
    for name in ["HTTP_PROXY", "http_proxy"] {
        assert_eq!(value(name), "http://me:hunter2@10.0.0.9:3128", "{name}");
    }
    assert_eq!(value("NO_PROXY"), "box");
    assert_eq!(value("HTTPS_PROXY"), Value::Null, "nothing answers on a container's own loopback");
    drop(session);
    let dry_run = |args: &[&str]| {
        let output = berth().args(["run", "--dry-run"]).args(args).env("DOCKER_CONFIG", config).output();
        String::from_utf8_lossy(&output.expect("berth runs").stdout).into_owned()
    };
    let said = dry_run(&["online"]);
    assert!(said.contains("HTTP_PROXY=[redacted]") && !said.contains("hunter2"), "{said}");
    assert!(!dry_run(&["fixture"]).contains("PROXY"), "it has no network");
}
