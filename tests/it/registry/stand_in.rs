//! A registry with one image, for clients with the password.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// A running one; it ends with the tests.
pub(super) struct StandIn {
    logins: Arc<Mutex<Vec<String>>>,
}

/// What it serves: path -> type, digest and bytes.
struct Content {
    files: HashMap<String, (&'static str, String, Vec<u8>)>,
    password: String,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", mcp_berth::human::hex(&Sha256::digest(bytes)))
}

fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    tar.append_data(&mut header, "hello", &b"hello"[..]).expect("a tar file");
    tar.into_inner().expect("a tar file")
}

impl StandIn {
    /// Listens at `address`; `password` is `USER:PASSWORD`.
    pub(super) fn start(address: &str, name: &str, password: &str) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let layer = layer();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["/hello"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        })
        .to_string()
        .into_bytes();
        let part =
            |kind, bytes: &[u8]| json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) });
        let manifest: Value = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": part(CONFIG, &config), "layers": [part(LAYER, &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut files = HashMap::new();
        for tag in ["1".to_owned(), digest(&manifest)] {
            let path = format!("/v2/{name}/manifests/{tag}");
            files.insert(path, (MANIFEST, digest(&manifest), manifest.clone()));
        }
        for bytes in [config, layer] {
            let path = format!("/v2/{name}/blobs/{}", digest(&bytes));
            files.insert(path, ("application/octet-stream", digest(&bytes), bytes));
        }
        files.insert("/v2/".to_owned(), ("application/json", digest(b"{}"), b"{}".to_vec()));
        let content = Arc::new(Content { files, password: password.to_owned() });
        let logins = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind(address).expect("the registry's port is free");
        let heard = Arc::clone(&logins);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, heard) = (Arc::clone(&content), Arc::clone(&heard));
                std::thread::spawn(move || content.answer(stream, &heard));
            }
        });
        Self { logins }
    }

    /// As whom it was asked, each `USER:PASSWORD` once.
    pub(super) fn logins(&self) -> Vec<String> {
        let mut logins = self.logins.lock().unwrap().clone();
        logins.sort();
        logins.dedup();
        logins
    }
}

impl Content {
    fn answer(&self, mut stream: TcpStream, heard: &Mutex<Vec<String>>) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let request = lines.next()?.ok()?;
        let mut words = request.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
        let login = headers.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let encoded =
                value.strip_prefix("Basic ").filter(|_| name.eq_ignore_ascii_case("authorization"))?;
            String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
        });
        let login = login.last();
        heard.lock().ok()?.extend(login.clone());
        let (status, kind, digest, body) = if login.as_deref() != Some(&self.password) {
            let body =
                json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required" }] });
            ("401 Unauthorized", "application/json", "", body.to_string().into_bytes())
        } else if let Some((kind, digest, bytes)) = self.files.get(path) {
            ("200 OK", *kind, digest.as_str(), bytes.clone())
        } else {
            ("404 Not Found", "application/json", "", b"{}".to_vec())
        };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\n\
             Docker-Distribution-Api-Version: registry/2.0\r\nWWW-Authenticate: Basic realm=\"berth\"\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(response.as_bytes()).ok()?;
        if method != "HEAD" {
            stream.write_all(&body).ok()?;
        }
        stream.flush().ok()
    }
}
