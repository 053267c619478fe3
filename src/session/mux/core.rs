//! The multiplexer's state, and what follows from each event. Pure: it reads no clock and speaks to nobody.
//!
//! ```text
//! client's line -> from_client -> dispatch -> ToMember (or it waits: the member is started first)
//! member's line -> from_member -> ToClient
//! ```
//!
//! Each request of the client's is open in `in_flight`, in `waiting` or in `listens`, or it is answered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::asked::Asked;
use super::batches::Batches;
use super::hello::{Era, Instructions};
use super::line;
use super::listens::Listens;
use super::made::Made;
use super::member::{Member, MemberOptions, State};
use super::table::{Naming, Table};
use crate::catalogue::Told;
use crate::catalogue::pages::Kind;
use crate::failure::Code;
use crate::rpc::error_object::INVALID_REQUEST;
use crate::rpc::{Frame, RawId, RequestId, error_line};

/// A member that could not be had is tried again by a call after this time.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The client hears so often that its call waits.
pub(super) const TOLD_EVERY: Duration = Duration::from_secs(1);

/// While so many requests are open, the client is not read.
pub(super) const MOST_OPEN: usize = 4096;

/// What the loop is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    ToClient(Bytes),
    ToMember(usize, Bytes),
    /// Its server is needed.
    Start(usize),
    /// It gives its container back.
    Park(usize),
    /// It does not know `server/discover`, which the client tried first.
    Remember(usize),
    /// A call of this tool was refused, for nobody has accepted its definition.
    Held(usize, String),
    /// It has told all that there is to know of it, or as much as it could.
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
pub type Known = Box<dyn Fn(&Asking<'_>) -> Option<Recalled>>;

/// Hears which member's tool was not called.
pub type Held = Box<dyn FnMut(usize, &str)>;

/// Keeps what a member has told, if that is whole; gives the tools that a person has to accept first.
pub type Keep = Box<dyn FnMut(&Asking<'_>, Told, bool) -> Vec<String>>;

/// A request that a member is to answer.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) member: usize,
    pub(super) id: RawId,
    /// The tool that is called, as its server calls it.
    pub(super) tool: Option<String>,
    /// The resource that is subscribed to.
    pub(super) subscribes: Option<String>,
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
    pub(super) subscribes: Option<String>,
    pub(super) token: Option<String>,
}

/// What a request of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Initialize,
    Discover,
    Page(Kind),
    /// It tells when its lists change; the answer is the end of that.
    Listen,
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

impl Waiting {
    /// What is kept of the request.
    pub(super) fn bytes(&self) -> usize {
        match &self.what {
            Wanted::Owner(_, frame) => frame.wire().len(),
            Wanted::Initialized | Wanted::Discovered | Wanted::List(..) => 0,
        }
    }
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
    /// It has closed its side.
    pub(super) has_left: bool,
    /// Of the new era: what goes with each request.
    pub(super) meta: Option<String>,
    /// The parameters of the last `logging/setLevel`.
    pub(super) level: Option<String>,
}

pub(super) struct Mux {
    /// All that the session has had; their numbers stay.
    pub(super) members: Vec<Member>,
    /// Those that it has, in the order of all lists.
    pub(super) order: Vec<usize>,
    /// The full names of tools and prompts that went with their servers, and whose they were.
    pub(super) gone: HashMap<String, usize>,
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
    /// The client takes lines that nobody has asked for.
    pub(super) may_tell: bool,
    /// How the client tried to begin before it began.
    pub(super) tried: Option<Greeting>,
    pub(super) known: Known,
    /// What our own ids begin with: nobody else's do.
    pub(super) session: String,
    /// What the client alone is told.
    pub(super) secret: String,
    pub(super) counter: u64,
    pub(super) now: Instant,
    /// What members have said in the session's era, and nobody has looked at yet.
    pub(super) said: VecDeque<(usize, Bytes)>,
    pub(super) actions: Vec<Action>,
}

impl Mux {
    pub(super) fn new(
        members: Vec<MemberOptions>,
        naming: Naming,
        (session, secret): (&str, &str),
        known: Known,
        now: Instant,
    ) -> Self {
        Self {
            order: (0..members.len()).collect(),
            gone: HashMap::new(),
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
            may_tell: true,
            tried: None,
            known,
            session: session.to_owned(),
            secret: secret.to_owned(),
            counter: 0,
            now,
            said: VecDeque::new(),
            actions: Vec::new(),
        }
    }

    /// While so much is open, nothing more is taken from the client.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight.len() >= MOST_OPEN
    }

    /// The client says nothing more, and nobody is started for it without its having asked.
    pub(super) fn leaves(&mut self) {
        self.greeting.has_left = true;
        self.leave_bridges();
    }

    /// Whether names are the servers' own, and the only member's answers are the session's.
    pub(super) fn is_single(&self) -> bool {
        self.naming.room.is_none()
    }

    /// The client hears it. An answer to a part of a batch waits for the others.
    pub(super) fn tell_client(&mut self, id: Option<&RequestId>, line: Bytes) {
        if let Some(line) = self.batches.add(id, line) {
            self.actions.push(Action::ToClient(line));
        }
    }

    pub(super) fn answer(&mut self, id: &RawId, line: Bytes) {
        self.tell_client(id.request_id().as_ref(), line);
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
        self.push(member, line);
    }

    /// Sends a request of the client's on to the member whose it is.
    pub(super) fn dispatch(&mut self, asked: Dispatch, line: Bytes) {
        let Dispatch { member, id, tool, subscribes, token } = asked;
        let Some(key) = id.request_id() else { return };
        if self.is_open(&key) {
            return self.refuse(&id, INVALID_REQUEST, "berth: a request with this id is open already");
        }
        let is_call = tool.is_some();
        let open =
            Open { member, id: id.clone(), tool, subscribes, token, told: 0, tell_at: self.now + TOLD_EVERY };
        match self.send(member, Some((&key, is_call)), line) {
            Ok(()) => drop(self.in_flight.insert(key, open)),
            Err(error) => self.answer(&id, line::error(&id, &error)),
        }
    }

    /// Whether the client waits for an answer to a request of this id.
    fn is_open(&self, key: &RequestId) -> bool {
        self.in_flight.contains_key(key)
            || self.listens.has(key)
            || self.waiting.iter().any(|waiting| waiting.id.request_id().as_ref() == Some(key))
    }

    /// A line of the client's for a member, which is started if it does not run. `request`: its id, and whether it calls a tool.
    ///
    /// # Errors
    /// The error object for who waits for an answer.
    pub(super) fn send(
        &mut self,
        member: usize,
        request: Option<(&RequestId, bool)>,
        line: Bytes,
    ) -> Result<(), String> {
        if self.is_gone(member) {
            return Err(self.gone_error(member));
        }
        let it = &mut self.members[member];
        it.last_used = self.now;
        if let State::Over { error, since, .. } = &it.state {
            if self.now < *since + TRIED_AGAIN_AFTER {
                return Err(error.clone());
            }
            it.state = State::Asleep;
        }
        if it.state == State::Asleep {
            self.start(member);
            self.members[member].is_lazy = true;
        }
        let it = &mut self.members[member];
        if it.has_room_for(&line) {
            let is_call = request.is_some_and(|(_, is_call)| is_call);
            if it.state == State::Up && !(is_call && it.holds_calls()) {
                self.push(member, line);
            } else {
                it.enqueue(request.map(|(id, _)| id.clone()), line);
            }
            return Ok(());
        }
        let text =
            format!("berth: too much waits for the server `{}`, which does not read", it.options.server);
        Err(json!({ "code": i64::from(Code::Unavailable), "message": text }).to_string())
    }
}
