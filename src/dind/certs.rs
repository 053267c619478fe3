//! The certificates of the DinD daemon and of its clients: made here, renewed here, kept in one folder of the user.
//! Never speaks to a daemon.
//!
//! The folder is a `DOCKER_CERT_PATH` as the docker CLI has it (`ca.pem`, `cert.pem`, `key.pem`). The server's pair and
//! the authority's key lie beside these. A good certificate stays. The verifier that connections use judges it, for now
//! and for the time until its renewal.

pub(super) mod files;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::human::{count, hex};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

const DAY: Duration = Duration::from_hours(24);
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);
const LEAF_LIFE: Duration = DAY.saturating_mul(365);
/// With less than this left, a certificate is renewed.
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);
/// With fewer days left than this, a certificate that the daemon still shows is replaced at any price, and `berth status`
/// calls the system unhealthy.
pub const LAST_DAYS: i64 = 3;
/// A certificate is valid from a little before it was made: the two ends' clocks may differ.
const SKEW: Duration = Duration::from_mins(10);

pub const CA: &str = "ca.pem";
pub const SERVER_CERT: &str = "server-cert.pem";
pub const SERVER_KEY: &str = "server-key.pem";
pub const CA_KEY: &str = "ca-key.pem";
pub const CLIENT_CERT: &str = "cert.pem";
pub const CLIENT_KEY: &str = "key.pem";

/// Why there are no certificates; each names the file or the folder.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    #[error("cannot {op} `{}`", path.display())]
    File { op: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot make the certificate `{file}`")]
    Make { file: &'static str, source: rcgen::Error },
    #[error("the certificate `{}` cannot be read", .0.display())]
    Unreadable(PathBuf),
    #[error("no certificate can be valid at {0}, the time of this machine's clock")]
    Clock(Timestamp),
}

/// The server's part, as it goes into the container.
#[derive(Debug)]
pub struct ServerFiles(Vec<(&'static str, Vec<u8>)>);

impl ServerFiles {
    /// Names and contents.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.0.iter().map(|(name, content)| (*name, content.as_slice()))
    }
}

/// Makes what is missing, broken, of another authority, for other names or about to expire. `names` are the server's
/// names and addresses; `now` is the time to judge by.
///
/// Callers hold `super::lock`: two at once would make two authorities. Gives the names of the files that were written, in
/// their order.
pub fn ensure(folder: &Path, names: &[String], now: Timestamp) -> Result<Vec<&'static str>, CertError> {
    files::make_folder(folder)?;
    let mut written = Vec::new();
    let mut write = |name: &'static str, content: &str| {
        written.push(name);
        files::write(&folder.join(name), content.as_bytes())
    };
    let authority = if let Some(authority) = Authority::read(folder, now) {
        authority
    } else {
        let (authority, key) = Authority::make(now)?;
        write(CA_KEY, &key)?;
        write(CA, &authority.pem)?;
        authority
    };
    for role in [Role::Server(&servable(names)), Role::Client] {
        let (cert_name, key_name) = role.files();
        let good = files::read(&folder.join(cert_name))
            .zip(files::read(&folder.join(key_name)))
            .is_some_and(|(cert, key)| authority.accepts(&role, &cert, &key, now));
        if good {
            continue;
        }
        // A good key is kept: then one rename renews the certificate, and whoever connects meanwhile never sees a
        // certificate and a key that don't belong together.
        let kept = files::read(&folder.join(key_name)).and_then(|pem| KeyPair::from_pem(&pem).ok());
        let key = if let Some(key) = kept {
            key
        } else {
            let key = new_key(key_name)?;
            write(key_name, &key.serialize_pem())?;
            key
        };
        write(cert_name, &authority.sign(&role, &key, now)?)?;
    }
    files::protect(folder, &[CA, CA_KEY, SERVER_CERT, SERVER_KEY, CLIENT_CERT, CLIENT_KEY])?;
    Ok(written)
}

