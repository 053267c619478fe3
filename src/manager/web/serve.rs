//! HTTP/1.1 connections, within bounds: so many at once, and none that never asks.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Of one listener at once; the next ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;

/// A client has sent the head of its request by then.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// A client that reads nothing of its answer for so long is gone.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Answers that have begun have so much time at the end; streams of events have no end of their own. A manager that is told to
/// end has ended within 2 s.
const ENDS_WITHIN: Duration = Duration::from_millis(1_500);

/// After an error of accept(2) that is not a client's, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, address) = listener.accept().await?;
            Ok::<_, io::Error>((place, stream, Peer(address.ip().to_canonical())))
        };
        let (place, stream, peer) = tokio::select! {
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!("accept: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(bounded(stream)), service));
        tokio::spawn(async move {
            // A client that goes in mid-answer is nobody's fault.
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    _ = tokio::time::timeout(ENDS_WITHIN, graceful.shutdown()).await;
}

fn bounded(stream: TcpStream) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(READ_WITHIN));
    Box::pin(stream)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use futures::{StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_does_not_keep_its_place() {
        let endless = async || {
            Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 65536]))))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(endless));
        tokio::spawn(serve(listener, router, CancellationToken::new()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let began = Instant::now();
        tokio::time::sleep(READ_WITHIN * 2).await;
        assert_eq!(began.elapsed(), READ_WITHIN * 2);
        // What the kernel had taken, and then no more.
        let (mut sink, mut read) = (vec![0; 1 << 20], 0);
        while let Ok(more @ 1..) = client.read(&mut sink).await {
            read += more;
            assert!(read < 64 << 20, "it still writes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_an_end_holds_the_end_up_for_less_than_two_seconds() {
        let endless = async || {
            let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"x"))]);
            Body::from_stream(first.chain(stream::pending()))
        };
        let router = Router::new().route("/", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, router, stop.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"x\r\n") {
            assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
        }
        let began = Instant::now();
        stop.cancel();
        serving.await.unwrap();
        assert_eq!(began.elapsed(), ENDS_WITHIN);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
