//! The client's lines: each goes to the member whose it is, or is answered here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::asked::For;
use super::core::{Dispatch, Greeting, Mux, Own, Wanted};
use super::hello::{Era, instructions_uri};
use super::line::{self, patched, quoted};
use super::made::Of;
use super::member::State;
use super::table::Unknown;
use crate::catalogue::pages::Kind;
use crate::rpc::error_object::{INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{
    Envelope, Frame, FrameError, Kind as MessageKind, Look, RawId, RequestId, Salvage, client_info_name,
    error_line, look,
};
use crate::session::rewrite::members;

/// JSON-RPC 2.0: there is no such method.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// A request of the new era has its revision here.
const REVISION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// So many full names stand in an error.
const SHOWN: usize = 20;

/// A request, taken apart.
struct Request<'a> {
    /// The whole message.
    text: &'a str,
    id: RawId,
    method: &'a str,
    params: Option<Raw<'a>>,
}

impl<'a> Request<'a> {
    fn param(&self, name: &str) -> Option<Raw<'a>> {
        raw::member(self.params?, name)
    }

    fn text_param(&self, name: &str) -> Option<Cow<'a, str>> {
        raw::string(self.param(name)?)
    }

    fn meta(&self) -> Option<Raw<'a>> {
        self.param("_meta")
    }

    fn token(&self) -> Option<String> {
        let token = raw::member(self.meta()?, "progressToken")?;
        RequestId::from_raw(token).map(|_| token.get().to_owned())
    }

    fn era(&self) -> Era {
        match self.meta().and_then(|meta| raw::member(meta, REVISION)) {
            Some(_) => Era::Modern,
            None => Era::Legacy,
        }
    }

    fn to(&self, member: usize) -> Dispatch {
        Dispatch { member, id: self.id.clone(), tool: None, token: self.token() }
    }

    /// As it came.
    fn line(&self) -> Bytes {
        patched(self.text, &[])
    }
}

impl Mux {
    pub(in crate::session) fn client_line(&mut self, frame: &Frame) {
        let seen = match look(frame.message()) {
            Ok(seen) => seen,
            Err(error) => {
                let salvage = Salvage::of(frame.message());
                return self.refuse_line(salvage.id(), PARSE_ERROR, &format!("berth: {error}"));
            }
        };
        let Ok(text) = std::str::from_utf8(frame.message()) else { return };
        match seen {
            Look::One(envelope) => self.client_message(&envelope, text),
            Look::Batch(envelopes) => {
                let requests = envelopes.iter().filter(|envelope| envelope.kind == MessageKind::Request);
                self.batches.begin(requests.filter_map(Envelope::request_id).collect());
                if let Some(all) = Raw::parse(text) {
                    raw::elements(all, |element| match look(element.get().as_bytes()) {
                        Ok(Look::One(envelope)) => self.client_message(&envelope, element.get()),
                        _ => self.refuse_line(
                            None,
                            INVALID_REQUEST,
                            "berth: a part of the batch is no message",
                        ),
                    });
                }
                if envelopes.is_empty() {
                    self.refuse_line(None, INVALID_REQUEST, "berth: the batch is empty");
                }
                if let Some(line) = self.batches.end() {
                    self.to_client(None, line);
                }
            }
        }
    }

    /// A line that could not be read whole.
    pub(in crate::session) fn client_line_too_long(&mut self, error: &FrameError) {
        let FrameError::TooLong { id, kind, .. } = error;
        if matches!(kind, MessageKind::Response | MessageKind::ErrorResponse) {
            // Whoever asked gets the reason in its stead.
            if let Some(id) = id {
                self.client_answer(id, None, |own| {
                    error_line(Some(own), INVALID_REQUEST, &error.to_string(), None)
                });
            }
            return;
        }
        let message = format!("berth: {error}; raise `max_line` for larger messages");
        self.refuse_line(id.as_ref(), INVALID_REQUEST, &message);
    }

    fn refuse_line(&mut self, id: Option<&RawId>, code: i64, message: &str) {
        let line = error_line(id, code, message, None);
        match id {
            Some(id) => self.answer(id, line),
            None => {
                if let Some(line) = self.batches.add_nameless(line) {
                    self.to_client(None, line);
                }
            }
        }
    }

