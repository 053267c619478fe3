//! How a member's server is started: what it hears first, and what the catalogue knows of it.

use super::core::{Action, Asking, Greeting, Mux, Own, Recalled};
use super::hello::Era;
use super::member::State;
use crate::catalogue::Hello;

impl Mux {
    /// Has a member's server started; it hears first how the client began.
    pub(super) fn start(&mut self, member: usize) {
        self.forget_server(member);
        self.actions.push(Action::Start(member));
        match (&self.greeting.params, self.greeting.era) {
            (Some(_), Era::Legacy) => self.greet(member),
            (Some(_), Era::Modern) if !self.greeting.is_answered => self.discover(member),
            (_, Era::Modern) => {
                let it = &mut self.members[member];
                if it.is_legacy {
                    self.raise_bridge(member);
                } else if matches!(it.hello, Some(Hello::Discover(_))) {
                    it.state = State::Up;
                }
                self.discover(member);
            }
            (None, Era::Legacy) => self.members[member].state = State::Up,
        }
    }

    /// Says to a server what the client began with.
    pub(super) fn greet(&mut self, member: usize) {
        self.members[member].state = State::Greeting;
        self.members[member].is_initialized = false;
        let params = self.greeting.params.clone();
        self.ask(member, Own::Initialize, "initialize", params.as_deref());
    }

    /// Asks a server who it is. One that runs is asked again: what was answered in its stead may not be true any more.
    pub(super) fn discover(&mut self, member: usize) {
        if self.members[member].state != State::Up {
            self.members[member].state = State::Greeting;
        }
        self.members[member].is_discovering = true;
        let params = self.modern_params(None).or_else(|| self.greeting.params.clone());
        self.ask(member, Own::Discover, "server/discover", params.as_deref());
    }

    /// A server is gone, with all that it was asked, has asked and made.
    pub(super) fn forget_server(&mut self, member: usize) {
        self.own.retain(|_, (owner, _)| *owner != member);
        for line in self.asked.give_up(member) {
            self.tell_client(None, line);
        }
        self.made.forget(member);
        self.said.retain(|(owner, _)| *owner != member);
        self.members[member].begins_anew();
    }

    /// The parameters of a request of ours in the new era.
    pub(super) fn modern_params(&self, more: Option<(&str, &str)>) -> Option<String> {
        let meta = self.greeting.meta.as_ref()?;
        let more = more.map(|(key, value)| format!("\"{key}\":{value},")).unwrap_or_default();
        Some(format!("{{{more}\"_meta\":{meta}}}"))
    }

    /// As the catalogue is asked for how the client tried to begin.
    pub(super) fn asking_before(&self, member: usize) -> Option<Asking<'_>> {
        self.tried.as_ref().map(|tried| asking_of(tried, member))
    }

    /// Whether a person has to accept a tool first; they may have done so a moment before.
    pub(super) fn is_held(&mut self, member: usize, tool: &str) -> bool {
        if !self.members[member].held.contains(tool) {
            return false;
        }
        if let Some(Recalled { held, .. }) = (self.known)(&self.asking(member)) {
            self.members[member].held = held.into_iter().collect();
        }
        self.members[member].held.contains(tool)
    }

    /// What the catalogue knows of these members, for a client that began so.
    pub(super) fn look_up(&mut self, members: &[usize]) {
        for &member in members {
            let told = self.recall(member).filter(|_| !self.members[member].runs());
            if let Some(Recalled { told, held }) = told {
                let it = &mut self.members[member];
                it.knows(told);
                it.held = held.into_iter().collect();
            }
        }
        if self.greeting.era == Era::Modern && self.greeting.is_answered {
            self.bridge_all();
        }
        self.rebuild();
    }
}

pub(super) fn asking_of(greeting: &Greeting, member: usize) -> Asking<'_> {
    let Greeting { client, revision, capabilities, .. } = greeting;
    Asking { member, client: client.as_deref(), revision, capabilities }
}
