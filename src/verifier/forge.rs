//! Signatures of identities for the tests: a certificate authority, a CT log and a transparency log of their own, and each
//! thing that can be wrong with what they sign, one at a time. No part of the program.

mod authority;
mod log;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sigstore_verify::crypto::KeyPair;

use authority::Authority;

pub(crate) const IDENTITY: &str = "https://ci.example.org/team/server/release@refs/tags/v1";
pub(crate) const EMAIL: &str = "maintainer@example.org";
pub(crate) const ISSUER: &str = "https://token.ci.example.org";

/// Seconds since 1970: certificates are valid from here on.
const FROM: i64 = 1_717_200_000;
/// As long as Fulcio's (seconds).
const FOR: i64 = 600;

/// What is wrong. Everything else is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Good,
    /// The identity is an e-mail address.
    Email,
    /// The issuer stands only where it stood in Fulcio's first years.
    OldIssuer,
    /// It stands only where Fulcio means to have it.
    NewIssuer,
    OtherIdentity,
    OtherIssuer,
    /// The right issuer is where it stood in Fulcio's first years, another where it counts.
    TwoIssuers,
    NoIssuer,
    NotForSigning,
    ForeignAuthority,
    NoSct,
    /// A foreign CT log has signed in the name of the known one.
    ForeignCt,
    /// The SCT is of another certificate.
    SctOfAnother,
    /// Another key than the certificate's has signed.
    OtherKey,
    Late,
    Early,
    InTheFuture,
    /// The time was set back into the certificate's after the log had signed it.
    Redated,
    ForeignLog,
    /// A foreign log has promised in the name of the known one.
    ForgedPromise,
    NoPromise,
    ForgedProof,
    ForgedCheckpoint,
    NoProof,
    /// The log's entry is of another payload, signature, certificate.
    EntryOfAnotherPayload,
    EntryOfAnotherSignature,
    EntryOfAnotherCertificate,
    /// A second entry that nothing proves.
    TwoEntries,
    OtherImage,
    /// The same identity says something else of the image.
    Attestation,
    /// Something else than a statement is signed.
    OtherType,
}

/// A signature as cosign 2 keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Simple {
    pub(crate) payload: String,
    pub(crate) signature: String,
    pub(crate) certificate: String,
    pub(crate) logged: String,
}

