//! A session's servers change while it runs: those that came are started, those that went answer what is open and end.

use serde_json::json;

use super::bridge::Bridge;
use super::core::{Mux, Own};
use super::hello::Era;
use super::member::{Member, MemberOptions};
use crate::catalogue::pages::Kind;
use crate::failure::Code;
use crate::values::ToolPattern;

/// What a session is made of from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshape {
    /// Servers that it has not had; their numbers follow on those before.
    pub added: Vec<MemberOptions>,
    /// The numbers of its servers, in the order of all lists.
    pub order: Vec<usize>,
    pub tools: Option<Vec<ToolPattern>>,
    pub deny_tools: Vec<ToolPattern>,
}

impl Mux {
    /// Its members, in the order of all lists.
    pub(super) fn present(&self) -> impl Iterator<Item = &Member> {
        self.order.iter().map(|&member| &self.members[member])
    }

    pub(super) fn reshape(&mut self, reshape: Reshape) {
        let Reshape { added, order, tools, deny_tools } = reshape;
        let before = Kind::ALL.map(|kind| self.table.offered(kind).to_vec());
        let first = self.members.len();
        self.members.extend(added.into_iter().map(|options| Member::new(options, self.now)));
        for member in 0..first {
            if !order.contains(&member) && !self.members[member].is_removed {
                self.remove(member);
            }
        }
        self.order = order;
        (self.naming.allowed, self.naming.denied) = (tools, deny_tools);
        let added: Vec<usize> = (first..self.members.len()).collect();
        let is_back = |label: &str| added.iter().any(|&member| self.members[member].options.label == label);
        self.gone.retain(|_, member| !is_back(&self.members[*member].options.label));
        if self.greeting.params.is_some() {
            self.look_up(&added);
            if self.greeting.era == Era::Modern && self.greeting.is_answered {
                self.bridge_all();
            }
        }
        self.rebuild();
        for kind in Kind::ALL {
            if self.table.offered(kind) != before[kind as usize] {
                self.announce(kind);
            }
        }
        for member in added {
            let it = &self.members[member];
            let is_wanted = it.hello.is_none() || it.options.is_eager;
            if self.greeting.params.is_some() && is_wanted && !self.greeting.has_left {
                self.start(member);
            }
        }
        self.settle();
    }

    fn remove(&mut self, member: usize) {
        for full in self.table.forget(member) {
            self.gone.insert(full, member);
        }
        self.listens.leave(member);
        // Nobody can come again with answers for it.
        if let Bridge::Legacy(_) = self.members[member].bridge {
            let steps = self.members[member].bridge.leaves();
            self.follow(member, steps);
        }
        let it = &mut self.members[member];
        it.is_removed = true;
        it.subscriptions.clear();
        (it.fetch_again_at, it.listen_again_at) = (None, None);
        // What is there of its lists is nobody's news.
        it.fetching = [const { None }; 4];
        self.own.retain(|_, (owner, what)| *owner != member || !matches!(what, Own::Page(_)));
    }

    /// Whether nothing more is told to a member: the configuration has it no more, and its server has ended, or is ending.
    pub(super) fn is_gone(&self, member: usize) -> bool {
        let it = &self.members[member];
        it.is_removed && !it.runs()
    }

    /// The error object for who asks for a server that the session has no more.
    pub(super) fn gone_error(&self, member: usize) -> String {
        let text = format!(
            "berth: the server `{}` is no part of this session any more; berth.toml was changed",
            self.members[member].options.server
        );
        json!({ "code": i64::from(Code::Configuration), "message": text }).to_string()
    }
}
