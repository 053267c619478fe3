//! Whether the daemon that answers is ours. Asks; changes nothing.

use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::certs;
use crate::dock::dial::{DialError, Endpoint, Stream};
use crate::dock::docker::Engine;

#[derive(Debug)]
pub(super) enum Answer {
    Good,
    /// It shows a certificate of our authority, but not the newest; the days that it has left.
    OldCertificate(i64),
    /// It is not of our authority.
    Stranger(String),
    Silence(String),
}

/// `certs` is the folder with the server's newest certificate.
pub(super) async fn ask(endpoint: &Endpoint, certs: &Path) -> Answer {
    let endpoint = endpoint.clone().with_timeout(super::ANSWER_WITHIN);
    let shown = match endpoint.dial().await {
        Ok(Stream::Tls(stream)) => stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first().cloned().map(CertificateDer::into_owned)),
        Ok(_) => None,
        // What rustls has to say about the other end's certificate.
        Err(DialError::Connect { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => {
            return Answer::Stranger(source.to_string());
        }
        Err(error) => return Answer::Silence(reason(&error)),
    };
    let engine = Engine::new(endpoint);
    if let Err(error) = super::soon(&engine, engine.ping()).await {
        return Answer::Silence(reason(&error));
    }
    match (shown, certs::server_certificate(certs)) {
        (Some(shown), Ok(ours)) if shown == ours => Answer::Good,
        (Some(shown), _) => Answer::OldCertificate(certs::days_left(&shown, Timestamp::now()).unwrap_or(0)),
        (None, _) => Answer::Stranger("it shows no certificate".to_owned()),
    }
}

/// The innermost cause, which says most.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
