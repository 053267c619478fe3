//! The events of a session that trace and journal get.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ClientToServer,
    ServerToClient,
}

impl Direction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientToServer => "client->server",
            Self::ServerToClient => "server->client",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A server that is there for the client.
#[derive(Debug, Clone, Copy)]
pub struct Up<'a> {
    /// `cold`, `standby` or `prestarted`.
    pub how: &'static str,
    pub server: &'a str,
    pub client: &'a str,
    /// Its id.
    pub container: &'a str,
    /// How many servers the session has lost before.
    pub lost: u32,
}
