//! One connection on the stream, and its socket on this machine.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::mux::Shared;
use crate::dock::frames::{self, Account, Broken, Frame, HEADER, LONGEST};

/// Which port a connection leads to, and on which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    /// Of this machine.
    Service(u16),
    /// Of the container.
    Published(u16),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(port) => write!(f, "to 127.0.0.1:{port} of this machine"),
            Self::Published(port) => write!(f, "to port {port} of the container"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    which: Which,
    state: Mutex<State>,
    /// Something waits for the socket, or nothing more will.
    arrived: Notify,
    /// The other side has room again.
    granted: Notify,
    /// The other side has ended it without order.
    gone: CancellationToken,
    refused: CancellationToken,
    said: AtomicU64,
    heard: AtomicU64,
}

#[derive(Debug)]
struct State {
    account: Account,
    /// For the socket.
    waiting: BytesMut,
    /// The other side says no more.
    heard_all: bool,
}

impl Connection {
    pub(super) fn new(which: Which) -> Self {
        let state = State { account: Account::new(), waiting: BytesMut::new(), heard_all: false };
        Self {
            which,
            state: Mutex::new(state),
            arrived: Notify::new(),
            granted: Notify::new(),
            gone: CancellationToken::new(),
            refused: CancellationToken::new(),
            said: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much waits for its socket.
    #[cfg(test)]
    pub(super) fn waits(&self) -> usize {
        self.state().waiting.len()
    }

    /// What the container's side says of it. Never waits: what must, has its room by the account.
    pub(super) fn obey(&self, frame: &Frame<'_>) -> Result<(), Broken> {
        let mut state = self.state();
        match *frame {
            Frame::Data(_) if state.heard_all => return Err(Broken),
            Frame::Data(data) => {
                state.account.received(data.len())?;
                state.waiting.extend_from_slice(data);
                self.heard.fetch_add(data.len() as u64, Ordering::Relaxed);
                self.arrived.notify_one();
            }
            Frame::Room(bytes) => {
                state.account.granted(bytes)?;
                self.granted.notify_one();
            }
            Frame::Finish => {
                state.heard_all = true;
                self.arrived.notify_one();
            }
            Frame::Reset { refused } => {
                if refused {
                    self.refused.cancel();
                }
                self.gone.cancel();
            }
            Frame::Ready | Frame::Taken { .. } | Frame::Open { .. } => return Err(Broken),
        }
        Ok(())
    }
}

/// Passes both directions on until both have ended, or one has failed.
pub(super) async fn carry(
    shared: Arc<Shared>,
    number: u32,
    connection: Arc<Connection>,
    mut socket: TcpStream,
) {
    let which = connection.which;
    shared.side.trace.note(None, "connection opened", &which.to_string(), 0);
    let ended = {
        let (read, write) = socket.split();
        let both = async {
            tokio::try_join!(
                to_container(&shared, number, &connection, read),
                from_container(&shared, number, &connection, write)
            )
        };
        tokio::select! {
            biased;
            () = shared.over.cancelled() => Err(None),
            () = connection.gone.cancelled() => Err(None),
            ended = both => ended.map(drop).map_err(Some),
        }
    };
    shared.forget(number);
    if let Err(failed) = ended {
        abort(&socket);
        drop(socket);
        if failed.is_some() {
            // The container's side doesn't know it yet.
            send(&shared, number, &Frame::Reset { refused: false }).await.unwrap_or_default();
        }
    }
    if connection.refused.is_cancelled() {
        shared.refused(which);
    }
    let (said, heard) = (connection.said.load(Ordering::Relaxed), connection.heard.load(Ordering::Relaxed));
    let detail = format!("{which}: {heard} bytes from the container, {said} bytes to it");
    shared.side.trace.note(None, "connection closed", &detail, said + heard);
}

/// Has the other end see that this was no end in order.
pub(super) fn abort(socket: &TcpStream) {
    // It fails for what is closed already.
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

async fn send(shared: &Shared, number: u32, frame: &Frame<'_>) -> io::Result<()> {
    let mut out = Vec::new();
    frames::encode(&mut out, number, frame);
    shared.to_container.send(out).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

async fn to_container(
    shared: &Shared,
    number: u32,
    connection: &Connection,
    mut socket: ReadHalf<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let most = connection.state().account.may_send();
        if most == 0 {
            connection.granted.notified().await;
            continue;
        }
        let length = socket.read(&mut buffer[..most]).await?;
        if length == 0 {
            return send(shared, number, &Frame::Finish).await;
        }
        connection.state().account.sent(length);
        connection.said.fetch_add(length as u64, Ordering::Relaxed);
        let mut out = Vec::with_capacity(HEADER + length);
        frames::encode(&mut out, number, &Frame::Data(&buffer[..length]));
        shared.to_container.send(out).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
    }
}

async fn from_container(
    shared: &Shared,
    number: u32,
    connection: &Connection,
    mut socket: WriteHalf<'_>,
) -> io::Result<()> {
    loop {
        let (waiting, heard_all) = {
            let mut state = connection.state();
            (state.waiting.split(), state.heard_all)
        };
        if waiting.is_empty() {
            if heard_all {
                return socket.shutdown().await;
            }
            connection.arrived.notified().await;
            continue;
        }
        socket.write_all(&waiting).await?;
        let room = connection.state().account.passed_on(waiting.len());
        if let Some(bytes) = room {
            send(shared, number, &Frame::Room(bytes)).await?;
        }
    }
}
