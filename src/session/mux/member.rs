//! One server of a session as the multiplexer sees it: what it told, and whether it runs.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::bridge::Bridge;
use super::hello::Said;
use crate::catalogue::pages::{Kind, Pages};
use crate::catalogue::{Hello, List, Told};
use crate::rpc::RequestId;

/// So much waits for a server that starts, or does not read (bytes).
const MOST_WAITING: usize = 32 << 20;

/// What changes all the time is asked for so often, and then less.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 6;
/// After a quiet time it counts from the beginning.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_mins(2);

const MOST_LINES: usize = 12 << 10;

/// What was sent to a lane, and is on its way.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: AtomicUsize,
    lines: AtomicUsize,
}

impl Unread {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.lines.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.lines.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a session does with one of its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOptions {
    /// The server's name, for messages.
    pub server: String,
    /// What its names begin with: its alias, or its name.
    pub label: String,
    /// It runs from the session's beginning.
    pub is_eager: bool,
    /// Unused for so long, it gives its container back.
    pub idle: Option<Duration>,
    /// Calls of tools with other definitions than the accepted ones are refused.
    pub holds: bool,
}

/// Whether a server runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// Its next call starts it.
    Asleep,
    /// It was asked for its first answer.
    Greeting,
    Up,
    /// It is giving its container back.
    Parking,
    /// It could not be had, or is not tried again by itself: the error object for whoever asks.
    Over {
        error: String,
        since: Instant,
        /// Nothing but the configuration can mend it.
        is_lasting: bool,
    },
}

/// A list as a server told it; `None`: it has no such list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing(pub(super) Option<List>);

#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
#[derive(Debug)]
pub(super) struct Member {
    pub(super) options: MemberOptions,
    pub(super) state: State,
    /// The configuration has it no more: it answers what is open, and ends.
    pub(super) is_removed: bool,
    pub(super) hello: Option<Hello>,
    pub(super) said: Said,
    /// By [`Kind`]. `None`: nobody knows yet.
    pub(super) lists: [Option<Listing>; 4],
    /// Lists that are being followed.
    pub(super) fetching: [Option<(Pages, Instant)>; 4],
    /// Lists that have changed while they were followed.
    pub(super) is_outdated: [bool; 4],
    /// When those are followed again, and how often that came to nothing.
    pub(super) fetch_again_at: Option<Instant>,
    pub(super) fetched_in_vain: u32,
    /// When it is asked again to tell of changes.
    pub(super) listen_again_at: Option<Instant>,
    /// When they were followed last.
    pub(super) fetched_at: Option<Instant>,
    /// This server has told its tools.
    pub(super) has_listed_tools: bool,
    /// And it is known which of them a person has accepted.
    pub(super) has_shown_tools: bool,
    /// It was asked who it is.
    pub(super) is_discovering: bool,
    /// It tells of changes, and of what the client listens to under these ids.
    pub(super) is_listened_to: bool,
    pub(super) listening: HashSet<RequestId>,
    /// How often that came to its end, one time soon after another.
    pub(super) listened_in_vain: u32,
    pub(super) listened_at: Option<Instant>,
    /// What is known of it is in the catalogue.
    pub(super) is_kept: bool,
    /// How often it could not be had, one time after another.
    pub(super) failures: u32,
    /// Its lists are those of the server that runs, or ran last.
    pub(super) is_checked: bool,
    /// It has heard `notifications/initialized`.
    pub(super) is_initialized: bool,
    /// Lines that wait until it has answered for the first time.
    pub(super) queue: VecDeque<(Option<RequestId>, Bytes)>,
    queued: usize,
    /// Of what it was sent, so much is on its way (bytes).
    pub(super) unread: Arc<Unread>,
    /// What needs it has started it, not the session's beginning.
    pub(super) is_lazy: bool,
    /// Its lane has lost the server, and another one is on its way.
    pub(super) is_replaced: Arc<AtomicBool>,
    /// The parameters of `resources/subscribe`, by URI.
    pub(super) subscriptions: BTreeMap<String, String>,
    pub(super) last_used: Instant,
    /// Tools that a person has to accept first.
    pub(super) held: HashSet<String>,
    /// Where its era is not the session's.
    pub(super) bridge: Bridge,
    /// In a session of the new era: it speaks the old one.
    pub(super) is_legacy: bool,
}

impl Member {
    pub(super) fn new(options: MemberOptions, now: Instant) -> Self {
        Self {
            options,
            state: State::Asleep,
            is_removed: false,
            hello: None,
            said: Said::default(),
            lists: [const { None }; 4],
            fetching: [const { None }; 4],
            is_outdated: [false; 4],
            fetch_again_at: None,
            fetched_in_vain: 0,
            listen_again_at: None,
            fetched_at: None,
            has_listed_tools: false,
            has_shown_tools: false,
            is_discovering: false,
            is_listened_to: false,
            listening: HashSet::new(),
            listened_in_vain: 0,
            listened_at: None,
            is_kept: false,
            failures: 0,
            is_checked: false,
            is_initialized: false,
            queue: VecDeque::new(),
            queued: 0,
            unread: Arc::default(),
            is_lazy: false,
            is_replaced: Arc::default(),
            subscriptions: BTreeMap::new(),
            last_used: now,
            held: HashSet::new(),
            bridge: Bridge::Level,
            is_legacy: false,
        }
    }

