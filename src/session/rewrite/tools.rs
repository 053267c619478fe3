//! Which of a server's tools its client may see and call.
//!
//! `screen` enforces this: a call of any other tool never reaches the server, in any spelling of the message. A message
//! that a server might read differently (a name twice, or in other letters) is refused for that alone. So nothing
//! depends on the server's reading. `filter` only hides: it removes from the lists the tools that cannot be called
//! anyway.

use std::fmt;

use bytes::Bytes;

use super::{Edit, Member, is_like, members};
use crate::config::Settings;
use crate::human::count;
use crate::rpc::error_object::{INVALID_PARAMS, INVALID_REQUEST};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, Frame, Kind, Look, RawId, RequestId, error_line, look};
use crate::values::ToolPattern;

/// Longer names (bytes) are none: MCP advises 128 characters at the most.
const LONGEST_NAME: usize = 1024;

/// Of a name in an error, so many characters.
const SHOWN: usize = 128;

/// The lists of a server.
#[derive(Debug, Clone)]
pub struct ToolRules {
    server: String,
    allowed: Option<Vec<ToolPattern>>,
    denied: Vec<ToolPattern>,
}

/// What of a line from the client may pass.
#[derive(Debug)]
pub(in crate::session) struct Screened {
    pub(in crate::session) refused: Vec<Refusal>,
    pub(in crate::session) passes: Passes,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) enum Passes {
    AsItIs,
    /// A batch without what was refused.
    Line(Bytes),
    Nothing,
}

/// A message that may not pass.
#[derive(Debug)]
pub(in crate::session) struct Refusal {
    pub(in crate::session) id: Option<RawId>,
    pub(in crate::session) kind: Kind,
    pub(in crate::session) why: Why,
}

/// What has become of a line from the server.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) struct Filtered {
    pub(in crate::session) line: Bytes,
    /// For the trace.
    pub(in crate::session) what: String,
}

/// Why a message may not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) enum Why {
    Denied {
        tool: String,
        server: String,
        pattern: String,
    },
    NotAllowed {
        tool: String,
        server: String,
    },
    /// A call of nothing that could be a tool.
    NoTool,
    Ambiguous(&'static str),
}

impl Why {
    pub(in crate::session) fn code(&self) -> i64 {
        match self {
            Self::Denied { .. } | Self::NotAllowed { .. } | Self::NoTool => INVALID_PARAMS,
            Self::Ambiguous(_) => INVALID_REQUEST,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { tool, server, pattern } => write!(
                f,
                "berth: the tool `{tool}` of the server `{server}` is forbidden by `deny_tools` (\"{pattern}\") in its \
                 configuration"
            ),
            Self::NotAllowed { tool, server } => write!(
                f,
                "berth: the tool `{tool}` of the server `{server}` is not allowed by `tools` in its configuration"
            ),
            Self::NoTool => f.write_str("berth: `params.name` names no tool"),
            Self::Ambiguous(what) => {
                write!(f, "berth: {what}; a server with `tools` or `deny_tools` gets no ambiguous message")
            }
        }
    }
}

impl ToolRules {
    /// `None` where all tools are allowed.
    pub fn of(server: &str, settings: &Settings) -> Option<Self> {
        let Settings { tools: allowed, deny_tools: denied, .. } = settings;
        (allowed.is_some() || !denied.is_empty()).then(|| Self {
            server: server.to_owned(),
            allowed: allowed.clone(),
            denied: denied.clone(),
        })
    }

    /// Finds what of a line from the client may not pass.
    pub(in crate::session) fn screen(&self, frame: &Frame, seen: &Look<'_>) -> Screened {
        let message = frame.message();
        let is_split = memchr::memchr(b'\r', message).is_some();
        let refusal =
            |envelope: &Envelope<'_>, why| Refusal { id: envelope.raw_id(), kind: envelope.kind, why };
        if is_split {
            // Blank to JSON, and the end of a line to who reads lines as Python does.
            let why = Why::Ambiguous("the line has a carriage return in its middle");
            let refused = seen.envelopes().iter().map(|envelope| refusal(envelope, why.clone())).collect();
            return Screened { refused, passes: Passes::Nothing };
        }
        let Some((text, whole)) = parse(message) else {
            return Screened { refused: Vec::new(), passes: Passes::AsItIs };
        };
        match seen {
            Look::One(envelope) => match self.why_not(whole) {
                Some(why) => Screened { refused: vec![refusal(envelope, why)], passes: Passes::Nothing },
                None => Screened { refused: Vec::new(), passes: Passes::AsItIs },
            },
            Look::Batch(_) => {
                let (mut edit, mut refused, mut kept) = (Edit::new(text), Vec::new(), 0);
                edit.retain(whole, |element| {
                    let Some(why) = self.why_not(element) else {
                        kept += 1;
                        return true;
                    };
                    if let Ok(Look::One(envelope)) = look(element.get().as_bytes()) {
                        refused.push(refusal(&envelope, why));
                    }
                    false
                });
                let line = edit.finish(&frame.wire()[message.len()..]);
                let passes = match line {
                    None => Passes::AsItIs,
                    Some(_) if kept == 0 => Passes::Nothing,
                    Some(line) => Passes::Line(line),
                };
                Screened { refused, passes }
            }
        }
    }

