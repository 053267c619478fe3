//! How a session begins: `initialize` up to 2025-11-25, `server/discover` or nothing since 2026-07-28.

use std::borrow::Cow;

use serde_json::Value;

use super::bridge::Bridge;
use super::core::{Greeting, Mux, Own, Wanted};
use super::hello::Era;
use super::member::State;
use super::requests::{REVISION, Request};
use crate::catalogue::Hello;
use crate::rpc::error_object::INVALID_REQUEST;
use crate::rpc::raw::{self, Raw};
use crate::rpc::{client_info_name, look};

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

impl Mux {
    /// The client speaks the new era, whether it has asked for `server/discover` or not.
    pub(super) fn is_modern(&mut self, request: &Request<'_>) {
        let Some(meta) = request.meta() else { return };
        if self.greeting.meta.is_none() {
            let Ok(mut meta) = serde_json::from_str::<Value>(meta.get()) else { return };
            if let Value::Object(meta) = &mut meta {
                meta.shift_remove("progressToken");
            }
            self.greeting.meta = Some(meta.to_string());
        }
        if request.method == "server/discover" {
            return;
        }
        if self.greeting.params.is_none() {
            self.began(request, Era::Modern);
            self.look_up(&self.order.clone());
        }
        // Whatever it was told, it goes on.
        if self.greeting.era == Era::Modern && !self.greeting.is_answered {
            self.greeting.is_answered = true;
            self.bridge_all();
            for member in self.order.clone() {
                self.check(member);
                if self.members[member].options.is_eager && self.members[member].state == State::Asleep {
                    self.start(member);
                }
            }
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
        let goes_on = self.greeting.params.is_some() && self.greeting.era == era;
        let has_tried = self.greeting.params.is_some() && !goes_on && era == Era::Legacy;
        let mut before = std::mem::take(&mut self.greeting);
        self.greeting = Greeting {
            era,
            params: Some(request.params.map_or("{}", Raw::get).to_owned()),
            revision: revision.and_then(text).unwrap_or_default(),
            client,
            capabilities: capabilities.map_or("{}", Raw::get).to_owned(),
            is_answered: goes_on && before.is_answered,
            is_initialized: goes_on && before.is_initialized,
            level: before.level.take_if(|_| goes_on),
            meta: before.meta.take(),
            ..Greeting::default()
        };
        if has_tried {
            self.tried = Some(before);
        }
    }

    pub(super) fn initialize(&mut self, request: &Request<'_>) {
        if self.greeting.is_answered && self.greeting.era == Era::Legacy {
            return self.refuse(&request.id, INVALID_REQUEST, "berth: the session is initialized already");
        }
        self.began(request, Era::Legacy);
        self.look_up(&self.order.clone());
        for member in self.order.clone() {
            let it = &self.members[member];
            let is_known = matches!(it.hello, Some(Hello::Initialize(_)));
            match it.state {
                // It was asked to `discover`, and may have no answer to that.
                State::Up | State::Greeting => {
                    self.own.retain(|_, (owner, what)| *owner != member || *what != Own::Listen);
                    let it = &mut self.members[member];
                    it.listen_again_at = None;
                    it.is_discovering = false;
                    (it.bridge, it.is_legacy) = (Bridge::Level, false);
                    self.greet(member);
                }
                State::Over { .. } => self.start(member),
                State::Asleep if !is_known || it.options.is_eager => self.start(member),
                State::Asleep | State::Parking => {}
            }
        }
        self.wait_for(request.id.clone(), Wanted::Initialized);
    }

    pub(super) fn discover_for(&mut self, request: &Request<'_>) {
        self.began(request, Era::Modern);
        self.look_up(&self.order.clone());
        let refused = |member: &usize| self.members[*member].hello == Some(Hello::NoDiscover);
        if !self.order.iter().any(refused) {
            for member in self.order.clone() {
                let it = &self.members[member];
                if it.state == State::Asleep && (it.hello.is_none() || it.options.is_eager) {
                    self.start(member);
                }
            }
        }
        self.wait_for(request.id.clone(), Wanted::Discovered);
    }
}
