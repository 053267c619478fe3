//! Answers that stop halfway: behind a cut nothing more comes of them, and nothing tells.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, stream};
use http_body_util::{BodyExt, Either, StreamBody};
use hyper::body::{Body, Bytes, Frame};
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service};

/// The client whose answers go on within `within`, piece by piece; only a watch may say nothing for as long as it likes.
#[derive(Clone)]
pub(super) struct Bodies<S> {
    inner: S,
    within: Duration,
}

type Pieces = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, BoxError>> + Send>>;

impl<S> Bodies<S> {
    pub(super) fn new(inner: S, within: Duration) -> Self {
        Self { inner, within }
    }
}

impl<S, A, B> Service<http::Request<A>> for Bodies<S>
where
    S: Service<http::Request<A>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = http::Response<Either<B, StreamBody<Pieces>>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<A>) -> Self::Future {
        let is_watch =
            request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "watch=true"));
        let within = self.within;
        let asked = self.inner.call(request);
        Box::pin(async move {
            Ok(asked
                .await?
                .map(|body| if is_watch { Either::Left(body) } else { Either::Right(bounded(body, within)) }))
        })
    }
}

fn bounded<B>(body: B, within: Duration) -> StreamBody<Pieces>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    StreamBody::new(Box::pin(stream::try_unfold(body, move |mut body| async move {
        let piece = tokio::time::timeout(within, body.frame()).await.map_err(|_| Elapsed::new())?;
        Ok(piece.transpose().map_err(Into::into)?.map(|piece| (piece, body)))
    })))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use k8s_openapi::api::core::v1::Pod;
    use kube::api::{Api, ListParams, WatchParams};
    use kube::{Client, Config};

    use super::super::client;
    use super::*;
    use mcp_berth::failure::chain;

    /// Of a server that says so much of each answer, and then nothing.
    async fn halfway(said: &'static str) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4096\r\n\r\n";
                let _ = stream.write_all(format!("{head}{said}").as_bytes());
                kept.push(stream);
            }
        });
        let config = Config::new(format!("http://{address}").parse().unwrap());
        tokio::task::spawn_blocking(|| client(config, None, Duration::from_millis(200)))
            .await
            .unwrap()
            .unwrap()
    }

    #[tokio::test]
    async fn a_list_that_stops_halfway_is_an_error() {
        let pods: Api<Pod> = Api::default_namespaced(halfway("{\"items\":").await);
        let all = ListParams::default();
        let error = tokio::time::timeout(Duration::from_secs(10), pods.list(&all))
            .await
            .expect("an end")
            .unwrap_err();
        assert!(chain(&error).contains("timed out"), "{error:?}");
    }

    #[tokio::test]
    async fn a_watch_may_be_silent() {
        use futures::TryStreamExt;
        let pods: Api<Pod> = Api::default_namespaced(halfway("{\"type\":").await);
        let mut seen = Box::pin(pods.watch(&WatchParams::default(), "0").await.unwrap());
        let heard = tokio::time::timeout(Duration::from_secs(1), seen.try_next()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}
