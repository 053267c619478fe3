//! Connections to a Docker daemon: Unix socket, TCP, or TCP with TLS and a client certificate.
//!
//! Trusts the configured CA alone, never the system's: the daemon's certificate is ours.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::{Code, Explain};

/// Probes of an idle connection: the kernel finds a cut network within about 25 s.
const KEEPALIVE: socket2::TcpKeepalive = socket2::TcpKeepalive::new()
    .with_time(Duration::from_secs(10))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// A connection that is not made by then is begun once more, beside it: what reached a daemon that is being restarted, or a
/// forwarder before it, is never answered, and the next one may be at once.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a daemon could not be spoken to; each names the daemon or the file.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("`{0}` is not a daemon's address; expected unix:///path or tcp://host:port")]
    BadAddress(String),
    #[error("cannot read the certificate `{}`", path.display())]
    Certificate { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("the certificate `{}` expired on {expired}", path.display())]
    Expired { path: PathBuf, expired: String },
    #[error("the certificates in `{}` cannot be used", path.display())]
    Unusable { path: PathBuf, source: rustls::Error },
    #[error("cannot connect to the daemon at {endpoint}")]
    Connect { endpoint: String, source: io::Error },
    #[error("the daemon at {endpoint} did not answer within {after:?}")]
    Timeout { endpoint: String, after: Duration },
}

impl Explain for DialError {
    fn code(&self) -> Code {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } => Code::Unavailable,
            _ => Code::Configuration,
        }
    }

    fn next(&self) -> Option<String> {
        let next = match self {
            Self::BadAddress(_) => "correct `host` in [dind]",
            Self::Certificate { .. } => "make the certificates with `berth up`",
            Self::Expired { .. } => "renew it with `berth up`",
            Self::Unusable { .. } => "make new ones with `berth up`",
            Self::Connect { source, .. } if is_short_of_files(source) => {
                "raise the limit of open files (`ulimit -n`), or end what has so many open"
            }
            Self::Connect { .. } | Self::Timeout { .. } => {
                "start the DinD daemon with `berth up`, or look at it with `berth status`"
            }
        };
        Some(next.to_owned())
    }
}

/// Whether the process, or the machine, may open no more files.
pub fn is_short_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Where a daemon listens, and with which credentials; cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    address: Address,
    timeout: Duration,
}

#[derive(Clone)]
enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16, tls: Option<Arc<ClientConfig>> },
}

impl Endpoint {
    /// Parses `unix:///path` or `tcp://host:port`; with `certs`, a folder of `ca.pem`, `cert.pem` and
    /// `key.pem` as the docker CLI has it, TCP means TLS.
    pub fn parse(address: &str, certs: Option<&Path>) -> Result<Self, DialError> {
        let bad = || DialError::BadAddress(address.to_owned());
        let address = if let Some(path) = address.strip_prefix("unix://") {
            Address::Unix(path.into())
        } else {
            let rest = address.strip_prefix("tcp://").ok_or_else(bad)?.trim_end_matches('/');
            let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let port = port.parse().map_err(|_| bad())?;
            if host.is_empty() {
                return Err(bad());
            }
            Address::Tcp { host, port, tls: certs.map(client_config).transpose()?.map(Arc::new) }
        };
        Ok(Self { address, timeout: Duration::from_secs(10) })
    }

    /// How long a connection may take to be made, TLS included.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether the connection is encrypted and both ends show certificates.
    pub fn is_tls(&self) -> bool {
        matches!(self.address, Address::Tcp { tls: Some(_), .. })
    }

    /// Whether it is reached without leaving this machine.
    pub fn is_near(&self) -> bool {
        match &self.address {
            Address::Unix(_) => true,
            Address::Tcp { host, .. } => match host.parse::<IpAddr>() {
                Ok(address) => address.to_canonical().is_loopback(),
                Err(_) => host.eq_ignore_ascii_case("localhost"),
            },
        }
    }

    /// Connects, TLS handshake included.
    pub async fn dial(&self) -> Result<Stream, DialError> {
        match tokio::time::timeout(self.timeout, first_of(|| self.connect())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(DialError::Connect { endpoint: self.to_string(), source }),
            Err(_) => Err(DialError::Timeout { endpoint: self.to_string(), after: self.timeout }),
        }
    }

