//! A certificate authority like Fulcio, with the keys of its two logs.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use sha2::{Digest, Sha256};
use sigstore_verify::crypto::KeyPair;
use time::OffsetDateTime;

use super::{Case, EMAIL, FOR, FROM, IDENTITY, ISSUER, spki};

const OLD_ISSUER: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 1];
const NEW_ISSUER: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
/// The list of signed certificate timestamps (RFC 6962).
const SCTS: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
const UTF8: u8 = 0x0c;
const OCTETS: u8 = 0x04;

pub(super) struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    /// The intermediate's certificate and the root's.
    pub(super) chain: [Vec<u8>; 2],
    /// The CT log's.
    pub(super) ct: KeyPair,
    /// The transparency log's.
    pub(super) log: KeyPair,
}

pub(super) struct Certified {
    pub(super) key: KeyPair,
    pub(super) der: Vec<u8>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let root_key = rcgen::KeyPair::generate().unwrap();
        let root = authority("root", BasicConstraints::Unconstrained);
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let root = Issuer::new(root, root_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut intermediate = authority("intermediate", BasicConstraints::Constrained(0));
        intermediate.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let intermediate_der = intermediate.signed_by(&key, &root).unwrap().der().to_vec();
        Self {
            issuer: Issuer::new(intermediate, key),
            chain: [intermediate_der, root_der],
            ct: KeyPair::generate_ecdsa_p256().unwrap(),
            log: KeyPair::generate_ecdsa_p256().unwrap(),
        }
    }

    /// A certificate that `ct` has seen, or says so.
    pub(super) fn certify(&self, case: Case, ct: &KeyPair, foreign: &KeyPair) -> Certified {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(7));
        params.not_before = OffsetDateTime::from_unix_timestamp(FROM).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(FROM + FOR).unwrap();
        params.subject_alt_names = vec![match case {
            Case::Email => SanType::Rfc822Name(EMAIL.try_into().unwrap()),
            Case::OtherIdentity => SanType::URI(format!("{IDENTITY}.0").try_into().unwrap()),
            _ => SanType::URI(IDENTITY.try_into().unwrap()),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match case {
            Case::NotForSigning => ExtendedKeyUsagePurpose::ServerAuth,
            _ => ExtendedKeyUsagePurpose::CodeSigning,
        }];
        let other = format!("{ISSUER}.example.net");
        let old = |issuer: &str| extension(&OLD_ISSUER, issuer.as_bytes().to_vec());
        let new = |issuer: &str| extension(&NEW_ISSUER, tagged(UTF8, issuer.as_bytes()));
        params.custom_extensions = match case {
            Case::NoIssuer => Vec::new(),
            Case::OldIssuer => vec![old(ISSUER)],
            Case::NewIssuer => vec![new(ISSUER)],
            Case::OtherIssuer => vec![old(&other), new(&other)],
            Case::TwoIssuers => vec![old(ISSUER), new(&other)],
            // As Fulcio does it.
            _ => vec![old(ISSUER), new(ISSUER)],
        };
        let unseen = params.signed_by(&key, &self.issuer).unwrap();
        let mut seen = tbs(unseen.der()).to_vec();
        if case == Case::SctOfAnother {
            *seen.last_mut().unwrap() ^= 1;
        }
        let signer = if case == Case::ForeignCt { foreign } else { ct };
        if case != Case::NoSct {
            let issuer = Sha256::digest(self.issuer.key().subject_public_key_info());
            let scts = scts(&Sha256::digest(spki(ct)), &issuer, &seen, signer);
            params.custom_extensions.push(extension(&SCTS, tagged(OCTETS, &scts)));
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certified {
            key: KeyPair::from_pkcs8_der(&key.serialize_der()).unwrap(),
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
        }
    }
}

fn authority(name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn extension(oid: &[u64], content: Vec<u8>) -> CustomExtension {
    CustomExtension::from_oid_content(oid, content)
}

/// A list of one timestamp of the log with that id.
fn scts(log: &[u8], issuer: &[u8], tbs: &[u8], signer: &KeyPair) -> Vec<u8> {
    let at = u64::try_from(FROM * 1000).unwrap().to_be_bytes();
    let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
    // Version 1 of a certificate's timestamp, for a precertificate, without extensions.
    let message = [&[0, 0][..], &at, &[0, 1], issuer, &length[1..], tbs, &[0, 0]].concat();
    let signature = signer.sign(&message).unwrap();
    let signature = signature.as_bytes();
    // SHA-256 and ECDSA.
    let sct = [&[0][..], log, &at, &[0, 0], &[4, 3], &short(signature.len()), signature].concat();
    let one = [&short(sct.len())[..], &sct].concat();
    [&short(one.len())[..], &one].concat()
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_be_bytes()
}

/// DER.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match u8::try_from(content.len()).unwrap() {
        length @ 0..=127 => vec![length],
        length => vec![0x81, length],
    };
    [&[tag][..], &length, content].concat()
}

/// The part of a certificate that its issuer signs.
fn tbs(certificate: &[u8]) -> &[u8] {
    let inside = &certificate[head(certificate).0..];
    let (head, length) = head(inside);
    &inside[..head + length]
}

/// The length of an item's head, and of its content.
fn head(der: &[u8]) -> (usize, usize) {
    match der[1] {
        short @ 0..=127 => (2, usize::from(short)),
        long => {
            let bytes = usize::from(long & 127);
            (2 + bytes, der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    }
}
