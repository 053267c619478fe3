//! The members' lists: asked for page by page, compared with what was known, kept, and announced.

use tokio::time::Instant;

use super::core::{Action, Mux, Own};
use super::hello::Era;
use super::line;
use super::member::{FORGOTTEN_AFTER, Listing, Member, State};
use super::table::Table;
use crate::catalogue::pages::{Cut, Kind, Pages, Step};
use crate::catalogue::{Hello, List};
use crate::failure::Code;
use crate::rpc::RawId;
use crate::rpc::raw::{self, Raw};

/// A list that was refused so often, and was never known, is none.
const TRIED: u32 = 2;

impl Mux {
    /// Has a server that runs tell its lists, unless it has, or is about to.
    pub(super) fn check(&mut self, member: usize) {
        let it = &self.members[member];
        let may_be_asked = it.state == State::Up
            && match (&it.hello, self.greeting.era) {
                (Some(Hello::Initialize(_)), Era::Legacy) => it.is_initialized,
                (Some(Hello::Discover(_)), Era::Modern) => self.greeting.is_answered,
                _ => false,
            };
        if !may_be_asked || it.is_checked || it.is_fetching() || it.fetch_again_at.is_some() {
            return;
        }
        for kind in Kind::ALL {
            if self.members[member].said.has(kind.capability()) {
                self.fetch(member, kind);
            } else {
                self.listed(member, kind, None);
            }
        }
    }

    /// Follows a list from its beginning. One that is being followed is followed once more, behind that.
    pub(super) fn fetch(&mut self, member: usize, kind: Kind) {
        let it = &mut self.members[member];
        it.is_checked = false;
        if it.fetching[kind as usize].is_some() {
            it.is_outdated[kind as usize] = true;
            return;
        }
        it.fetching[kind as usize] = Some((Pages::new(kind), self.now));
        self.ask_page(member, kind);
    }

    fn ask_page(&mut self, member: usize, kind: Kind) {
        let Some((pages, _)) = &self.members[member].fetching[kind as usize] else { return };
        let Some(cursor) = pages.next_request() else { return };
        let cursor = cursor.map(str::to_owned);
        let params = match self.greeting.era {
            Era::Modern => self.modern_params(cursor.as_deref().map(|cursor| ("cursor", cursor))),
            Era::Legacy => cursor.map(|cursor| format!("{{\"cursor\":{cursor}}}")),
        };
        self.ask(member, Own::Page(kind), kind.method(), params.as_deref());
    }

    /// The answer to a request for a page.
    pub(super) fn page(
        &mut self,
        member: usize,
        kind: Kind,
        result: Option<Raw<'_>>,
        error: Option<Raw<'_>>,
    ) {
        let Some((pages, _)) = &mut self.members[member].fetching[kind as usize] else { return };
        let code = error.and_then(|error| raw::member(error, "code")).map(Raw::get);
        if code == Some("-32601") {
            // A server with resources need not have templates.
            self.members[member].fetching[kind as usize] = None;
            return self.listed(member, kind, None);
        }
        let step = match result {
            Some(result) => pages.page(result),
            None => pages.stop(Cut::Refused),
        };
        match step {
            Step::Ask => self.ask_page(member, kind),
            Step::Done => self.followed(member, kind),
        }
    }

    /// A server that does not answer is not waited for.
    pub(super) fn stop_fetching(&mut self, member: usize, since: Instant) {
        for kind in Kind::ALL {
            if let Some((pages, began)) = &mut self.members[member].fetching[kind as usize]
                && *began <= since
            {
                pages.stop(Cut::Late);
                // An answer that comes yet is no page of the next try.
                self.own.retain(|_, (owner, what)| *owner != member || *what != Own::Page(kind));
                self.followed(member, kind);
            }
        }
    }

    fn followed(&mut self, member: usize, kind: Kind) {
        let it = &mut self.members[member];
        let Some((pages, _)) = it.fetching[kind as usize].take() else { return };
        let followed = pages.finish();
        let server = &it.options.server;
        if let Some(cut) = followed.cut {
            tracing::warn!("cannot follow `{}` of `{server}` to its end: {cut}", kind.method());
            // A part is no list: what was known stays, and the server is asked again.
            if !cut.is_lasting() {
                if it.lists[kind as usize].is_none() && it.fetched_in_vain >= TRIED {
                    return self.listed(member, kind, None);
                }
                it.is_outdated[kind as usize] = true;
                return self.lists_done(member);
            }
        }
        if it.list(kind) != Some(&followed.list) {
            for left_out in &followed.left_out {
                tracing::warn!("`{server}`: {left_out}");
            }
        }
        self.listed(member, kind, Some(followed.list));
    }

    /// A list is whole, or there is none.
    fn listed(&mut self, member: usize, kind: Kind, list: Option<List>) {
        let it = &mut self.members[member];
        if kind == Kind::Tools {
            it.has_listed_tools = true;
            if it.options.holds {
                // Calls wait for that alone.
                self.actions.push(Action::Keep(member));
            }
        }
        let it = &mut self.members[member];
        let listing = Some(Listing(list));
        if it.lists[kind as usize] != listing && !it.is_removed {
            it.lists[kind as usize] = listing;
            it.is_kept = false;
            self.rebuild();
            self.announce(kind);
        }
        self.lists_done(member);
    }

