//! The multiplexer's state, and what follows from each event. Pure: it reads no clock and speaks to nobody.
//!
//! ```text
//! client's line -> from_client -> dispatch -> ToMember (or it waits: the member is started first)
//! member's line -> from_member -> ToClient
//! ```
//!
//! Each request of the client's is open in `in_flight`, in `waiting` or answered; nowhere else.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asked::Asked;
use super::batches::Batches;
use super::hello::{self, Era, Instructions, Said};
use super::line;
use super::listens::Listens;
use super::made::Made;
use super::member::{Member, MemberOptions, State};
use super::table::{Naming, Table};
use crate::catalogue::pages::{Kind, Pages};
use crate::catalogue::{Hello, Told};
use crate::failure::Code;
use crate::rpc::error_object::INVALID_REQUEST;
use crate::rpc::{Frame, RawId, RequestId, error_line};

/// A client waits so long for its first answer at least, and for its lists: what is not there by then is announced later.
const GREETED_WITHIN: Duration = Duration::from_secs(20);
const LISTED_WITHIN: Duration = Duration::from_secs(15);
/// Claude Code begins with `initialize` where `server/discover` has no answer after 3 s.
const DISCOVERED_WITHIN: Duration = Duration::from_millis(2500);

/// A member that could not be had is tried again by a call after this time.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// One that has never told anything is tried again by itself, for nobody can call what nobody knows.
const SOUGHT_EVERY: Duration = Duration::from_secs(15);

/// The client hears so often that its call waits.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// More requests than this are open at no client's.
const MOST_OPEN: usize = 16_384;

/// What the loop is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    ToClient(Bytes),
    ToMember(usize, Bytes),
    /// Its server is needed.
    Start(usize),
    /// It gives its container back.
    Park(usize),
    /// It has told all that there is to know of it.
    Keep(usize),
}

/// A question to the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking<'a> {
    pub member: usize,
    pub client: Option<&'a str>,
    pub revision: &'a str,
    pub capabilities: &'a str,
}

/// What the catalogue knows of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    pub told: Told,
    /// The tools that a person has to accept first, as their server calls them.
    pub held: Vec<String>,
}

/// What was told before.
pub type Known = Box<dyn Fn(&Asking<'_>) -> Option<Recalled> + Send>;

/// Keeps what a member has told; gives the tools that a person has to accept first.
pub type Keep = Box<dyn FnMut(&Asking<'_>, Told) -> Vec<String> + Send>;

/// A request that a member is to answer.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) member: usize,
    pub(super) id: RawId,
    /// The tool that is called, as its server calls it.
    pub(super) tool: Option<String>,
    /// As JSON.
    pub(super) token: Option<String>,
    /// How often the client has heard that it waits, and when it hears that again.
    pub(super) told: u64,
    pub(super) tell_at: Instant,
}

/// A request of the client's on its way to a member.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub(super) member: usize,
    pub(super) id: RawId,
    pub(super) tool: Option<String>,
    pub(super) token: Option<String>,
}

/// What a request of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Initialize,
    Discover,
    Page(Kind),
    /// Its answer changes nothing.
    Idle,
}

/// A request that we answer, once we can.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: RawId,
    pub(super) what: Wanted,
    pub(super) until: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Initialized,
    Discovered,
    List(Kind, Era),
    /// A name or a URI that nobody has announced yet: the whole request, to be looked at again.
    Owner(Kind, Frame),
}

/// How the client began.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    pub(super) era: Era,
    /// The parameters of `initialize` or `server/discover`, as they came.
    pub(super) params: Option<String>,
    pub(super) revision: String,
    pub(super) client: Option<String>,
    pub(super) capabilities: String,
    /// The client has had its answer.
    pub(super) is_answered: bool,
    /// It has said so.
    pub(super) is_initialized: bool,
    /// Of the new era: what goes with each request.
    pub(super) meta: Option<String>,
    /// The parameters of the last `logging/setLevel`.
    pub(super) level: Option<String>,
}

