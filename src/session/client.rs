//! The client's side of a session: its streams, its identity, and the only writer to it.

pub mod identity;
pub mod parent;
pub mod stdio;
pub mod writer;

/// How the client's side came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEnd {
    /// It closed its output.
    Closed,
    /// We were told to stop.
    Stopped,
    /// There is no server, and the client knows.
    Told,
}

impl ClientEnd {
    /// For a person.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "the client closed its output",
            Self::Stopped => "stopped by a signal, or the client does not read",
            Self::Told => "the client was told that there is no server",
        }
    }
}