    /// What the catalogue knows of it.
    pub(super) fn knows(&mut self, told: Told) {
        let Told { hello, tools, prompts, resources, templates, .. } = told;
        self.hears(hello);
        if !matches!(self.hello, Some(Hello::NoDiscover)) {
            self.lists = [tools, prompts, resources, templates].map(|list| Some(Listing(list)));
        }
    }

    /// Its first answer, by the server itself or the catalogue.
    pub(super) fn hears(&mut self, hello: Hello) {
        self.said = Said::of(&hello);
        self.hello = Some(hello);
    }

    /// All that it has told so far. Its image is not known here.
    pub(super) fn told(&self) -> Option<Told> {
        let hello = match self.bridge.initialized() {
            Some(result) => Hello::Initialize(result.clone()),
            None => self.hello.clone()?,
        };
        if hello == Hello::NoDiscover {
            let (tools, prompts, resources, templates) = (None, None, None, None);
            return Some(Told { image: String::new(), hello, tools, prompts, resources, templates });
        }
        let [tools, prompts, resources, templates] =
            self.lists.clone().map(|listing| listing.and_then(|listing| listing.0));
        Some(Told { image: String::new(), hello, tools, prompts, resources, templates })
    }

    pub(super) fn list(&self, kind: Kind) -> Option<&List> {
        self.lists[kind as usize].as_ref()?.0.as_ref()
    }

    /// Whether nothing of this list is to be waited for.
    pub(super) fn has_told(&self, kind: Kind) -> bool {
        self.lists[kind as usize].is_some() || matches!(self.state, State::Over { .. })
    }

    /// Whether calls wait: before its definitions are seen, one that a person has not accepted could pass.
    pub(super) fn holds_calls(&self) -> bool {
        self.options.holds && !self.has_shown_tools
    }

    /// Another server begins: what was under way with the one before is over.
    pub(super) fn begins_anew(&mut self) {
        (self.unread, self.is_replaced) = Default::default();
        self.bridge = Bridge::Level;
        self.fetching = [const { None }; 4];
        self.is_outdated = [false; 4];
        self.fetch_again_at = None;
        self.listen_again_at = None;
        self.has_listed_tools = false;
        self.has_shown_tools = false;
        self.is_discovering = false;
        self.is_listened_to = false;
        self.listening.clear();
        self.is_checked = false;
        self.is_initialized = false;
        self.is_lazy = false;
    }

    /// What its next lane tells of itself without words: how much it has not read, and whether it waits for a server. And
    /// whether it is a lazy one.
    pub(super) fn new_lane(&self) -> (Arc<Unread>, Arc<AtomicBool>, bool) {
        (Arc::clone(&self.unread), Arc::clone(&self.is_replaced), self.is_lazy)
    }

    pub(super) fn is_fetching(&self) -> bool {
        self.fetching.iter().any(Option::is_some)
    }

    /// What it told to whoever listened is over: when it is asked again.
    pub(super) fn listen_again(&mut self, now: Instant) {
        let was_long = self.listened_at.is_none_or(|at| now > at + FORGOTTEN_AFTER);
        self.listened_in_vain = if was_long { 0 } else { self.listened_in_vain + 1 };
        self.listened_at = Some(now);
        self.listen_again_at =
            Some(now + ASKED_AGAIN_AFTER * (1 << self.listened_in_vain.min(MOST_DOUBLINGS)));
    }

    /// How long until its lists are followed once more.
    pub(super) fn fetch_pause(&self) -> Duration {
        ASKED_AGAIN_AFTER * (1 << self.fetched_in_vain.min(MOST_DOUBLINGS))
    }

    /// Whether all of its lists are known.
    pub(super) fn has_told_all(&self) -> bool {
        match self.hello {
            None => false,
            Some(Hello::NoDiscover) => true,
            Some(_) => self.lists.iter().all(Option::is_some),
        }
    }

    /// Whether there is no server for what it is asked, and one is on its way.
    pub(super) fn keeps_waiting(&self) -> bool {
        match self.state {
            State::Up => self.is_discovering || self.is_replaced.load(Ordering::Relaxed),
            State::Greeting | State::Parking => true,
            State::Asleep | State::Over { .. } => false,
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Greeting | State::Up)
    }

    /// Whether another line may wait for it.
    pub(super) fn has_room_for(&self, line: &Bytes) -> bool {
        self.queued + self.unread.bytes.load(Ordering::Relaxed) + line.len() <= MOST_WAITING
            && self.queue.len() + self.unread.lines.load(Ordering::Relaxed) < MOST_LINES
    }

    /// Puts a line behind those that wait.
    pub(super) fn enqueue(&mut self, id: Option<RequestId>, line: Bytes) {
        self.queued += line.len();
        self.queue.push_back((id, line));
    }

    /// Takes a request back that was not sent yet; whether there was one.
    pub(super) fn unqueue(&mut self, id: &RequestId) -> bool {
        let Some(at) = self.queue.iter().position(|(queued, _)| queued.as_ref() == Some(id)) else {
            return false;
        };
        if let Some((_, line)) = self.queue.remove(at) {
            self.queued -= line.len();
        }
        true
    }

    pub(super) fn take_queue(&mut self) -> VecDeque<(Option<RequestId>, Bytes)> {
        self.queued = 0;
        std::mem::take(&mut self.queue)
    }
}
