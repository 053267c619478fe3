//! Signatures of an identity that count, and all others: each wrong in one thing alone.

use super::*;
use crate::forge::{Case, EMAIL, IDENTITY, ISSUER, World};
use crate::trust;

fn digest() -> String {
    format!("sha256:{}", "0f".repeat(32))
}

fn wanted(identity: &str, issuer: &str) -> protocol::Identity {
    protocol::Identity { name: identity.to_owned(), issuer: issuer.to_owned(), trust_root: None }
}

fn judge(world: &World, identity: &str) -> Identity {
    Identity::new(&wanted(identity, ISSUER), &trust::parse(&world.trust_root()).unwrap()).unwrap()
}

fn simple(world: &World, case: Case) -> Simple {
    let forged = world.simple(&digest(), case);
    Simple {
        payload: forged.payload.into_bytes(),
        signature: forged.signature,
        certificate: Some(forged.certificate),
        logged: Some(forged.logged),
    }
}

fn bundle(world: &World, case: Case) -> Vec<u8> {
    world.bundle(&digest(), case).to_string().into_bytes()
}

#[test]
fn an_identitys_signature_counts_in_both_forms() {
    let world = World::new();
    let old_and_new = [(Case::OldIssuer, IDENTITY), (Case::NewIssuer, IDENTITY)];
    for (case, identity) in [(Case::Good, IDENTITY), (Case::Email, EMAIL)].into_iter().chain(old_and_new) {
        let judge = judge(&world, identity);
        assert_eq!(judge.simple(&simple(&world, case), &digest()), Finding::Signed, "{case:?}");
        assert_eq!(judge.bundle(&bundle(&world, case), &digest()), Finding::Signed, "{case:?}");
    }
}

/// What is said of a case in both forms; nothing where the form has no such case.
const WRONG: [(Case, &str, &str); 22] = [
    (Case::OtherIdentity, "identity mismatch", "identity mismatch"),
    (Case::OtherIssuer, "issuer mismatch", "issuer mismatch"),
    (Case::TwoIssuers, "issuer mismatch", "issuer mismatch"),
    (Case::NoIssuer, "issuer mismatch", "issuer mismatch"),
    (Case::NotForSigning, "RequiredEkuNotFound", "RequiredEkuNotFound"),
    (Case::ForeignAuthority, "InvalidSignatureForPublicKey", "InvalidSignatureForPublicKey"),
    (Case::NoSct, "missing SCT", "missing SCT"),
    (Case::ForeignCt, "SCT signature", "SCT signature"),
    (Case::SctOfAnother, "SCT signature", "SCT signature"),
    (Case::OtherKey, "signature verification failed", "signature verification failed"),
    (Case::Late, "CertExpired", "CertExpired"),
    (Case::Early, "CertNotValidYet", "CertNotValidYet"),
    (Case::InTheFuture, "in the future", "in the future"),
    (Case::Redated, "SET verification failed", "SET verification failed"),
    (Case::ForeignLog, "No log key", "No log key"),
    (Case::ForgedPromise, "SET verification failed", "SET verification failed"),
    (Case::NoPromise, "", "No verified timestamp"),
    (Case::ForgedProof, "", "inclusion proof verification failed"),
    (Case::ForgedCheckpoint, "", "No valid Rekor signature"),
    (Case::NoProof, "", "inclusion proof"),
    (Case::EntryOfAnotherSignature, "does not match", "does not match"),
    (Case::EntryOfAnotherCertificate, "does not match", "does not match"),
];

#[test]
fn a_signature_that_is_wrong_in_one_thing_does_not_count() {
    let world = World::new();
    let judge = judge(&world, IDENTITY);
    let mut told = Vec::new();
    for (case, of_a_simple, of_a_bundle) in WRONG {
        if !of_a_simple.is_empty() {
            told.push((case, judge.simple(&simple(&world, case), &digest()), of_a_simple));
        }
        told.push((case, judge.bundle(&bundle(&world, case), &digest()), of_a_bundle));
    }
    told.push((Case::EntryOfAnotherPayload, entry_of_another_payload(&world, &judge), "hash mismatch"));
    let bare = judge.bundle(&bundle(&world, Case::TwoEntries), &digest());
    told.push((Case::TwoEntries, bare, "2 entries of a log, not one"));
    for (case, finding, expected) in told {
        let Finding::NotProved(why) = finding else { panic!("{case:?}: {finding:?}") };
        assert!(why.contains(expected), "{case:?}: {why}");
    }
}

fn entry_of_another_payload(world: &World, judge: &Identity) -> Finding {
    let case = Case::EntryOfAnotherPayload;
    let found = judge.bundle(&bundle(world, case), &digest());
    assert!(matches!(&found, Finding::NotProved(why) if why.contains("hash mismatch")), "{found:?}");
    judge.simple(&simple(world, case), &digest())
}

#[test]
fn what_is_said_of_another_image_does_not_count() {
    let world = World::new();
    let judge = judge(&world, IDENTITY);
    let other = Case::OtherImage;
    assert_eq!(judge.simple(&simple(&world, other), &digest()), Finding::OtherImage);
    assert_eq!(judge.bundle(&bundle(&world, other), &digest()), Finding::OtherImage);
    let other_kind = digest().replace("sha256", "sha512");
    assert_eq!(judge.bundle(&bundle(&world, Case::Good), &other_kind), Finding::OtherImage);
    for case in [Case::Attestation, Case::OtherType] {
        assert_eq!(judge.bundle(&bundle(&world, case), &digest()), Finding::Nothing, "{case:?}");
    }
    assert_eq!(judge.simple(&simple(&world, Case::Attestation), &digest()), Finding::Nothing);
}

