//! The client's words that a new server must hear first.
//!
//! Up to revision 2025-11-25 a session begins with a handshake (specification, «Lifecycle»), and some requests hold
//! until they are taken back. Since 2026-07-28 there is neither: then nothing is kept, and nothing repeated.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use serde_json::Value;

use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Kind, RawId, RequestId};

/// Subscriptions beyond this number are not repeated; a client has a handful.
const SUBSCRIPTIONS: usize = 1024;

/// Capabilities longer than this (bytes) are none that we compare: parsed, they take many times the room.
const CAPABILITIES: usize = 64 << 10;

/// The features whose lists a client may have kept, by their names in the capabilities.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// As it has no parameters, every client's is the same.
const INITIALIZED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";

/// What holds at the moment.
#[derive(Debug, Default)]
pub struct Handshake {
    /// The one that a server has answered with a result.
    initialize: Option<Initialize>,
    /// The one that no server has answered yet.
    offered: Option<Offered>,
    initialized: bool,
    /// The `params` of the last `logging/setLevel`.
    level: Option<String>,
    /// The `params` of `resources/subscribe`, by URI.
    subscriptions: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Offered {
    id: RawId,
    line: Bytes,
}

#[derive(Debug)]
struct Initialize {
    offered: Offered,
    /// What the client knows of its server.
    agreed: Agreed,
}

/// What a server's answer to `initialize` says.
#[derive(Debug, PartialEq, Eq)]
struct Agreed {
    capabilities: Value,
    revision: Option<String>,
}

/// What a new server is told, once it is there.
#[derive(Debug)]
pub struct Script {
    /// As the client spelt it, like the rest of the line.
    pub(super) id: RawId,
    pub(super) initialize: Bytes,
    /// What follows the answer, line by line.
    pub(super) rest: Bytes,
    /// The ids in it, which are ours.
    pub(super) ids: Vec<RawId>,
}

/// What becomes of the session when a new server has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    /// Lines for the client: what it has kept may have changed.
    pub(super) notifications: Bytes,
    /// How the new server differs.
    pub(super) difference: Option<String>,
}

impl Handshake {
    /// Whether a message from the client may matter to a later server.
    pub(super) fn concerns(envelope: &Envelope<'_>) -> bool {
        const METHODS: [&str; 5] = [
            "initialize",
            "notifications/initialized",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
        ];
        envelope.method.as_deref().is_some_and(|method| METHODS.contains(&method))
    }

    /// Takes note of a message from the client.
    pub(super) fn client_said(&mut self, envelope: &Envelope<'_>, line: &Bytes) {
        let params = || envelope.params.map(|params| params.get().to_owned());
        let uri = || envelope.params.and_then(|params| raw::string(raw::member(params, "uri")?));
        match (envelope.method.as_deref(), envelope.kind) {
            (Some("initialize"), Kind::Request) => {
                if let Some(id) = envelope.raw_id() {
                    self.offered = Some(Offered { id, line: line.clone() });
                }
            }
            (Some("notifications/initialized"), _) => self.initialized = true,
            (Some("logging/setLevel"), Kind::Request) => self.level = params(),
            (Some("resources/subscribe"), Kind::Request) => {
                if let (Some(uri), Some(params)) = (uri(), params())
                    && (self.subscriptions.len() < SUBSCRIPTIONS || self.subscriptions.contains_key(&*uri))
                {
                    self.subscriptions.insert(uri.into_owned(), params);
                }
            }
            (Some("resources/unsubscribe"), Kind::Request) => {
                uri().and_then(|uri| self.subscriptions.remove(&*uri));
            }
            _ => {}
        }
    }

    /// Takes note of an answer of the server's, if it is the one to `initialize`.
    pub(super) fn server_answered(&mut self, id: &RequestId, kind: Kind, message: &[u8]) {
        let Some(offered) = self.offered.take_if(|offered| offered.id.request_id().as_ref() == Some(id))
        else {
            return;
        };
        // One that is refused changes nothing: the client may try once more, or was welcome already.
        if kind == Kind::Response {
            self.initialize = Some(Initialize { offered, agreed: Agreed::of(message) });
        }
    }

