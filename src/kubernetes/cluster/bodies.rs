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
            let answer = asked.await?;
            let is_endless = is_watch && answer.status().is_success();
            Ok(answer.map(
                |body| if is_endless { Either::Left(body) } else { Either::Right(bounded(body, within)) },
            ))
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
    use std::convert::Infallible;

    use futures::StreamExt;
    use tower::{ServiceExt, service_fn};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(35);
    const HOUR: Duration = Duration::from_hours(1);

    /// What comes within an hour of an answer that stops halfway; `None`: it has no end.
    async fn heard(query: &str, status: u16) -> Option<Result<Bytes, BoxError>> {
        let server = service_fn(move |_: http::Request<()>| async move {
            let piece = stream::once(async { Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{"))) });
            let body = StreamBody::new(piece.chain(stream::pending()).boxed());
            Ok::<_, Infallible>(http::Response::builder().status(status).body(body).unwrap())
        });
        let request = http::Request::get(format!("/api/v1/pods?{query}")).body(()).unwrap();
        let answer = Bodies::new(server, WITHIN).oneshot(request).await.unwrap();
        let collected = tokio::time::timeout(HOUR, answer.into_body().collect()).await.ok()?;
        Some(collected.map(http_body_util::Collected::to_bytes))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stops_halfway_is_an_error() {
        for (query, status) in [("limit=500", 200), ("limit=500", 403), ("&watch=true", 403)] {
            let error = heard(query, status).await.expect("an end").unwrap_err();
            assert!(error.is::<Elapsed>(), "{query} {status}: {error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_may_be_silent() {
        let heard = heard("&watch=true&timeoutSeconds=290", 200).await;
        assert!(heard.is_none(), "{heard:?}");
    }
}
