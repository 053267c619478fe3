//! The borrowed look at one whole message: its kind, its id, its method.
//!
//! Owns the decision what counts as a JSON-RPC message. It validates the line as UTF-8 and as JSON, and builds nothing.
//! It accepts numbers of any size, any nesting, unknown keys and lone surrogate escapes. Of duplicate keys the last
//! wins, as in JSON parsers. It must never refuse a message that a peer's parser may take.
use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;
use thiserror::Error;

use super::raw::{self, Key, Raw};
use super::request_id::{RawId, RequestId};
use super::scan::Scanner;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LookError {
    #[error("invalid UTF-8 at byte {at}")]
    NotUtf8 { at: usize },
    /// `what` says what the parser missed and quotes nothing of the line.
    #[error("invalid JSON at column {column}: {what}")]
    NotJson { what: String, column: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A method and an id that an answer can be matched to.
    Request,
    /// A method without an id; also with `"id": null`, as some peers spell it.
    Notification,
    Response,
    ErrorResponse,
    /// No message, or none that makes sense.
    Other,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Notification => "notification",
            Self::Response => "response",
            Self::ErrorResponse => "error",
            Self::Other => "other",
        }
    }

    /// In a sentence, with its article.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Request => "a request",
            Self::Notification => "a notification",
            Self::Response => "a response",
            Self::ErrorResponse => "an error",
            Self::Other => "a line",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A line that is valid JSON.
#[derive(Debug, Clone)]
pub enum Look<'a> {
    /// Anything but an array; `is_message` says whether it is a message.
    One(Envelope<'a>),
    /// An array: its messages in order. Elements that are none are shown by one `Other`, however many they are,
    /// so that the look stays small beside the line.
    Batch(Vec<Envelope<'a>>),
}

impl<'a> Look<'a> {
    /// Whether the line is JSON-RPC, and so may pass to a client. What is not is a stray print.
    pub fn is_message(&self) -> bool {
        let all = self.envelopes();
        !all.is_empty() && all.iter().all(Envelope::is_message)
    }

    pub fn envelopes(&self) -> &[Envelope<'a>] {
        match self {
            Self::One(envelope) => std::slice::from_ref(envelope),
            Self::Batch(envelopes) => envelopes,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    pub kind: Kind,
    /// As it stands in the message, whatever its type.
    pub id: Option<Raw<'a>>,
    /// Borrowed unless it has escapes; `None` if it is no string.
    pub method: Option<Cow<'a, str>>,
    pub params: Option<Raw<'a>>,
    pub result: Option<Raw<'a>>,
    pub error: Option<Raw<'a>>,
    pub has_jsonrpc: bool,
    is_message: bool,
}

impl Envelope<'_> {
    /// An object with `jsonrpc`, or `method`, or an `id` with a `result` or an `error`.
    pub fn is_message(&self) -> bool {
        self.is_message
    }

    /// The id to look up by. Always there for a `Request`.
    pub fn request_id(&self) -> Option<RequestId> {
        RequestId::from_raw(self.id?)
    }

    /// The id to echo in an answer of ours.
    pub fn raw_id(&self) -> Option<RawId> {
        RawId::from_raw(self.id?)
    }
}

/// Looks at one line, its terminator left off or not. Allocates nothing for a single message without escapes in
/// its method that nests less than 64 levels deep.
///
/// # Errors
/// Where the line is no UTF-8 or no JSON.
pub fn look(line: &[u8]) -> Result<Look<'_>, LookError> {
    let text = std::str::from_utf8(line).map_err(|err| LookError::NotUtf8 { at: err.valid_up_to() })?;
    look_at(text).ok_or_else(|| not_json(text))
}

fn look_at(text: &str) -> Option<Look<'_>> {
    let mut scanner = Scanner::new(text);
    let look = match scanner.peek()? {
        b'{' => Look::One(Members::read(&mut scanner)?.into()),
        b'[' => Look::Batch(batch(&mut scanner)?),
        _ => {
            scanner.value()?;
            Look::One(Members::default().into())
        }
    };
    scanner.end().map(|()| look)
}

