//! Docker contexts: engines with names. One of them is the current context.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{DockerCli, FileError, parse, read};
use crate::human::hex;

/// The name that stands for no context at all.
const DEFAULT: &str = "default";

/// The context that is to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub name: String,
    /// Whether `DOCKER_CONTEXT` names it; else the docker CLI's file.
    pub by_variable: bool,
    /// The engine's address as the context has it; empty where it says nothing.
    pub host: String,
    /// The folder of its `ca.pem`, `cert.pem` and `key.pem`, where it has one.
    pub certs: Option<PathBuf>,
    /// Whether the engine's certificate is not to be verified.
    pub skips_verification: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error("there is no docker context `{name}`")]
    Missing { name: String, by_variable: bool },
    #[error("the docker context `{0}` names no engine")]
    Bare(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// A context's `meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    #[serde(default)]
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl DockerCli {
    /// The context that `chosen` (`DOCKER_CONTEXT`) or else the file names; `None` for the default one. A broken file is
    /// as good as none: so the docker CLI has it.
    pub fn context(&self, chosen: Option<String>) -> Result<Option<Context>, ContextError> {
        let by_variable = chosen.is_some();
        let name = chosen.or_else(|| self.file().ok()?.current_context);
        let Some(name) = name.filter(|name| !name.is_empty() && name != DEFAULT) else { return Ok(None) };
        let missing = || ContextError::Missing { name: name.clone(), by_variable };
        let contexts = self.folder.as_ref().ok_or_else(missing)?.join("contexts");
        let id = hex(&Sha256::digest(&name));
        let path = contexts.join("meta").join(&id).join("meta.json");
        let meta = match read(&path) {
            Ok(None) => return Err(missing()),
            Ok(Some(text)) => parse::<Meta>(&text).map_err(|source| FileError { path, source })?,
            Err(source) => return Err(FileError { path, source }.into()),
        };
        let endpoint = meta.endpoints.into_iter().find(|(kind, _)| kind == "docker");
        let (_, Endpoint { host, skip_tls_verify }) =
            endpoint.ok_or_else(|| ContextError::Bare(name.clone()))?;
        let certs = contexts.join("tls").join(&id).join("docker");
        let certs = certs.is_dir().then_some(certs);
        Ok(Some(Context { name, by_variable, host, certs, skips_verification: skip_tls_verify }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::with_file;
    use super::*;

    /// As `docker context create` writes it.
    fn create(cli: &DockerCli, name: &str, endpoints: &str) -> PathBuf {
        let id = hex(&Sha256::digest(name));
        let contexts = cli.folder().unwrap().join("contexts");
        let meta = contexts.join("meta").join(&id);
        std::fs::create_dir_all(&meta).unwrap();
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{endpoints}}}"#);
        std::fs::write(meta.join("meta.json"), text).unwrap();
        contexts.join("tls").join(id).join("docker")
    }

    #[test]
    fn a_context_is_found_by_the_digest_of_its_name() {
        let (_folder, cli) = with_file(r#"{"currentContext": "colima"}"#);
        create(&cli, "colima", r#"{"docker":{"Host":"unix:///c.sock","SkipTLSVerify":false}}"#);
        let certs = create(&cli, "far", r#"{"docker":{"Host":"tcp://far:2376","SkipTLSVerify":true}}"#);
        std::fs::create_dir_all(&certs).unwrap();
        let current = cli.context(None).unwrap().unwrap();
        assert_eq!((current.host.as_str(), current.by_variable), ("unix:///c.sock", false));
        assert_eq!((current.certs, current.skips_verification), (None, false));
        let far = cli.context(Some("far".to_owned())).unwrap().unwrap();
        assert_eq!((far.host.as_str(), far.by_variable), ("tcp://far:2376", true));
        assert_eq!((far.certs, far.skips_verification), (Some(certs), true));
    }

    #[test]
    fn the_default_is_no_context() {
        for file in [r#"{"currentContext": "default"}"#, r#"{"currentContext": ""}"#, "{}", "{broken"] {
            let (_folder, cli) = with_file(file);
            assert_eq!(cli.context(None).unwrap(), None, "{file}");
            assert_eq!(cli.context(Some("default".to_owned())).unwrap(), None, "{file}");
        }
    }

    #[test]
    fn a_context_that_is_not_there_is_an_error() {
        let (_folder, cli) = with_file(r#"{"currentContext": "gone"}"#);
        assert!(matches!(cli.context(None).unwrap_err(), ContextError::Missing { by_variable: false, .. }));
        assert!(matches!(
            cli.context(Some("too".to_owned())).unwrap_err(),
            ContextError::Missing { by_variable: true, .. }
        ));
        create(&cli, "bare", r#"{"kubernetes":{"Host":"https://k"}}"#);
        assert!(matches!(cli.context(Some("bare".to_owned())).unwrap_err(), ContextError::Bare(_)));
    }
}
