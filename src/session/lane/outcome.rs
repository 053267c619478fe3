//! What one part of a lane tells another.
//!
//! ```text
//! the loop -> to_server   Phase:  Up -> Lost -> Up … -> Down (Last: why no other server comes)
//! to_client -> the loop   Served: how a server's time ended (Ending)
//! upstream -> the loop    Exit:   how the server itself ended (session::upstream)
//! judge -> to_client      Verdict: what becomes of a line (judge)
//! to_server -> writer     ClientEnd: how the client left (session::client)
//! writer -> the loop      Turn:   what was waited for came, or the client left first (client::writer)
//! the loop -> its caller  Over:   whose end the session's is
//! ```

use std::sync::Arc;

use tokio::sync::oneshot;

use super::handshake::Script;
use crate::failure::Failure;

/// What the session's loop tells the pump of the server.
#[derive(Debug)]
pub enum Phase<I> {
    Up(I),
    Lost(Loss),
    Down(Arc<Failure>, Last),
}

/// A server is gone, and another one is on its way: what is asked from now on waits for that.
#[derive(Debug)]
pub struct Loss {
    pub failure: Arc<Failure>,
    /// Gets what the client has told the server that is gone, for the next one. Only the pump knows where that ends.
    pub script: oneshot::Sender<Option<Script>>,
    /// Gets the next request, if only that starts another server.
    pub wanted: Option<oneshot::Sender<()>>,
}

/// Why no other server comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// There never was one: whoever asks is told so.
    NeverCame,
    /// The last one is gone: the client hears that at once, as from a server that it has started itself.
    Gone,
    /// Somebody has ended the session in order.
    Ended,
}

/// Whose end the session's is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The client's: it has left, or we were told to stop.
    Client,
    /// The server's: it has ended by itself, for this reason. Its exit code is the session's.
    Server { code: u8, why: String },
    /// Ours: there was no server, or none any more.
    Failed(Failure),
}

impl Over {
    /// The exit code: 0, the server's (0-255, 128+n for signal n), or one of ours.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client => 0,
            Self::Server { code, .. } => *code,
            Self::Failed(failure) => failure.code.exit_code(),
        }
    }
}

/// How a server's time in the session came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    /// It has sent a message.
    pub(super) has_spoken: bool,
    pub(super) end: Ending,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its output has ended.
    Itself,
    /// It had to be told to end, for its client had left.
    Terminated,
    /// It has not answered in time.
    Late,
    /// It has closed its input and went on.
    Deaf,
    /// It can't take the place of the one before, for this reason.
    Unfit(String),
}
