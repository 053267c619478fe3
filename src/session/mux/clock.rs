//! What happens because time has passed: waiting is told, servers are parked, sought and asked again.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::core::{Action, Mux, Own, TOLD_EVERY};
use super::member::{Member, State};

/// One that has never told anything is tried again by itself, for nobody can call what nobody knows; each time later.
const SOUGHT_AFTER: Duration = Duration::from_secs(15);
const MOST_DOUBLINGS: u32 = 5;

/// A list that is not whole by then is not waited for.
const FETCHED_WITHIN: Duration = Duration::from_secs(30);

impl Mux {
    /// The time has come for something.
    pub(super) fn tick(&mut self) {
        self.tick_bridges();
        self.settle();
        let members = &self.members;
        let mut lines = Vec::new();
        for open in self.in_flight.values_mut().filter(|open| members[open.member].keeps_waiting()) {
            if let Some(token) = open.token.as_ref().filter(|_| self.now >= open.tell_at) {
                open.told += 1;
                open.tell_at = self.now + TOLD_EVERY;
                let server = &members[open.member].options.server;
                let message = Value::from(format!("berth: the server `{server}` is starting"));
                let params =
                    format!("{{\"progressToken\":{token},\"progress\":{},\"message\":{message}}}", open.told);
                lines.push(format!(
                    "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{params}}}\n"
                ));
            }
        }
        for line in lines.into_iter().filter(|_| self.may_tell).collect::<Vec<_>>() {
            self.tell_client(None, line.into());
        }
        for member in 0..self.members.len() {
            if self.sought_at(member).is_some_and(|at| self.now >= at) {
                self.members[member].state = State::Asleep;
                self.start(member);
            }
            self.stop_fetching(member, self.now.checked_sub(FETCHED_WITHIN).unwrap_or(self.now));
            if self.members[member].fetch_again_at.is_some_and(|at| self.now >= at) {
                self.fetch_again(member);
            }
            if self.members[member].listen_again_at.is_some_and(|at| self.now >= at) {
                self.members[member].listen_again_at = None;
                if self.members[member].state == State::Up {
                    self.discover(member);
                }
            }
            if self.parks_at(member).is_some_and(|at| self.now >= at) {
                self.members[member].state = State::Parking;
                self.actions.push(Action::Park(member));
            }
        }
    }

    /// When a member that could not be had is started once more, though nobody calls it.
    fn sought_at(&self, member: usize) -> Option<Instant> {
        let it = &self.members[member];
        match it.state {
            State::Over { since, is_lasting: false, .. }
                if !it.is_removed
                    && self.greeting.is_answered
                    && !self.greeting.has_left
                    && it.hello.is_none() =>
            {
                Some(since + SOUGHT_AFTER * (1 << it.failures.min(MOST_DOUBLINGS)))
            }
            _ => None,
        }
    }

    /// When a member gives its container back, if nothing happens till then.
    fn parks_at(&self, member: usize) -> Option<Instant> {
        let it = &self.members[member];
        let idle = if it.is_removed {
            Duration::ZERO
        } else {
            it.options.idle.filter(|_| it.subscriptions.is_empty())?
        };
        if it.state != State::Up {
            return None;
        }
        let is_busy = self.in_flight.values().any(|open| open.member == member)
            || self
                .own
                .values()
                .any(|(owner, what)| *owner == member && !matches!(what, Own::Idle | Own::Listen))
            || self.asked.has_open(member)
            || self.listens.concerns(member)
            || it.bridge.is_busy();
        (!is_busy).then(|| it.last_used + idle)
    }

    /// When the next `tick` is due.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let is_anybody_late = self.members.iter().any(Member::keeps_waiting);
        // Otherwise not one of those that are open is looked at: this runs with every message.
        let late = is_anybody_late.then(|| self.in_flight.values());
        let told = late
            .into_iter()
            .flatten()
            .filter(|open| open.token.is_some() && self.members[open.member].keeps_waiting())
            .map(|open| open.tell_at);
        let parks = (0..self.members.len()).filter_map(|member| self.parks_at(member));
        let sought = (0..self.members.len()).filter_map(|member| self.sought_at(member));
        let lists = self.members.iter().flat_map(|member| {
            let late = member.fetching.iter().flatten().map(|(_, began)| *began + FETCHED_WITHIN);
            late.chain(member.fetch_again_at).chain(member.listen_again_at).chain(member.bridge.next_tick())
        });
        waiting.chain(told).chain(parks).chain(sought).chain(lists).min()
    }
}
