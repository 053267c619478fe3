//! Credentials for a registry, which `docker login` left in the file or with a helper program.
//!
//! A credential is for the daemon that pulls, and never part of a message or of a `Debug` output. A failed helper's
//! output is not shown either, because it may contain anything.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::{DockerCli, File, parse};
use crate::failure::chain;

/// What the docker CLI calls Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";

/// A helper may have to ask a service, and must not ask a person: nobody is there.
const HELPER_WITHIN: Duration = Duration::from_secs(15);
/// An answer is a name and a token (bytes).
const LONGEST_ANSWER: u64 = 1 << 20;

/// What a helper says of a registry that it knows nothing of.
const UNKNOWN: &str = "credentials not found in native keychain";
/// The user's name where the secret is an identity token.
const TOKEN: &str = "<token>";

/// For one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    pub server: String,
    pub username: String,
    pub password: String,
    pub identity_token: String,
    pub registry_token: String,
}

impl Credential {
    fn is_empty(&self) -> bool {
        [&self.username, &self.password, &self.identity_token, &self.registry_token]
            .iter()
            .all(|part| part.is_empty())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What is known of an image's registry.
#[derive(Debug, Default)]
pub struct Found {
    pub credential: Option<Credential>,
    /// Why there may be one that could not be had; a public image is pulled without.
    pub warning: Option<String>,
}

/// A registry in `auths`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Entry {
    /// `USER:PASSWORD`, encoded.
    auth: String,
    username: String,
    password: String,
    #[serde(rename = "identitytoken")]
    identity_token: String,
    #[serde(rename = "registrytoken")]
    registry_token: String,
}

/// The registry that holds an image: `docker.io` where its name says none.
pub fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some(("index.docker.io", _)) | None => "docker.io",
        Some((first, _))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            first
        }
        Some(_) => "docker.io",
    }
}

impl DockerCli {
    /// Who pulls `image`. A helper program may be asked, so it may take a moment.
    pub async fn credential(&self, image: &str) -> Found {
        let registry = registry(image);
        let key = if registry == "docker.io" { HUB } else { registry };
        let mut warnings = Vec::new();
        if let Some(text) = &self.auths {
            match parse::<File>(text) {
                Ok(file) => {
                    let credential = file.auths.get(key).and_then(|entry| entry.credential(key));
                    if credential.is_some() {
                        return Found { credential, warning: None };
                    }
                }
                Err(error) => warnings.push(format!("cannot read DOCKER_AUTH_CONFIG: {error}")),
            }
        }
        let file = self.file().unwrap_or_else(|error| {
            warnings.push(chain(&error));
            File::default()
        });
        let helper = file.cred_helpers.get(key).or(file.creds_store.as_ref());
        let credential = match helper.filter(|helper| !helper.is_empty()) {
            None => file.entry(key),
            // It is a part of a program's name, and no path.
            Some(helper) if helper.contains('/') => {
                warnings.push(format!("`{helper}` is not a credential helper's name"));
                None
            }
            Some(helper) => ask(&format!("docker-credential-{helper}"), key).await.unwrap_or_else(|why| {
                warnings.push(format!("the credential helper `docker-credential-{helper}` {why}"));
                None
            }),
        };
        let without = if credential.is_none() { " without credentials" } else { "" };
        let warning = (!warnings.is_empty())
            .then(|| format!("{}; pulling from `{registry}`{without}", warnings.join("; ")));
        Found { credential, warning }
    }
}

impl File {
    /// As it stands in the file, or under an address that older versions wrote.
    fn entry(&self, key: &str) -> Option<Credential> {
        let older = || self.auths.iter().find(|(name, _)| hostname(name) == key).map(|(_, entry)| entry);
        self.auths.get(key).or_else(older)?.credential(key)
    }
}

/// The host of an address: `https://box:5000/v1/` is `box:5000`.
fn hostname(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

impl Entry {
    fn credential(&self, server: &str) -> Option<Credential> {
        let decoded = STANDARD.decode(&self.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|pair| pair.split_once(':'));
        let (username, password) = pair.unwrap_or((&self.username, &self.password));
        let credential = Credential {
            server: server.to_owned(),
            username: username.to_owned(),
            password: password.trim_matches('\0').to_owned(),
            identity_token: self.identity_token.clone(),
            registry_token: self.registry_token.clone(),
        };
        (!credential.is_empty()).then_some(credential)
    }
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper program; an error completes «the helper …».
async fn ask(program: &str, server: &str) -> Result<Option<Credential>, String> {
    tokio::time::timeout(HELPER_WITHIN, run(program, server))
        .await
        .unwrap_or_else(|_| Err(format!("gave no answer within {} s", HELPER_WITHIN.as_secs())))
}

async fn run(program: &str, server: &str) -> Result<Option<Credential>, String> {
    let cannot = |error: std::io::Error| format!("cannot be run: {error}");
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // One that hangs is not waited for.
        .kill_on_drop(true)
        .spawn()
        .map_err(cannot)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that needs no question may have closed it.
        drop(stdin.write_all(format!("{server}\n").as_bytes()).await);
    }
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST_ANSWER).read_to_string(&mut said).await.map_err(cannot)?;
    }
    let status = child.wait().await.map_err(cannot)?;
    if said.trim().starts_with(UNKNOWN) {
        return Ok(None);
    }
    if !status.success() {
        return Err(format!("failed ({status})"));
    }
    let Answer { username, secret } = parse(&said).map_err(|_| "gave an invalid answer".to_owned())?;
    let server = server.to_owned();
    let credential = if username == TOKEN {
        Credential { server, identity_token: secret, ..Credential::default() }
    } else {
        Credential { server, username, password: secret, ..Credential::default() }
    };
    Ok(Some(credential).filter(|credential| !credential.is_empty()))
}

#[cfg(test)]
mod tests;