    fn client_message(&mut self, envelope: &Envelope<'_>, text: &str) {
        match (envelope.kind, envelope.raw_id()) {
            (MessageKind::Request, Some(id)) => {
                let method = envelope.method.as_deref().unwrap_or_default();
                let request = Request { text, id, method, params: envelope.params };
                match ambiguous(text) {
                    Some(what) => self.refuse(&request.id, INVALID_REQUEST, &format!("berth: {what}")),
                    None => self.request(&request),
                }
            }
            (MessageKind::Notification, _) => self.client_notification(envelope, text),
            (MessageKind::Response | MessageKind::ErrorResponse, Some(id)) => {
                let id_place = envelope.id;
                self.client_answer(&id, envelope.result, |own| {
                    id_place.map_or_else(Bytes::new, |place| patched(text, &[(place, own.to_string())]))
                });
            }
            (_, id) => self.refuse_line(id.as_ref(), INVALID_REQUEST, "berth: this is no message"),
        }
    }

    fn request(&mut self, request: &Request<'_>) {
        if request.era() == Era::Modern {
            self.is_modern(request);
        }
        match request.method {
            "initialize" => self.initialize(request),
            "server/discover" => self.discover_for(request),
            "ping" => self.answer(&request.id, line::result(&request.id, &"{}")),
            "tools/call" => self.named(request, Kind::Tools, request.param("name"), request.params),
            "prompts/get" => self.named(request, Kind::Prompts, request.param("name"), request.params),
            "completion/complete" => self.complete(request),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => self.resource(request),
            "logging/setLevel" => self.set_level(request),
            "subscriptions/listen" => self.listen(request),
            method => match kind_of(method) {
                Some(kind) => self.list(request, kind),
                None => self.other(request),
            },
        }
    }

    /// The client speaks the new era, whether it has asked for `server/discover` or not.
    fn is_modern(&mut self, request: &Request<'_>) {
        let Some(meta) = request.meta() else { return };
        if self.greeting.meta.is_none() {
            let Ok(mut meta) = serde_json::from_str::<Value>(meta.get()) else { return };
            if let Value::Object(meta) = &mut meta {
                meta.shift_remove("progressToken");
            }
            self.greeting.meta = Some(meta.to_string());
        }
        if self.greeting.params.is_none() && request.method != "server/discover" {
            self.began(request, Era::Modern);
            self.greeting.is_answered = true;
            self.look_up();
        }
    }

    fn began(&mut self, request: &Request<'_>, era: Era) {
        let text = |raw: Raw<'_>| raw::string(raw).map(Cow::into_owned);
        let meta = |name| request.meta().and_then(|meta| raw::member(meta, name));
        let (revision, capabilities) = match era {
            Era::Legacy => (request.param("protocolVersion"), request.param("capabilities")),
            Era::Modern => (meta(REVISION), meta(CAPABILITIES)),
        };
        let look = look(request.text.as_bytes());
        let client = look.ok().and_then(|look| look.envelopes().first().and_then(client_info_name));
        self.greeting = Greeting {
            era,
            params: Some(request.params.map_or("{}", Raw::get).to_owned()),
            revision: revision.and_then(text).unwrap_or_default(),
            client,
            capabilities: capabilities.map_or("{}", Raw::get).to_owned(),
            meta: self.greeting.meta.take(),
            ..Greeting::default()
        };
    }

    fn initialize(&mut self, request: &Request<'_>) {
        if self.greeting.is_answered && self.greeting.era == Era::Legacy {
            return self.refuse(&request.id, INVALID_REQUEST, "berth: the session is initialized already");
        }
        self.began(request, Era::Legacy);
        self.look_up();
        for member in 0..self.members.len() {
            let it = &self.members[member];
            let is_known = matches!(it.hello, Some(crate::catalogue::Hello::Initialize(_)));
            match it.state {
                // It was asked to `discover`.
                State::Up => self.greet(member),
                State::Asleep if !is_known || it.options.is_eager => self.start(member),
                _ => {}
            }
        }
        self.wait_for(request.id.clone(), Wanted::Initialized);
    }

    fn discover_for(&mut self, request: &Request<'_>) {
        self.began(request, Era::Modern);
        self.look_up();
        let refused =
            |member: &super::member::Member| member.hello == Some(crate::catalogue::Hello::NoDiscover);
        if !self.members.iter().any(refused) {
            for member in 0..self.members.len() {
                let it = &self.members[member];
                if it.state == State::Asleep && (it.hello.is_none() || it.options.is_eager) {
                    self.start(member);
                }
            }
        }
        self.wait_for(request.id.clone(), Wanted::Discovered);
    }

