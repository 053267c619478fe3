//! How an operation on a daemon fails: turns bollard's errors into ours. One of the few files that name bollard.

use std::error::Error;
use std::io;

use bollard::errors::Error as Bollard;
use futures::{Stream, StreamExt};
use rustls::AlertDescription;

use crate::dock::dial::DialError;
use crate::failure::{Code, Explain, chain};

/// What a TLS server says of a client's certificate.
const CERTIFICATE_ALERTS: [AlertDescription; 7] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::CertificateRequired,
];

/// A failed operation on a daemon.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The daemon refused; `message` is its own.
    #[error("cannot {op} `{object}`: {message}")]
    Refused { op: &'static str, object: String, status: u16, message: String },
    #[error("cannot {op} `{object}`: the daemon gave an invalid answer")]
    Broken { op: &'static str, object: String, source: Box<dyn Error + Send + Sync> },
}

impl DockerError {
    /// The HTTP status with which the daemon refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Whether what was asked for is at fault, and not the daemon.
    pub fn is_bad_request(&self) -> bool {
        const SETTINGS: [&str; 3] =
            ["unable to find user", "unable to find group", "OCI runtime create failed"];
        match self {
            Self::Refused { status: 400, .. } => true,
            Self::Refused { message, .. } => SETTINGS.iter().any(|part| message.contains(part)),
            _ => false,
        }
    }

    /// Whether the same may succeed a moment later: the connection broke, the daemon is about to end or has just begun, or
    /// a container was gone before its owner came to it.
    pub fn is_passing(&self) -> bool {
        const GONE: [&str; 4] = ["No such container", "is not running", "marked for removal", "No such exec"];
        // What a daemon says of its own parts while it ends or begins.
        const ENDING: [&str; 7] = [
            "shutting down",
            "context canceled",
            "transport is closing",
            "connection refused",
            "ttrpc: closed",
            "error reading from server",
            "grpc: the client connection is closing",
        ];
        let says = |message: &str, words: &[&str]| words.iter().any(|part| message.contains(part));
        match self {
            Self::Dial(DialError::Connect { source, .. }) => is_cut_off(source.kind()),
            Self::Refused { status: 404 | 409, message, .. } => says(message, &GONE),
            Self::Refused { status: 500.., message, .. } => {
                says(message, &GONE)
                    || is_unmounted(message)
                    || (says(message, &ENDING) && !self.is_bad_request())
            }
            Self::Dial(_) | Self::Refused { .. } => false,
            Self::Broken { .. } => self.io_error().is_some_and(|error| is_cut_off(error.kind())),
        }
    }

    /// The I/O error among the causes.
    fn io_error(&self) -> Option<&io::Error> {
        let mut next = self.source();
        while let Some(cause) = next {
            if let Some(error) = cause.downcast_ref() {
                return Some(error);
            }
            next = cause.source();
        }
        None
    }

    /// With TLS 1.3 a client learns only from the answer to its first request whether its certificate is accepted.
    fn is_certificate_refused(&self) -> bool {
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(cause) = next {
            // An I/O error's source is the source of what it holds, not that itself.
            let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let tls = held.and_then(|held| held.downcast_ref()).or_else(|| cause.downcast_ref());
            if let Some(rustls::Error::AlertReceived(alert)) = tls {
                return CERTIFICATE_ALERTS.contains(alert);
            }
            next = cause.source();
        }
        false
    }

    pub fn broken(op: &'static str, object: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Broken { op, object: object.to_owned(), source: source.into() }
    }
}

/// A daemon that ends takes away the mount of a layer that it is making at that moment.
fn is_unmounted(message: &str) -> bool {
    message.contains("-init/merged/") && message.contains("no such file or directory")
}

/// As a daemon's end or its start looks from outside, a forwarder before it included. A wrong certificate does not.
fn is_cut_off(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof
    )
}

impl Explain for DockerError {
    fn code(&self) -> Code {
        match self {
            Self::Dial(error) => error.code(),
            error if error.is_certificate_refused() || error.is_bad_request() => Code::Configuration,
            _ => Code::Unavailable,
        }
    }

    fn next(&self) -> Option<String> {
        let next = match self {
            Self::Dial(error) => return error.next(),
            error if error.is_certificate_refused() => {
                "make a new one with `berth up`, or correct `certs` in [dind]"
            }
            // It was asked for something that it can't do: an unknown user, a capability that it has not.
            error if error.is_bad_request() => {
                "correct the server's settings; `berth run --dry-run` shows what the daemon is told"
            }
            _ => "look at the DinD daemon with `berth status`",
        };
        Some(next.to_owned())
    }

