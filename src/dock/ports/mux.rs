//! The stream's two directions, and the connections on it.
//!
//! The reading task never waits for a connection or for the writing one, so nothing can hold up the container's side.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::carry::carry;
use super::connection::{Which, abort};
use super::shared::{Shared, Side};
use crate::dock::frames::{self, Broken, Frame};

/// Frames that wait to be written; who has more waits.
const FRAMES: usize = 16;
/// So much is written at once (bytes).
const AT_ONCE: usize = 64 << 10;

/// The stream. Dropping it ends all that goes over it.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    _over: DropGuard,
}

/// Opens connections to the container's ports for as long as the stream lasts.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Shared>);

/// Begins. The receiver hears when the container's side listens, or fails.
pub(super) fn begin<R, W>(from_container: R, to_container: W, side: Side) -> (Link, oneshot::Receiver<()>)
where
    R: Stream<Item = io::Result<Bytes>> + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, frames) = mpsc::channel(FRAMES);
    let over = CancellationToken::new();
    let shared = Arc::new(Shared {
        side,
        to_container: sender,
        over: over.clone(),
        connections: Mutex::default(),
        next: AtomicU32::new(2),
        told: Mutex::default(),
    });
    let (listens, listening) = oneshot::channel();
    let reader = Reader { shared: Arc::clone(&shared), listens: Some(listens) };
    tokio::spawn(async move {
        let over = reader.shared.over.clone();
        tokio::select! {
            () = over.cancelled() => {}
            () = reader.run(from_container) => over.cancel(),
        }
    });
    let ended = over.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            _ = write(frames, to_container) => ended.cancel(),
        }
    });
    (Link { shared, _over: over.drop_guard() }, listening)
}

impl Link {
    pub fn caller(&self) -> Caller {
        Caller(Arc::clone(&self.shared))
    }
}

impl Caller {
    /// Whether nothing can be opened any more.
    pub fn is_over(&self) -> bool {
        self.0.over.is_cancelled()
    }

    /// Resolves when nothing can be opened any more.
    pub async fn over(&self) {
        self.0.over.cancelled().await;
    }

    /// Carries what a client of this machine says to a port of the container, until either ends.
    pub async fn call(&self, port: u16, socket: TcpStream) {
        let shared = &self.0;
        // The container's own numbers are the odd ones.
        let number = shared.next.fetch_add(2, Ordering::Relaxed);
        let Some(connection) = shared.admit(number, Which::Published(port)) else {
            return abort(&socket);
        };
        let mut open = Vec::new();
        frames::encode(&mut open, number, &Frame::Open { port });
        if shared.to_container.send(open).await.is_ok() {
            carry(Arc::clone(shared), number, connection, socket).await;
        } else {
            shared.forget(number);
            abort(&socket);
        }
    }
}

/// Hears the container's side.
struct Reader {
    shared: Arc<Shared>,
    listens: Option<oneshot::Sender<()>>,
}

impl Reader {
    /// To the end of the stream, or to what it should not say.
    async fn run(mut self, mut from_container: impl Stream<Item = io::Result<Bytes>> + Unpin) {
        let mut heard = BytesMut::new();
        while let Some(Ok(bytes)) = from_container.next().await {
            heard.extend_from_slice(&bytes);
            loop {
                match frames::decode(&heard) {
                    Ok(Some((length, number, frame))) => {
                        if self.obey(number, &frame).is_err() {
                            return self.broken();
                        }
                        heard.advance(length);
                    }
                    Ok(None) => break,
                    Err(Broken) => return self.broken(),
                }
            }
        }
    }

    fn broken(&self) {
        tracing::warn!(
            "the forwarder of ports of server `{}` ended: it says what it must not",
            self.shared.side.server
        );
    }

    fn obey(&mut self, number: u32, frame: &Frame<'_>) -> Result<(), Broken> {
        match *frame {
            Frame::Ready => drop(self.listens.take().map(|listens| listens.send(()))),
            Frame::Taken { port, errno } => {
                let server = &self.shared.side.server;
                let why = io::Error::from_raw_os_error(i32::try_from(errno).unwrap_or_default());
                tracing::warn!(
                    "server `{server}` cannot reach port {port} of this machine: its container: {why}"
                );
            }
            Frame::Open { port } => self.open(number, port)?,
            _ => {
                // It may have ended here, while that was under way.
                let connection = self.shared.connections().get(&number).cloned();
                if let Some(connection) = connection {
                    connection.obey(frame)?;
                }
            }
        }
        Ok(())
    }

    /// A process of the container has connected to one of the ports.
    fn open(&self, number: u32, port: u16) -> Result<(), Broken> {
        if number.is_multiple_of(2) {
            return Err(Broken);
        }
        let port = *self.shared.side.services.get(&port).ok_or(Broken)?;
        let which = Which::Service(port);
        let connection = self.shared.admit(number, which).ok_or(Broken)?;
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let connected = tokio::select! {
                () = shared.over.cancelled() => return,
                connected = connect(port) => connected,
            };
            if let Ok(socket) = connected {
                carry(shared, number, connection, socket).await;
            } else {
                shared.refused(which);
                shared.forget(number);
                let mut reset = Vec::new();
                frames::encode(&mut reset, number, &Frame::Reset { refused: true });
                // Where that fails, the stream has ended with all that went over it.
                let _ = shared.to_container.send(reset).await;
            }
        });
        Ok(())
    }
}

/// Of this machine's loopback, and nothing else.
async fn connect(port: u16) -> io::Result<TcpStream> {
    let socket = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(socket) => socket,
        Err(error) => TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.map_err(|_| error)?,
    };
    // What comes is passed on at once, as it came.
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn write(
    mut frames: mpsc::Receiver<Vec<u8>>,
    mut to_container: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(mut next) = frames.recv().await {
        while next.len() < AT_ONCE
            && let Ok(more) = frames.try_recv()
        {
            next.extend_from_slice(&more);
        }
        to_container.write_all(&next).await?;
        to_container.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
