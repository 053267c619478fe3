//! The network between a slot's sessions and the daemon: a TCP relay that can be cut and stalled. It sees TLS only.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// How often the connections were cut.
    cuts: u64,
    /// New connections are reset.
    closed: bool,
    /// Nothing passes.
    stalled: bool,
}

/// Dropping it cuts everything.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    weather: watch::Sender<Weather>,
    _accepts: AbortOnDropHandle<()>,
}

impl Relay {
    /// Listens on a port of this machine that is free, on behalf of `daemon` (`host:port`).
    pub(super) async fn listen(daemon: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(Weather::default());
        let accepts = tokio::spawn(accept(listener, daemon, weather.subscribe()));
        Ok(Self { address, weather, _accepts: AbortOnDropHandle::new(accepts) })
    }

    /// Resets all connections, and new ones for a while.
    pub(super) async fn cut(&self, hold: Duration) {
        self.weather.send_modify(|weather| (weather.cuts, weather.closed) = (weather.cuts + 1, true));
        tokio::time::sleep(hold).await;
        self.weather.send_modify(|weather| weather.closed = false);
    }

    /// Lets nothing pass for a while.
    pub(super) async fn stall(&self, hold: Duration) {
        self.weather.send_modify(|weather| weather.stalled = true);
        tokio::time::sleep(hold).await;
        self.weather.send_modify(|weather| weather.stalled = false);
    }
}

async fn accept(listener: TcpListener, daemon: String, weather: watch::Receiver<Weather>) {
    while let Ok((session, _)) = listener.accept().await {
        tokio::spawn(connection(session, daemon.clone(), weather.clone()));
    }
}

/// One connection, until both ends have closed it or it is cut.
async fn connection(mut session: TcpStream, daemon: String, mut weather: watch::Receiver<Weather>) {
    let Weather { cuts, closed, .. } = *weather.borrow_and_update();
    if closed {
        reset(&session);
        return;
    }
    let Ok(mut daemon) = TcpStream::connect(daemon).await else { return };
    let is_cut = {
        let (from_session, to_session) = session.split();
        let (from_daemon, to_daemon) = daemon.split();
        let directions = async {
            tokio::join!(
                direction(from_session, to_daemon, weather.clone()),
                direction(from_daemon, to_session, weather.clone()),
            )
        };
        let mut watched = weather.clone();
        tokio::select! {
            _ = directions => false,
            _ = watched.wait_for(|weather| weather.cuts != cuts) => true,
        }
    };
    if is_cut {
        reset(&session);
        reset(&daemon);
    }
}

/// Has the end be a reset: an orderly one would be no cut.
fn reset(stream: &TcpStream) {
    // Fails for a stream that has broken already.
    let _ = stream.set_zero_linger();
}

/// Copies until the end, which is passed on alone: the other direction may go on.
async fn direction(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        // What has come in a stall waits for its end.
        if weather.wait_for(|weather| !weather.stalled).await.is_err() {
            return Ok(());
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = peer.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.shutdown().await;
                });
            }
        });
        address
    }

    async fn round(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut [0; 4]).await.map(drop)
    }

    #[tokio::test]
    async fn it_passes_everything_on_and_each_end_alone() {
        let relay = Relay::listen(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        round(&mut stream).await.unwrap();
        stream.write_all(b"rest").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"rest");
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_there_and_what_comes_until_it_is_over() {
        let relay = Relay::listen(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        round(&mut stream).await.unwrap();
        let cut = relay.cut(Duration::from_millis(50));
        let during = async {
            let error = stream.read(&mut [0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            let mut other = TcpStream::connect(relay.address).await.unwrap();
            assert!(round(&mut other).await.is_err());
        };
        tokio::join!(cut, during);
        round(&mut TcpStream::connect(relay.address).await.unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_passes_a_stall_and_all_of_it_passes_afterwards() {
        let relay = Relay::listen(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        round(&mut stream).await.unwrap();
        let is_over = std::cell::Cell::new(false);
        let stall = async {
            relay.stall(Duration::from_millis(100)).await;
            is_over.set(true);
        };
        let during = async {
            round(&mut stream).await.unwrap();
            assert!(is_over.get(), "it came through");
        };
        tokio::join!(biased; stall, during);
    }
}
