//! One server of a session as the multiplexer sees it: what it told, and whether it runs.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::hello::Said;
use crate::catalogue::pages::{Kind, Pages};
use crate::catalogue::{Hello, List, Told};
use crate::rpc::RequestId;

/// So much waits for a server that starts, or does not read (bytes).
const MOST_WAITING: usize = 32 << 20;

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
    },
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) options: MemberOptions,
    pub(super) state: State,
    pub(super) hello: Option<Hello>,
    pub(super) said: Said,
    /// By [`Kind`]. `None`: nobody knows yet; `Some(None)`: it has no such list.
    pub(super) lists: [Option<Option<List>>; 4],
    /// Lists that are being followed.
    pub(super) fetching: [Option<Pages>; 4],
    /// Lists that have changed while they were followed.
    pub(super) is_outdated: [bool; 4],
    /// Its lists are those of the server that runs, or ran last.
    pub(super) is_checked: bool,
    /// It has heard `notifications/initialized`.
    pub(super) is_initialized: bool,
    /// Lines that wait until it has answered for the first time.
    pub(super) queue: VecDeque<(Option<RequestId>, Bytes)>,
    queued: usize,
    /// Of what it was sent, so much is on its way (bytes).
    pub(super) unread: Arc<AtomicUsize>,
    /// Its lane has lost the server, and another one is on its way.
    pub(super) is_replaced: Arc<AtomicBool>,
    /// Resources that the client subscribed to, with the parameters.
    pub(super) subscriptions: BTreeSet<(String, String)>,
    pub(super) last_used: Instant,
    /// Tools that a person has to accept first.
    pub(super) held: HashSet<String>,
}

impl Member {
    pub(super) fn new(options: MemberOptions, now: Instant) -> Self {
        Self {
            options,
            state: State::Asleep,
            hello: None,
            said: Said::default(),
            lists: [const { None }; 4],
            fetching: [const { None }; 4],
            is_outdated: [false; 4],
            is_checked: false,
            is_initialized: false,
            queue: VecDeque::new(),
            queued: 0,
            unread: Arc::default(),
            is_replaced: Arc::default(),
            subscriptions: BTreeSet::new(),
            last_used: now,
            held: HashSet::new(),
        }
    }

    /// What the catalogue knows of it.
    pub(super) fn knows(&mut self, told: Told) {
        let Told { hello, tools, prompts, resources, templates, .. } = told;
        self.hears(hello);
        if !matches!(self.hello, Some(Hello::NoDiscover)) {
            self.lists = [tools, prompts, resources, templates].map(Some);
        }
    }

    /// Its first answer, by the server itself or the catalogue.
    pub(super) fn hears(&mut self, hello: Hello) {
        self.said = Said::of(&hello);
        self.hello = Some(hello);
    }

    /// All that it told, once that is whole. Its image is not known here.
    pub(super) fn told(&self) -> Option<Told> {
        let hello = self.hello.clone()?;
        if hello == Hello::NoDiscover {
            let (tools, prompts, resources, templates) = (None, None, None, None);
            return Some(Told { image: String::new(), hello, tools, prompts, resources, templates });
        }
        let [tools, prompts, resources, templates] = self.lists.clone();
        Some(Told {
            image: String::new(),
            hello,
            tools: tools?,
            prompts: prompts?,
            resources: resources?,
            templates: templates?,
        })
    }

    pub(super) fn list(&self, kind: Kind) -> Option<&List> {
        self.lists[kind as usize].as_ref()?.as_ref()
    }

    /// Whether nothing of this list is to be waited for.
    pub(super) fn has_told(&self, kind: Kind) -> bool {
        self.lists[kind as usize].is_some() || matches!(self.state, State::Over { .. })
    }

    /// Whether it may be sent what the client says: before its definitions are seen, those that are held could pass.
    pub(super) fn takes_calls(&self) -> bool {
        self.state == State::Up && (self.is_checked || !self.options.holds)
    }

    /// Whether there is no server for what it is asked, and one is on its way.
    pub(super) fn keeps_waiting(&self) -> bool {
        match self.state {
            State::Up => self.is_replaced.load(Ordering::Relaxed),
            State::Greeting | State::Parking => true,
            State::Asleep | State::Over { .. } => false,
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Greeting | State::Up)
    }

    /// Whether another line may wait for it.
    pub(super) fn has_room_for(&self, line: &Bytes) -> bool {
        self.queued + self.unread.load(Ordering::Relaxed) + line.len() <= MOST_WAITING
    }

    /// Puts a line behind those that wait.
    pub(super) fn enqueue(&mut self, id: Option<RequestId>, line: Bytes) {
        self.queued += line.len();
        self.queue.push_back((id, line));
    }

    pub(super) fn take_queue(&mut self) -> VecDeque<(Option<RequestId>, Bytes)> {
        self.queued = 0;
        std::mem::take(&mut self.queue)
    }
}
