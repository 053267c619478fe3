//! Where a server's era is not the session's: the way of each line over its bridge, and who gets one.
//!
//! A server is asked in the session's era first. In an old session one that refuses `initialize` is asked with `server/discover`.
//! In a new one a server that refuses `server/discover` is asked with `initialize`, but only once the client has gone on: a client
//! of both eras begins an old session then.

use bytes::Bytes;

use super::bridge::{Bridge, Ids, LEGACY, MODERN, Step, ToLegacy, ToModern, discovered, initialized};
use super::core::{Action, Asking, Mux, Recalled};
use super::hello::Era;
use super::member::State;
use crate::catalogue::Hello;
use crate::rpc::Frame;

impl Mux {
    /// A line for a server that runs.
    pub(super) fn push(&mut self, member: usize, line: Bytes) {
        match self.members[member].bridge.inward(&line, self.now) {
            None => self.push_on(member, line),
            Some(steps) => self.follow(member, steps),
        }
    }

    fn push_on(&mut self, member: usize, line: Bytes) {
        self.members[member].unread.add(line.len());
        self.actions.push(Action::ToMember(member, line));
    }

    /// A line of a member's.
    pub(in crate::session) fn member_line(&mut self, member: usize, frame: &Frame) {
        match self.members[member].bridge.outward(frame, self.now) {
            None => self.heard(member, frame),
            Some(steps) => self.follow(member, steps),
        }
    }

    /// What the client is to see of it waits until the present event is over, which may be about the same request.
    pub(super) fn follow(&mut self, member: usize, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::ToServer(line) => self.push_on(member, line),
                Step::ToMux(line) => self.said.push_back((member, line)),
            }
        }
    }

    /// What is to be done by now.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        while let Some((member, line)) = self.said.pop_front() {
            self.heard(member, &Frame::new(line));
        }
        std::mem::take(&mut self.actions)
    }

    pub(super) fn tick_bridges(&mut self) {
        for member in 0..self.members.len() {
            let steps = self.members[member].bridge.tick(self.now);
            self.follow(member, steps);
        }
    }

    /// Nobody answers questions any more.
    pub(super) fn leave_bridges(&mut self) {
        for member in 0..self.members.len() {
            let steps = self.members[member].bridge.leaves();
            self.follow(member, steps);
        }
    }

    fn serial(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn ids(&self, serial: u64) -> Ids {
        Ids::new(format!("berth-{}-{serial}.", self.session))
    }

    /// A server has refused `initialize` with this error: it may speak the new era. `false`: it was asked that already.
    pub(super) fn bridge_to_modern(&mut self, member: usize, refusal: &str) -> bool {
        if !self.members[member].bridge.is_level() {
            return false;
        }
        let serial = self.serial();
        let ids = self.ids(serial);
        let it = &mut self.members[member];
        let bridge = ToModern::new(it.options.server.clone(), ids, refusal.to_owned());
        it.bridge = Bridge::Modern(Box::new(bridge));
        self.greet(member);
        true
    }

    /// A server of a session of the new era speaks the old one.
    pub(super) fn bridge_to_legacy(&mut self, member: usize) {
        self.raise_bridge(member);
        self.members[member].state = State::Greeting;
        self.discover(member);
    }

    pub(super) fn raise_bridge(&mut self, member: usize) {
        let serial = self.serial();
        let (ids, secret) = (self.ids(serial), format!("berth-{}-{serial}", self.secret));
        let it = &mut self.members[member];
        it.is_legacy = true;
        it.bridge = Bridge::Legacy(Box::new(ToLegacy::new(it.options.server.clone(), ids, secret)));
    }

    /// The client has gone on in the new era: who has refused it has a bridge.
    pub(super) fn bridge_all(&mut self) {
        for member in 0..self.members.len() {
            let it = &mut self.members[member];
            if it.hello != Some(Hello::NoDiscover) || !it.bridge.is_level() {
                continue;
            }
            if it.runs() {
                self.bridge_to_legacy(member);
            } else {
                it.hello = None;
                it.is_legacy = true;
                if let Some(Recalled { told, held }) = self.recall(member) {
                    self.members[member].knows(told);
                    self.members[member].held = held.into_iter().collect();
                }
            }
        }
        self.rebuild();
    }

    /// What the catalogue knows of a member, as the session's era has it: where nothing of that era is known, what it said in the
    /// other one is a good guess.
    pub(super) fn recall(&self, member: usize) -> Option<Recalled> {
        let asking = self.asking(member);
        let other = || {
            let is_old = self.greeting.era == Era::Legacy;
            (self.known)(&Asking { revision: MODERN, ..asking.clone() })
                .filter(|other| is_old && matches!(other.told.hello, Hello::Discover(_)))
        };
        let Recalled { mut told, held } = (self.known)(&asking).or_else(other)?;
        match (&told.hello, self.greeting.era) {
            (Hello::Initialize(result), Era::Modern) => {
                told.hello = Hello::Discover(discovered(result).into());
            }
            (Hello::Discover(result), Era::Legacy) => {
                let result = serde_json::from_slice(result).ok()?;
                let server = &self.members[member].options.server;
                let result = initialized(result, &self.greeting.revision, server);
                told.hello = Hello::Initialize(result.into());
            }
            _ => {}
        }
        Some(Recalled { told, held })
    }

    /// As the catalogue is asked for a member that is older than the session.
    pub(super) fn asking(&self, member: usize) -> Asking<'_> {
        let asking = super::start::asking_of(&self.greeting, member);
        let it = &self.members[member];
        if self.greeting.era == Era::Modern && it.is_legacy && !it.bridge.is_beginning() {
            return Asking { revision: LEGACY, ..asking };
        }
        asking
    }
}
