//! One image of a registry: its digest and its configuration. What is asked for by its digest is compared with it, and
//! nothing is read that is longer than a configuration may be.

use std::collections::HashMap;
use std::fmt;
use std::io::Cursor;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use mcp_berth::bake::LABEL_INTEGRITY;
use mcp_berth::docker_cli::Credential;
use mcp_berth::failure::chain;
use oci_client::client::{ClientConfig, ClientProtocol, linux_amd64_resolver};
use oci_client::errors::{OciDistributionError as Error, OciErrorCode};
use oci_client::manifest::{ImageIndexEntry, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde::Deserialize;

use super::Image;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What registries themselves take (bytes).
const LONGEST: i64 = 4 << 20;

/// Why a registry has not told.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It has no such image.
    Absent,
    /// It gives the image to somebody else.
    Denied,
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("its registry does not have it"),
            Self::Denied => f.write_str("its registry refuses access to it"),
            Self::Other(why) => write!(f, "its registry cannot be asked: {why}"),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let known = |codes: &[OciErrorCode]| match &error {
            Error::RegistryError { envelope, .. } => {
                envelope.errors.iter().any(|it| codes.contains(&it.code))
            }
            _ => false,
        };
        if matches!(&error, Error::ImageManifestNotFoundError(_) | Error::ServerError { code: 404, .. })
            || known(&[OciErrorCode::ManifestUnknown, OciErrorCode::NotFound, OciErrorCode::NameUnknown])
        {
            return Self::Absent;
        }
        if matches!(
            &error,
            Error::UnauthorizedError { .. }
                | Error::AuthenticationFailure(_)
                | Error::ServerError { code: 401 | 403, .. }
        ) || known(&[OciErrorCode::Denied, OciErrorCode::Unauthorized])
        {
            return Self::Denied;
        }
        Self::Other(chain(&error))
    }
}

/// An image there.
pub(crate) struct Registry {
    client: Client,
    auth: RegistryAuth,
    reference: Reference,
}

impl Registry {
    /// On this machine's own loopback it is without TLS, as it is for an engine.
    pub(crate) fn new(image: &str, credential: Option<&Credential>) -> Result<Self, Trouble> {
        let reference: Reference = image
            .parse()
            .map_err(|error| Trouble::Other(format!("`{image}` is no image's name: {error}")))?;
        // Whoever else uses TLS here names its provider itself; this one takes the process'.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = is_loopback(reference.resolve_registry());
        let client = Client::try_from(ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            platform_resolver: Some(Box::new(platform)),
            connect_timeout: Some(CONNECT_WITHIN),
            read_timeout: Some(READ_WITHIN),
            // One request for each layer, as the docker CLI has it.
            use_monolithic_push: true,
            ..ClientConfig::default()
        })?;
        Ok(Self { client, auth: auth(credential), reference })
    }

    /// What the name means now.
    pub(crate) async fn digest(&self) -> Result<String, Trouble> {
        Ok(Box::pin(self.client.fetch_manifest_digest(&self.reference, &self.auth)).await?)
    }

    /// What the image says of itself.
    pub(crate) async fn image(&self) -> Result<Image, Trouble> {
        let (manifest, digest) =
            Box::pin(self.client.pull_image_manifest(&self.reference, &self.auth)).await?;
        let length = usize::try_from(manifest.config.size).ok().filter(|_| manifest.config.size <= LONGEST);
        let Some(length) = length else {
            return Err(Trouble::Other("the image's configuration has no end".to_owned()));
        };
        // Of that length: what is longer is refused.
        let mut bytes = vec![0; length];
        Box::pin(self.client.pull_blob(&self.reference, &manifest.config, Cursor::new(&mut bytes[..])))
            .await?;
        read(&bytes, digest).map_err(|error| Trouble::Other(chain(&error)))
    }

    /// Whether a piece of an image is there already.
    pub(super) async fn has(&self, digest: &str) -> bool {
        Box::pin(self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth)).await;
        Box::pin(self.client.blob_exists(&self.reference, digest)).await.unwrap_or(false)
    }

    /// Puts a piece of an image there.
    pub(super) async fn put(
        &self,
        digest: &str,
        length: u64,
        bytes: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
    ) -> Result<(), Trouble> {
        Box::pin(self.client.push_blob_stream(&self.reference, bytes, digest, Some(length))).await?;
        Ok(())
    }

    /// Has the image's name mean this; gives its digest.
    pub(super) async fn name(&self, manifest: &OciManifest) -> Result<String, Trouble> {
        Box::pin(self.client.push_manifest(&self.reference, manifest)).await?;
        self.digest().await
    }
}

