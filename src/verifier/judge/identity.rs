//! Whether a signature is of an identity (keyless): a certificate that an authority of the trust root has issued to it and
//! a CT log has seen, a signature by that certificate's key, and a log's word that this very signature existed while the
//! certificate was valid. `sigstore-verify` does the cryptography of all this; here is said what it has to prove.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Artifact, Bundle, DerCertificate, Sha256Hash};
use sigstore_verify::{Error, VerificationPolicy, VerificationResult, Verifier};

use super::{Finding, is_about_an_image, said};
use crate::protocol;
use crate::registry::Simple;

/// How much of a reason is told (characters): it may quote a certificate.
const LONGEST_REASON: usize = 300;

/// Whose signatures count, and which authorities and logs are believed.
pub(crate) struct Identity {
    verifier: Verifier,
    policy: VerificationPolicy,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Identity {
    /// The trust root is looked through, too.
    pub(crate) fn new(wanted: &protocol::Identity, root: &TrustedRoot) -> Result<Self, String> {
        let policy = VerificationPolicy::new(&wanted.name, &wanted.issuer);
        Ok(Self { verifier: Verifier::new(root).map_err(|error| error.to_string())?, policy })
    }

    /// A «simple signing» payload with its certificate and the log's promise.
    pub(crate) fn simple(&self, found: &Simple, digest: &str) -> Finding {
        let bundle = match as_bundle(found) {
            Ok(bundle) => bundle,
            Err(why) => return Finding::NotProved(why.to_owned()),
        };
        match self.proves(&bundle, Artifact::from(found.payload.as_slice())) {
            Ok(()) => said(&found.payload, digest),
            Err(error) => Finding::NotProved(told(&error.to_string())),
        }
    }

    /// A bundle with a statement about the image.
    pub(crate) fn bundle(&self, bytes: &[u8], digest: &str) -> Finding {
        let Ok(parsed) = serde_json::from_slice::<Value>(bytes) else { return Finding::Nothing };
        if !is_signature_of_an_image(&parsed) {
            return Finding::Nothing;
        }
        let bundle = match serde_json::from_slice::<Bundle>(bytes) {
            Ok(bundle) => bundle,
            Err(error) => return Finding::NotProved(told(&error.to_string())),
        };
        let hash = digest.strip_prefix("sha256:").and_then(|hex| Sha256Hash::from_hex(hex).ok());
        let Some(hash) = hash else { return Finding::OtherImage };
        match self.proves(&bundle, Artifact::from(hash)) {
            Ok(()) => Finding::Signed,
            Err(Failure::Library(Error::ArtifactMismatch(_))) => Finding::OtherImage,
            Err(error) => Finding::NotProved(told(&error.to_string())),
        }
    }

    fn proves(&self, bundle: &Bundle, artifact: Artifact<'_>) -> Result<(), Failure> {
        // The library looks at each entry, but wants a proof of one of them only.
        if bundle.verification_material.tlog_entries.len() != 1 {
            return Err(Failure::Entries(bundle.verification_material.tlog_entries.len()));
        }
        if bundle.signing_certificate().is_none() {
            return Err(Failure::Key);
        }
        let result = self.verifier.verify(artifact, bundle, &self.policy).map_err(Failure::Library)?;
        if is_complete(&result) { Ok(()) } else { Err(Failure::Incomplete) }
    }
}

/// Why a bundle proves nothing.
#[derive(Debug)]
enum Failure {
    Library(Error),
    Entries(usize),
    Key,
    Incomplete,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Library(error) => write!(f, "{error}"),
            Self::Entries(entries) => write!(f, "it has {entries} entries of a log, not one"),
            Self::Key => f.write_str(BY_A_KEY),
            Self::Incomplete => f.write_str("not everything was verified"),
        }
    }
}

const BY_A_KEY: &str = "it has no certificate: a key has signed, no identity";

/// A verifier that leaves something out says so.
fn is_complete(result: &VerificationResult) -> bool {
    result.certificate_verified()
        && result.sct_verified()
        && result.tlog_verified()
        && result.identity_policy_checked()
        && !result.verified_timestamps().is_empty()
}

fn is_signature_of_an_image(bundle: &Value) -> bool {
    let envelope = &bundle["dsseEnvelope"];
    let payload = envelope["payload"].as_str().and_then(|payload| STANDARD.decode(payload).ok());
    let statement = payload.and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
    let kind = envelope["payloadType"].as_str().unwrap_or_default();
    statement.is_some_and(|statement| is_about_an_image(kind, &statement))
}

/// What cosign 2 keeps of a log's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Logged {
    signed_entry_timestamp: String,
    payload: Entry,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// The same as a bundle of the first version, whose proof is the log's promise.
fn as_bundle(found: &Simple) -> Result<Bundle, &'static str> {
    let certificate = found.certificate.as_deref().ok_or(BY_A_KEY)?;
    let certificate = DerCertificate::from_pem(certificate).map_err(|_| "its certificate is none")?;
    let logged = found.logged.as_deref().ok_or("no log has it")?;
    let unreadable = "what it says of the log cannot be read";
    let Logged { signed_entry_timestamp, payload: entry } =
        serde_json::from_str(logged).map_err(|_| unreadable)?;
    let log = Sha256Hash::from_hex(&entry.log_id).map_err(|_| unreadable)?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": {
            "x509CertificateChain": { "certificates": [{ "rawBytes": STANDARD.encode(certificate.as_bytes()) }] },
            "tlogEntries": [{
                "logIndex": entry.log_index.to_string(),
                "logId": { "keyId": STANDARD.encode(log.as_bytes()) },
                "kindVersion": { "kind": "hashedrekord", "version": "0.0.1" },
                "integratedTime": entry.integrated_time.to_string(),
                "inclusionPromise": { "signedEntryTimestamp": signed_entry_timestamp },
                "canonicalizedBody": entry.body,
            }],
        },
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(Sha256::digest(&found.payload)) },
            "signature": found.signature,
        },
    });
    serde_json::from_value(bundle).map_err(|_| unreadable)
}

/// A reason in one line of bounded length.
fn told(reason: &str) -> String {
    let mut told: String = reason.chars().take(LONGEST_REASON).flat_map(char::escape_debug).collect();
    if reason.chars().nth(LONGEST_REASON).is_some() {
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests;