    fn list(&mut self, request: &Request<'_>, kind: Kind) {
        if request.param("cursor").is_some_and(|cursor| cursor.get() != "null") {
            return self.refuse(
                &request.id,
                INVALID_PARAMS,
                "berth: the list has one page, and no cursor was given",
            );
        }
        self.seek(kind);
        self.wait_for(request.id.clone(), Wanted::List(kind, request.era()));
    }

    /// A request that names a tool or a prompt in `object`.
    fn named(
        &mut self,
        request: &Request<'_>,
        kind: Kind,
        raw_name: Option<Raw<'_>>,
        object: Option<Raw<'_>>,
    ) {
        let is_ambiguous =
            object.and_then(|object| members(object, ["name"])).is_some_and(|[name]| name.is_ambiguous);
        let name = raw_name.and_then(raw::string).filter(|_| !is_ambiguous);
        let (Some(raw_name), Some(name)) = (raw_name, name) else {
            return self.refuse(&request.id, INVALID_PARAMS, "berth: `params.name` must be one name");
        };
        let found = self.table.named(kind, &name).cloned();
        match found {
            Ok(found) => {
                let own = quoted(&found.name);
                let parts: &[_] = if *name == *found.name { &[] } else { &[(raw_name, own)] };
                let tool = (kind == Kind::Tools).then(|| found.name.clone());
                if tool.as_ref().is_some_and(|tool| self.members[found.member].held.contains(tool)) {
                    return self.refuse_held(&request.id, found.member, &found.name);
                }
                self.dispatch(Dispatch { tool, ..request.to(found.member) }, patched(request.text, parts));
            }
            Err(_) if self.is_single() => self.dispatch(request.to(0), request.line()),
            Err(Unknown::Nobody) if self.may_come(kind) => self.wait_for_owner(request, kind),
            Err(Unknown::Nobody) => self.no_such(request, kind, &name),
            Err(Unknown::Several(names)) => {
                let text = format!("berth: several servers have `{name}`: {}", listed(&names));
                self.refuse(&request.id, INVALID_PARAMS, &text);
            }
        }
    }

    /// Whether somebody may still announce what nobody has announced yet.
    fn may_come(&self, kind: Kind) -> bool {
        !self.is_again && !self.has_told(kind)
    }

    /// A client may know names of a session before this one.
    fn wait_for_owner(&mut self, request: &Request<'_>, kind: Kind) {
        self.seek(kind);
        if kind == Kind::Resources {
            self.seek(Kind::Templates);
        }
        self.wait_for(request.id.clone(), Wanted::Owner(kind, Frame::new(request.line())));
    }

    pub(super) fn look_again(&mut self, frame: &Frame) {
        self.is_again = true;
        if let (Ok(Look::One(envelope)), Ok(text)) =
            (look(frame.message()), std::str::from_utf8(frame.message()))
        {
            self.client_message(&envelope, text);
        }
        self.is_again = false;
    }

    fn no_such(&mut self, request: &Request<'_>, kind: Kind, name: &str) {
        let what = if kind == Kind::Tools { "tool" } else { "prompt" };
        let near = self.table.full_names(kind);
        let shown: String = name.chars().take(128).collect();
        let text = format!("berth: no server has the {what} `{shown}`; there are {}", listed(&near));
        self.refuse(&request.id, INVALID_PARAMS, &text);
    }

    fn complete(&mut self, request: &Request<'_>) {
        let reference = request.param("ref");
        let part = |name| reference.and_then(|reference| raw::member(reference, name));
        match part("type").and_then(raw::string).as_deref() {
            Some("ref/prompt") => self.named(request, Kind::Prompts, part("name"), reference),
            _ => self.uri(request, part("uri").and_then(raw::string)),
        }
    }

    fn resource(&mut self, request: &Request<'_>) {
        let uri = request.text_param("uri");
        if request.method == "resources/read"
            && let Some(uri) = uri.as_deref()
            && let Some(text) = self.instructions_at(uri)
        {
            let era = if request.era() == Era::Modern { "\"resultType\":\"complete\"," } else { "" };
            let contents = serde_json::json!([{ "uri": uri, "mimeType": "text/plain", "text": text }]);
            let result = format!("{{{era}\"contents\":{contents}}}");
            return self.answer(&request.id, line::result(&request.id, &result));
        }
        self.uri(request, uri);
    }

