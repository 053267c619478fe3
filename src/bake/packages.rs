//! What is installed in a baked image: the packages' own manifests, and the digests that npm's lock had at the bake.
//!
//! The image is read as an archive, from a container that never starts. Nothing in it is trusted: each file has a bound, and
//! what is no manifest is passed over.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Component, Path};

use futures::StreamExt;
use serde_json::{Value, json};

use super::LABEL_BAKE;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels;
use crate::dock::owner::new_session;

/// Where a bake puts everything.
const FOLDER: &str = "/opt/berth";
/// The digests of npm's lock, as `npx.sh` leaves them.
const LOCK: &str = "lock.json";

/// A manifest is no longer (bytes).
const LONGEST: u64 = 4 << 20;
/// What waits between the daemon and the reader (pieces of an archive).
const QUEUE: usize = 16;

/// Where a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ecosystem {
    Npm,
    Pypi,
}

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installed {
    pub ecosystem: Ecosystem,
    pub name: String,
    pub version: String,
    /// As its manifest says it.
    pub license: Option<String>,
    /// As npm has it: `sha512-BASE64`.
    pub integrity: Option<String>,
}

/// The packages of an image of the daemon's, each once, in the order of their names.
///
/// # Errors
/// Of the daemon's, or where its archive is none.
pub async fn of_image(daemon: &Engine, image: &str) -> Result<Vec<Installed>, DockerError> {
    let broken = |error: io::Error| DockerError::broken("read the packages of", image, error);
    let name = format!("berth-sbom-{}", new_session().map_err(|error| broken(io::Error::other(error)))?);
    // `berth gc` finds it by its label, should this process end here.
    let labels = labels::of_container(&[(LABEL_BAKE, image)]);
    let body = json!({ "Image": image, "Labels": labels, "HostConfig": { "NetworkMode": "none" } });
    let container = daemon.create(&name, body).await?;
    let (pieces, reader) = tokio::sync::mpsc::channel(QUEUE);
    let reading = tokio::task::spawn_blocking(move || read(Pieces::new(reader)));
    let mut archive = std::pin::pin!(daemon.download(&container, FOLDER));
    while let Some(piece) = archive.next().await {
        // A reader that has found a fault reads no more.
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let read = reading.await.map_err(io::Error::other).flatten();
    daemon.remove(&container).await?;
    read.map_err(broken)
}

/// The pieces of an archive as one reader, for a thread that may wait.
#[derive(Debug)]
pub struct Pieces<P> {
    pieces: tokio::sync::mpsc::Receiver<io::Result<P>>,
    piece: io::Cursor<P>,
}

impl<P: Default> Pieces<P> {
    pub fn new(pieces: tokio::sync::mpsc::Receiver<io::Result<P>>) -> Self {
        Self { pieces, piece: io::Cursor::default() }
    }
}

impl<P: AsRef<[u8]>> Read for Pieces<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.piece.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = io::Cursor::new(piece?),
                None => return Ok(0),
            }
        }
    }
}

/// The packages in an archive of [`FOLDER`].
fn read(archive: impl Read) -> io::Result<Vec<Installed>> {
    let mut archive = tar::Archive::new(archive);
    let (mut found, mut lock) = (Vec::new(), BTreeMap::new());
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let Some(kind) = Kind::of(&path).filter(|_| entry.header().entry_type().is_file()) else { continue };
        let mut text = Vec::new();
        entry.take(LONGEST).read_to_end(&mut text)?;
        match kind {
            Kind::Lock => {
                lock = serde_json::from_slice::<BTreeMap<String, String>>(&text).unwrap_or_default();
            }
            Kind::Npm(place) => found.extend(npm(&text).map(|package| (place, package))),
            Kind::Pypi => {
                found.extend(pypi(&String::from_utf8_lossy(&text)).map(|package| (String::new(), package)));
            }
        }
    }
    let with_digest = |(place, package): (String, Installed)| {
        let integrity = lock.get(&place).cloned();
        Installed { integrity, ..package }
    };
    let mut packages: Vec<_> = found.into_iter().map(with_digest).collect();
    packages.sort();
    // One is often there several times; what has a digest goes before what has none.
    packages.reverse();
    packages.dedup_by(|a, b| (a.ecosystem, &a.name, &a.version) == (b.ecosystem, &b.name, &b.version));
    packages.reverse();
    Ok(packages)
}

/// A file that tells of packages.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Lock,
    /// With its place as the lock has it: `node_modules/a/node_modules/b`.
    Npm(String),
    Pypi,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let parts: Option<Vec<&str>> = path
            .components()
            .map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect();
        // The folder's own name comes first.
        match parts?.as_slice() {
            [_, LOCK] => Some(Self::Lock),
            [_, place @ .., "package.json"] => is_npm(place).then(|| Self::Npm(place.join("/"))),
            [_, "tools", .., "site-packages", folder, "METADATA"] if folder.ends_with(".dist-info") => {
                Some(Self::Pypi)
            }
            _ => None,
        }
    }
}

/// Whether npm has put a package there, and no other package a file.
fn is_npm(place: &[&str]) -> bool {
    match place {
        ["node_modules", scope, _, rest @ ..] if scope.starts_with('@') => rest.is_empty() || is_npm(rest),
        ["node_modules", name, rest @ ..] => {
            !name.starts_with(['.', '@']) && (rest.is_empty() || is_npm(rest))
        }
        _ => false,
    }
}

