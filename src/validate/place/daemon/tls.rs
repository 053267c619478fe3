//! Knocks on the daemon's doors as strangers would.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::validate::checks::tls::{Attempt, ContainerPorts, Doors, Tls};

const WITHIN: Duration = Duration::from_secs(5);

const TLS_PORT: u16 = 2376;
const PLAIN_PORT: u16 = 2375;

const REQUEST: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n\r\n";

/// `certs` is the folder of those for it; `container` is the DinD container's own address, where it is known.
pub(super) async fn knock(address: &str, certs: Option<&Path>, container: Option<&str>) -> Tls {
    let Some(address) = address.strip_prefix("tcp://") else { return Tls::Unix };
    let Some((host, port)) = address.trim_end_matches('/').rsplit_once(':') else { return Tls::Unexamined };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(port) = port.parse::<u16>() else { return Tls::Unexamined };
    let configs = certs.map(Configs::read);
    let with = |pick: fn(&Configs) -> &Arc<ClientConfig>| {
        let config = match &configs {
            None => Err("there are no certificates for it".to_owned()),
            Some(Ok(configs)) => Ok(Arc::clone(pick(configs))),
            Some(Err(why)) => Err(why.clone()),
        };
        async move {
            match config {
                Ok(config) => attempt(host, port, Some(config)).await,
                Err(why) => Attempt::Unknown(why),
            }
        }
    };
    let (ours, no_certificate, foreign_certificate, without_tls, plain_ports, container) = tokio::join!(
        with(|configs| &configs.ours),
        with(|configs| &configs.none),
        with(|configs| &configs.foreign),
        attempt(host, port, None),
        plain_ports(host, port),
        container_ports(container),
    );
    Tls::Tcp(Box::new(Doors {
        ours,
        no_certificate,
        foreign_certificate,
        plain: without_tls,
        plain_ports,
        container,
    }))
}

/// Three ways to introduce oneself, to the same server.
struct Configs {
    ours: Arc<ClientConfig>,
    none: Arc<ClientConfig>,
    foreign: Arc<ClientConfig>,
}

impl Configs {
    fn read(folder: &Path) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(folder.join("ca.pem")).map_err(|error| text(&error))? {
            roots.add(root.map_err(|error| text(&error))?).map_err(|error| text(&error))?;
        }
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(folder.join("cert.pem")).map_err(|error| text(&error))?.collect();
        let chain = chain.map_err(|error| text(&error))?;
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(|error| text(&error))?;
        let (foreign_chain, foreign_key) = foreign_certificate().map_err(|error| text(&error))?;
        let trusting = || builder().map(|builder| builder.with_root_certificates(roots.clone()));
        let with = |chain, key| trusting().and_then(|builder| builder.with_client_auth_cert(chain, key));
        let shared =
            |config: Result<ClientConfig, rustls::Error>| config.map(Arc::new).map_err(|error| text(&error));
        Ok(Self {
            ours: shared(with(chain, key))?,
            none: shared(trusting().map(ConfigBuilder::<ClientConfig, _>::with_no_client_auth))?,
            foreign: shared(with(foreign_chain, foreign_key))?,
        })
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// A proper client certificate, but of an authority that nobody knows.
fn foreign_certificate() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(authority, KeyPair::generate()?);
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, &issuer)?;
    Ok((vec![cert.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}

/// One request on one connection. With TLS 1.3 a server refuses a certificate after the client believes the handshake
/// to be done, so only an answer says that it did not.
async fn attempt(host: &str, port: u16, tls: Option<Arc<ClientConfig>>) -> Attempt {
    let connection = match tokio::time::timeout(WITHIN, TcpStream::connect((host, port))).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Attempt::Unknown(error.to_string()),
        Err(_) => return Attempt::Unknown(format!("no connection within {} s", WITHIN.as_secs())),
    };
    let exchange = async {
        let Some(config) = tls else { return ask(connection).await };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        ask(TlsConnector::from(config).connect(name, connection).await?).await
    };
    match tokio::time::timeout(WITHIN, exchange).await {
        Ok(Ok(Some(status))) => Attempt::Answered(status),
        Ok(Ok(None)) => Attempt::Refused("the connection was closed".to_owned()),
        Ok(Err(error)) => Attempt::Refused(error.to_string()),
        Err(_) => Attempt::Unknown(format!("no answer within {} s", WITHIN.as_secs())),
    }
}

/// The status of the answer; `None` where the connection ends without one.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Option<u16>> {
    stream.write_all(REQUEST).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') && answer.len() < 1024 {
        if stream.read_buf(&mut answer).await? == 0 {
            return Ok(None);
        }
    }
    let line = String::from_utf8_lossy(&answer);
    line.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .map(Some)
        .ok_or_else(|| io::Error::other("the answer was not HTTP"))
}

/// Plain ports have the number below the encrypted one, by Docker's own custom (2375 and 2376).
async fn plain_ports(host: &str, port: u16) -> Vec<(String, bool)> {
    let neighbour = port.saturating_sub(1);
    // 2375 of this machine itself would be the engine's, which is not examined here.
    let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let usual = (!is_local && neighbour != PLAIN_PORT).then_some(PLAIN_PORT);
    let mut ports = Vec::new();
    for port in [neighbour].into_iter().chain(usual) {
        ports.push((format!("{host}:{port}"), is_open(host, port).await));
    }
    ports
}

async fn container_ports(address: Option<&str>) -> Option<ContainerPorts> {
    let address = address?;
    let (tls_port, plain_port) = tokio::join!(is_open(address, TLS_PORT), is_open(address, PLAIN_PORT));
    Some(ContainerPorts { address: address.to_owned(), tls_port, plain_port })
}

async fn is_open(host: &str, port: u16) -> bool {
    matches!(tokio::time::timeout(WITHIN, TcpStream::connect((host, port))).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests;
