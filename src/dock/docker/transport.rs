//! Gives bollard our own connections to a daemon, over any transport. One of the few files that name bollard.

use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::errors::Error as Bollard;
use bollard::{BollardRequest, ClientVersion, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::dock::dial::{DialError, Endpoint, Stream};

/// bollard on a daemon. Connects at its first use.
pub(super) fn connect(endpoint: &Endpoint) -> Docker {
    // No bound on an answer here: loading an image may take minutes. Callers with a deadline set their own.
    let day = 24 * 60 * 60;
    let client = Client::builder(TokioExecutor::new()).build(Dialer(endpoint.clone()));
    let transport = move |mut request: BollardRequest| {
        unversion(request.uri_mut());
        let client = client.clone();
        async move { client.request(request).await.map_err(Bollard::from) }
    };
    let version = ClientVersion { major_version: 1, minor_version: 41 };
    #[expect(clippy::expect_used, reason = "fails for a malformed address only, and this one is constant")]
    Docker::connect_with_custom_transport(transport, Some("http://berth"), day, &version)
        .expect("a constant address")
}

/// Drops `/v1.41` from the path: without a version each daemon answers with its own newest, so that one berth
/// serves all of them and no request is spent on finding out.
fn unversion(uri: &mut http::Uri) {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let bare = path.strip_prefix("/v1.41").unwrap_or(path);
    if let Ok(bare) = format!("http://berth{bare}").parse() {
        *uri = bare;
    }
}

/// hyper's connector over our own connections.
#[derive(Clone)]
struct Dialer(Endpoint);

struct Dialed(TokioIo<Stream>);

impl tower_service::Service<http::Uri> for Dialer {
    type Response = Dialed;
    type Error = DialError;
    type Future = futures::future::BoxFuture<'static, Result<Dialed, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let endpoint = self.0.clone();
        Box::pin(async move { endpoint.dial().await.map(|stream| Dialed(TokioIo::new(stream))) })
    }
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
