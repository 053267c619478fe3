//! Reads the docker CLI's own files: its current context, its credentials for registries, its proxies.
//!
//! Where `docker` works, berth has to work. Only these files are read here, and only the credential helpers that they
//! name are run. Nothing is ever written. No message and no `Debug` output contains a credential.

mod context;
mod credentials;
mod proxies;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use context::{Context, ContextError};
pub use credentials::{Credential, Found, registry};
pub use proxies::Proxies;

use credentials::Entry;

/// The docker CLI's files are no bigger than this; a device or a log that somebody names is not read to its end.
const LONGEST_FILE: u64 = 4 << 20;

/// Where the docker CLI's files are, and what the environment says beside them. Reads nothing by itself; cheap to clone.
#[derive(Clone, Default)]
pub struct DockerCli {
    folder: Option<PathBuf>,
    /// `DOCKER_AUTH_CONFIG`: credentials as JSON.
    auths: Option<String>,
}

/// Why a file of the docker CLI's is of no use.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the docker CLI's file `{}`", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// `config.json`, as far as berth must know it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    current_context: Option<String>,
    #[serde(deserialize_with = "null_is_none")]
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    #[serde(deserialize_with = "null_is_none")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_none")]
    proxies: BTreeMap<String, Proxies>,
}

/// The docker CLI reads `null` as nothing.
fn null_is_none<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl DockerCli {
    /// `DOCKER_CONFIG`, else `.docker` in `HOME`; with neither there are no files.
    pub fn from_env(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let folder = set("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".docker")));
        Self { folder, auths: set("DOCKER_AUTH_CONFIG") }
    }

    /// The folder of the files.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What a container of the daemon at `address`, which is on `engine`, is to have: what the docker CLI hands to one there.
    pub fn proxies(
        &self,
        address: &str,
        engine: impl FnOnce() -> Option<String>,
    ) -> Result<Proxies, FileError> {
        let mut file = self.file()?;
        let mut of = |address: &str| file.proxies.remove(address);
        Ok(of(address).or_else(|| of(&engine()?)).or_else(|| of("default")).unwrap_or_default())
    }

    /// `config.json`; what is not there is empty.
    fn file(&self) -> Result<File, FileError> {
        let Some(folder) = &self.folder else { return Ok(File::default()) };
        let path = folder.join("config.json");
        match read(&path) {
            Ok(None) => Ok(File::default()),
            Ok(Some(text)) if text.trim().is_empty() => Ok(File::default()),
            Ok(Some(text)) => parse(&text).map_err(|source| FileError { path, source }),
            Err(source) => Err(FileError { path, source }),
        }
    }
}

impl fmt::Debug for DockerCli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerCli").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A file's text; `None` where there is none.
fn read(path: &Path) -> io::Result<Option<String>> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// JSON with its place, and without what stands there: that may be a password.
fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> io::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let place = format!("unexpected content at line {}, column {}", error.line(), error.column());
        io::Error::new(ErrorKind::InvalidData, place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the docker CLI's with this `config.json`.
    pub(super) fn with_file(text: &str) -> (tempfile::TempDir, DockerCli) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        let cli = DockerCli { folder: Some(folder.path().to_owned()), auths: None };
        (folder, cli)
    }

    #[test]
    fn the_folder_is_the_docker_clis_own() {
        let folder = |vars: &[(&str, &str)]| {
            let lookup =
                |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            DockerCli::from_env(&lookup).folder().map(Path::to_owned)
        };
        assert_eq!(folder(&[("HOME", "/h")]), Some("/h/.docker".into()));
        assert_eq!(folder(&[("HOME", "/h"), ("DOCKER_CONFIG", "/c")]), Some("/c".into()));
        assert_eq!(folder(&[("HOME", "/h"), ("DOCKER_CONFIG", "")]), Some("/h/.docker".into()));
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn a_broken_file_is_told_by_its_place_and_never_by_what_stands_in_it() {
        let (_folder, cli) = with_file("{\n\"auths\": {\"box\": {\"auth\": hunter2}}}");
        let error = crate::failure::chain(&cli.file().err().unwrap());
        assert!(error.contains("config.json") && error.contains("line 2"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let (_folder, cli) = with_file("{\"proxies\": {\"default\": \"hunter2\"}}");
        assert!(!crate::failure::chain(&cli.file().err().unwrap()).contains("hunter2"));
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let (_folder, cli) = with_file("");
        assert!(cli.file().is_ok());
        assert!(DockerCli::default().file().is_ok());
        let nowhere = DockerCli { folder: Some("/nowhere/at/all".into()), auths: None };
        assert!(nowhere.file().unwrap().current_context.is_none());
    }

    #[test]
    fn proxies_are_those_of_the_daemon_then_of_its_engine_then_of_all() {
        let (_folder, cli) = with_file(
            r#"{"proxies": {"default": {"httpProxy": "d"}, "unix:///e.sock": {"httpProxy": "e"}, "tcp://d:1": {"httpProxy": "o"}}}"#,
        );
        let http = |address, engine: Option<&str>| {
            let proxies = cli.proxies(address, || engine.map(str::to_owned)).unwrap();
            proxies.addresses().next().map(str::to_owned)
        };
        assert_eq!(http("tcp://d:1", Some("unix:///e.sock")).as_deref(), Some("o"));
        assert_eq!(http("tcp://d:2", Some("unix:///e.sock")).as_deref(), Some("e"));
        assert_eq!(http("tcp://d:2", Some("unix:///f.sock")).as_deref(), Some("d"));
        assert_eq!(http("tcp://d:2", None).as_deref(), Some("d"));
    }
}