fn npm(text: &[u8]) -> Option<Installed> {
    let manifest: Value = serde_json::from_slice(text).ok()?;
    let license = match &manifest["license"] {
        Value::String(text) => Some(text.clone()),
        // As it was written once.
        Value::Object(license) => license.get("type").and_then(Value::as_str).map(str::to_owned),
        _ => manifest["licenses"][0]["type"].as_str().map(str::to_owned),
    };
    Installed::new(Ecosystem::Npm, manifest["name"].as_str()?, manifest["version"].as_str()?, license)
}

fn pypi(text: &str) -> Option<Installed> {
    // What follows the first empty line is prose.
    let fields: Vec<(&str, &str)> =
        text.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": ")).collect();
    let field =
        |key: &str| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, text)| *text);
    let classifier = || {
        let mut classifiers = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Classifier"));
        classifiers.find_map(|(_, text)| text.strip_prefix("License :: ")?.rsplit(" :: ").next())
    };
    let license = field("License-Expression").or_else(|| field("License")).or_else(classifier);
    // One name for one project: PEP 503.
    let parts = field("Name")?.split(['-', '_', '.']).filter(|part| !part.is_empty());
    let name = parts.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    Installed::new(Ecosystem::Pypi, &name, field("Version")?, license.map(str::to_owned))
}

impl Installed {
    fn new(ecosystem: Ecosystem, name: &str, version: &str, license: Option<String>) -> Option<Self> {
        let is_plain = |text: &str| (1..=300).contains(&text.len()) && !text.contains(char::is_control);
        let license = license.filter(|text| is_plain(text) && text != "UNKNOWN");
        (is_plain(name) && is_plain(version)).then(|| Self {
            ecosystem,
            name: name.to_owned(),
            version: version.to_owned(),
            license,
            integrity: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn package(ecosystem: Ecosystem, name: &str, version: &str, license: &str, integrity: &str) -> Installed {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (license, integrity) = (text(license), text(integrity));
        Installed { ecosystem, name: name.to_owned(), version: version.to_owned(), license, integrity }
    }

    #[test]
    fn packages_are_found_where_npm_and_uv_put_them_and_nowhere_else() {
        let files = [
            (
                "berth/lock.json",
                r#"{"node_modules/@s/a":"sha512-AA==","node_modules/@s/a/node_modules/b":"sha1-BB=="}"#,
            ),
            ("berth/node_modules/@s/a/package.json", r#"{"name":"@s/a","version":"1.0","license":"MIT"}"#),
            (
                "berth/node_modules/@s/a/node_modules/b/package.json",
                r#"{"name":"b","version":"2","license":{"type":"ISC"}}"#,
            ),
            (
                "berth/node_modules/b/package.json",
                r#"{"name":"b","version":"2","licenses":[{"type":"ISC"}]}"#,
            ),
            ("berth/node_modules/c/package.json", r#"{"name":"c","version":"3"}"#),
            // A package's own files.
            ("berth/node_modules/c/test/package.json", r#"{"name":"forged","version":"3"}"#),
            ("berth/node_modules/c/node_modules/.cache/package.json", r#"{"name":"forged","version":"3"}"#),
            ("berth/node_modules/d/package.json", "no manifest"),
            ("berth/node_modules/e/package.json", r#"{"name":"e\n","version":"3"}"#),
            (
                "berth/tools/t/lib/python3.13/site-packages/My_Pkg.x-1.dist-info/METADATA",
                "Metadata-Version: 2.4\nName: My_Pkg.x\nVersion: 1.5\nLicense: UNKNOWN\n\nName: prose\n",
            ),
            (
                "berth/tools/t/lib/python3.13/site-packages/q.dist-info/METADATA",
                "Name: q\nVersion: 1\nClassifier: License :: OSI Approved :: MIT License\n",
            ),
            ("berth/tools/t/lib/python3.13/site-packages/r.dist-info/RECORD", "Name: r\nVersion: 1\n"),
        ];
        let expected = [
            package(Ecosystem::Npm, "@s/a", "1.0", "MIT", "sha512-AA=="),
            package(Ecosystem::Npm, "b", "2", "ISC", "sha1-BB=="),
            package(Ecosystem::Npm, "c", "3", "", ""),
            package(Ecosystem::Pypi, "my-pkg-x", "1.5", "", ""),
            package(Ecosystem::Pypi, "q", "1", "MIT License", ""),
        ];
        assert_eq!(read(&archive(&files)[..]).unwrap(), expected);
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let whole = archive(&[("berth/lock.json", "{}")]);
        assert!(read(&whole[..700]).is_ok_and(|found| found.is_empty()) || read(&whole[..700]).is_err());
        assert!(read(&b"no archive, but long enough to be read as the head of one"[..]).is_err());
    }

    #[test]
    fn pieces_are_one_reader() {
        let (send, pieces) = tokio::sync::mpsc::channel(4);
        for piece in ["ab", "", "c"] {
            send.blocking_send(Ok(piece)).unwrap();
        }
        drop(send);
        let mut text = String::new();
        Pieces { pieces, piece: io::Cursor::default() }.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
    }
}