    /// The whole instructions of a member, where they did not fit.
    fn instructions_at(&self, uri: &str) -> Option<String> {
        let of = |member: &&usize| instructions_uri(&self.members[**member].options.label) == uri;
        let member = *self.instructions.cut.iter().find(of)?;
        self.members[member].said.instructions.clone()
    }

    /// A request about a resource, or a template of resources.
    fn uri(&mut self, request: &Request<'_>, uri: Option<Cow<'_, str>>) {
        let Some(uri) = uri else {
            return self.refuse(&request.id, INVALID_PARAMS, "berth: `params.uri` must be a URI");
        };
        let has_resources = |member: &usize| self.members[*member].said.has("resources");
        let candidates: Vec<usize> = (0..self.members.len()).filter(has_resources).collect();
        let owner = self.table.owner(&uri).or_else(|| self.table.template_owner(&uri));
        let only = || match candidates[..] {
            // Nobody else can have it.
            [only] if !self.may_come(Kind::Resources) => Some(only),
            _ => self.is_single().then_some(0),
        };
        let Some(member) = owner.or_else(only) else {
            if self.may_come(Kind::Resources) {
                return self.wait_for_owner(request, Kind::Resources);
            }
            let labels: Vec<String> =
                candidates.iter().map(|member| self.members[*member].options.label.clone()).collect();
            let shown: String = uri.chars().take(256).collect();
            let text = format!(
                "berth: no server has announced the resource `{shown}`; asked were {}",
                listed(&labels)
            );
            return self.refuse(&request.id, INVALID_PARAMS, &text);
        };
        let params = request.params.map_or("{}", Raw::get).to_owned();
        let subscriptions = &mut self.members[member].subscriptions;
        match request.method {
            "resources/subscribe" => drop(subscriptions.insert((uri.into_owned(), params))),
            "resources/unsubscribe" => subscriptions.retain(|(subscribed, _)| *subscribed != *uri),
            _ => {}
        }
        self.dispatch(request.to(member), request.line());
    }

    fn set_level(&mut self, request: &Request<'_>) {
        if !self.members.iter().any(|member| member.said.has("logging")) {
            return self.refuse(&request.id, METHOD_NOT_FOUND, "Method not found");
        }
        let params = request.params.map(|params| params.get().to_owned());
        for member in 0..self.members.len() {
            let it = &self.members[member];
            if it.state == State::Up && it.said.has("logging") {
                self.ask(member, Own::Idle, "logging/setLevel", params.as_deref());
            }
        }
        self.greeting.level = params;
        self.answer(&request.id, line::result(&request.id, &"{}"));
    }

    fn listen(&mut self, request: &Request<'_>) {
        let filter =
            request.param("notifications").and_then(|filter| serde_json::from_str(filter.get()).ok());
        let filter: Value = filter.unwrap_or_default();
        let mut members: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for uri in filter["resourceSubscriptions"].as_array().into_iter().flatten().filter_map(Value::as_str)
        {
            let only = || self.is_single().then_some(0);
            if let Some(member) = self.table.owner(uri).or_else(only) {
                members.entry(member).or_default().push(uri.to_owned());
            }
        }
        let Some(acknowledgement) = self.listens.begin(request.id.clone(), filter, members) else {
            return self.refuse(
                &request.id,
                INVALID_REQUEST,
                "berth: this subscription is open, or too many are",
            );
        };
        self.to_client(None, acknowledgement);
        let Some(key) = request.id.request_id() else { return };
        for member in 0..self.members.len() {
            if self.listens.is_of(&key, member) {
                self.listen_to(member, &key);
            }
        }
    }

    /// Has a member tell of what the client listens to.
    pub(super) fn listen_to(&mut self, member: usize, key: &RequestId) {
        let meta = self.greeting.meta.as_deref().unwrap_or("{}");
        if let Some(line) = self.listens.request(key, member, meta) {
            // One that cannot be had tells nothing.
            drop(self.send(member, None, line));
        }
    }