    /// Why one message from the client may not pass.
    fn why_not(&self, message: Raw<'_>) -> Option<Why> {
        let Some([id, method, params]) = members(message, ["id", "method", "params"]) else {
            return Some(Why::Ambiguous("the message is not an object"));
        };
        if id.is_ambiguous || method.is_ambiguous || params.is_ambiguous {
            return Some(Why::Ambiguous("`id`, `method` or `params` appears twice or in another spelling"));
        }
        let method = method.text()?;
        match method.as_str() {
            "tools/call" => {}
            "tools/list" => return None,
            other if is_like(other.trim(), "tools/call") || is_like(other.trim(), "tools/list") => {
                return Some(Why::Ambiguous("the method is an MCP method in another spelling"));
            }
            _ => return None,
        }
        let Some([name]) = params.object().and_then(|params| members(params, ["name"])) else {
            return Some(Why::NoTool);
        };
        if name.is_ambiguous {
            return Some(Why::Ambiguous("`params.name` appears twice or in another spelling"));
        }
        self.forbids(name)
    }

    /// Why a tool of this name may be neither called nor shown.
    fn forbids(&self, name: Member<'_>) -> Option<Why> {
        let Some(name) = name.text().filter(|name| is_name(name)) else { return Some(Why::NoTool) };
        let (tool, server) = (|| name.chars().take(SHOWN).collect(), || self.server.clone());
        if let Some(pattern) = self.denied.iter().find(|pattern| pattern.matches(&name)) {
            return Some(Why::Denied { tool: tool(), server: server(), pattern: pattern.to_string() });
        }
        let is_allowed = |allowed: &Vec<ToolPattern>| allowed.iter().any(|pattern| pattern.matches(&name));
        let is_allowed = self.allowed.as_ref().is_none_or(is_allowed);
        (!is_allowed).then(|| Why::NotAllowed { tool: tool(), server: server() })
    }

    /// Leaves out of a line from the server the tools that its client may not call; `None` if there are none. `may_list`
    /// tells whether the answer with this id may be a list of tools.
    pub(in crate::session) fn filter(
        &self,
        frame: &Frame,
        may_list: impl Fn(Option<&RequestId>) -> bool,
    ) -> Option<Filtered> {
        let (text, whole) = parse(frame.message())?;
        let (mut edit, mut left_out, mut broken) = (Edit::new(text), 0_usize, 0_usize);
        let mut one = |message| match self.filter_one(&mut edit, message, &may_list) {
            Some(tools) => left_out += tools,
            None => broken += 1,
        };
        if whole.get().starts_with('[') {
            raw::elements(whole, one)?;
        } else {
            one(whole);
        }
        let line = edit.finish(b"\n")?;
        let mut what = count(left_out, "tool");
        if broken > 0 {
            what = format!("{what}, {}", count(broken, "ambiguous list"));
        }
        Some(Filtered { line, what })
    }

    /// How many tools are left out of one message; `None` if it was replaced by an error.
    fn filter_one<'a>(
        &self,
        edit: &mut Edit<'a>,
        message: Raw<'a>,
        may_list: &impl Fn(Option<&RequestId>) -> bool,
    ) -> Option<usize> {
        let Some([id, result]) = members(message, ["id", "result"]) else { return Some(0) };
        let asked = id.value.and_then(RequestId::from_raw);
        if result.is_absent() || (!id.is_ambiguous && !may_list(asked.as_ref())) {
            return Some(0);
        }
        let tools = match result.value.map(|result| members(result, ["tools"])) {
            Some(Some([tools])) => tools,
            // No object, and so no list.
            Some(None) if !id.is_ambiguous && !result.is_ambiguous => return Some(0),
            _ => Member { value: None, is_ambiguous: true },
        };
        let is_clear = !id.is_ambiguous && !result.is_ambiguous && !tools.is_ambiguous;
        if is_clear && tools.is_absent() {
            return Some(0);
        }
        let array = tools.value.filter(|tools| is_clear && tools.get().starts_with('['));
        if let Some(array) = array {
            return edit.retain(array, |tool| match members(tool, ["name"]) {
                Some([name]) => !name.is_ambiguous && self.forbids(name).is_none(),
                None => false,
            });
        }
        let place = message.place(edit.text)?;
        let why = "berth: the server's list of tools is ambiguous, and may hide a forbidden tool";
        let id = id.value.and_then(RawId::from_raw);
        edit.replace(place, error_line(id.as_ref(), INVALID_REQUEST, why, None).trim_ascii_end());
        None
    }
}

fn parse(message: &[u8]) -> Option<(&str, Raw<'_>)> {
    let text = std::str::from_utf8(message).ok()?;
    Some((text, Raw::parse(text)?))
}

/// What every server takes for the same name: nothing that one trims, cuts off or replaces.
fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    (1..=LONGEST_NAME).contains(&name.len()) && name.trim() == name && !name.contains(odd)
}

#[cfg(test)]
mod tests;
