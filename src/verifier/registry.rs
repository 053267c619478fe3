//! What a registry has: manifests, signatures, bundles. Everything that is asked for by its digest is compared with it, and
//! nothing is read that is longer than a manifest may be.

use std::fmt::Write;
use std::io::Cursor;
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError as Error, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use sha2::{Digest, Sha256};

use crate::MOST_SIGNATURES;
use crate::protocol::Login;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(20);

/// What registries themselves take (bytes).
const LONGEST: i64 = 4 << 20;

const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// The type of a signature's layer, and the annotations that hold the signature and what proves whose it is.
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const LOGGED: &str = "dev.sigstore.cosign/bundle";
/// The type of a bundle's layer, without its version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// Why nothing can be said of what it has.
#[derive(Debug)]
pub(crate) struct Trouble(pub(crate) String);

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self(text)
    }
}

/// A signature as cosign 2 makes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Simple {
    /// What is signed.
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: String,
    /// In PEM. Keys sign without.
    pub(crate) certificate: Option<String>,
    /// What the log has promised.
    pub(crate) logged: Option<String>,
}

/// One repository of it.
pub(crate) struct Registry {
    client: Client,
    auth: RegistryAuth,
    reference: Reference,
}

impl Registry {
    /// The registry of an image, and what it has under `digest`. On this machine's own loopback it may be without TLS, as
    /// it may for an engine.
    pub(crate) async fn that_answers(
        image: &str,
        login: Option<&Login>,
        digest: &str,
    ) -> Result<(Self, Option<Vec<u8>>), Trouble> {
        let reference: Reference =
            image.parse().map_err(|error| Trouble(format!("`{image}` is not an image's name: {error}")))?;
        let registry =
            |protocol| Self { client: client(protocol), auth: auth(login), reference: reference.clone() };
        let secure = registry(ClientProtocol::Https);
        match secure.manifest(digest).await {
            Err(_) if is_loopback(reference.resolve_registry()) => {
                let plain = registry(ClientProtocol::Http);
                let manifest = plain.manifest(digest).await?;
                Ok((plain, manifest))
            }
            manifest => Ok((secure, manifest?)),
        }
    }

    fn at(&self, place: &str) -> Reference {
        let (registry, repository) =
            (self.reference.registry().to_owned(), self.reference.repository().to_owned());
        if place.contains(':') {
            Reference::with_digest(registry, repository, place.to_owned())
        } else {
            Reference::with_tag(registry, repository, place.to_owned())
        }
    }

    /// What stands under a tag or a digest; `None` where nothing does.
    pub(crate) async fn manifest(&self, place: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let found = self.client.pull_manifest_raw(&self.at(place), &self.auth, &MANIFESTS).await;
        let bytes = match found {
            Ok((bytes, _)) => bytes.to_vec(),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if place.contains(':') && self::digest(&bytes) != place {
            return Err(Trouble(format!("what it has under `{place}` has another digest")));
        }
        Ok(Some(bytes))
    }

    /// Those under the tag that cosign 2 makes of a digest.
    pub(crate) async fn simple_signatures(&self, digest: &str) -> Result<Vec<Simple>, Trouble> {
        let Some(bytes) = self.manifest(&format!("{}.sig", digest.replace(':', "-"))).await? else {
            return Ok(Vec::new());
        };
        let Ok(OciManifest::Image(manifest)) = serde_json::from_slice(&bytes) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for layer in manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE).take(MOST_SIGNATURES) {
            let note = |name| layer.annotations.as_ref().and_then(|notes| notes.get(name)).cloned();
            let Some(signature) = note(SIGNATURE) else { continue };
            let payload = self.blob(layer).await?;
            found.push(Simple { payload, signature, certificate: note(CERTIFICATE), logged: note(LOGGED) });
        }
        Ok(found)
    }

    /// The bundles that refer to a digest, as cosign 3 makes them.
    pub(crate) async fn bundles(&self, digest: &str) -> Result<Vec<Vec<u8>>, Trouble> {
        let place = self.at(digest);
        self.client.auth(&place, &self.auth, RegistryOperation::Pull).await?;
        let referring = self.client.pull_referrers(&place, None).await?;
        let mut found = Vec::new();
        for entry in referring.manifests.iter().take(MOST_SIGNATURES) {
            let Some(bytes) = self.manifest(&entry.digest).await? else { continue };
            let Ok(OciManifest::Image(manifest)) = serde_json::from_slice(&bytes) else { continue };
            for layer in manifest.layers.iter().filter(|layer| layer.media_type.starts_with(BUNDLE)).take(1) {
                found.push(self.blob(layer).await?);
            }
        }
        Ok(found)
    }

    async fn blob(&self, layer: &OciDescriptor) -> Result<Vec<u8>, Trouble> {
        let length = usize::try_from(layer.size).ok().filter(|_| layer.size <= LONGEST);
        let Some(length) = length else { return Err(Trouble("it has a signature without end".to_owned())) };
        // Of that length: what is longer is refused.
        let mut bytes = vec![0; length];
        self.client.pull_blob(&self.at(&layer.digest), layer, Cursor::new(&mut bytes[..])).await?;
        Ok(bytes)
    }
}

fn client(protocol: ClientProtocol) -> Client {
    Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_WITHIN),
        read_timeout: Some(READ_WITHIN),
        ..ClientConfig::default()
    })
}

fn auth(login: Option<&Login>) -> RegistryAuth {
    match login {
        Some(login) if !login.token.is_empty() => RegistryAuth::Bearer(login.token.clone()),
        Some(login) if !login.username.is_empty() => {
            RegistryAuth::Basic(login.username.clone(), login.password.clone())
        }
        _ => RegistryAuth::Anonymous,
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Into a text: that does not fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn is_absent(error: &Error) -> bool {
    match error {
        Error::ImageManifestNotFoundError(_) | Error::ServerError { code: 404, .. } => true,
        Error::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
            matches!(
                error.code,
                OciErrorCode::ManifestUnknown | OciErrorCode::NotFound | OciErrorCode::NameUnknown
            )
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_registry_may_be_without_tls() {
        for ours in ["localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(is_loopback(ours), "{ours}");
        }
        for other in ["localhost.example.org", "10.0.0.1:5000", "box:5000", "index.docker.io", "128.0.0.1"] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