    /// Tasks go to who made them; of everything else only one member may be meant.
    fn other(&mut self, request: &Request<'_>) {
        let task = request.param("taskId");
        if request.method.starts_with("tasks/")
            && let Some(task) = task
            && let Some((member, own)) = self.made.inward(Of::Task, task.get())
        {
            let line = patched(request.text, &[(task, own.to_owned())]);
            return self.dispatch(request.to(member), line);
        }
        let capability = request.method.split('/').next().unwrap_or_default();
        let able: Vec<usize> =
            (0..self.members.len()).filter(|&at| self.members[at].said.has(capability)).collect();
        match (&able[..], self.is_single()) {
            (_, true) => self.dispatch(request.to(0), request.line()),
            ([only], _) => self.dispatch(request.to(*only), request.line()),
            _ => {
                let text = format!(
                    "berth: `{}` cannot be told to one of several servers",
                    request.method.chars().take(128).collect::<String>()
                );
                self.refuse(&request.id, METHOD_NOT_FOUND, &text);
            }
        }
    }

    fn client_notification(&mut self, envelope: &Envelope<'_>, text: &str) {
        let param = |name| envelope.params.and_then(|params| raw::member(params, name));
        match envelope.method.as_deref().unwrap_or_default() {
            "notifications/initialized" => self.initialized(),
            "notifications/cancelled" => {
                if let Some(id) = param("requestId").and_then(RequestId::from_raw) {
                    self.cancelled(&id, text);
                }
            }
            "notifications/progress" => {
                let Some(token) = param("progressToken") else { return };
                if let Some((member, own)) = self.made.inward(Of::Progress, token.get()) {
                    let line = patched(text, &[(token, own.to_owned())]);
                    self.to_running(member, line);
                }
            }
            method => {
                if method == "notifications/roots/list_changed" {
                    self.asked.roots_changed();
                }
                for member in 0..self.members.len() {
                    self.to_running(member, patched(text, &[]));
                }
            }
        }
    }

    fn to_running(&mut self, member: usize, line: Bytes) {
        if self.members[member].runs() {
            drop(self.send(member, None, line));
        }
    }

    /// The client goes on.
    fn initialized(&mut self) {
        self.greeting.is_initialized = true;
        for member in 0..self.members.len() {
            if self.members[member].state == State::Up && self.members[member].hello.is_some() {
                self.go_on_with(member);
            }
        }
        for (member, frame) in self.asked.take_held() {
            self.member_line(member, &frame);
        }
    }

    fn cancelled(&mut self, id: &RequestId, text: &str) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.id.request_id().as_ref() == Some(id))
        {
            self.waiting.remove(at);
        } else if let Some(members) = self.listens.end(id) {
            for member in members {
                self.to_running(member, patched(text, &[]));
            }
        } else if let Some(open) = self.in_flight.remove(id) {
            self.to_running_or_queue(open.member, patched(text, &[]));
        } else {
            return;
        }
        if let Some(line) = self.batches.forget(id) {
            self.to_client(None, line);
        }
    }

    /// Behind the request that it takes back.
    fn to_running_or_queue(&mut self, member: usize, line: Bytes) {
        if !matches!(self.members[member].state, State::Asleep | State::Over { .. }) {
            drop(self.send(member, None, line));
        }
    }

    /// The client answers what a server has asked. `line` makes the answer under another id.
    fn client_answer(&mut self, id: &RawId, result: Option<Raw<'_>>, line: impl Fn(&RawId) -> Bytes) {
        let Some(key) = id.request_id() else { return };
        match self.asked.answered(&key, result) {
            For::Member(question) => {
                if let Some(token) = &question.token {
                    self.made.forget_token(question.member, token);
                }
                let line = line(&question.id);
                self.to_running(question.member, line);
            }
            For::Roots(waiting) => {
                for (member, own) in waiting {
                    let line = line(&own);
                    self.to_running(member, line);
                }
            }
            For::Nobody => tracing::debug!("an answer of the client's that nobody waits for"),
        }
    }
}

/// What two programs could read differently in a message that is to be routed.
fn ambiguous(text: &str) -> Option<&'static str> {
    let [id, method, params] = members(Raw::parse(text)?, ["id", "method", "params"])?;
    let is_ambiguous = id.is_ambiguous || method.is_ambiguous || params.is_ambiguous;
    is_ambiguous.then_some("`id`, `method` or `params` appears twice or in another spelling")
}

fn kind_of(method: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.method() == method)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
