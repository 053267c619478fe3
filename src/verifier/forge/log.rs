//! An entry of a transparency log like Rekor: its promise, and its proof in a tree of two.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sigstore_verify::crypto::KeyPair;

use super::{Case, FOR, FROM, hex, spki};

const NAME: &str = "log.example.org";
/// By the tree's number behind its name, cosign tells Rekor's first version.
const TREE: &str = "log.example.org - 1193050959916656506";
/// Over all trees.
const INDEX: i64 = 7;
/// Seconds since 1970, in a hundred years.
const FUTURE: i64 = 4_900_000_000;

pub(super) struct Entry {
    kind: String,
    body: String,
    time: i64,
    log: [u8; 32],
    promise: String,
    proof: Value,
}

impl Entry {
    pub(super) fn new(body: &Value, ours: &KeyPair, theirs: &KeyPair, case: Case) -> Self {
        let text = body.to_string();
        let log: [u8; 32] = Sha256::digest(spki(if case == Case::ForeignLog { theirs } else { ours })).into();
        let signed_at = match case {
            Case::Late | Case::Redated => FROM + FOR + 1,
            Case::Early => FROM - 1,
            Case::InTheFuture => FUTURE,
            _ => FROM + FOR / 2,
        };
        let signer = if matches!(case, Case::ForeignLog | Case::ForgedPromise) { theirs } else { ours };
        let body64 = STANDARD.encode(&text);
        // Canonical: the keys in their order, no spaces.
        let promised = format!(
            r#"{{"body":"{body64}","integratedTime":{signed_at},"logID":"{}","logIndex":{INDEX}}}"#,
            hex(&log)
        );
        Self {
            kind: body["kind"].as_str().unwrap().to_owned(),
            body: body64,
            time: if case == Case::Redated { FROM + FOR / 2 } else { signed_at },
            log,
            promise: STANDARD.encode(signer.sign(promised.as_bytes()).unwrap().as_bytes()),
            proof: proof(
                text.as_bytes(),
                &log,
                if case == Case::ForgedCheckpoint { theirs } else { ours },
                case,
            ),
        }
    }

    /// As cosign 2 keeps it.
    pub(super) fn annotation(&self) -> String {
        json!({
            "SignedEntryTimestamp": self.promise,
            "Payload": {
                "body": self.body, "integratedTime": self.time, "logIndex": INDEX, "logID": hex(&self.log),
            },
        })
        .to_string()
    }

    /// As it is in a bundle.
    pub(super) fn value(&self, case: Case) -> Value {
        let mut entry = json!({
            "logIndex": INDEX.to_string(), "logId": { "keyId": STANDARD.encode(self.log) },
            "kindVersion": { "kind": self.kind, "version": "0.0.1" },
            "integratedTime": self.time.to_string(), "canonicalizedBody": self.body,
        });
        if case != Case::NoPromise {
            entry["inclusionPromise"] = json!({ "signedEntryTimestamp": self.promise });
        }
        if case != Case::NoProof {
            entry["inclusionProof"] = self.proof.clone();
        }
        entry
    }
}

fn proof(body: &[u8], log: &[u8; 32], signer: &KeyPair, case: Case) -> Value {
    let leaf = Sha256::digest([&[0], body].concat());
    let sibling = Sha256::digest("another entry");
    let root = Sha256::digest([&[1][..], &sibling, &leaf].concat());
    let told = if case == Case::ForgedProof { Sha256::digest("a third entry") } else { sibling };
    let note = format!("{TREE}\n2\n{}\n", STANDARD.encode(root));
    let signature = signer.sign(note.as_bytes()).unwrap();
    let sealed = STANDARD.encode([&log[..4], signature.as_bytes()].concat());
    json!({
        "logIndex": "1", "rootHash": STANDARD.encode(root), "treeSize": "2", "hashes": [STANDARD.encode(told)],
        "checkpoint": { "envelope": format!("{note}\n— {NAME} {sealed}\n") },
    })
}
