//! What servers told of themselves, in their own bytes, so that a client can be answered before they run.
//!
//! A cache in the folder of berth's state: its loss costs time, never safety.

mod accepted;
mod changes;
mod folder;
mod key;
pub mod pages;
mod store;
mod text;

pub use accepted::{Accepted, Held};
pub use changes::{Change, What, changes};
pub use store::{Catalogue, Entry, Kept, Known};

use bytes::Bytes;
pub use pages::LeftOut;

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

impl Told {
    /// Of all that the server said.
    fn bytes(&self) -> usize {
        let lists = [&self.tools, &self.prompts, &self.resources, &self.templates];
        let items = lists.into_iter().flatten().flat_map(|list| &list.items);
        let hello = match &self.hello {
            Hello::Initialize(result) | Hello::Discover(result) => result.len(),
            Hello::NoDiscover => 0,
        };
        // Each has a line of its own.
        hello + items.map(|item| item.len() + 1).sum::<usize>()
    }
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
    /// How many pages it came in, as far as they had anything new.
    pub pages: usize,
    /// What of it no client is shown.
    pub left_out: Vec<LeftOut>,
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