/// What the daemon needs to have.
pub fn server_files(folder: &Path) -> Result<ServerFiles, CertError> {
    let read = |name: &'static str| {
        let path = folder.join(name);
        let content = std::fs::read(&path).map_err(|source| CertError::File { op: "read", path, source })?;
        Ok((name, content))
    };
    Ok(ServerFiles([CA, SERVER_CERT, SERVER_KEY].into_iter().map(read).collect::<Result<_, _>>()?))
}

/// The server's certificate in the folder, to be compared with the one that the daemon shows.
pub fn server_certificate(folder: &Path) -> Result<CertificateDer<'static>, CertError> {
    let path = folder.join(SERVER_CERT);
    CertificateDer::from_pem_file(&path).map_err(|_| CertError::Unreadable(path))
}

/// Sixteen hex digits that name the authority in `folder`, if there is one.
pub fn fingerprint(folder: &Path) -> Option<String> {
    let cert = CertificateDer::from_pem_file(folder.join(CA)).ok()?;
    Some(hex(&Sha256::digest(&cert))[..16].to_owned())
}

/// What to say of a certificate that `berth up` would renew. `None` while there is time enough; and afterwards, for the
/// first connection fails then and says it.
pub fn warning(whose: &str, days_left: i64) -> Option<String> {
    match days_left {
        0 => Some(format!("{whose} certificate expires within a day")),
        1.. if days_left < whole_days(RENEW_BEFORE) => {
            Some(format!("{whose} certificate expires in {}", count(days_left, "day")))
        }
        _ => None,
    }
}

/// Whole days until the client's certificate in `folder` expires; negative where it has.
pub fn client_days_left(folder: &Path, now: Timestamp) -> Option<i64> {
    days_left(&CertificateDer::from_pem_file(folder.join(CLIENT_CERT)).ok()?, now)
}

/// Whole days until `cert` expires; negative where it has.
pub fn days_left(cert: &CertificateDer<'_>, now: Timestamp) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(cert).ok()?;
    let seconds = parsed.validity().not_after.timestamp() - now.as_second();
    Some(seconds.div_euclid(24 * 60 * 60))
}

/// Names that can stand in a certificate, each once; the container's may be too long for one.
fn servable(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = ["127.0.0.1", "::1", "localhost"].map(str::to_owned).to_vec();
    for name in names {
        if !all.contains(name) && ServerName::try_from(name.as_str()).is_ok() {
            all.push(name.clone());
        }
    }
    all
}

enum Role<'a> {
    Server(&'a [String]),
    Client,
}

impl Role<'_> {
    fn files(&self) -> (&'static str, &'static str) {
        match self {
            Self::Server(_) => (SERVER_CERT, SERVER_KEY),
            Self::Client => (CLIENT_CERT, CLIENT_KEY),
        }
    }
}

/// Our own certificate authority, trusted by our daemon and our clients and by nobody else.
struct Authority {
    pem: String,
    roots: Arc<RootCertStore>,
    issuer: Issuer<'static, KeyPair>,
    expires: Timestamp,
}

impl Authority {
    /// The folder's, if its certificate and its key belong together and it stays valid for long enough.
    fn read(folder: &Path, now: Timestamp) -> Option<Self> {
        let pem = files::read(&folder.join(CA))?;
        let key = files::read(&folder.join(CA_KEY))?;
        let cert = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        if !belong_together(cert.clone(), &key) || days_left(&cert, now)? < whole_days(RENEW_BEFORE) {
            return None;
        }
        Self::new(pem, KeyPair::from_pem(&key).ok()?).filter(|authority| authority.starts_before(now))
    }

    fn make(now: Timestamp) -> Result<(Self, String), CertError> {
        let key = new_key(CA_KEY)?;
        let key_pem = key.serialize_pem();
        let mut params = params("mcp-berth authority", now, now + AUTHORITY_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).map_err(|source| CertError::Make { file: CA, source })?;
        let made = Self::new(cert.pem(), key).ok_or_else(|| CertError::Unreadable(CA.into()))?;
        Ok((made, key_pem))
    }