#[test]
fn what_is_shown_has_to_be_what_was_signed() {
    let world = World::new();
    let judge = judge(&world, IDENTITY);
    let good = simple(&world, Case::Good);
    let not_proved = |finding: Finding, expected: &str| {
        assert!(matches!(&finding, Finding::NotProved(why) if why.contains(expected)), "{finding:?}");
    };
    let other = simple(&world, Case::OtherImage);
    let shown = Simple { payload: other.payload.clone(), ..good.clone() };
    not_proved(judge.simple(&shown, &digest()), "signature verification failed");
    not_proved(judge.simple(&Simple { logged: other.logged, ..good.clone() }, &digest()), "mismatch");
    not_proved(judge.simple(&Simple { certificate: None, ..good.clone() }, &digest()), BY_A_KEY);
    not_proved(judge.simple(&Simple { logged: None, ..good.clone() }, &digest()), "no log has it");
    let odd = |text: &str| Some(text.to_owned());
    not_proved(judge.simple(&Simple { certificate: odd("no PEM"), ..good.clone() }, &digest()), "is none");
    not_proved(judge.simple(&Simple { logged: odd("{}"), ..good.clone() }, &digest()), "cannot be read");
    not_proved(
        judge.simple(&Simple { signature: "no base64".to_owned(), ..good }, &digest()),
        "cannot be read",
    );

    let statement = |case| world.bundle(&digest(), case);
    let (mut changed, copied) = (statement(Case::Good), statement(Case::OtherImage));
    changed["dsseEnvelope"]["payload"] = copied["dsseEnvelope"]["payload"].clone();
    let finding = judge.bundle(changed.to_string().as_bytes(), &digest());
    not_proved(finding, "signature verification failed");
    let mut by_a_key = statement(Case::Good);
    by_a_key["verificationMaterial"]["certificate"].take();
    by_a_key["verificationMaterial"]["publicKey"] = json!({ "hint": "x" });
    let material = by_a_key["verificationMaterial"].as_object_mut().unwrap();
    material.remove("certificate");
    not_proved(judge.bundle(by_a_key.to_string().as_bytes(), &digest()), BY_A_KEY);
    for odd in ["", "{}", "[]"] {
        assert_eq!(judge.bundle(odd.as_bytes(), &digest()), Finding::Nothing, "{odd}");
    }
}

#[test]
fn identity_and_issuer_are_compared_whole() {
    let world = World::new();
    let root = trust::parse(&world.trust_root()).unwrap();
    for (identity, issuer) in [
        ("", ISSUER),
        (IDENTITY, ""),
        (&IDENTITY[..IDENTITY.len() - 1], ISSUER),
        (IDENTITY, &ISSUER[..ISSUER.len() - 1]),
        (&IDENTITY.to_uppercase(), ISSUER),
        ("*", ISSUER),
    ] {
        let judge = Identity::new(&wanted(identity, issuer), &root).unwrap();
        for finding in [
            judge.simple(&simple(&world, Case::Good), &digest()),
            judge.bundle(&bundle(&world, Case::Good), &digest()),
        ] {
            let mismatch = matches!(&finding, Finding::NotProved(why) if why.contains("mismatch"));
            assert!(mismatch, "{identity} {issuer}: {finding:?}");
        }
    }
}

#[test]
fn a_trust_root_without_one_of_its_parts_proves_nothing() {
    let world = World::new();
    let whole: Value = serde_json::from_str(&world.trust_root()).unwrap();
    for part in ["tlogs", "certificateAuthorities", "ctlogs"] {
        let mut root = whole.clone();
        root[part] = json!([]);
        let root = trust::parse(&root.to_string()).unwrap();
        let judge = Identity::new(&wanted(IDENTITY, ISSUER), &root).unwrap();
        for finding in [
            judge.simple(&simple(&world, Case::Good), &digest()),
            judge.bundle(&bundle(&world, Case::Good), &digest()),
        ] {
            assert!(matches!(finding, Finding::NotProved(_)), "{part}: {finding:?}");
        }
    }
    for (part, place) in [("tlogs", "publicKey"), ("ctlogs", "publicKey"), ("certificateAuthorities", "")] {
        let mut root = whole.clone();
        let entry = &mut root[part][0];
        let entry = if place.is_empty() { entry } else { &mut entry[place] };
        entry["validFor"]["end"] = "2021-01-01T00:00:00Z".into();
        let root = trust::parse(&root.to_string()).unwrap();
        let judge = Identity::new(&wanted(IDENTITY, ISSUER), &root).unwrap();
        let finding = judge.simple(&simple(&world, Case::Good), &digest());
        assert!(matches!(finding, Finding::NotProved(_)), "{part} was over by then: {finding:?}");
    }
    for odd in ["", "{}", "[]"] {
        assert!(trust::parse(odd).is_err(), "{odd}");
    }
    let mut root = whole;
    root["tlogs"][0]["publicKey"]["rawBytes"] = "AAAA".into();
    let root = trust::parse(&root.to_string());
    assert!(root.is_err() || Identity::new(&wanted(IDENTITY, ISSUER), &root.unwrap()).is_err());
}

#[test]
fn a_reason_is_one_short_line() {
    assert_eq!(told("a\nb\u{1b}[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
    assert_eq!(told(&"x".repeat(1000)).chars().count(), LONGEST_REASON + 1);
}