    /// The line of an `initialize` with this id that no server has answered yet, where no server has welcomed the client
    /// before. It does nothing but begin, so another server may be asked in its turn.
    pub(super) fn unanswered(&self, id: &RawId) -> Option<Bytes> {
        let offered = self.offered.as_ref().filter(|_| self.initialize.is_none());
        offered.filter(|offered| offered.id == *id).map(|offered| offered.line.clone())
    }

    /// What a new server is to be told; `None` where the client has not been welcomed by the last one, or needn't be.
    pub(super) fn script(&self) -> Option<Script> {
        let Offered { id, line } = &self.initialize.as_ref()?.offered;
        let mut script =
            Script { id: id.clone(), initialize: line.clone(), rest: Bytes::new(), ids: Vec::new() };
        let mut rest = Vec::new();
        if self.initialized {
            rest.extend_from_slice(INITIALIZED);
            let level = self.level.iter().map(|params| ("logging/setLevel", params));
            let subscriptions = self.subscriptions.values().map(|params| ("resources/subscribe", params));
            for (n, (method, params)) in level.chain(subscriptions).enumerate() {
                let id = format!("\"berth-again-{n}\"");
                script.ids.extend(Raw::parse(&id).and_then(RawId::from_raw));
                let line = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n"
                );
                rest.extend_from_slice(line.as_bytes());
            }
        }
        script.rest = rest.into();
        Some(script)
    }

    /// What the new server's answer to `initialize` means for the client.
    ///
    /// # Errors
    /// Why the session can't go on with this server.
    pub(super) fn welcome(&self, kind: Kind, message: &[u8]) -> Result<Welcome, String> {
        if kind != Kind::Response {
            return Err("it refuses the handshake that the lost server had accepted".to_owned());
        }
        let now = Agreed::of(message);
        let Some(Initialize { agreed, .. }) = &self.initialize else {
            return Err("the lost server had finished no handshake".to_owned());
        };
        // Both sides keep to the revision that was negotiated (specification, «Lifecycle»), and the client knows the first.
        if agreed.revision != now.revision {
            let said = |revision: &Option<String>| revision.as_deref().unwrap_or("nothing").to_owned();
            let (before, now) = (said(&agreed.revision), said(&now.revision));
            return Err(format!("it speaks another protocol revision, `{now}` instead of `{before}`"));
        }
        let (known, now) = (&agreed.capabilities, now.capabilities);
        let mut notifications = String::new();
        for list in LISTS.into_iter().filter(|list| known[list]["listChanged"] == true) {
            let _ = writeln!(
                notifications,
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{list}/list_changed\"}}"
            );
        }
        let difference = (*known != now).then(|| format!("{known} before, {now} now"));
        Ok(Welcome { notifications: notifications.into(), difference })
    }
}

