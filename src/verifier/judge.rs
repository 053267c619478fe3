//! Whether a signature is of a signer and for a digest. Pure. What a signature says is read only once it is known to be
//! the signer's.

mod identity;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use sigstore::crypto::{CosignVerificationKey, Signature};

use crate::registry::Simple;
pub(crate) use identity::Identity;

/// What a payload of cosign's says that it is.
const TYPE: &str = "cosign container image signature";
/// Of what a bundle holds.
const PAYLOAD: &str = "application/vnd.in-toto+json";
const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What a signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    Signed,
    OtherKey,
    /// Why it is not proved to be the identity's.
    NotProved(String),
    OtherImage,
    /// It is no signature of an image.
    Nothing,
}

/// Whose signatures count.
#[derive(Debug)]
pub(crate) enum Judge {
    Key(Key),
    Identity(Box<Identity>),
}

impl Judge {
    pub(crate) fn simple(&self, found: &Simple, digest: &str) -> Finding {
        match self {
            Self::Key(key) => simple(&found.payload, &found.signature, digest, key),
            Self::Identity(identity) => identity.simple(found, digest),
        }
    }

    pub(crate) fn bundle(&self, bytes: &[u8], digest: &str) -> Finding {
        match self {
            Self::Key(key) => bundle(bytes, digest, key),
            Self::Identity(identity) => identity.bundle(bytes, digest),
        }
    }
}

/// A public key.
#[derive(Debug)]
pub(crate) struct Key(CosignVerificationKey);

impl Key {
    /// Of PEM. The kind of key says how it signs.
    pub(crate) fn parse(pem: &str) -> Result<Self, String> {
        CosignVerificationKey::try_from_pem(pem.as_bytes()).map(Self).map_err(|error| error.to_string())
    }

    fn has_signed(&self, signature: &[u8], message: &[u8]) -> bool {
        self.0.verify_signature(Signature::Raw(signature), message).is_ok()
    }
}

/// The signature of a «simple signing» payload, encoded as its layer's annotation has it.
fn simple(payload: &[u8], signature: &str, digest: &str, key: &Key) -> Finding {
    let Ok(signature) = STANDARD.decode(signature) else { return Finding::Nothing };
    if !key.has_signed(&signature, payload) {
        return Finding::OtherKey;
    }
    said(payload, digest)
}

/// What a payload says that its signer has signed.
fn said(payload: &[u8], digest: &str) -> Finding {
    let Ok(said) = serde_json::from_slice::<Value>(payload) else { return Finding::Nothing };
    let critical = &said["critical"];
    if critical["type"] != TYPE {
        return Finding::Nothing;
    }
    if critical["image"]["docker-manifest-digest"] == digest { Finding::Signed } else { Finding::OtherImage }
}

/// As far as a bundle must be known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Sealed>,
}

#[derive(Deserialize)]
struct Sealed {
    sig: String,
}

/// The signature in a bundle.
fn bundle(bytes: &[u8], digest: &str, key: &Key) -> Finding {
    let Ok(Bundle { dsse_envelope: envelope }) = serde_json::from_slice(bytes) else {
        return Finding::Nothing;
    };
    let Ok(payload) = STANDARD.decode(&envelope.payload) else { return Finding::Nothing };
    let message = sealed(&envelope.payload_type, &payload);
    let signatures = envelope.signatures.iter().filter_map(|sealed| STANDARD.decode(&sealed.sig).ok());
    let is_the_keys =
        signatures.take(crate::MOST_SIGNATURES).any(|signature| key.has_signed(&signature, &message));
    let said: Value = serde_json::from_slice(&payload).unwrap_or_default();
    if !is_about_an_image(&envelope.payload_type, &said) {
        return Finding::Nothing;
    }
    if !is_the_keys {
        return Finding::OtherKey;
    }
    let subjects = said["subject"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hex = digest.strip_prefix("sha256:");
    let is_for = |subject: &Value| hex.is_some() && subject["digest"]["sha256"].as_str() == hex;
    if subjects.iter().any(is_for) { Finding::Signed } else { Finding::OtherImage }
}

/// Whether a bundle's payload is cosign's statement. An attestation is signed by the same signer, and says something else.
fn is_about_an_image(kind: &str, statement: &Value) -> bool {
    kind == PAYLOAD && statement["predicateType"] == PREDICATE
}

/// What a DSSE signature is made over.
fn sealed(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// A manifest, or a list of such.
#[derive(Debug)]
pub(crate) struct Manifest(Value);

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map(Self).map_err(|_| "its manifest is not JSON".to_owned())
    }

    /// The digest of its image's configuration.
    pub(crate) fn config(&self) -> Option<&str> {
        self.0["config"]["digest"].as_str()
    }

    /// The digests in a list.
    pub(crate) fn children(&self) -> impl Iterator<Item = &str> {
        let entries = self.0["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        entries.iter().take(crate::MOST_SIGNATURES).filter_map(|entry| entry["digest"].as_str())
    }
}

#[cfg(test)]
mod tests;
