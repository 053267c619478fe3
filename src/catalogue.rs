//! What servers told of themselves, in their own bytes, so that a client can be answered before they run.
//!
//! A cache in the folder of berth's state: its loss costs time, never safety.

pub mod pages;

use bytes::Bytes;

/// What a server told a client that speaks one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The id of the image that it ran in.
    pub image: String,
    pub hello: Hello,
    /// `None`: it has no such list.
    pub tools: Option<List>,
    pub prompts: Option<List>,
    pub resources: Option<List>,
    pub templates: Option<List>,
}

/// How it answered the client's first request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// The `result` of `initialize`, up to revision 2025-11-25.
    Initialize(Bytes),
    /// The `result` of `server/discover`, since 2026-07-28.
    Discover(Bytes),
    /// It does not know `server/discover`.
    NoDiscover,
}

/// All pages of a list together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Each element as it stood there: one JSON object without a line break.
    pub items: Vec<Bytes>,
    /// How long it may be kept (milliseconds), where the server says so; the least of all pages.
    pub ttl_ms: Option<u64>,
    /// Some page is for this client's user alone (`cacheScope`).
    pub is_private: bool,
}

/// What a server's answers may depend on, besides its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub server: String,
    /// The hash of its container's whole specification.
    pub spec: String,
    /// `NAME=VALUE`; tokens and chosen sets of tools change lists. Kept as a keyed hash only.
    pub env: Vec<String>,
    /// The kind of client.
    pub client: String,
    /// The protocol revision that the client asked for.
    pub revision: String,
    /// The client's capabilities, as it wrote them.
    pub capabilities: String,
}
