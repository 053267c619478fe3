//! The server's side of a session, for any backend: a session knows nothing below this seam.

use std::future::Future;
use std::io;

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// A piece of what a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// What a session needs of the server's side: `backend` for real, pipes in tests.
pub trait Upstream: Send {
    type Input: AsyncWrite + Unpin + Send + 'static;

    /// The server's standard input, once.
    fn take_input(&mut self) -> Option<Self::Input>;
    /// The next piece of output; `None` when it has ended or nothing more can come. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<io::Result<Output>>> + Send;
    /// The client has left, and the server's input is closed.
    fn client_left(&mut self) -> impl Future<Output = ()> + Send;
    /// Asks the server to end now.
    fn terminate(&mut self) -> impl Future<Output = ()> + Send;
    /// The client has said what it calls its session.
    fn introduce(&mut self, client_session: &str) -> impl Future<Output = ()> + Send;
    /// Why the output has ended.
    fn post_mortem(&mut self) -> impl Future<Output = Exit> + Send;
    /// Lets go; resolves when nothing is left of it, or after a moment.
    fn release(self) -> impl Future<Output = ()> + Send;
}

/// Of a session that has no server, and never will.
#[derive(Debug)]
pub enum NoUpstream {}

impl Upstream for NoUpstream {
    type Input = tokio::io::Sink;

    fn take_input(&mut self) -> Option<Self::Input> {
        match *self {}
    }

    async fn next(&mut self) -> Option<io::Result<Output>> {
        match *self {}
    }

    async fn client_left(&mut self) {
        match *self {}
    }

    async fn terminate(&mut self) {
        match *self {}
    }

    async fn introduce(&mut self, _: &str) {
        match *self {}
    }

    async fn post_mortem(&mut self) -> Exit {
        match *self {}
    }

    async fn release(self) {
        match self {}
    }
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Code(i64),
    /// It was killed for using more memory than its limit, in bytes.
    OutOfMemory(u64),
    /// It has closed its output and goes on: nothing can come of it any more.
    Silent,
    /// The container or the daemon is gone, and the server with it.
    Lost,
    /// The same, where the backend knows more: the cause, and the next command to type.
    LostAs {
        why: String,
        next: String,
    },
    /// Somebody has ended the session from outside (`berth kill`).
    Ended,
}

/// 128 and the number of SIGKILL, by which the kernel takes memory back.
const KILLED: u8 = 137;

impl Exit {
    /// The server's own exit code, where it has ended by itself.
    pub fn code(&self) -> Option<u8> {
        match self {
            Self::Code(code) => u8::try_from(*code).ok(),
            Self::OutOfMemory(_) => Some(KILLED),
            Self::Silent | Self::Lost | Self::LostAs { .. } | Self::Ended => None,
        }
    }

    /// It went with what it ran in.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost | Self::LostAs { .. })
    }
}
