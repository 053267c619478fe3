//! The answers to our own requests: who a server is, what it has, and that it tells of changes.

use bytes::Bytes;

use super::core::{Action, Mux, Own};
use super::hello::Era;
use super::line;
use super::member::State;
use crate::catalogue::Hello;
use crate::failure::Code;
use crate::rpc::Envelope;
use crate::rpc::raw::{self, Raw};

impl Mux {
    pub(super) fn own_answer(&mut self, member: usize, what: Own, envelope: &Envelope<'_>) {
        let error = || envelope.error.map_or("{}", Raw::get).to_owned();
        match (what, envelope.result) {
            (Own::Initialize, Some(result)) => {
                let it = &mut self.members[member];
                it.hears(Hello::Initialize(Bytes::copy_from_slice(result.get().as_bytes())));
                it.state = State::Up;
                it.failures = 0;
                it.is_kept = false;
                if self.greeting.is_initialized {
                    self.go_on_with(member);
                }
                self.flush(member);
                self.check(member);
            }
            (Own::Initialize, None) => {
                if is_ours(envelope.error) || !self.bridge_to_modern(member, &error()) {
                    self.cannot_be_had(member, error());
                    self.actions.push(Action::Park(member));
                }
            }
            (Own::Discover, result) if self.greeting.era == Era::Legacy => {
                // The client has begun otherwise meanwhile; the next one need not wait for that.
                if result.is_none() && !is_ours(envelope.error) {
                    self.actions.push(Action::Remember(member));
                }
            }
            (Own::Discover, Some(result)) => {
                let it = &mut self.members[member];
                it.is_discovering = false;
                let hello = Hello::Discover(Bytes::copy_from_slice(result.get().as_bytes()));
                if it.hello.as_ref() != Some(&hello) {
                    it.hears(hello);
                    it.is_kept = false;
                }
                it.state = State::Up;
                it.failures = 0;
                // What it has told before may have changed without a word.
                it.is_checked = false;
                self.flush(member);
                self.listen_for_changes(member);
                self.check(member);
            }
            (Own::Discover, None) if is_ours(envelope.error) => {
                let it = &mut self.members[member];
                it.is_discovering = false;
                if it.state == State::Up {
                    // Its lane has lost the server, and says itself if no other one comes.
                    it.listen_again(self.now);
                } else {
                    self.cannot_be_had(member, error());
                    self.actions.push(Action::Park(member));
                }
            }
            (Own::Discover, None) if !self.members[member].bridge.is_level() => {
                self.members[member].is_discovering = false;
                self.cannot_be_had(member, error());
                self.actions.push(Action::Park(member));
            }
            (Own::Discover, None) if !self.greeting.is_answered => {
                let it = &mut self.members[member];
                it.is_discovering = false;
                it.hears(Hello::NoDiscover);
                it.state = State::Up;
                self.actions.push(Action::Keep(member));
                self.flush(member);
            }
            (Own::Discover, None) => {
                self.members[member].is_discovering = false;
                if matches!(self.members[member].hello, Some(Hello::Discover(_))) {
                    // It has known it before, and need not be asked again.
                    self.members[member].state = State::Up;
                    self.flush(member);
                    self.check(member);
                } else {
                    self.members[member].hears(Hello::NoDiscover);
                    self.actions.push(Action::Keep(member));
                    self.bridge_to_legacy(member);
                }
            }
            (Own::Page(kind), result) => return self.page(member, kind, result, envelope.error),
            (Own::Listen, _) => {
                self.members[member].is_listened_to = false;
                self.listened(member, envelope);
            }
            (Own::Idle, _) => {}
        }
        self.settle();
    }

    /// In the new era a server tells of changes only where it is listened to.
    fn listen_for_changes(&mut self, member: usize) {
        let params = self.modern_params(Some((
            "notifications",
            r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#,
        )));
        if let Some(params) = params.filter(|_| !self.members[member].is_listened_to) {
            self.members[member].is_listened_to = true;
            self.ask(member, Own::Listen, "subscriptions/listen", Some(&params));
        }
        for key in self.listens.of_member(member) {
            self.listen_to(member, &key);
        }
    }

    /// A server that has answered hears what the client has said since.
    pub(super) fn go_on_with(&mut self, member: usize) {
        let it = &mut self.members[member];
        if std::mem::replace(&mut it.is_initialized, true) {
            return;
        }
        self.push(member, line::notification("notifications/initialized", None));
        let it = &self.members[member];
        let level = self.greeting.level.clone().filter(|_| it.said.has("logging"));
        let subscriptions: Vec<String> = it.subscriptions.values().cloned().collect();
        if let Some(level) = level {
            self.ask(member, Own::Idle, "logging/setLevel", Some(&level));
        }
        for params in subscriptions {
            self.ask(member, Own::Idle, "resources/subscribe", Some(&params));
        }
    }

    /// What has waited for its first answer; calls of a server whose definitions are held wait on.
    fn flush(&mut self, member: usize) {
        for (id, line) in self.members[member].take_queue() {
            let is_call =
                id.as_ref().and_then(|id| self.in_flight.get(id)).is_some_and(|open| open.tool.is_some());
            if is_call && self.members[member].holds_calls() {
                self.members[member].enqueue(id, line);
            } else {
                self.push(member, line);
            }
        }
    }
}

/// Whether an error is one of berth's own: the server was not even asked.
fn is_ours(error: Option<Raw<'_>>) -> bool {
    let code =
        error.and_then(|error| raw::member(error, "code")).and_then(|code| code.get().parse::<i64>().ok());
    let ours = [Code::Usage, Code::Unavailable, Code::Internal, Code::Configuration];
    code.is_some_and(|code| ours.into_iter().any(|our| i64::from(our) == code))
}