/// Who is believed, and who is not.
pub(crate) struct World {
    ours: Authority,
    theirs: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { ours: Authority::new(), theirs: Authority::new() }
    }

    /// `trusted_root.json`.
    pub(crate) fn trust_root(&self) -> String {
        let key = |key: &KeyPair| {
            json!({
                "baseUrl": "https://log.example.org", "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": { "start": "2020-01-01T00:00:00Z" },
                },
                "logId": { "keyId": STANDARD.encode(Sha256::digest(spki(key))) },
            })
        };
        let chain: Vec<Value> =
            self.ours.chain.iter().map(|der| json!({ "rawBytes": STANDARD.encode(der) })).collect();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [key(&self.ours.log)],
            "certificateAuthorities": [{
                "subject": { "organization": "example", "commonName": "example" },
                "uri": "https://ca.example.org", "certChain": { "certificates": chain },
                "validFor": { "start": "2020-01-01T00:00:00Z" },
            }],
            "ctlogs": [key(&self.ours.ct)],
            "timestampAuthorities": [],
        })
        .to_string()
    }

    /// A «simple signing» payload with its certificate and the log's promise.
    pub(crate) fn simple(&self, digest: &str, case: Case) -> Simple {
        let kind =
            if case == Case::Attestation { "another kind" } else { "cosign container image signature" };
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": "" },
                "image": { "docker-manifest-digest": of(digest, case) }, "type": kind,
            },
            "optional": null,
        })
        .to_string();
        let signed = self.sign(payload.as_bytes(), case);
        let logged = self.entry(&hashed_record(&signed, payload.as_bytes()), case);
        Simple {
            payload,
            signature: signed.signature,
            certificate: signed.certificate,
            logged: logged.annotation(),
        }
    }

    /// A bundle with a statement about the image.
    pub(crate) fn bundle(&self, digest: &str, case: Case) -> Value {
        let predicate = match case {
            Case::Attestation => "https://slsa.dev/provenance/v1",
            _ => "https://sigstore.dev/cosign/sign/v1",
        };
        let payload = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": of(digest, case).trim_start_matches("sha256:") } }],
            "predicateType": predicate, "predicate": {},
        })
        .to_string();
        let kind = if case == Case::OtherType { "text/plain" } else { "application/vnd.in-toto+json" };
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signed = self.sign(message.as_bytes(), case);
        let entry = self.entry(&envelope(&signed, payload.as_bytes()), case).value(case);
        let mut entries = vec![entry];
        if case == Case::TwoEntries {
            let mut bare = entries[0].clone();
            bare.as_object_mut().unwrap().retain(|key, _| !key.starts_with("inclusion"));
            entries.push(bare);
        }
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": STANDARD.encode(&signed.der) }, "tlogEntries": entries,
            },
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload), "payloadType": kind,
                "signatures": [{ "sig": signed.signature }],
            },
        })
    }

    fn sign(&self, message: &[u8], case: Case) -> Signed {
        let authority = if case == Case::ForeignAuthority { &self.theirs } else { &self.ours };
        let certified = authority.certify(case, &self.ours.ct, &self.theirs.ct);
        let other = KeyPair::generate_ecdsa_p256().unwrap();
        let key = if case == Case::OtherKey { &other } else { &certified.key };
        let entry_certificate = match case {
            Case::EntryOfAnotherCertificate => authority.certify(case, &self.ours.ct, &self.theirs.ct).pem,
            _ => certified.pem.clone(),
        };
        let signature = STANDARD.encode(key.sign(message).unwrap().as_bytes());
        let entry_signature = match case {
            Case::EntryOfAnotherSignature => STANDARD.encode(key.sign(message).unwrap().as_bytes()),
            _ => signature.clone(),
        };
        let entry_of = if case == Case::EntryOfAnotherPayload { Some(b"another".to_vec()) } else { None };
        Signed {
            signature,
            certificate: certified.pem,
            der: certified.der,
            entry_signature,
            entry_certificate,
            entry_of,
        }
    }

    fn entry(&self, body: &Value, case: Case) -> log::Entry {
        log::Entry::new(body, &self.ours.log, &self.theirs.log, case)
    }
}

/// A signature, and what the log's entry says of it.
struct Signed {
    signature: String,
    certificate: String,
    der: Vec<u8>,
    entry_signature: String,
    entry_certificate: String,
    entry_of: Option<Vec<u8>>,
}

fn of(digest: &str, case: Case) -> String {
    if case == Case::OtherImage { format!("sha256:{}", "11".repeat(32)) } else { digest.to_owned() }
}

fn hashed_record(signed: &Signed, payload: &[u8]) -> Value {
    json!({
        "apiVersion": "0.0.1", "kind": "hashedrekord",
        "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": hash(signed, payload) } },
            "signature": {
                "content": signed.entry_signature,
                "publicKey": { "content": STANDARD.encode(&signed.entry_certificate) },
            },
        },
    })
}

fn envelope(signed: &Signed, payload: &[u8]) -> Value {
    json!({
        "apiVersion": "0.0.1", "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": "00".repeat(32) },
            "payloadHash": { "algorithm": "sha256", "value": hash(signed, payload) },
            "signatures": [{
                "signature": signed.entry_signature, "verifier": STANDARD.encode(&signed.entry_certificate),
            }],
        },
    })
}

fn hash(signed: &Signed, payload: &[u8]) -> String {
    hex(&Sha256::digest(signed.entry_of.as_deref().unwrap_or(payload)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn spki(key: &KeyPair) -> Vec<u8> {
    key.public_key_der().unwrap().as_bytes().to_vec()
}
