//! Requests that we answer ourselves, once the members have told enough, or after a bound.

use std::time::Duration;

use serde_json::json;

use super::core::{Mux, Waiting, Wanted};
use super::hello::{self, Era, Said};
use super::line;
use super::member::{Member, State};
use crate::catalogue::Hello;
use crate::catalogue::pages::Kind;
use crate::failure::Code;
use crate::rpc::RawId;

/// A client waits so long for its first answer at least, and for its lists: what is not there by then is announced later.
const GREETED_WITHIN: Duration = Duration::from_secs(20);
const LISTED_WITHIN: Duration = Duration::from_secs(15);
/// Claude Code begins with `initialize` where `server/discover` has no answer after 3 s.
const DISCOVERED_WITHIN: Duration = Duration::from_millis(2500);

/// More requests than these wait for no client's lists.
const MOST_WAITING: usize = 1024;
const MOST_WAITING_BYTES: usize = 32 << 20;

impl Mux {
    pub(super) fn wait_for(&mut self, id: RawId, what: Wanted) {
        let within = match &what {
            Wanted::Initialized => GREETED_WITHIN,
            Wanted::Discovered => DISCOVERED_WITHIN,
            Wanted::List(..) | Wanted::Owner(..) => LISTED_WITHIN,
        };
        let waiting = Waiting { id, what, until: self.now + within };
        if self.settled(&waiting) {
            return;
        }
        let bytes: usize = self.waiting.iter().map(Waiting::bytes).sum();
        if self.waiting.len() >= MOST_WAITING || bytes + waiting.bytes() > MOST_WAITING_BYTES {
            return self.refuse(
                &waiting.id,
                Code::Unavailable,
                "berth: too many requests wait for the servers' lists",
            );
        }
        self.waiting.push(waiting);
    }

    /// A server that was giving its container back may be needed for what waits.
    pub(super) fn seek_what_is_waited_for(&mut self) {
        let kind = |waiting: &Waiting| match waiting.what {
            Wanted::List(kind, _) | Wanted::Owner(kind, _) => Some(kind),
            Wanted::Initialized | Wanted::Discovered => None,
        };
        let kinds: Vec<Kind> = self.waiting.iter().filter_map(kind).collect();
        for kind in kinds {
            self.seek(kind);
        }
    }

    /// The session is over, whatever its servers do: each request that is open is answered.
    pub(super) fn give_up(&mut self) {
        self.give_up_waiting();
        let text = "berth: the session ends before its server has answered";
        let error = json!({ "code": i64::from(Code::Unavailable), "message": text }).to_string();
        for member in 0..self.members.len() {
            self.answer_all(member, &error);
        }
    }