pub(super) struct Mux {
    pub(super) members: Vec<Member>,
    pub(super) naming: Naming,
    pub(super) table: Table,
    pub(super) greeting: Greeting,
    pub(super) in_flight: HashMap<RequestId, Open>,
    pub(super) own: HashMap<RequestId, (usize, Own)>,
    pub(super) asked: Asked,
    pub(super) waiting: Vec<Waiting>,
    pub(super) batches: Batches,
    pub(super) made: Made,
    pub(super) listens: Listens,
    /// Lists that the client has asked for: only their changes are news.
    pub(super) has_listed: [bool; 4],
    pub(super) instructions: Instructions,
    /// A request is looked at for the second time: what nobody has announced by now nobody has.
    pub(super) is_again: bool,
    known: Known,
    /// What our own ids begin with: nobody else's do.
    session: String,
    counter: u64,
    pub(super) now: Instant,
    pub(super) actions: Vec<Action>,
}

impl Mux {
    pub(super) fn new(
        members: Vec<MemberOptions>,
        naming: Naming,
        session: &str,
        known: Known,
        now: Instant,
    ) -> Self {
        Self {
            members: members.into_iter().map(|options| Member::new(options, now)).collect(),
            naming,
            table: Table::default(),
            greeting: Greeting::default(),
            in_flight: HashMap::new(),
            own: HashMap::new(),
            asked: Asked::default(),
            waiting: Vec::new(),
            batches: Batches::default(),
            made: Made::default(),
            listens: Listens::default(),
            has_listed: [false; 4],
            instructions: Instructions::default(),
            is_again: false,
            known,
            session: session.to_owned(),
            counter: 0,
            now,
            actions: Vec::new(),
        }
    }

    /// What is to be done by now.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether names are the servers' own, and the only member's answers are the session's.
    pub(super) fn is_single(&self) -> bool {
        self.naming.room.is_none()
    }

    /// The client hears it. An answer to a part of a batch waits for the others.
    pub(super) fn to_client(&mut self, id: Option<&RequestId>, line: Bytes) {
        if let Some(line) = self.batches.add(id, line) {
            self.actions.push(Action::ToClient(line));
        }
    }

    pub(super) fn answer(&mut self, id: &RawId, line: Bytes) {
        self.to_client(id.request_id().as_ref(), line);
    }

    pub(super) fn refuse(&mut self, id: &RawId, code: impl Into<i64>, message: &str) {
        self.answer(id, error_line(Some(id), code, message, None));
    }

    /// Asks a member something of our own.
    pub(super) fn ask(&mut self, member: usize, what: Own, method: &str, params: Option<&str>) {
        self.counter += 1;
        let id = format!("berth-{}-{}", self.session, self.counter);
        let line = line::request(&id, method, params);
        let raw = crate::rpc::raw::Raw::parse(&line::quoted(&id)).and_then(RequestId::from_raw);
        if let Some(key) = raw {
            self.own.insert(key, (member, what));
        }
        self.actions.push(Action::ToMember(member, line));
    }

    /// Sends a request of the client's on to the member whose it is.
    pub(super) fn dispatch(&mut self, asked: Dispatch, line: Bytes) {
        let Dispatch { member, id, tool, token } = asked;
        let Some(key) = id.request_id() else { return };
        if self.in_flight.contains_key(&key) {
            return self.refuse(&id, INVALID_REQUEST, "berth: a request with this id is open already");
        }
        if self.in_flight.len() >= MOST_OPEN {
            return self.refuse(&id, Code::Unavailable, "berth: too many requests are open");
        }
        let open = Open { member, id: id.clone(), tool, token, told: 0, tell_at: self.now + TOLD_EVERY };
        match self.send(member, Some(&key), line) {
            Ok(()) => drop(self.in_flight.insert(key, open)),
            Err(error) => self.answer(&id, line::error(&id, &error)),
        }
    }