/// Why it is none, which the scanner doesn't know.
fn not_json(text: &str) -> LookError {
    let Err(err) = serde_json::from_str::<IgnoredAny>(text) else {
        return LookError::NotJson { what: "unexpected text".to_owned(), column: 0 };
    };
    let column = err.column();
    let mut what = err.to_string();
    if let Some(at) = what.rfind(" at line ") {
        what.truncate(at);
    }
    LookError::NotJson { what, column }
}

fn batch<'a>(scanner: &mut Scanner<'a>) -> Option<Vec<Envelope<'a>>> {
    let mut envelopes: Vec<Envelope<'a>> = Vec::new();
    let mut stray = false;
    scanner.array(|scanner| {
        let mut members = Members::default();
        if scanner.peek()? == b'{' {
            members = Members::read(scanner)?;
        } else {
            scanner.value()?;
        }
        let envelope = Envelope::from(if members.is_message() { members } else { Members::default() });
        if envelope.is_message || !stray {
            stray |= !envelope.is_message;
            envelopes.push(envelope);
        }
        Some(())
    })?;
    Some(envelopes)
}

/// What the client calls itself in this message: `params.clientInfo.name` of an `initialize`, or since 2026-07-28
/// `params._meta["io.modelcontextprotocol/clientInfo"].name` of any request.
pub fn client_info_name(envelope: &Envelope<'_>) -> Option<String> {
    let params = envelope.params?;
    let from_initialize = || {
        if envelope.method.as_deref() == Some("initialize") {
            raw::member(params, "clientInfo")
        } else {
            None
        }
    };
    let from_meta = || raw::member(raw::member(params, "_meta")?, "io.modelcontextprotocol/clientInfo");
    let name = raw::member(from_initialize().or_else(from_meta)?, "name")?;
    raw::string(name).map(Cow::into_owned)
}

/// The members of one object that berth looks at, as they stand.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: bool,
    id: Option<Raw<'a>>,
    method: Option<Raw<'a>>,
    params: Option<Raw<'a>>,
    result: Option<Raw<'a>>,
    error: Option<Raw<'a>>,
}

impl<'a> Members<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut members = Self::default();
        scanner.object(|scanner, key| {
            match raw::key(key) {
                Key::Id => members.id = Some(scanner.text().map(Raw::new)?),
                Key::Method => members.method = Some(scanner.text().map(Raw::new)?),
                Key::Params => members.params = Some(scanner.text().map(Raw::new)?),
                Key::Result => members.result = Some(scanner.text().map(Raw::new)?),
                Key::Error => members.error = Some(scanner.text().map(Raw::new)?),
                known => {
                    scanner.value()?;
                    members.jsonrpc |= known == Key::Jsonrpc;
                }
            }
            Some(())
        })?;
        Some(members)
    }

    fn is_message(&self) -> bool {
        let answer = self.id.is_some() && (self.result.is_some() || self.error.is_some());
        self.jsonrpc || self.method.is_some() || answer
    }

    fn kind(&self) -> Kind {
        let (nameless, named) = match self.id.map(|id| id.get().as_bytes()) {
            None | Some(b"null") => (true, false),
            Some([b'"' | b'-' | b'0'..=b'9', ..]) => (false, true),
            Some(_) => (false, false),
        };
        if !self.is_message() || !(nameless || named) {
            return Kind::Other;
        }
        match (self.method, self.result.is_some(), self.error) {
            (Some(method), ..) if !method.get().starts_with('"') => Kind::Other,
            (Some(_), ..) if named => Kind::Request,
            (Some(_), ..) => Kind::Notification,
            // JSON-RPC 1.0's habit: the member that doesn't apply is there, and null.
            (None, true, Some(error)) if error.get() == "null" => Kind::Response,
            (None, _, Some(_)) => Kind::ErrorResponse,
            (None, true, None) => Kind::Response,
            (None, false, None) => Kind::Other,
        }
    }
}

impl<'a> From<Members<'a>> for Envelope<'a> {
    fn from(members: Members<'a>) -> Self {
        Self {
            kind: members.kind(),
            is_message: members.is_message(),
            id: members.id,
            method: members.method.and_then(raw::string),
            params: members.params,
            result: members.result,
            error: members.error,
            has_jsonrpc: members.jsonrpc,
        }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
