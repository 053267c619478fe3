//! berth's own answers: JSON-RPC error responses, one line each.
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::request_id::RawId;
use crate::failure::Failure;

/// JSON-RPC 2.0: invalid JSON was received.
pub const PARSE_ERROR: i64 = -32700;
/// JSON-RPC 2.0: the JSON is no valid request. Ours for lines over the limit too.
pub const INVALID_REQUEST: i64 = -32600;

/// JSON-RPC 2.0: the parameters don't fit the method; MCP's code for a tool that there isn't.
pub const INVALID_PARAMS: i64 = -32602;

/// The complete line, newline included. The id is spelt as it came, `null` without one.
pub fn error_line(id: Option<&RawId>, code: impl Into<i64>, message: &str, data: Option<Value>) -> Bytes {
    let mut error = Map::new();
    error.insert("code".into(), code.into().into());
    error.insert("message".into(), message.into());
    if let Some(data) = data {
        error.insert("data".into(), data);
    }
    let mut line = BytesMut::new();
    line.put_slice(br#"{"jsonrpc":"2.0","id":"#);
    line.put_slice(id.map_or(b"null", RawId::as_bytes));
    line.put_slice(br#","error":"#);
    line.put_slice(Value::Object(error).to_string().as_bytes());
    line.put_slice(b"}\n");
    line.freeze()
}

/// The answer to a request that can't be served, as one line.
pub fn failure_response(id: Option<&RawId>, failure: &Failure) -> Bytes {
    let data = json!({ "cause": failure.text, "next": failure.next });
    error_line(id, failure.code, &failure.message(), Some(data))
}

#[cfg(test)]
mod tests {
    use super::super::raw::Raw;
    use super::*;

    #[test]
    fn the_id_is_echoed_as_it_was_spelt() {
        let id = RawId::from_raw(Raw::parse(r#""\u0061""#).unwrap()).unwrap();
        assert_eq!(
            error_line(Some(&id), PARSE_ERROR, "no", None),
            &br#"{"jsonrpc":"2.0","id":"\u0061","error":{"code":-32700,"message":"no"}}
"#[..],
        );
    }

    #[test]
    fn it_is_one_line_of_json_whatever_the_message() {
        let message = "line one\nline \"two\"\r\n\u{2028}\u{0}";
        let line = error_line(None, 69, message, Some(json!({ "hint": "a\nb" })));
        assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
        assert_eq!(
            serde_json::from_slice::<Value>(&line).unwrap(),
            json!({
                "jsonrpc": "2.0",
                "id": null,
                "error": { "code": 69, "message": message, "data": { "hint": "a\nb" } },
            }),
        );
    }
}
