//! The client's identity. Self-reported: it chooses names and labels, never privileges.

use std::borrow::Cow;

use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Kind};

/// The name of a client that says nothing of itself.
const UNKNOWN: &str = "unknown";

/// Names stand in container names, beside `mcp-` and a number.
const MAX_LENGTH: usize = 40;

/// A client's name as containers and labels carry it: lower case, `a-z 0-9 . -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client(String);

impl Client {
    /// What `--client` or `clientInfo.name` says, made fit for a container's name.
    pub fn new(name: &str) -> Self {
        let mut fit = String::with_capacity(name.len());
        for c in name.to_lowercase().chars() {
            match c {
                'a'..='z' | '0'..='9' | '.' => fit.push(c),
                _ if fit.ends_with('-') => {}
                _ => fit.push('-'),
            }
        }
        let fit: String = fit.trim_matches(['-', '.']).chars().take(MAX_LENGTH).collect();
        Self(match fit.trim_end_matches(['-', '.']) {
            "" => UNKNOWN.into(),
            "codex-mcp-client" => "codex".into(),
            fit => fit.into(),
        })
    }

    /// What is known before the client's first message: `--client`, the environment that it gave us, or the program that
    /// it is.
    pub fn from_start(
        flag: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
        parent: impl FnOnce() -> Option<Self>,
    ) -> Option<Self> {
        if let Some(name) = flag {
            return Some(Self::new(name));
        }
        let claude = variable("CLAUDECODE").is_some_and(|value| value == "1")
            || variable("CLAUDE_CODE_SESSION_ID").is_some_and(|value| !value.is_empty());
        if claude { Some(Self::new("claude-code")) } else { parent() }
    }

    /// What the first message says, if anything.
    pub fn from_message(client_info_name: Option<&str>) -> Self {
        Self::new(client_info_name.unwrap_or(UNKNOWN))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a client that calls itself so tells its session no sooner than with a call: Codex.
pub(in crate::session) fn says_its_session_late(client_info_name: Option<&Option<String>>) -> bool {
    client_info_name.and_then(Option::as_deref).is_some_and(|name| name.starts_with("codex"))
}

/// What Codex calls its session: `session_id` in `_meta["x-codex-turn-metadata"]` of a `tools/call`, an object or the JSON of
/// one; `thread_id` where an older one has that alone.
pub(in crate::session) fn session_of_call(request: &Envelope<'_>) -> Option<String> {
    if request.kind != Kind::Request || request.method.as_deref() != Some("tools/call") {
        return None;
    }
    let metadata = raw::member(raw::member(request.params?, "_meta")?, "x-codex-turn-metadata")?;
    let inner = raw::string(metadata).map(Cow::into_owned);
    let metadata = inner.as_deref().map_or(Some(metadata), Raw::parse)?;
    let id = ["session_id", "thread_id"].into_iter().find_map(|key| raw::string(raw::member(metadata, key)?));
    id.map(Cow::into_owned).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Look, look};

    #[test]
    fn codex_tells_its_session_with_its_calls() {
        let said = |line: &str| {
            let Look::One(envelope) = look(line.as_bytes()).unwrap() else { panic!("one message") };
            session_of_call(&envelope)
        };
        let call = |metadata: &str| {
            format!(
                r#"{{"id":1,"method":"tools/call","params":{{"_meta":{{"x-codex-turn-metadata":{metadata}}}}}}}"#
            )
        };
        assert_eq!(said(&call(r#"{"turn_id":"t","session_id":"s","thread_id":"u"}"#)).as_deref(), Some("s"));
        assert_eq!(said(&call(r#""{\"session_id\":\"s\"}""#)).as_deref(), Some("s"));
        assert_eq!(said(&call(r#"{"thread_id":"u"}"#)).as_deref(), Some("u"));
        for nothing in [r#"{"session_id":""}"#, r#"{"session_id":5}"#, "5", r#""no json""#, "[]"] {
            assert_eq!(said(&call(nothing)), None, "{nothing}");
        }
        assert_eq!(said(r#"{"id":1,"method":"tools/call"}"#), None);
        assert_eq!(said(&call(r#"{"session_id":"s"}"#).replace("tools/call", "tools/list")), None);
        let late = |name: &str| says_its_session_late(Some(&Some(name.to_owned())));
        assert!(late("codex-mcp-client") && !late("claude-code") && !says_its_session_late(Some(&None)));
    }

    #[test]
    fn a_name_fits_a_container_whatever_the_client_says() {
        for (said, expected) in [
            ("claude-code", "claude-code"),
            ("codex-mcp-client", "codex"),
            ("Visual Studio Code", "visual-studio-code"),
            ("../../etc", "etc"),
            ("a/b\nc\0d", "a-b-c-d"),
            ("…", "unknown"),
            ("", "unknown"),
            (".-.", "unknown"),
            (&"x".repeat(100), &"x".repeat(40)),
        ] {
            assert_eq!(Client::new(said).as_str(), expected, "{said:?}");
        }
    }

    #[test]
    fn the_flag_goes_before_the_environment_the_program_and_the_message() {
        let claude = |name: &str| (name == "CLAUDECODE").then(|| "1".to_owned());
        let nothing = |_: &str| None;
        let parent = || Some(Client::new("zed"));
        assert_eq!(Client::from_start(Some("ci"), claude, parent), Some(Client::new("ci")));
        assert_eq!(Client::from_start(None, claude, parent), Some(Client::new("claude-code")));
        assert_eq!(Client::from_start(None, nothing, parent), Some(Client::new("zed")));
        assert_eq!(Client::from_start(None, nothing, || None), None);
        assert_eq!(Client::from_message(Some("codex-mcp-client")).as_str(), "codex");
    }
}