    /// A line of the client's for a member, which is started if it does not run.
    ///
    /// # Errors
    /// The error object for who waits for an answer.
    pub(super) fn send(&mut self, member: usize, id: Option<&RequestId>, line: Bytes) -> Result<(), String> {
        let it = &mut self.members[member];
        it.last_used = self.now;
        if let State::Over { error, since } = &it.state {
            if self.now < *since + TRIED_AGAIN_AFTER {
                return Err(error.clone());
            }
            it.state = State::Asleep;
        }
        if it.state == State::Asleep {
            self.start(member);
        }
        let it = &mut self.members[member];
        if it.has_room_for(&line) {
            if it.takes_calls() {
                self.actions.push(Action::ToMember(member, line));
            } else {
                it.enqueue(id.cloned(), line);
            }
            return Ok(());
        }
        let text =
            format!("berth: too much waits for the server `{}`, which does not read", it.options.server);
        Err(json!({ "code": i64::from(Code::Unavailable), "message": text }).to_string())
    }

    /// Has a member's server started; it hears first how the client began.
    pub(super) fn start(&mut self, member: usize) {
        self.actions.push(Action::Start(member));
        self.members[member].is_checked = false;
        match (&self.greeting.params, self.greeting.era) {
            (Some(_), Era::Legacy) => self.greet(member),
            (Some(_), Era::Modern) if !self.greeting.is_answered => self.discover(member),
            (_, Era::Modern) => {
                self.members[member].state = State::Up;
                self.discover_again(member);
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

    fn discover(&mut self, member: usize) {
        self.members[member].state = State::Greeting;
        let params = self.greeting.params.clone();
        self.ask(member, Own::Discover, "server/discover", params.as_deref());
    }

    /// What was answered in its stead may not be true any more.
    fn discover_again(&mut self, member: usize) {
        if let Some(params) = self.modern_params(None) {
            self.ask(member, Own::Discover, "server/discover", Some(&params));
        }
    }

    /// The parameters of a request of ours in the new era.
    pub(super) fn modern_params(&self, more: Option<(&str, &str)>) -> Option<String> {
        let meta = self.greeting.meta.as_ref()?;
        let more = more.map(|(key, value)| format!("\"{key}\":{value},")).unwrap_or_default();
        Some(format!("{{{more}\"_meta\":{meta}}}"))
    }

    /// As the catalogue is asked.
    pub(super) fn asking(&self, member: usize) -> Asking<'_> {
        let Greeting { client, revision, capabilities, .. } = &self.greeting;
        Asking { member, client: client.as_deref(), revision, capabilities }
    }

    /// What a member has told is kept: these of its tools a person has to accept first.
    pub(super) fn holds(&mut self, member: usize, held: Vec<String>) {
        let it = &mut self.members[member];
        it.held = held.into_iter().collect();
        if !it.options.holds || !it.takes_calls() {
            return;
        }
        for (id, line) in it.take_queue() {
            let open = id.as_ref().and_then(|id| self.in_flight.get(id));
            let tool = open.and_then(|open| open.tool.clone());
            match (id, tool.filter(|tool| self.members[member].held.contains(tool))) {
                (Some(id), Some(tool)) => {
                    if let Some(open) = self.in_flight.remove(&id) {
                        self.refuse_held(&open.id, member, &tool);
                    }
                }
                _ => self.actions.push(Action::ToMember(member, line)),
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
    }

    /// What the catalogue knows of all members, for a client that begins so.
    pub(super) fn look_up(&mut self) {
        for member in 0..self.members.len() {
            let told = (self.known)(&self.asking(member));
            let it = &mut self.members[member];
            if let Some(Recalled { told, held }) = told.filter(|_| !it.runs()) {
                it.knows(told);
                it.held = held.into_iter().collect();
            }
        }
        self.rebuild();
    }

    /// Follows a member's lists from their beginning.
    pub(super) fn fetch_all(&mut self, member: usize) {
        for kind in Kind::ALL {
            if self.members[member].said.has(kind.capability()) {
                self.fetch(member, kind);
            } else {
                self.listed(member, kind, None);
            }
        }
    }

    pub(super) fn fetch(&mut self, member: usize, kind: Kind) {
        self.members[member].fetching[kind as usize] = Some(Pages::new(kind));
        self.ask_page(member, kind);
    }

    pub(super) fn ask_page(&mut self, member: usize, kind: Kind) {
        let Some(pages) = &self.members[member].fetching[kind as usize] else { return };
        let Some(cursor) = pages.next_request() else { return };
        let cursor = cursor.map(str::to_owned);
        let params = match self.greeting.era {
            Era::Modern => self.modern_params(cursor.as_deref().map(|cursor| ("cursor", cursor))),
            Era::Legacy => cursor.map(|cursor| format!("{{\"cursor\":{cursor}}}")),
        };
        self.ask(member, Own::Page(kind), kind.method(), params.as_deref());
    }

    /// A list is whole, or there is none.
    pub(super) fn listed(&mut self, member: usize, kind: Kind, list: Option<crate::catalogue::List>) {
        let it = &mut self.members[member];
        it.fetching[kind as usize] = None;
        let is_new = it.lists[kind as usize].as_ref() != Some(&list);
        if is_new {
            it.lists[kind as usize] = Some(list);
            self.rebuild();
            self.announce(kind);
        }
        let it = &mut self.members[member];
        if it.fetching.iter().all(Option::is_none) && it.told().is_some() {
            it.is_checked = true;
            self.actions.push(Action::Keep(member));
        }
        self.settle();
    }

    /// Tells the client that a list has changed, if it has read that list.
    pub(super) fn announce(&mut self, kind: Kind) {
        if !std::mem::take(&mut self.has_listed[kind as usize]) {
            return;
        }
        let method = format!("notifications/{}/list_changed", kind.capability());
        match self.greeting.era {
            Era::Legacy => self.to_client(None, line::notification(&method, None)),
            Era::Modern => {
                for line in self.listens.announce(kind, &method) {
                    self.to_client(None, line);
                }
            }
        }
    }

    pub(super) fn rebuild(&mut self) {
        let rows = self
            .members
            .iter()
            .map(|member| (member.options.label.as_str(), Kind::ALL.map(|kind| member.list(kind))));
        let table = Table::of(&self.naming, rows);
        self.table = table.after(&mut self.table);
        for left_out in &self.table.left_out {
            tracing::debug!("left out: {left_out}");
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
                if !is_late && !self.members.iter().all(has_answered) {
                    return false;
                }
                self.answer_initialize(id);
            }
            Wanted::Discovered => {
                let refuses = |member: &Member| {
                    member.hello == Some(Hello::NoDiscover) || matches!(member.state, State::Over { .. })
                };
                let knows = |member: &Member| matches!(member.hello, Some(Hello::Discover(_)));
                if is_late || self.members.iter().any(refuses) {
                    self.refuse(id, -32601, "Method not found");
                } else if self.members.iter().all(knows) {
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
        let rows = self
            .members
            .iter()
            .map(|member| (member.options.label.as_str(), member.said.instructions.as_deref()));
        self.instructions = hello::instructions(rows);
        self.members
            .iter()
            .filter(|member| member.hello.is_some())
            .map(|member| member.said.clone())
            .collect()
    }

    fn answer_initialize(&mut self, id: &RawId) {
        let said = self.said();
        let reasons: Vec<&String> = self
            .members
            .iter()
            .filter_map(|member| match &member.state {
                State::Over { error, .. } if member.hello.is_none() => Some(error),
                _ => None,
            })
            .collect();
        let line = match (&self.members[..], &reasons[..]) {
            // Not one of them can be had: the first one's reason is as good as any.
            (members, [reason, ..]) if reasons.len() == members.len() => line::error(id, reason),
            ([Member { hello: Some(Hello::Initialize(result)), .. }], _) if self.is_single() => {
                line::result(id, &String::from_utf8_lossy(result))
            }
            _ => line::result(id, &hello::initialized(&self.greeting.revision, &said, &self.instructions)),
        };
        self.greeting.is_answered = reasons.len() < self.members.len();
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
        for member in 0..self.members.len() {
            if self.members[member].state == State::Up && !self.members[member].is_checked {
                self.fetch_all(member);
            }
        }
    }

    fn answer_list(&mut self, id: &RawId, kind: Kind, era: Era) {
        self.has_listed[kind as usize] = true;
        let mut items: Vec<String> =
            self.table.offered(kind).iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect();
        if kind == Kind::Resources {
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
            let lists = || self.members.iter().filter_map(|member| member.list(kind));
            let mut rest = json!({ "resultType": "complete" });
            let is_private = lists().any(|list| list.is_private);
            hello::keep_for(&mut rest, lists().filter_map(|list| list.ttl_ms).min(), is_private);
            let rest = rest.to_string();
            end = format!(",{}", rest.trim_start_matches('{').trim_end_matches('}'));
        }
        let result = format!("{{\"{}\":[{}]{end}}}", kind.member(), items.join(","));
        self.answer(id, line::result(id, &result));
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
        self.members.iter().all(has_told)
    }

    /// Has all members tell what they have of a kind.
    pub(super) fn seek(&mut self, kind: Kind) {
        for member in 0..self.members.len() {
            let it = &self.members[member];
            if it.lists[kind as usize].is_some() || it.fetching[kind as usize].is_some() {
                continue;
            }
            match it.state {
                State::Asleep => self.start(member),
                State::Up if it.hello.is_some() => self.fetch_all(member),
                _ => {}
            }
        }
    }

    pub(super) fn wait_for(&mut self, id: RawId, what: Wanted) {
        let within = match what {
            Wanted::Initialized => GREETED_WITHIN,
            Wanted::Discovered => DISCOVERED_WITHIN,
            Wanted::List(..) | Wanted::Owner(..) => LISTED_WITHIN,
        };
        self.waiting.push(Waiting { id, what, until: self.now + within });
        self.settle();
    }

    /// Whether nothing is to be sent to a member any more, where the client says nothing more.
    pub(super) fn owes_nothing(&self, member: usize) -> bool {
        let it = &self.members[member];
        let waits = self.waiting.iter().any(|waiting| match &waiting.what {
            Wanted::List(kind, _) => !it.has_told(*kind),
            Wanted::Owner(..) => true,
            Wanted::Initialized | Wanted::Discovered => it.hello.is_none(),
        });
        it.queue.is_empty() && !waits
    }

    /// Whether no answer of ours is to come.
    pub(super) fn owes_nobody(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The time has come for something.
    pub(super) fn tick(&mut self) {
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
        for line in lines {
            self.to_client(None, line.into());
        }
        for member in 0..self.members.len() {
            if self.sought_at(member).is_some_and(|at| self.now >= at) {
                self.members[member].state = State::Asleep;
                self.start(member);
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
            State::Over { since, .. } if self.greeting.is_answered && it.hello.is_none() => {
                Some(since + SOUGHT_EVERY)
            }
            _ => None,
        }
    }

    /// When a member gives its container back, if nothing happens till then.
    fn parks_at(&self, member: usize) -> Option<Instant> {
        let it = &self.members[member];
        let idle = it.options.idle.filter(|_| it.state == State::Up && it.subscriptions.is_empty())?;
        let is_busy = self.in_flight.values().any(|open| open.member == member)
            || self.own.values().any(|(owner, what)| *owner == member && *what != Own::Idle)
            || self.asked.has_open(member)
            || self.listens.concerns(member);
        (!is_busy).then(|| it.last_used + idle)
    }

    /// When the next `tick` is due.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let is_anybody_late = self.members.iter().any(Member::keeps_waiting);
        let told = self
            .in_flight
            .values()
            .filter(|open| {
                is_anybody_late && open.token.is_some() && self.members[open.member].keeps_waiting()
            })
            .map(|open| open.tell_at);
        let parks = (0..self.members.len()).filter_map(|member| self.parks_at(member));
        let sought = (0..self.members.len()).filter_map(|member| self.sought_at(member));
        waiting.chain(told).chain(parks).chain(sought).min()
    }
}