    /// The client has no time left: whatever waits is answered now.
    pub(super) fn give_up_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.refuse(
                &waiting.id,
                Code::Unavailable,
                "berth: the session ends before its servers have answered",
            );
        }
    }

    /// Answers what can be answered by now, or must be.
    pub(super) fn settle(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|wanted| !self.settled(wanted));
        waiting.append(&mut self.waiting);
        self.waiting = waiting;
    }

    fn settled(&mut self, waiting: &Waiting) -> bool {
        let is_late = self.now >= waiting.until;
        let Waiting { id, what, .. } = waiting;
        match what {
            Wanted::Initialized => {
                let has_answered = |member: &Member| {
                    matches!(member.hello, Some(Hello::Initialize(_)))
                        || matches!(member.state, State::Over { .. })
                };
                if !is_late && !self.present().all(has_answered) {
                    return false;
                }
                self.answer_initialize(id);
            }
            Wanted::Discovered => {
                let refuses = |member: &Member| {
                    let is_over = matches!(member.state, State::Over { .. });
                    let has_known = matches!(member.hello, Some(Hello::Discover(_)));
                    member.hello == Some(Hello::NoDiscover) || (is_over && !has_known)
                };
                let knows = |member: &Member| matches!(member.hello, Some(Hello::Discover(_)));
                if is_late || self.present().any(refuses) {
                    self.refuse(id, line::METHOD_NOT_FOUND, "Method not found");
                } else if self.present().all(knows) {
                    self.answer_discover(id);
                } else {
                    return false;
                }
            }
            Wanted::List(kind, era) => {
                if !is_late && !self.has_told(*kind) {
                    return false;
                }
                self.answer_list(id, *kind, *era);
            }
            Wanted::Owner(kind, frame) => {
                if !is_late && !self.has_told(*kind) {
                    return false;
                }
                self.look_again(frame);
            }
        }
        true
    }

    fn said(&mut self) -> Vec<Said> {
        let rows = self.order.iter().map(|&at| {
            let member = &self.members[at];
            (at, member.options.label.as_str(), member.said.instructions.as_deref())
        });
        self.instructions = hello::instructions(rows);
        self.present().filter(|member| member.hello.is_some()).map(|member| member.said.clone()).collect()
    }

    fn answer_initialize(&mut self, id: &RawId) {
        let said = self.said();
        let reasons: Vec<&String> = self
            .present()
            .filter_map(|member| match &member.state {
                State::Over { error, .. } if member.hello.is_none() => Some(error),
                _ => None,
            })
            .collect();
        let line = match (&self.members[..], &reasons[..]) {
            // Not one of them can be had: the first one's reason is as good as any.
            (members, [reason, ..]) if reasons.len() == self.order.len() && !members.is_empty() => {
                line::error(id, reason)
            }
            ([Member { hello: Some(Hello::Initialize(result)), .. }], _) if self.is_single() => {
                line::result(id, &String::from_utf8_lossy(result))
            }
            _ => line::result(
                id,
                &hello::initialized(&self.greeting.revision, &said, self.order.len(), &self.instructions),
            ),
        };
        self.greeting.is_answered = reasons.len() < self.order.len();
        self.answer(id, line);
    }

    fn answer_discover(&mut self, id: &RawId) {
        let said = self.said();
        self.greeting.is_answered = true;
        let line = match &self.members[..] {
            [Member { hello: Some(Hello::Discover(result)), .. }] if self.is_single() => {
                line::result(id, &String::from_utf8_lossy(result))
            }
            _ => line::result(id, &hello::discovered(&said, &self.instructions)),
        };
        self.answer(id, line);
        self.order.clone().into_iter().for_each(|member| self.check(member));
    }

    fn answer_list(&mut self, id: &RawId, kind: Kind, era: Era) {
        self.has_listed[kind as usize] = true;
        let mut items: Vec<String> =
            self.table.offered(kind).iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect();
        if kind == Kind::Resources && !self.is_single() {
            items.extend(self.instructions.cut.iter().map(|&member| {
                let label = &self.members[member].options.label;
                json!({
                    "uri": hello::instructions_uri(label), "name": format!("instructions of {label}"),
                    "mimeType": "text/plain",
                })
                .to_string()
            }));
        }
        let mut end = String::new();
        if era == Era::Modern {
            let lists = || self.present().filter_map(|member| member.list(kind));
            let mut rest = json!({ "resultType": "complete" });
            let is_private = lists().any(|list| list.is_private);
            hello::keep_for(&mut rest, lists().filter_map(|list| list.ttl_ms).min(), is_private);
            let rest = rest.to_string();
            end = format!(",{}", rest.trim_start_matches('{').trim_end_matches('}'));
        }
        let result = format!("{{\"{}\":[{}]{end}}}", kind.member(), items.join(","));
        self.answer(id, line::result(id, &result));
    }

    /// Whether nothing is to be sent to a member any more, where the client says nothing more.
    pub(super) fn owes_nothing(&self, member: usize) -> bool {
        let it = &self.members[member];
        let waits = self.waiting.iter().any(|waiting| match &waiting.what {
            Wanted::List(kind, _) => !it.has_told(*kind),
            // It may turn out to be this one's.
            Wanted::Owner(..) => true,
            Wanted::Initialized | Wanted::Discovered => it.hello.is_none(),
        });
        it.queue.is_empty() && !waits
    }

    /// Whether no answer of ours is to come.
    pub(super) fn owes_nobody(&self) -> bool {
        self.waiting.is_empty()
    }
}