    fn new(pem: String, key: KeyPair) -> Option<Self> {
        let cert = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&cert).ok()?;
        let expires = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).ok()?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).ok()?;
        Some(Self { roots: Arc::new(roots), issuer, expires, pem })
    }

    /// Verifiers don't ask it of a root, but `openssl verify` does.
    fn starts_before(&self, now: Timestamp) -> bool {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).ok().is_some_and(|cert| {
            x509_parser::parse_x509_certificate(&cert)
                .is_ok_and(|(_, parsed)| parsed.validity().not_before.timestamp() <= now.as_second())
        })
    }

    fn sign(&self, role: &Role, key: &KeyPair, now: Timestamp) -> Result<String, CertError> {
        let (file, _) = role.files();
        let failed = |source| CertError::Make { file, source };
        let mut params = params("mcp-berth", now, (now + LEAF_LIFE).min(self.expires))?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        match role {
            Role::Server(names) => {
                params.distinguished_name.push(DnType::CommonName, "mcp-berth daemon");
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                let san = |name: &String| match name.parse::<IpAddr>() {
                    Ok(address) => Ok(SanType::IpAddress(address)),
                    Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
                };
                params.subject_alt_names = names.iter().map(san).collect::<Result<_, _>>().map_err(failed)?;
            }
            Role::Client => {
                params.distinguished_name.push(DnType::CommonName, "mcp-berth client");
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
        }
        params.signed_by(key, &self.issuer).map(|cert| cert.pem()).map_err(failed)
    }

    /// Whether the two are a pair that the other end will accept from now until the next renewal is due.
    fn accepts(&self, role: &Role, cert: &str, key: &str, now: Timestamp) -> bool {
        let Ok(cert) = CertificateDer::from_pem_slice(cert.as_bytes()) else { return false };
        if !belong_together(cert.clone(), key) {
            return false;
        }
        let times = [now, now + RENEW_BEFORE].map(unix_time);
        let roots = Arc::clone(&self.roots);
        match role {
            Role::Server(names) => {
                WebPkiServerVerifier::builder_with_provider(roots, provider()).build().is_ok_and(|verifier| {
                    names.iter().all(|name| {
                        ServerName::try_from(name.as_str()).is_ok_and(|name| {
                            times.iter().all(|time| {
                                verifier.verify_server_cert(&cert, &[], &name, &[], *time).is_ok()
                            })
                        })
                    })
                })
            }
            Role::Client => {
                WebPkiClientVerifier::builder_with_provider(roots, provider()).build().is_ok_and(|verifier| {
                    times.iter().all(|time| verifier.verify_client_cert(&cert, &[], *time).is_ok())
                })
            }
        }
    }
}

fn params(name: &str, now: Timestamp, end: Timestamp) -> Result<CertificateParams, CertError> {
    let time = |time: Timestamp| {
        let time = x509_parser::time::ASN1Time::from_timestamp(time.as_second());
        time.map(|time| time.to_datetime()).map_err(|_| CertError::Clock(now))
    };
    let mut params = CertificateParams::default();
    params.not_before = time(now - SKEW)?;
    params.not_after = time(end)?;
    // Without one, rcgen takes it from the key, and a renewed certificate would have its predecessor's.
    let unique = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
    params.serial_number = Some(SerialNumber::from(unique));
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn new_key(file: &'static str) -> Result<KeyPair, CertError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| CertError::Make { file, source })
}

fn belong_together(cert: CertificateDer<'static>, key: &str) -> bool {
    PrivateKeyDer::from_pem_slice(key.as_bytes())
        .is_ok_and(|key| CertifiedKey::from_der(vec![cert], key, &provider()).is_ok())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unix_time(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default()))
}

fn whole_days(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs() / DAY.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