impl Agreed {
    fn of(message: &[u8]) -> Self {
        let result =
            std::str::from_utf8(message).ok().and_then(|text| raw::member(Raw::parse(text)?, "result"));
        let found = |key| result.and_then(|result| raw::member(result, key));
        let short = |found: &Raw<'_>| found.get().len() <= CAPABILITIES;
        let value = found("capabilities").filter(short);
        Self {
            capabilities: value.and_then(|found| serde_json::from_str(found.get()).ok()).unwrap_or_default(),
            revision: found("protocolVersion").filter(short).and_then(raw::string).map(Cow::into_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Look, look};

    const INITIALIZE: &str = "{\"jsonrpc\":\"2.0\", \"id\":0,\"method\":\"initialize\",\"params\":{}}\n";
    const ANSWER: &[u8] =
        br#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"prompts":{}}}}"#;

    fn say(handshake: &mut Handshake, line: &'static str) {
        let Look::One(envelope) = look(line.as_bytes()).unwrap() else { panic!("one message") };
        handshake.client_said(&envelope, &Bytes::from_static(line.as_bytes()));
    }

    fn answer(handshake: &mut Handshake, message: &[u8]) {
        let Look::One(envelope) = look(message).unwrap() else { panic!("one message") };
        handshake.server_answered(&envelope.request_id().unwrap(), envelope.kind, message);
    }

    fn welcomed() -> Handshake {
        let mut handshake = Handshake::default();
        say(&mut handshake, INITIALIZE);
        answer(&mut handshake, ANSWER);
        say(&mut handshake, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
        handshake
    }

    #[test]
    fn what_holds_is_repeated_and_what_was_taken_back_is_not() {
        let mut handshake = welcomed();
        for line in [
            r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a:1"}}"#,
            r#"{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a:2"}}"#,
            r#"{"jsonrpc":"2.0","id":4,"method":"logging/setLevel","params":{"level":"debug"}}"#,
            r#"{"jsonrpc":"2.0","id":5,"method":"resources/unsubscribe","params":{"uri":"a:1"}}"#,
            r#"{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"x"}}"#,
        ] {
            say(&mut handshake, line);
        }
        let script = handshake.script().unwrap();
        assert_eq!(script.initialize, INITIALIZE, "as it came");
        assert_eq!(
            String::from_utf8_lossy(&script.rest),
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n\
             {\"jsonrpc\":\"2.0\",\"id\":\"berth-again-0\",\"method\":\"logging/setLevel\",\"params\":{\"level\":\"debug\"}}\n\
             {\"jsonrpc\":\"2.0\",\"id\":\"berth-again-1\",\"method\":\"resources/subscribe\",\"params\":{\"uri\":\"a:2\"}}\n"
        );
        assert_eq!(script.ids.len(), 2);
    }

    #[test]
    fn who_was_not_welcomed_begins_anew() {
        let mut handshake = Handshake::default();
        assert!(handshake.script().is_none(), "there is no handshake in the new era");
        say(&mut handshake, INITIALIZE);
        assert!(handshake.script().is_none(), "its answer was an error of ours; the client asks again");
        answer(&mut handshake, br#"{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"no"}}"#);
        answer(&mut handshake, ANSWER);
        assert!(handshake.script().is_none(), "refused");
        assert!(welcomed().script().is_some());
    }

    #[test]
    fn the_client_hears_of_lists_that_it_was_promised_news_of() {
        let handshake = welcomed();
        let changed = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
        let welcome = |message: &[u8]| handshake.welcome(Kind::Response, message);
        assert_eq!(welcome(ANSWER), Ok(Welcome { notifications: changed.into(), difference: None }));
        let other =
            br#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}}"#;
        let welcome = welcome(other).unwrap();
        assert_eq!(welcome.notifications, changed, "it is the client that was promised");
        assert!(welcome.difference.unwrap().contains(r#"{"tools":{}} now"#));
    }

    #[test]
    fn capabilities_without_an_end_are_not_kept() {
        let mut handshake = Handshake::default();
        say(&mut handshake, INITIALIZE);
        let endless = format!("[{}0]", "0,".repeat(CAPABILITIES / 2));
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":0,"result":{{"capabilities":{{"tools":{endless}}}}}}}"#);
        answer(&mut handshake, message.as_bytes());
        assert!(handshake.script().is_some(), "welcomed all the same");
        assert_eq!(handshake.initialize.unwrap().agreed.capabilities, Value::Null);
    }

    #[test]
    fn a_server_that_refuses_or_speaks_otherwise_is_none_to_go_on_with() {
        let handshake = welcomed();
        let refusal = br#"{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"not yet"}}"#;
        assert!(handshake.welcome(Kind::ErrorResponse, refusal).unwrap_err().contains("refuses"));
        let other =
            br#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2024-11-05","capabilities":{}}}"#;
        let wrong = handshake.welcome(Kind::Response, other).unwrap_err();
        assert!(wrong.contains("`2024-11-05` instead of `2025-11-25`"), "{wrong}");
    }

    #[test]
    fn a_second_initialize_that_is_refused_leaves_the_first() {
        let mut handshake = welcomed();
        say(&mut handshake, r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"again":1}}"#);
        answer(&mut handshake, br#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"already"}}"#);
        assert_eq!(handshake.script().unwrap().initialize, INITIALIZE);
    }
}
