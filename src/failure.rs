//! The one place where an error becomes what the client is told and what the process exits with.

use std::error::Error;
use std::{fmt, io};

use bytes::Bytes;
use rustls::AlertDescription;
use serde_json::json;

use crate::config::ConfigError;
use crate::dock::dial::DialError;
use crate::dock::docker::DockerError;
use crate::dock::lease::LeaseError;
use crate::rpc::{Code, RawId, error_line};

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

/// Why there is no server (any more), for a person: what happened, and the next command to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// Cause and object, causes chained by colons; no full stop.
    pub text: String,
    /// What mends it.
    pub next: Option<String>,
}

impl Failure {
    pub fn new(code: Code, error: &dyn Error, next: &str) -> Self {
        Self { code, text: chain(error), next: Some(next.to_owned()) }
    }

    /// One line for a person.
    pub fn message(&self) -> String {
        format!("berth: {self}")
    }

    /// The answer to a request that can't be served, as one line.
    pub fn answer(&self, id: Option<&RawId>) -> Bytes {
        let data = json!({ "cause": self.text, "next": self.next });
        error_line(id, self.code, &self.message(), Some(data))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.next {
            Some(next) => write!(f, "{}; {next}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl Error for Failure {}

/// The errors' messages from the outermost to the cause.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { code: Code::Configuration, text: chain(&error), next: None }
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        let (code, next) = match &error {
            DialError::BadAddress(_) => (Code::Configuration, "correct `host` in [dind]"),
            DialError::Certificate { .. } => (Code::Configuration, "make the certificates with `berth up`"),
            DialError::Expired { .. } => (Code::Configuration, "renew it with `berth up`"),
            DialError::Unusable { .. } => (Code::Configuration, "make new ones with `berth up`"),
            DialError::Connect { .. } | DialError::Timeout { .. } => (
                Code::Unavailable,
                "start the DinD daemon with `berth up`, or look at it with `berth status`",
            ),
        };
        Self::new(code, &error, next)
    }
}

impl From<DockerError> for Failure {
    fn from(error: DockerError) -> Self {
        match error {
            DockerError::Dial(error) => error.into(),
            error if is_certificate_refused(&error) => Self {
                code: Code::Configuration,
                text: format!("the daemon does not accept berth's certificate: {}", chain(&error)),
                next: Some("make a new one with `berth up`, or correct `certs` in [dind]".to_owned()),
            },
            // It was asked for something that it can't do: an unknown user, a capability that it has not.
            error if error.is_bad_request() => Self::new(
                Code::Configuration,
                &error,
                "correct the server's settings; `berth run --dry-run` shows what the daemon is told",
            ),
            error => Self::new(Code::Unavailable, &error, "look at the DinD daemon with `berth status`"),
        }
    }
}

/// With TLS 1.3 a client learns only from the answer to its first request whether its certificate is accepted.
fn is_certificate_refused(error: &DockerError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
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

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Docker(error) => error.into(),
            error @ LeaseError::NoImage(_) => Self::new(
                Code::Configuration,
                &error,
                "load it with `berth up`, or correct `image` in the configuration",
            ),
            error @ LeaseError::NotShared(_) => Self::new(
                Code::Configuration,
                &error,
                "type `berth up`, for it was started before `share` in [dind] said so; or the folder is gone",
            ),
            LeaseError::VolumeHeld { ref holder, .. } => {
                let next = match holder {
                    Some(holder) => format!("wait for its end, or end it with `berth kill {holder}`"),
                    None => "ask again, or see `berth ps`".to_owned(),
                };
                Self::new(Code::Unavailable, &error, &next)
            }
            error @ LeaseError::VolumeUnusable { .. } => Self::new(
                Code::Configuration,
                &error,
                "set `user` to who owns its files, or begin another volume under a new name",
            ),
            error @ LeaseError::NoName { .. } => Self::new(Code::Unavailable, &error, "see `berth ps`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_client_is_told_cause_object_and_next_command() {
        let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = DialError::Connect { endpoint: "tcp://127.0.0.1:12376".into(), source };
        let failure = Failure::from(LeaseError::from(DockerError::from(error)));
        let line = failure.answer(None);
        let answer: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(answer["error"]["code"], 69);
        let message = answer["error"]["message"].as_str().unwrap();
        for part in ["tcp://127.0.0.1:12376", "connection refused", "`berth up`"] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}
