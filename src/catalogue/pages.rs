//! Follows a list through all of its pages, as far as a server can be trusted to end.
//!
//! A pure machine: whoever drives it asks, waits and keeps the time. An item that a client could choke on is left out
//! with its reason, for one of them would cost the client the whole list. What stays is the server's own bytes.

mod item;

use std::collections::{HashMap, HashSet};
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::List;
use crate::human::Plain;
use crate::rpc::raw::{self, Raw};

/// No list has more pages.
pub const MOST_PAGES: usize = 1000;

/// No list has more bytes, all pages together.
pub const MOST_BYTES: usize = 32 << 20;

/// So many items that were left out are named; the rest is counted.
const NAMED: usize = 100;

/// What a server may have a list of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The request for a page.
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// Where a result has its items.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The capability that promises this list.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }

    /// By which member of an item it is called.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// What an item is called; `None` if it has no such string.
    pub fn name(self, item: Raw<'_>) -> Option<String> {
        raw::string(raw::member(item, self.key())?).map(std::borrow::Cow::into_owned)
    }
}

/// An item that no client is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, or its place in the list (`#3`) where it has none.
    pub name: String,
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is left out: {}", Plain(&self.name), self.why)
    }
}

/// Why a list was not followed to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    #[error("the server gave a cursor twice")]
    RepeatedCursor,
    #[error("the server gave the same items under another cursor")]
    RepeatedPage,
    #[error("it has more than {MOST_PAGES} pages")]
    TooManyPages,
    #[error("it has more than {} MiB", MOST_BYTES >> 20)]
    TooLong,
    #[error("a page has no array of items")]
    NoItems,
    #[error("a cursor is no string")]
    NoCursor,
    /// Told by whoever asks.
    #[error("the server refused a page")]
    Refused,
    #[error("the server took too long")]
    Late,
}

impl Cut {
    /// The same server would be cut there again, so what there is counts as its list.
    pub fn is_lasting(self) -> bool {
        !matches!(self, Self::Refused | Self::Late)
    }
}

/// What to do after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask for the page of [`Pages::next_request`].
    Ask,
    Done,
}

/// A list, as far as it was followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    pub list: List,
    pub left_out: Vec<LeftOut>,
    /// Left out, too, and not named.
    pub more_left_out: usize,
    /// `None`: to its end.
    pub cut: Option<Cut>,
}

/// A list that is being followed.
#[derive(Debug)]
pub struct Pages {
    kind: Kind,
    /// As the server wrote it: a JSON string.
    cursor: Option<String>,
    is_done: bool,
    asked: HashSet<String>,
    /// Each name, and where in the list it stands.
    names: HashMap<String, usize>,
    items: usize,
    /// So many pages.
    read: usize,
    bytes: usize,
    followed: Followed,
}

impl Pages {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            cursor: None,
            is_done: false,
            asked: HashSet::new(),
            names: HashMap::new(),
            items: 0,
            read: 0,
            bytes: 0,
            followed: Followed::default(),
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The cursor of the page to ask for now, a JSON string as the server wrote it. The first page has none: `Some(None)`.
    /// `None`: there is nothing more to ask.
    pub fn next_request(&self) -> Option<Option<&str>> {
        (!self.is_done).then_some(self.cursor.as_deref())
    }

    /// The `result` of the request for the page.
    pub fn page(&mut self, result: Raw<'_>) -> Step {
        if self.is_done {
            return Step::Done;
        }
        self.read += 1;
        self.bytes += result.get().len();
        // What is over the bound is not read at all.
        if self.bytes > MOST_BYTES {
            return self.stop(Cut::TooLong);
        }
        let before = (self.followed.left_out.len(), self.followed.more_left_out);
        let seen = self.items;
        let Some(is_new) = self.items(result) else { return self.stop(Cut::NoItems) };
        self.say_how_long_to_keep(result);
        let next = raw::member(result, "nextCursor").map(Raw::get).filter(|next| *next != "null");
        if !is_new && self.cursor.is_some() {
            // To some servers the empty cursor is the end, to others the first page again; to the protocol it is a cursor as any other.
            let is_end = next.is_none() || self.cursor.as_deref() == Some("\"\"");
            self.followed.left_out.truncate(before.0);
            self.followed.more_left_out = before.1;
            return self.end((!is_end).then_some(Cut::RepeatedPage));
        }
        self.followed.list.pages += usize::from(self.items > seen);
        let Some(next) = next else { return self.end(None) };
        if !next.starts_with('"') {
            return self.stop(Cut::NoCursor);
        }
        if !self.asked.insert(next.to_owned()) {
            return self.stop(Cut::RepeatedCursor);
        }
        if self.read == MOST_PAGES {
            return self.stop(Cut::TooManyPages);
        }
        self.cursor = Some(next.to_owned());
        Step::Ask
    }

    /// No page comes any more.
    pub fn stop(&mut self, cut: Cut) -> Step {
        self.end(Some(cut))
    }

    /// What was followed so far.
    pub fn finish(self) -> Followed {
        let mut followed = self.followed;
        followed.list.left_out.clone_from(&followed.left_out);
        followed
    }

    fn end(&mut self, cut: Option<Cut>) -> Step {
        self.is_done = true;
        self.followed.cut = cut;
        Step::Done
    }

    /// Whether the page has anything that was not there before; an empty one may be one of many. `None`: it has no array.
    fn items(&mut self, result: Raw<'_>) -> Option<bool> {
        let items = raw::member(result, self.kind.member())?;
        let (mut all, mut again) = (0, 0);
        raw::elements(items, |item| {
            all += 1;
            again += usize::from(!self.item(item));
        })?;
        Some(all == 0 || again < all)
    }

    /// Whether it is anything but an item again, byte for byte.
    fn item(&mut self, item: Raw<'_>) -> bool {
        self.items += 1;
        let name = match item::judge(self.kind, item) {
            Ok(name) => name,
            Err(why) => {
                let name = self.kind.name(item).filter(|name| !name.is_empty());
                self.leave_out(name, why);
                return true;
            }
        };
        let list = &mut self.followed.list.items;
        if let Some(first) = self.names.get(&name).and_then(|at| list.get(*at)) {
            let is_same = first[..] == *item.get().as_bytes();
            self.leave_out(Some(name), format!("the server has another {} of this name", self.noun()));
            return !is_same;
        }
        self.names.insert(name, list.len());
        list.push(Bytes::copy_from_slice(item.get().as_bytes()));
        true
    }

    fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Tools => "tool",
            Kind::Prompts => "prompt",
            Kind::Resources => "resource",
            Kind::Templates => "template",
        }
    }

    fn leave_out(&mut self, name: Option<String>, why: String) {
        if self.followed.left_out.len() == NAMED {
            self.followed.more_left_out += 1;
            return;
        }
        let mut name = name.unwrap_or_else(|| format!("#{}", self.items));
        if let Some((end, _)) = name.char_indices().nth(128) {
            name.truncate(end);
            name.push('…');
        }
        self.followed.left_out.push(LeftOut { name, why });
    }

    fn say_how_long_to_keep(&mut self, result: Raw<'_>) {
        let list = &mut self.followed.list;
        let ttl = raw::member(result, "ttlMs").and_then(|ttl| ttl.get().parse().ok());
        list.ttl_ms = list.ttl_ms.into_iter().chain(ttl).min();
        list.is_private |=
            raw::member(result, "cacheScope").and_then(raw::string).is_some_and(|scope| scope == "private");
    }
}

#[cfg(test)]
mod tests;
