//! How berth finds its cluster and gets there: as kubectl does.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{fs, io, thread};

use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::harness::{Berth, Place, expect_gone, kubeconfig};

/// A name that nobody can resolve.
const NOWHERE: &str = "cluster.invalid";

/// The address of the real one, and its file with a name in its place that a proxy alone understands.
fn elsewhere() -> (String, Kubeconfig) {
    let mut config = kubeconfig();
    let cluster = config.clusters[0].cluster.as_mut().expect("a cluster");
    let server = cluster.server.clone().expect("an address");
    let address = server.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let (host, port) = address.rsplit_once(':').expect("a port");
    cluster.server = Some(format!("https://{NOWHERE}:{port}"));
    cluster.tls_server_name = Some(host.to_owned());
    (address, config)
}

/// JSON is YAML, too.
fn write(path: &Path, config: &impl serde::Serialize) {
    fs::write(path, serde_json::to_string(config).expect("JSON")).expect("a file");
}

/// A proxy that knows the way; how many have come by it, and what they have said of themselves.
struct Proxy {
    port: u16,
    tunnels: Arc<AtomicUsize>,
    authorized: Arc<Mutex<Vec<String>>>,
}

fn proxy(to: String) -> Proxy {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tunnels, authorized) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, said) = (Arc::clone(&tunnels), Arc::clone(&authorized));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (to, count, said) = (to.clone(), Arc::clone(&count), Arc::clone(&said));
            thread::spawn(move || tunnel(client, &to, &count, &said));
        }
    });
    Proxy { port, tunnels, authorized }
}

fn tunnel(mut client: TcpStream, to: &str, count: &AtomicUsize, said: &Mutex<Vec<String>>) -> io::Result<()> {
    let lines = BufReader::new(client.try_clone()?).lines();
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    if !head.first().is_some_and(|line| line.starts_with(&format!("CONNECT {NOWHERE}:"))) {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    }
    count.fetch_add(1, Ordering::Relaxed);
    let authorized = head.into_iter().filter(|line| line.to_lowercase().starts_with("proxy-authorization:"));
    said.lock().unwrap().extend(authorized);
    let server = TcpStream::connect(to)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut into) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut into);
        let _ = into.shutdown(std::net::Shutdown::Both);
    });
    let _ = io::copy(&mut client, &mut &server);
    server.shutdown(std::net::Shutdown::Both)
}

/// A session works, and leaves nothing.
fn expect_session(berth: Berth, client: &str) {
    let mut session = berth.client(client).started();
    assert_eq!(session.call_text("echo", json!({ "text": "ahoy" })), "ahoy");
    let long = "x".repeat(300_000);
    assert_eq!(session.call_text("echo", json!({ "text": long })), long);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
#[ignore = "needs a cluster"]
fn the_proxy_of_a_kubeconfig_carries_all_of_a_session() {
    let place = Place::new("proxied");
    let (address, mut config) = elsewhere();
    let proxy = proxy(address);
    let named = format!("http://me:a%40b@127.0.0.1:{}", proxy.port);
    config.clusters[0].cluster.as_mut().expect("a cluster").proxy_url = Some(named);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config");
    write(&file, &config);
    let place = place.known_by(Some(&file));
    // What the kubeconfig says counts.
    expect_session(place.run("fixture").env("NO_PROXY", "*"), "proxied");
    assert!(proxy.tunnels.load(Ordering::Relaxed) >= 3, "the API server, the lifeline, the server's stream");
    let authorized = proxy.authorized.lock().unwrap();
    let (last, rest) = authorized.split_last().expect("one that has said who it is");
    assert!(last.ends_with(" Basic bWU6YUBi") && rest.iter().all(|other| other == last), "{authorized:?}");
}

#[test]
#[ignore = "needs a cluster"]
fn the_proxy_of_the_environment_counts_unless_an_exception_does() {
    let impatient = "command = [\"/berth-fixture\"]\nconnect_timeout = \"1s\"";
    let place = Place::new("environment").with_server("impatient", "berth-fixture", impatient);
    let (address, config) = elsewhere();
    let proxy = proxy(address);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config");
    write(&file, &config);
    let place = place.known_by(Some(&file));
    let named = format!("http://127.0.0.1:{}", proxy.port);
    let run = |server: &str, no: &str| place.run(server).env("HTTPS_PROXY", &named).env("NO_PROXY", no);
    expect_session(run("fixture", "10.0.0.0/8,other.invalid"), "environment");
    let before = proxy.tunnels.load(Ordering::Relaxed);
    assert!(before >= 3);
    let mut session = run("impatient", ".invalid").client("environment").start();
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    let answer = session.request("initialize", params);
    assert!(answer["error"].to_string().contains("dns error"), "its name is nobody's: {answer}");
    assert_eq!(proxy.tunnels.load(Ordering::Relaxed), before);
}

#[test]
#[ignore = "needs a cluster"]
fn two_files_and_a_plug_in_for_credentials_are_one_kubeconfig() {
    let place = Place::new("plugged").known_by(None);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let real = serde_json::to_value(kubeconfig()).expect("JSON");
    let user = &real["users"][0]["user"];
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": { "clientCertificateData": pem(user, "client-certificate"), "clientKeyData": pem(user, "client-key") },
    });
    write(&path("credential"), &credential);
    fs::write(path("plug-in"), "#!/bin/sh\ncat \"$1\"\n").expect("a script");
    fs::set_permissions(path("plug-in"), fs::Permissions::from_mode(0o700)).expect("a script");
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "IfAvailable", "env": null,
        // Beside its file, and not in the folder of the session.
        "command": "./plug-in", "args": [path("credential")],
    });
    write(&path("one"), &json!({ "current-context": "", "clusters": real["clusters"] }));
    let context = json!({ "cluster": real["clusters"][0]["name"], "user": "plugged", "namespace": "" });
    write(
        &path("two"),
        &json!({
            "current-context": "two", "contexts": [{ "name": "two", "context": context }],
            "users": [{ "name": "plugged", "user": { "exec": exec, "token": "" } }],
        }),
    );
    let list = std::env::join_paths([path("none"), path("one"), path("two")]).expect("a list");
    expect_session(place.run("fixture").env("KUBECONFIG", list.to_str().expect("UTF-8")), "plugged");
}

/// Of a file that is named, or as it stands there.
fn pem(user: &Value, key: &str) -> String {
    match user.get(key).and_then(Value::as_str) {
        Some(file) => fs::read_to_string(file).expect("a file"),
        None => decoded(user[format!("{key}-data")].as_str().expect("data")),
    }
}

/// Base64 is decoded by whoever is there anyhow.
fn decoded(text: &str) -> String {
    let data = json!(text);
    let bytes: k8s_openapi::ByteString = serde_json::from_value(data).expect("base64");
    String::from_utf8(bytes.0).expect("PEM")
}
