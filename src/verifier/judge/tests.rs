//! Signatures that count, and all others.

use serde_json::json;
use sigstore::crypto::SigStoreSigner;
use sigstore::crypto::SigningScheme;

use super::*;

const DIGEST: &str = "sha256:00ff";

fn pair() -> (SigStoreSigner, Key) {
    let signer = SigningScheme::ECDSA_P256_SHA256_ASN1.create_signer().unwrap();
    let public = signer.to_sigstore_keypair().unwrap().public_key_to_pem().unwrap();
    (signer, Key::parse(&public).unwrap())
}

fn payload(digest: &str) -> Value {
    json!({
        "critical": {
            "identity": { "docker-reference": "box/a" },
            "image": { "docker-manifest-digest": digest },
            "type": TYPE,
        },
        "optional": null,
    })
}

#[test]
fn a_simple_signature_counts_for_its_key_and_its_image() {
    let (signer, key) = pair();
    let (other, _) = pair();
    let judged = |signer: &SigStoreSigner, payload: &Value, shown: &Value| {
        let signature = STANDARD.encode(signer.sign(payload.to_string().as_bytes()).unwrap());
        simple(shown.to_string().as_bytes(), &signature, DIGEST, &key)
    };
    let (good, copied) = (payload(DIGEST), payload("sha256:11ee"));
    assert_eq!(judged(&signer, &good, &good), Finding::Signed);
    assert_eq!(judged(&other, &good, &good), Finding::OtherKey);
    assert_eq!(judged(&signer, &copied, &copied), Finding::OtherImage);
    assert_eq!(judged(&signer, &copied, &good), Finding::OtherKey, "the payload was changed");
    let mut odd = good.clone();
    odd["critical"]["type"] = "atomic container signature".into();
    assert_eq!(judged(&signer, &odd, &odd), Finding::Nothing);
    let text = json!("a text that the key has signed");
    assert_eq!(judged(&signer, &text, &text), Finding::Nothing);
    assert_eq!(simple(good.to_string().as_bytes(), "no base64", DIGEST, &key), Finding::Nothing);
    assert_eq!(simple(good.to_string().as_bytes(), "", DIGEST, &key), Finding::OtherKey);
}

#[test]
fn a_bundle_counts_for_its_key_and_its_image_and_an_attestation_does_not() {
    let (signer, key) = pair();
    let (other, _) = pair();
    let statement = |hex: &str, predicate: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": "22dd" } }, { "digest": { "sha256": hex } }],
            "predicateType": predicate, "predicate": {},
        })
        .to_string()
    };
    let judged = |signer: &SigStoreSigner, kind: &str, signed: &str, shown: &str| {
        let sig = STANDARD.encode(signer.sign(&sealed(kind, signed.as_bytes())).unwrap());
        let envelope =
            json!({ "payload": STANDARD.encode(shown), "payloadType": kind, "signatures": [{ "sig": sig }] });
        let text = json!({ "mediaType": "x", "verificationMaterial": {}, "dsseEnvelope": envelope });
        bundle(text.to_string().as_bytes(), DIGEST, &key)
    };
    let good = statement("00ff", PREDICATE);
    let copied = statement("11ee", PREDICATE);
    let attested = statement("00ff", "https://slsa.dev/provenance/v1");
    assert_eq!(judged(&signer, PAYLOAD, &good, &good), Finding::Signed);
    assert_eq!(judged(&other, PAYLOAD, &good, &good), Finding::OtherKey);
    assert_eq!(judged(&signer, PAYLOAD, &copied, &copied), Finding::OtherImage);
    assert_eq!(judged(&signer, PAYLOAD, &copied, &good), Finding::OtherKey, "the payload was changed");
    assert_eq!(judged(&signer, PAYLOAD, &attested, &attested), Finding::Nothing);
    assert_eq!(judged(&signer, "text/plain", &good, &good), Finding::Nothing);
    for odd in ["", "{}", "{\"dsseEnvelope\":{\"payload\":\"\",\"payloadType\":\"\",\"signatures\":[]}}"] {
        assert_eq!(bundle(odd.as_bytes(), DIGEST, &key), Finding::Nothing, "{odd}");
    }
}

#[test]
fn a_digest_without_its_kind_is_nobodys() {
    let (signer, key) = pair();
    let statement = json!({ "subject": [{}], "predicateType": PREDICATE }).to_string();
    let sig = STANDARD.encode(signer.sign(&sealed(PAYLOAD, statement.as_bytes())).unwrap());
    let envelope = json!({ "payload": STANDARD.encode(&statement), "payloadType": PAYLOAD, "signatures": [{ "sig": sig }] });
    let text = json!({ "dsseEnvelope": envelope }).to_string();
    assert_eq!(bundle(text.as_bytes(), "sha512:00", &key), Finding::OtherImage);
}

#[test]
fn a_manifest_and_a_list_say_what_they_lead_to() {
    let manifest = Manifest::parse(br#"{"config":{"digest":"sha256:1"}}"#).unwrap();
    assert_eq!((manifest.config(), manifest.children().count()), (Some("sha256:1"), 0));
    let list = Manifest::parse(br#"{"manifests":[{"digest":"sha256:2"},{},{"digest":"sha256:3"}]}"#).unwrap();
    assert_eq!(list.config(), None);
    assert_eq!(list.children().collect::<Vec<_>>(), ["sha256:2", "sha256:3"]);
    assert!(Manifest::parse(b"<html>").is_err());
}

#[test]
fn what_is_no_key_is_told() {
    assert!(Key::parse("").is_err());
    assert!(Key::parse("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_err());
}
