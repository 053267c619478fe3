//! Answers of our own: JSON-RPC error responses, one line each.
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

use super::request_id::RawId;

/// JSON-RPC 2.0: invalid JSON was received.
pub const PARSE_ERROR: i64 = -32700;
/// JSON-RPC 2.0: the JSON is no valid request. Ours for lines over the limit too.
pub const INVALID_REQUEST: i64 = -32600;

/// JSON-RPC 2.0: the parameters don't fit the method; MCP's code for a tool that there isn't.
pub const INVALID_PARAMS: i64 = -32602;

/// What went wrong outside of the messages. The numbers are the exit codes (sysexits), and stand outside of
/// -32768…-32000 as MCP 2026-07-28 advises for codes that are not the specification's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The command line is wrong.
    Usage = 64,
    /// The daemon, the container or the server is not there, or no longer.
    Unavailable = 69,
    /// A fault of berth's own.
    Internal = 70,
    /// The configuration doesn't allow it.
    Configuration = 78,
}

impl Code {
    pub const fn exit_code(self) -> u8 {
        self as u8
    }
}

impl From<Code> for i64 {
    fn from(code: Code) -> Self {
        Self::from(code.exit_code())
    }
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let line = error_line(None, Code::Unavailable, message, Some(json!({ "hint": "a\nb" })));
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

    #[test]
    fn our_codes_are_the_exit_codes_and_outside_the_reserved_range() {
        for (code, exit) in
            [(Code::Usage, 64), (Code::Unavailable, 69), (Code::Internal, 70), (Code::Configuration, 78)]
        {
            assert_eq!(code.exit_code(), exit);
            assert_eq!(i64::from(code), i64::from(exit));
            assert!(!(-32768..=-32000).contains(&i64::from(code)));
        }
    }
}