    fn text(&self) -> String {
        if self.is_certificate_refused() {
            return format!("the daemon does not accept berth's certificate: {}", chain(self));
        }
        chain(self)
    }
}

/// Turns bollard's errors into ours, with the operation and its object.
pub(super) fn explain(op: &'static str, object: &str) -> impl Fn(Bollard) -> DockerError {
    move |error| match error {
        Bollard::HyperLegacyError { err } => match dialled(&err) {
            Some(error) => error.into(),
            None => DockerError::broken(op, object, err),
        },
        Bollard::DockerResponseServerError { status_code, message } => {
            DockerError::Refused { op, object: object.to_owned(), status: status_code, message }
        }
        Bollard::DockerStreamError { error } => {
            DockerError::Refused { op, object: object.to_owned(), status: 500, message: error }
        }
        other => DockerError::broken(op, object, other),
    }
}

/// A failed dial arrives wrapped by hyper, which owns it; this makes another of it.
fn dialled(error: &(dyn Error + 'static)) -> Option<DialError> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<DialError>() {
            Some(DialError::Connect { endpoint, source }) => {
                let source = std::io::Error::new(source.kind(), source.to_string());
                return Some(DialError::Connect { endpoint: endpoint.clone(), source });
            }
            Some(DialError::Timeout { endpoint, after }) => {
                return Some(DialError::Timeout { endpoint: endpoint.clone(), after: *after });
            }
            _ => next = error.source(),
        }
    }
    None
}

/// `None` where the daemon answers 404.
pub(super) fn absent<T>(result: Result<T, DockerError>) -> Result<Option<T>, DockerError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a stream of progress messages to its end, and finds the error that may stand among them.
pub(super) async fn drain<T>(
    answers: impl Stream<Item = Result<T, Bollard>>,
    op: &'static str,
    object: &str,
    mut error_in: impl FnMut(T) -> Option<String>,
) -> Result<(), DockerError> {
    let mut answers = std::pin::pin!(answers);
    while let Some(answer) = answers.next().await {
        if let Some(message) = error_in(answer.map_err(explain(op, object))?) {
            return Err(DockerError::Refused { op, object: object.to_owned(), status: 500, message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn a_refused_certificate_is_told_from_other_faults() {
        let refused = |alert| {
            let source = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
            Failure::from(DockerError::broken("inspect the image", "time", source))
        };
        let failure = refused(AlertDescription::UnknownCA);
        assert_eq!(failure.code, Code::Configuration);
        assert!(failure.to_string().contains("certificate: cannot inspect the image `time`"), "{failure}");
        assert!(failure.to_string().contains("`berth up`"), "{failure}");
        assert_eq!(refused(AlertDescription::InternalError).code, Code::Unavailable);
    }

    #[test]
    fn a_bad_moment_is_told_from_what_stays_wrong() {
        let refused = |status, message: &str| DockerError::Refused {
            op: "prepare the server in",
            object: "c".to_owned(),
            status,
            message: message.to_owned(),
        };
        let broken = |kind: io::ErrorKind| DockerError::broken("o", "c", io::Error::from(kind));
        let dial = |kind: io::ErrorKind| {
            DockerError::from(DialError::Connect { endpoint: "e".to_owned(), source: kind.into() })
        };
        for passing in [
            refused(404, "No such container: 1c22"),
            refused(409, "container 1c22 is not running"),
            refused(409, "container is marked for removal and cannot be started"),
            refused(500, "error while creating mount: context canceled"),
            refused(500, "connection error: transport is closing: unavailable"),
            refused(500, "stat /var/lib/docker/overlay2/a0-init/merged/dev/pts: no such file or directory"),
            broken(io::ErrorKind::UnexpectedEof),
            broken(io::ErrorKind::ConnectionReset),
            dial(io::ErrorKind::ConnectionRefused),
            dial(io::ErrorKind::UnexpectedEof),
        ] {
            assert!(passing.is_passing(), "{passing}");
        }
        for lasting in [
            refused(404, "No such image: x"),
            refused(409, "the name is in use"),
            refused(500, "no space left on device"),
            refused(500, "mkdir /var/lib/docker/overlay2/a0-init/merged/dev: no space left on device"),
            refused(500, "OCI runtime create failed: connection refused"),
            refused(400, "is not running"),
            broken(io::ErrorKind::InvalidData),
            DockerError::broken("o", "c", "no HTTP"),
            dial(io::ErrorKind::InvalidData),
            dial(io::ErrorKind::NotFound),
            DialError::Timeout { endpoint: "e".to_owned(), after: std::time::Duration::ZERO }.into(),
        ] {
            assert!(!lasting.is_passing(), "{lasting}");
        }
    }
}
