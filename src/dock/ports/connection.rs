//! One connection on the stream: its account, and what waits for its socket.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::dock::frames::{Account, Broken, Frame};

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
    pub(super) which: Which,
    state: Mutex<State>,
    /// Something waits for the socket, or nothing more will.
    pub(super) arrived: Notify,
    /// The other side has room again.
    pub(super) granted: Notify,
    /// The other side has ended it without order.
    pub(super) gone: CancellationToken,
    pub(super) refused: CancellationToken,
    pub(super) said: AtomicU64,
    pub(super) heard: AtomicU64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) account: Account,
    /// For the socket.
    pub(super) waiting: BytesMut,
    /// The other side says no more.
    pub(super) heard_all: bool,
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

/// Has the other end see that this was no end in order.
pub(super) fn abort(socket: &TcpStream) {
    // It fails for what is closed already.
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
