//! The lines that the multiplexer writes itself, and the pieces that it replaces in others' lines.

use std::fmt::Display;

use bytes::Bytes;
use serde_json::Value;

use crate::rpc::RawId;
use crate::rpc::raw::Raw;
use crate::session::rewrite::Edit;

/// JSON-RPC 2.0: there is no such method.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// A request of ours. `params` is JSON.
pub(super) fn request(id: &str, method: &str, params: Option<&str>) -> Bytes {
    let params = params.map(|params| format!(",\"params\":{params}")).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"method\":\"{method}\"{params}}}\n").into()
}

pub(super) fn notification(method: &str, params: Option<&Value>) -> Bytes {
    let params = params.map(|params| format!(",\"params\":{params}")).unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"{params}}}\n").into()
}

/// An answer; `result` is JSON.
pub(super) fn result(id: &RawId, result: &impl Display) -> Bytes {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n").into()
}

/// An answer with an error object that another answer had.
pub(super) fn error(id: &RawId, error: &str) -> Bytes {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n").into()
}

/// `text`, a line without its end, with other JSON in the place of some of its parts; the parts stand in their order.
pub(super) fn patched(text: &str, parts: &[(Raw<'_>, String)]) -> Bytes {
    let mut edit = Edit::new(text);
    for (part, with) in parts {
        if let Some(place) = part.place(text) {
            edit.replace(place, with.as_bytes());
        }
    }
    edit.finish(b"\n").unwrap_or_else(|| [text.as_bytes(), b"\n"].concat().into())
}

/// As a JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
