//! The stream's two directions, and the connections on it.
//!
//! The reading task never waits for a connection or for the writing one, so nothing can hold up the container's side.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::carry::carry;
use super::connection::{Which, abort};
use super::shared::{NotAdmitted, Shared, Side};
use crate::dock::frames::{self, Broken, CONNECTIONS, Frame};

/// Frames that wait to be written; who has more waits.
const FRAMES: usize = 16;
/// So much is written at once (bytes).
const AT_ONCE: usize = 64 << 10;

/// A session that ends has its stream end with it, and lets go of it by then.
const SESSION_ENDS_WITHIN: Duration = Duration::from_secs(15);

/// The stream. Dropping it ends all that goes over it.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    _left: DropGuard,
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
    let left = CancellationToken::new();
    let shared = Arc::new(Shared {
        side,
        to_container: sender,
        over: left.child_token(),
        connections: Mutex::default(),
        next: AtomicU32::new(2),
        told: Mutex::default(),
        is_full_told: AtomicBool::new(false),
        sent_away: Arc::new(Semaphore::new(CONNECTIONS)),
    });
    let (listens, listening) = oneshot::channel();
    let reader = Reader { shared: Arc::clone(&shared), listens: Some(listens) };
    let mut writing = tokio::spawn(write(frames, to_container));
    let (is_left, of) = (left.clone(), Arc::clone(&shared));
    tokio::spawn(async move {
        let why = tokio::select! {
            () = of.over.cancelled() => None,
            why = reader.run(from_container) => why,
            written = &mut writing => Some(match written {
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(())) | Err(_) => "nothing can be told to it".to_owned(),
            }),
        };
        of.over.cancel();
        writing.abort();
        if let Some(why) = why {
            // It has no more connections to hold, and waits for nobody but the session.
            let server = of.side.server.clone();
            drop(of);
            tell_end(&server, &why, is_left).await;
        }
    });
    (Link { shared, _left: left.drop_guard() }, listening)
}

/// The session's own end is no news.
async fn tell_end(server: &str, why: &str, left: CancellationToken) {
    tokio::select! {
        () = left.cancelled() => {}
        () = tokio::time::sleep(SESSION_ENDS_WITHIN) => tracing::warn!(
            "server `{server}` has lost its `host_services` and `publish`: the forwarder in its container ended: {why}; they \
             come back with its next start"
        ),
    }
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
        let which = Which::Published(port);
        let Ok(connection) = shared.admit(number, which) else {
            shared.full(which);
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
    /// To the end of the stream, or to what it should not say. Gives why it has ended, where that may be the session's end.
    async fn run(
        mut self,
        mut from_container: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Option<String> {
        let mut heard = BytesMut::new();
        loop {
            match from_container.next().await {
                None => return Some("its process is gone".to_owned()),
                Some(Err(error)) => return Some(error.to_string()),
                Some(Ok(bytes)) => heard.extend_from_slice(&bytes),
            }
            if self.take(&mut heard).is_err() {
                tracing::warn!(
                    "the forwarder of ports of server `{}` ended: it says what it must not",
                    self.shared.side.server
                );
                return None;
            }
        }
    }

    /// All frames that are there as a whole.
    fn take(&mut self, heard: &mut BytesMut) -> Result<(), Broken> {
        while let Some((length, number, frame)) = frames::decode(heard)? {
            self.obey(number, &frame)?;
            heard.advance(length);
        }
        Ok(())
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
        let shared = Arc::clone(&self.shared);
        let connection = match shared.admit(number, which) {
            Ok(connection) => connection,
            Err(NotAdmitted::Known) => return Err(Broken),
            Err(NotAdmitted::Full) => return self.send_away(number, which),
        };
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

    /// What has ended here may still be on its way there, so that is nothing that it must not say. It says so of no more
    /// connections than it has.
    fn send_away(&self, number: u32, which: Which) -> Result<(), Broken> {
        let shared = Arc::clone(&self.shared);
        let place = Arc::clone(&shared.sent_away).try_acquire_owned().map_err(|_| Broken)?;
        shared.full(which);
        tokio::spawn(async move {
            let mut reset = Vec::new();
            frames::encode(&mut reset, number, &Frame::Reset { refused: false });
            // Where that fails, the stream has ended with all that went over it.
            let _ = shared.to_container.send(reset).await;
            drop(place);
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
