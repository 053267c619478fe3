//! Who may speak to the daemon, by which certificates, and what it may do itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use jiff::{Timestamp, ToSpan};
use mcp_berth::dind::certs;
use serde_json::{Value, json};

use super::own::{OwnDaemon, host};
use crate::harness::{berth_says, daemon, home};

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
    assert_eq!(config["CapAdd"].as_array().map(Vec::len), Some(18), "{}", config["CapAdd"]);
    assert_eq!(config["Binds"], Value::Null, "nothing of the host is mounted");
    assert_eq!(config["RestartPolicy"]["Name"], "unless-stopped");
    let ports = &config["PortBindings"];
    assert_eq!(ports.as_object().map(serde_json::Map::len), Some(1), "{ports}");
    assert_eq!(ports["2376/tcp"][0]["HostIp"], "127.0.0.1");
}