    fn lists_done(&mut self, member: usize) {
        let it = &mut self.members[member];
        if it.is_fetching() {
            return;
        }
        it.fetched_at = Some(self.now);
        if it.is_outdated.contains(&true) {
            // Not at once: a server that says so all the time would do nothing else.
            it.fetch_again_at = Some(self.now + it.fetch_pause());
        } else if it.has_told_all() {
            it.is_checked = true;
        }
        if !std::mem::replace(&mut it.is_kept, true) || it.options.holds {
            self.actions.push(Action::Keep(member));
        }
        self.settle();
    }

    /// The time has come to ask again for what has changed.
    pub(super) fn fetch_again(&mut self, member: usize) {
        let it = &mut self.members[member];
        it.fetch_again_at = None;
        it.fetched_in_vain += 1;
        let outdated = std::mem::take(&mut it.is_outdated);
        for kind in Kind::ALL.into_iter().filter(|kind| outdated[*kind as usize]) {
            self.fetch(member, kind);
        }
    }

    /// A list is not what it was.
    pub(super) fn outdated(&mut self, member: usize, kinds: &[Kind]) {
        let it = &mut self.members[member];
        if it.hello.is_none() || it.state != State::Up || it.is_removed {
            return;
        }
        for kind in kinds.iter().copied().filter(|kind| it.said.has(kind.capability())) {
            it.is_outdated[kind as usize] = true;
        }
        if !it.is_outdated.contains(&true) {
            return;
        }
        it.is_checked = false;
        if it.is_outdated[Kind::Tools as usize] {
            it.has_listed_tools = false;
            it.has_shown_tools = false;
        }
        if it.is_fetching() || it.fetch_again_at.is_some() {
            return;
        }
        if it.fetched_at.is_none_or(|at| self.now > at + FORGOTTEN_AFTER) {
            it.fetched_in_vain = 0;
        }
        match it
            .fetched_at
            .map(|at| at + it.fetch_pause())
            .filter(|at| *at > self.now && it.fetched_in_vain > 0)
        {
            Some(later) => it.fetch_again_at = Some(later),
            None => self.fetch_again(member),
        }
    }

    /// What a member has told is kept: these of its tools a person has to accept first.
    pub(super) fn holds(&mut self, member: usize, held: Vec<String>) {
        let it = &mut self.members[member];
        it.held = held.into_iter().collect();
        let tools = Kind::Tools as usize;
        it.has_shown_tools = it.has_listed_tools && !it.is_outdated[tools] && it.fetching[tools].is_none();
        if !it.options.holds || it.state != State::Up {
            return;
        }
        let is_unseen = it.holds_calls();
        for (id, line) in it.take_queue() {
            let open = id.as_ref().and_then(|id| self.in_flight.get(id));
            let tool = open.and_then(|open| open.tool.clone());
            match (id, tool.filter(|tool| is_unseen || self.members[member].held.contains(tool))) {
                (Some(id), Some(tool)) => {
                    if let Some(open) = self.in_flight.remove(&id) {
                        self.refuse_held(&open.id, member, &tool);
                    }
                }
                _ => self.push(member, line),
            }
        }
    }

    pub(super) fn refuse_held(&mut self, id: &RawId, member: usize, tool: &str) {
        let it = &self.members[member].options;
        let text = format!(
            "berth: the definition of the tool `{tool}` of `{}` has changed; read it with `berth tools {}`, then type \
             `berth tools --accept {}`",
            it.server, it.server, it.server
        );
        self.refuse(id, Code::Configuration, &text);
        self.actions.push(Action::Held(member, tool.to_owned()));
    }

    /// Tells the client that a list has changed, if it has read that list.
    pub(super) fn announce(&mut self, kind: Kind) {
        if !std::mem::take(&mut self.has_listed[kind as usize]) {
            return;
        }
        let method = format!("notifications/{}/list_changed", kind.capability());
        match self.greeting.era {
            Era::Legacy => self.tell_client(None, line::notification(&method, None)),
            Era::Modern => {
                for line in self.listens.announce(kind, &method) {
                    self.tell_client(None, line);
                }
            }
        }
    }

    pub(super) fn rebuild(&mut self) {
        let rows = self.order.iter().map(|&at| {
            let member = &self.members[at];
            (at, member.options.label.as_str(), Kind::ALL.map(|kind| member.list(kind)))
        });
        let table = Table::of(&self.naming, rows);
        self.table = table.after(&mut self.table);
        for left_out in &self.table.left_out {
            tracing::debug!("left out: {left_out}");
        }
    }

    /// Whether nothing of a kind is to be waited for.
    pub(super) fn has_told(&self, kind: Kind) -> bool {
        let has_told = |member: &Member| match kind {
            // A URI may come of either.
            Kind::Resources | Kind::Templates => {
                member.has_told(Kind::Resources) && member.has_told(Kind::Templates)
            }
            kind => member.has_told(kind),
        };
        self.order.iter().all(|&member| has_told(&self.members[member]))
    }

    /// Has all members tell what they have of a kind.
    pub(super) fn seek(&mut self, kind: Kind) {
        for member in self.order.clone() {
            let it = &self.members[member];
            if it.lists[kind as usize].is_some() {
                continue;
            }
            match it.state {
                State::Asleep => self.start(member),
                State::Up => self.check(member),
                _ => {}
            }
        }
    }
}
