//! One request to a collector, and what its answer means (OTLP/HTTP: which failures may be tried again, and when).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mcp_berth::config::Collector;
use mcp_berth::failure::{Code, Failure, chain};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::settings::Target;

/// An answer says in a few words what was not taken (bytes).
const ANSWER: usize = 64 << 10;

/// A collector may ask for a pause, which is no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Why it was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    /// It may be tried again, after the pause that the collector asks for.
    #[error("{why}")]
    Later { why: String, pause: Option<Duration> },
    /// The same would fail again.
    #[error("{0}")]
    Refused(String),
}

#[derive(Debug)]
pub(super) struct Post(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Post {
    /// `certificate`: a file of those that are trusted instead of the machine's.
    ///
    /// # Errors
    /// TLS is asked for, and there are no certificates.
    pub(super) fn new(collector: &Collector, certificate: Option<&Path>) -> Result<Self, Failure> {
        let failed = |why: String| Failure {
            code: Code::Configuration,
            text: format!("cannot trust any certificate of `{collector}`: {why}"),
            next: Some("name a file of trusted certificates in `OTEL_EXPORTER_OTLP_CERTIFICATE`".to_owned()),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?;
        let config = match certificate.filter(|_| collector.is_tls()) {
            Some(file) => {
                let roots =
                    trusted(file).map_err(|error| failed(format!("`{}`: {error}", file.display())))?;
                config.with_root_certificates(roots)
            }
            None if collector.is_tls() => {
                config.with_native_roots().map_err(|error| failed(error.to_string()))?
            }
            None => config.with_root_certificates(RootCertStore::empty()),
        };
        let config = config.with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends a message; gives the answer's.
    pub(super) async fn send(&self, target: &Target, message: Bytes) -> Result<Bytes, Unsent> {
        let later = |why: String| Unsent::Later { why, pause: None };
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = target.headers.clone();
        let protobuf = header::HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(header::CONTENT_TYPE, protobuf);
        let answer = async {
            let answer = self.0.request(request).await.map_err(|error| later(chain(&error)))?;
            let (head, body) = answer.into_parts();
            let read = Limited::new(body, ANSWER).collect().await.map(http_body_util::Collected::to_bytes);
            if head.status.is_success() {
                // It was taken, whatever becomes of the answer.
                return Ok(read.unwrap_or_default());
            }
            let why = format!("it answered {}", head.status);
            let may_try_again = matches!(
                head.status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            if !may_try_again {
                return Err(Unsent::Refused(why));
            }
            let pause = head.headers.get(header::RETRY_AFTER);
            let pause = pause.and_then(|pause| pause.to_str().ok()?.trim().parse().ok());
            Err(Unsent::Later {
                why,
                pause: pause.map(|pause| Duration::from_secs(pause).min(LONGEST_PAUSE)),
            })
        };
        let answer = tokio::time::timeout(target.timeout, answer).await;
        answer.unwrap_or_else(|_| Err(later(format!("no answer within {} ms", target.timeout.as_millis()))))
    }
}

fn trusted(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it has no certificate".to_owned()) } else { Ok(roots) }
}