    async fn connect(&self) -> io::Result<Stream> {
        match &self.address {
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Address::Tcp { host, port, tls } => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await?;
                tcp.set_nodelay(true)?;
                socket2::SockRef::from(&tcp).set_tcp_keepalive(&KEEPALIVE)?;
                let Some(config) = tls else { return Ok(Stream::Tcp(tcp)) };
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

/// The first of several tries that comes to something, a new one beginning every [`AGAIN_AFTER`]. None is given up for a later
/// one: a slow network is no reason to fail.
async fn first_of<T, F: Future<Output = io::Result<T>>>(attempt: impl Fn() -> F) -> io::Result<T> {
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.push(attempt());
        tokio::select! {
            biased;
            Some(made) = attempts.next() => return made,
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}, tls: {})", self.is_tls())
    }
}

/// The client's half of mutual TLS, from the three files of the docker CLI's convention.
fn client_config(folder: &Path) -> Result<ClientConfig, DialError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| DialError::Certificate { path, source }
    };
    let unusable = |source| DialError::Unusable { path: folder.to_owned(), source };
    let (ca, cert, key) = (folder.join("ca.pem"), folder.join("cert.pem"), folder.join("key.pem"));
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(&ca).map_err(unreadable(&ca))? {
        roots.add(root.map_err(unreadable(&ca))?).map_err(unusable)?;
    }
    let chain = CertificateDer::pem_file_iter(&cert)
        .map_err(unreadable(&cert))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable(&cert))?;
    // The daemon says no more than «bad certificate» to an expired one; we can say what it is.
    if let Some(leaf) = chain.first()
        && let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf)
        && !parsed.validity().is_valid()
    {
        return Err(DialError::Expired { path: cert, expired: parsed.validity().not_after.to_string() });
    }
    let key = PrivateKeyDer::from_pem_file(&key).map_err(unreadable(&key))?;
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(unusable)
}

/// A connection to a daemon.
#[derive(Debug)]
pub enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Unix($stream) => $call,
            Stream::Tcp($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    /// Closes our sending half only; what the peer still sends can be read.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    /// How long it takes until one of attempts is made that take so many milliseconds each; after these, none is.
    async fn made_after(attempts: &[u64]) -> (io::Result<u64>, u128) {
        let (began, next) = (Instant::now(), Cell::new(0));
        let made = first_of(|| {
            let takes = attempts.get(next.replace(next.get() + 1)).copied();
            async move {
                let Some(takes) = takes else { return std::future::pending().await };
                tokio::time::sleep(Duration::from_millis(takes)).await;
                if takes % 10 == 0 { Ok(takes) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
            }
        });
        (made.await, began.elapsed().as_millis())
    }

    #[test]
    fn too_few_files_are_no_fault_of_the_daemons() {
        let connect = |errno: i32| DialError::Connect {
            endpoint: "e".to_owned(),
            source: io::Error::from_raw_os_error(errno),
        };
        let next = |errno| connect(errno).next().unwrap();
        assert!(next(24).contains("`ulimit -n`") && next(23).contains("`ulimit -n`"), "{}", next(24));
        assert!(next(111).contains("`berth up`"), "{}", next(111));
    }

    #[test]
    fn what_is_reached_on_this_machine_is_near() {
        let is_near = |address: &str| Endpoint::parse(address, None).unwrap().is_near();
        for near in
            ["unix:///s", "tcp://127.0.0.1:1", "tcp://127.9.9.9:1", "tcp://[::1]:1", "tcp://LocalHost:1"]
        {
            assert!(is_near(near), "{near}");
        }
        for far in ["tcp://10.0.0.5:1", "tcp://[fd00::1]:1", "tcp://localhost.example:1"] {
            assert!(!is_near(far), "{far}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_hangs_is_tried_once_more_and_not_given_up() {
        let hangs = 3_600_000;
        assert_eq!(made_after(&[20]).await.1, 20);
        assert_eq!(made_after(&[hangs, hangs, 30]).await.1, 2030);
        let (made, after) = made_after(&[3500, hangs]).await;
        assert_eq!((made.unwrap(), after), (3500, 3500), "it is slow, and the first all the same");
        let (made, after) = made_after(&[hangs, 5]).await;
        assert_eq!((made.unwrap_err().kind(), after), (io::ErrorKind::ConnectionRefused, 1005));
    }
}
