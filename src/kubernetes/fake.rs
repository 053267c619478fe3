//! An API server for tests: it answers as it is told, and remembers what it was asked.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use k8s_openapi::jiff::tz::TimeZone;
use kube::Client;
use kube::client::Body;
use mcp_berth::config::{Kubernetes, Settings};
use serde_json::{Value, json};
use tower_service::Service;

use super::cluster::Cluster;

/// Method, path with query, and body.
pub(crate) type Request = (String, String, Value);
pub(crate) type Seen = Arc<Mutex<Vec<Request>>>;

type Answering = dyn Fn(&Request) -> (u16, Value) + Send + Sync;

#[derive(Clone)]
struct Server {
    answer: Arc<Answering>,
    seen: Seen,
    now: Option<Timestamp>,
    late: Duration,
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Self { answer, seen, now, late } = self.clone();
        Box::pin(async move {
            if !late.is_zero() {
                tokio::time::sleep(late).await;
            }
            let (method, uri) = (request.method().to_string(), request.uri().to_string());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let request = (method, uri, serde_json::from_slice(&body).unwrap_or_default());
            let (code, body) = answer(&request);
            seen.lock().unwrap().push(request);
            let mut response = http::Response::builder().status(code);
            if let Some(now) = now {
                response = response
                    .header(http::header::DATE, rfc2822::to_string(&now.to_zoned(TimeZone::UTC)).unwrap());
            }
            Ok(response.body(Body::from(body.to_string().into_bytes())).unwrap())
        })
    }
}

/// The namespace `n` of a cluster, and what it will have been asked.
pub(crate) fn cluster(answer: impl Fn(&Request) -> (u16, Value) + Send + Sync + 'static) -> (Cluster, Seen) {
    with(None, Duration::ZERO, answer)
}

/// One that takes its time for each answer. What nobody waits for any more was not asked.
pub(crate) fn slow(
    late: Duration,
    answer: impl Fn(&Request) -> (u16, Value) + Send + Sync + 'static,
) -> (Cluster, Seen) {
    with(None, late, answer)
}

/// One whose API server says what time it is.
pub(crate) fn cluster_at(
    now: Option<Timestamp>,
    answer: impl Fn(&Request) -> (u16, Value) + Send + Sync + 'static,
) -> (Cluster, Seen) {
    with(now, Duration::ZERO, answer)
}

fn with(
    now: Option<Timestamp>,
    late: Duration,
    answer: impl Fn(&Request) -> (u16, Value) + Send + Sync + 'static,
) -> (Cluster, Seen) {
    let seen = Seen::default();
    let server = Server { answer: Arc::new(answer), seen: seen.clone(), now, late };
    let client = Client::new(server, "n");
    (Cluster { client, namespace: "n".to_owned(), settings: Kubernetes::default(), parent: None }, seen)
}

/// One whose API server takes what it is asked, and never answers.
pub(crate) fn silent() -> Cluster {
    let never = |_: http::Request<Body>| std::future::pending::<Result<http::Response<Body>, Infallible>>();
    let client = Client::new(tower::service_fn(never), "n");
    Cluster { client, namespace: "n".to_owned(), settings: Kubernetes::default(), parent: None }
}

/// What the API server says where it refuses.
pub(crate) fn status(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code })
}

/// What it says of an object that is not there.
pub(crate) fn not_found() -> (u16, Value) {
    let mut status = status(404, "not found");
    status["reason"] = json!("NotFound");
    (404, status)
}

/// The states of a pod's containers, one of which has ended.
pub(crate) fn ended(container: &str, at: &str) -> Value {
    let state = json!({ "terminated": { "exitCode": 0, "finishedAt": at } });
    json!([{ "name": container, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state }])
}

/// A server's, as a file without a line has them.
pub(crate) fn settings() -> Settings {
    Settings::default()
}

/// Methods and names, without their queries.
pub(crate) fn told(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().unwrap();
    let short =
        |uri: &str| uri.split('?').next().unwrap_or_default().replace("/api/v1/namespaces/n/pods", "");
    seen.iter().map(|(method, uri, _)| format!("{method} {}", short(uri))).collect()
}
