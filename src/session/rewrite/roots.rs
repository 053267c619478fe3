//! Translates the client's folders that the server asks for (`roots/list`) to their names in its container.
//!
//! berth changes only the client's answer, and in it only the `file:` URIs. Up to 2025-11-25 that is the answer to the
//! server's own `roots/list`; since 2026-07-28 the `inputResponses` of a repeated request. The way back needs no
//! translation: the request has no paths, and other messages with paths are not this message. A folder outside the
//! container is left out, because its name may mean another folder there.

mod mounted;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

pub use mounted::mappings;

use super::{Edit, Fate};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Kind, Look, RequestId};

/// What can't stand in the path of a URI as it is (WHATWG URL, «path percent-encode set»), and `\`, which ends a JSON string
/// too early or is taken for a `/`.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// A folder of the host that a container has, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootsMapping {
    pub host: PathBuf,
    pub container: PathBuf,
}

/// The folders that a server has.
#[derive(Debug, Clone)]
pub struct RootRules {
    /// The innermost ones first.
    mappings: Vec<RootsMapping>,
}

/// What a root is to the server.
#[derive(Debug, PartialEq, Eq)]
enum Translated {
    /// A URI, fit to stand in quotes.
    Is(String),
    /// It has no such folder.
    Nowhere,
    /// No file's URI.
    Other,
}

impl RootRules {
    /// `None` where nothing is mounted.
    pub fn of(mut mappings: Vec<RootsMapping>) -> Option<Self> {
        mappings.sort_by_key(|mapping| std::cmp::Reverse(mapping.host.components().count()));
        (!mappings.is_empty()).then_some(Self { mappings })
    }

    /// A line from the client with its roots translated; `None` if there are none. `asked` tells whether the server's request
    /// of this id was `roots/list`.
    pub(in crate::session) fn translate<'a>(
        &self,
        line: &'a Bytes,
        seen: &Look<'a>,
        asked: impl Fn(&RequestId) -> bool,
    ) -> Option<Bytes> {
        let text = std::str::from_utf8(line).ok()?;
        let mut edit = Edit::new(text);
        for envelope in seen.envelopes() {
            match envelope.kind {
                Kind::Response if envelope.request_id().is_some_and(|id| asked(&id)) => {
                    let result = envelope.result.and_then(|result| raw::member(result, "roots"));
                    self.translate_list(&mut edit, result);
                }
                Kind::Request => {
                    let responses = envelope.params.and_then(|params| raw::member(params, "inputResponses"));
                    // An answer to something else has no list of roots.
                    let list = |_, response| self.translate_list(&mut edit, raw::member(response, "roots"));
                    responses.and_then(|responses| raw::members(responses, list));
                }
                _ => {}
            }
        }
        edit.finish(b"")
    }

    fn translate_list<'a>(&self, edit: &mut Edit<'a>, roots: Option<Raw<'a>>) {
        let Some(roots) = roots else { return };
        edit.sift(roots, |root| {
            let Some(uri) = raw::member(root, "uri") else { return Fate::Stays };
            let Some(translated) = raw::string(uri).map(|uri| self.translate_uri(&uri)) else {
                return Fate::Stays;
            };
            match translated {
                Translated::Is(new) => Fate::Becomes(uri, format!("\"{new}\"")),
                Translated::Nowhere => Fate::Goes,
                Translated::Other => Fate::Stays,
            }
        });
    }

    fn translate_uri(&self, uri: &str) -> Translated {
        let Some((scheme, rest)) = uri.split_once(':') else { return Translated::Other };
        if !scheme.eq_ignore_ascii_case("file") {
            return Translated::Other;
        }
        let path = match rest.strip_prefix("//") {
            None => Some(rest),
            Some(rest) => rest.find('/').and_then(|slash| {
                let (host, path) = rest.split_at(slash);
                (host.is_empty() || host.eq_ignore_ascii_case("localhost")).then_some(path)
            }),
        };
        let Some(path) = path.filter(|path| path.starts_with('/')) else { return Translated::Nowhere };
        // Some clients put a path behind `file://` without encoding it, a `#` included.
        let before_query = path.split(['?', '#']).next().unwrap_or(path);
        let found = self.translate_path(before_query).or_else(|| self.translate_path(path));
        found.map_or(Translated::Nowhere, Translated::Is)
    }

    fn translate_path(&self, encoded: &str) -> Option<String> {
        let decoded: Vec<u8> = percent_decode_str(encoded).collect();
        let path = Path::new(OsStr::from_bytes(&decoded));
        if path.components().any(|component| component == Component::ParentDir) {
            return None;
        }
        let inside = |mapping: &RootsMapping| {
            path.strip_prefix(&mapping.host).ok().map(|rest| mapping.container.join(rest))
        };
        let translated = self.mappings.iter().find_map(inside)?;
        let bytes = translated.as_os_str().as_bytes();
        // `join` leaves one behind an empty rest.
        let bytes = bytes.strip_suffix(b"/").filter(|bytes| !bytes.is_empty()).unwrap_or(bytes);
        let slash = if encoded.ends_with('/') && bytes != b"/" { "/" } else { "" };
        Some(format!("file://{}{slash}", percent_encode(bytes, ENCODED)))
    }
}

#[cfg(test)]
mod tests;
