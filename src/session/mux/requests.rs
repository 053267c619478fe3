//! The client's requests: whose each of them is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::core::{Dispatch, Mux, Own, Wanted};
use super::hello::{Era, instructions_uri};
use super::line::{self, METHOD_NOT_FOUND, patched, quoted};
use super::made::Of;
use super::member::{Member, State};
use super::table::Unknown;
use crate::catalogue::pages::Kind;
use crate::rpc::error_object::{INVALID_PARAMS, INVALID_REQUEST};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Frame, Look, RawId, RequestId, look};
use crate::session::rewrite::members;
use crate::values::full_name;

/// A request of the new era has its revision here.
pub(super) const REVISION: &str = "io.modelcontextprotocol/protocolVersion";

/// A client has a handful.
const MOST_SUBSCRIPTIONS: usize = 1024;

/// So many full names stand in an error.
const SHOWN: usize = 20;

/// A request, taken apart.
pub(super) struct Request<'a> {
    /// The whole message.
    pub(super) text: &'a str,
    pub(super) id: RawId,
    pub(super) method: &'a str,
    pub(super) params: Option<Raw<'a>>,
}

impl<'a> Request<'a> {
    pub(super) fn param(&self, name: &str) -> Option<Raw<'a>> {
        raw::member(self.params?, name)
    }

    pub(super) fn text_param(&self, name: &str) -> Option<Cow<'a, str>> {
        raw::string(self.param(name)?)
    }

    pub(super) fn meta(&self) -> Option<Raw<'a>> {
        self.param("_meta")
    }

    pub(super) fn token(&self) -> Option<String> {
        let token = raw::member(self.meta()?, "progressToken")?;
        RequestId::from_raw(token).map(|_| token.get().to_owned())
    }

    pub(super) fn era(&self) -> Era {
        match self.meta().and_then(|meta| raw::member(meta, REVISION)) {
            Some(_) => Era::Modern,
            None => Era::Legacy,
        }
    }

    pub(super) fn to(&self, member: usize) -> Dispatch {
        Dispatch { member, id: self.id.clone(), tool: None, subscribes: None, token: self.token() }
    }

    /// As it came.
    pub(super) fn line(&self) -> Bytes {
        patched(self.text, &[])
    }
}

impl Mux {
    pub(super) fn request(&mut self, request: &Request<'_>) {
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
        let found = match self.table.named(kind, &name, false) {
            Err(Unknown::Nobody) if self.may_be_bare(kind, &name) => self.table.named(kind, &name, true),
            found => found,
        };
        let found = found.cloned();
        match found {
            Ok(found) => {
                let own = quoted(&found.name);
                let parts: &[_] = if *name == *found.name { &[] } else { &[(raw_name, own)] };
                let tool = (kind == Kind::Tools).then(|| found.name.clone());
                if tool.as_ref().is_some_and(|tool| self.is_held(found.member, tool)) {
                    return self.refuse_held(&request.id, found.member, &found.name);
                }
                self.dispatch(Dispatch { tool, ..request.to(found.member) }, patched(request.text, parts));
            }
            Err(_) if self.is_single() => {
                let tool = (kind == Kind::Tools).then(|| name.into_owned());
                self.dispatch(Dispatch { tool, ..request.to(0) }, request.line());
            }
            Err(Unknown::Nobody) if self.gone.contains_key(&*name) => {
                let error = self.gone_error(self.gone[&*name]);
                self.answer(&request.id, line::error(&request.id, &error));
            }
            Err(Unknown::Nobody) if self.may_come(kind) => self.wait_for_owner(request, kind),
            Err(Unknown::Nobody) => self.no_such(request, kind, &name),
            Err(Unknown::Several(names)) => {
                let text = format!("berth: several servers have `{name}`: {}", listed(&names));
                self.refuse(&request.id, INVALID_PARAMS, &text);
            }
        }
    }

    /// Whether a server's own name may be meant: all have told theirs, and it is not made like a full one.
    fn may_be_bare(&self, kind: Kind, name: &str) -> bool {
        let is_known = |member: &Member| member.lists[kind as usize].is_some();
        let is_full = |member: &Member| {
            let label = full_name::plain(&member.options.label);
            name.strip_prefix(&label).is_some_and(|rest| rest.starts_with("__"))
        };
        self.present().all(is_known) && !self.present().any(is_full)
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
            && !self.is_single()
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
        let candidates: Vec<usize> = self.order.iter().copied().filter(has_resources).collect();
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
        let mut subscribes = None;
        let subscriptions = &mut self.members[member].subscriptions;
        match request.method {
            "resources/subscribe" if subscriptions.len() < MOST_SUBSCRIPTIONS => {
                subscribes = Some(uri.to_string());
                subscriptions.insert(uri.into_owned(), params);
            }
            "resources/unsubscribe" => drop(subscriptions.remove(&*uri)),
            _ => {}
        }
        self.dispatch(Dispatch { subscribes, ..request.to(member) }, request.line());
    }

    fn set_level(&mut self, request: &Request<'_>) {
        if !self.present().any(|member| member.said.has("logging")) {
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
        let mut filter = filter;
        let mut members: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        if let Some(uris) = filter.get_mut("resourceSubscriptions").and_then(Value::as_array_mut) {
            let only = self.is_single().then_some(0);
            let owner = |uri: &Value| self.table.owner(uri.as_str()?).or(only);
            if uris.iter().any(|uri| owner(uri).is_none()) && self.may_come(Kind::Resources) {
                return self.wait_for_owner(request, Kind::Resources);
            }
            // What nobody has is not acknowledged.
            uris.retain(|uri| owner(uri).is_some());
            for uri in uris {
                if let (Some(member), Some(uri)) = (owner(uri), uri.as_str()) {
                    members.entry(member).or_default().push(uri.to_owned());
                }
            }
        }
        let Some(acknowledgement) = self.listens.begin(request.id.clone(), filter, members) else {
            return self.refuse(
                &request.id,
                INVALID_REQUEST,
                "berth: this subscription is open, or too many are",
            );
        };
        self.tell_client(None, acknowledgement);
        let Some(key) = request.id.request_id() else { return };
        for member in 0..self.members.len() {
            if self.listens.is_of(&key, member) {
                self.listen_to(member, &key);
            }
        }
    }

    /// Has a member tell of what the client listens to.
    pub(super) fn listen_to(&mut self, member: usize, key: &RequestId) {
        // One that is about to say who it is is listened to then.
        let it = &mut self.members[member];
        if it.is_discovering || it.listening.contains(key) {
            return;
        }
        let meta = self.greeting.meta.as_deref().unwrap_or("{}");
        if let Some(line) = self.listens.request(key, member, meta) {
            let is_asleep = self.members[member].state == State::Asleep;
            // One that cannot be had tells nothing.
            let is_sent = self.send(member, None, line).is_ok();
            if is_sent && !is_asleep {
                self.members[member].listening.insert(key.clone());
            }
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
            self.order.iter().copied().filter(|&at| self.members[at].said.has(capability)).collect();
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