/// An image's configuration, as far as berth must know it.
#[derive(Deserialize)]
struct File {
    config: Option<Run>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Run {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    labels: Option<HashMap<String, String>>,
}

fn read(config: &[u8], digest: String) -> Result<Image, serde_json::Error> {
    let config = serde_json::from_slice::<File>(config)?.config.unwrap_or_default();
    let integrity = config.labels.and_then(|mut labels| labels.remove(LABEL_INTEGRITY));
    Ok(Image {
        digest: Some(digest),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        integrity: integrity.unwrap_or_default(),
    })
}

/// Nobody knows yet which node it will be; images run the same on all of theirs.
fn platform(manifests: &[ImageIndexEntry]) -> Option<String> {
    let is_linux = |entry: &&ImageIndexEntry| {
        entry.platform.as_ref().is_some_and(|platform| platform.os.to_string() == "linux")
    };
    linux_amd64_resolver(manifests).or_else(|| Some(manifests.iter().find(is_linux)?.digest.clone()))
}

fn auth(credential: Option<&Credential>) -> RegistryAuth {
    match credential {
        Some(login) if !login.registry_token.is_empty() => RegistryAuth::Bearer(login.registry_token.clone()),
        Some(login) if !login.username.is_empty() => {
            RegistryAuth::Basic(login.username.clone(), login.password.clone())
        }
        _ => RegistryAuth::Anonymous,
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_this_machines_own_registry_is_without_tls() {
        for ours in ["localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(is_loopback(ours), "{ours}");
        }
        for other in ["localhost.example.org", "10.0.0.1:5000", "box:5000", "index.docker.io"] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn a_configuration_tells_what_it_runs_and_may_leave_everything_out() {
        let config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] },
            "config": {
                "Entrypoint": ["node", "x.js"], "Cmd": null, "User": "1000",
                "Labels": { LABEL_INTEGRITY: "sha512-x" },
            },
        });
        let found = read(config.to_string().as_bytes(), "sha256:0".to_owned()).unwrap();
        let expected = Image {
            digest: Some("sha256:0".to_owned()),
            entrypoint: vec!["node".to_owned(), "x.js".to_owned()],
            cmd: Vec::new(),
            user: "1000".to_owned(),
            integrity: "sha512-x".to_owned(),
        };
        assert_eq!(found, expected);
        let mut bare = config;
        bare.as_object_mut().unwrap().remove("config");
        let found = read(bare.to_string().as_bytes(), "sha256:0".to_owned()).unwrap();
        assert_eq!(found, Image { digest: Some("sha256:0".to_owned()), ..Image::default() });
    }

    #[test]
    fn an_image_of_several_platforms_is_asked_for_one_of_them() {
        let entries = |of: &[(&str, &str)]| -> Vec<ImageIndexEntry> {
            let entry = |(os, architecture): &(&str, &str)| {
                serde_json::from_value(json!({
                    "mediaType": "m", "size": 1, "digest": format!("sha256:{os}-{architecture}"),
                    "platform": { "os": os, "architecture": architecture },
                }))
                .unwrap()
            };
            of.iter().map(entry).collect()
        };
        let chosen = |of: &[(&str, &str)]| platform(&entries(of));
        let all = [("unknown", "unknown"), ("linux", "arm64"), ("linux", "amd64"), ("windows", "amd64")];
        assert_eq!(chosen(&all).as_deref(), Some("sha256:linux-amd64"));
        assert_eq!(chosen(&all[..2]).as_deref(), Some("sha256:linux-arm64"));
        assert_eq!(chosen(&all[3..]), None);
    }
}
