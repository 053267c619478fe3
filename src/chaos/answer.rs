//! What a line from a session means to a client that makes `tally` calls. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    Garbage,
    Notification,
    /// The server asks something; its id.
    Request(Value),
    /// To the request of this id.
    Answer(Value, Answer),
}

#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Error(String),
    /// The call of `token` was executed by `process`, for so many times.
    Executed {
        token: String,
        process: String,
        times: u64,
    },
    Ledger {
        process: String,
        times: BTreeMap<String, u64>,
    },
    /// Another result.
    Other(String),
}

impl Meaning {
    pub(super) fn of(line: &str) -> Self {
        let Ok(Value::Object(mut message)) = serde_json::from_str(line) else { return Self::Garbage };
        let id = message.remove("id").filter(|id| !id.is_null());
        match (id, message.contains_key("method")) {
            (Some(id), true) => Self::Request(id),
            (None, true) => Self::Notification,
            (Some(id), false) => Self::Answer(id, Answer::of(&message.into())),
            (None, false) => Self::Garbage,
        }
    }
}

impl Answer {
    fn of(message: &Value) -> Self {
        if let Some(error) = message.get("error") {
            return Self::Error(error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned));
        }
        let result = &message["result"];
        let said =
            result["content"][0]["text"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let process = said.as_ref().and_then(|said| said["process"].as_str()).map(str::to_owned);
        let (Some(said), Some(process)) = (said, process) else { return Self::Other(result.to_string()) };
        match (said["token"].as_str(), &said["times"]) {
            (Some(token), Value::Number(times)) => {
                Self::Executed { token: token.to_owned(), process, times: times.as_u64().unwrap_or_default() }
            }
            (None, Value::Object(times)) => Self::Ledger {
                process,
                times: times
                    .iter()
                    .map(|(token, times)| (token.clone(), times.as_u64().unwrap_or_default()))
                    .collect(),
            },
            _ => Self::Other(result.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(said: &Value) -> String {
        json!({ "jsonrpc": "2.0", "id": 3, "result": { "content": [{ "type": "text", "text": said.to_string() }] } })
            .to_string()
    }

    #[test]
    fn executions_and_ledgers_are_read() {
        let line = result(&json!({ "token": "t", "process": "p", "times": 2, "pad": "x" }));
        let executed = Answer::Executed { token: "t".into(), process: "p".into(), times: 2 };
        assert_eq!(Meaning::of(&line), Meaning::Answer(json!(3), executed));
        let line = result(&json!({ "process": "p", "times": { "t": 1 } }));
        let ledger = Answer::Ledger { process: "p".into(), times: [("t".to_owned(), 1)].into() };
        assert_eq!(Meaning::of(&line), Meaning::Answer(json!(3), ledger));
    }

    #[test]
    fn other_lines_are_told_apart() {
        let error = r#"{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"no"}}"#;
        assert_eq!(Meaning::of(error), Meaning::Answer(json!(3), Answer::Error("no".into())));
        assert_eq!(Meaning::of(r#"{"method":"notifications/x"}"#), Meaning::Notification);
        assert_eq!(Meaning::of(r#"{"id":"a","method":"ping"}"#), Meaning::Request(json!("a")));
        assert!(matches!(Meaning::of(r#"{"id":3,"result":{}}"#), Meaning::Answer(_, Answer::Other(_))));
        for garbage in ["", "hello", "[1]", r#"{"result":{}}"#, r#"{"id":null,"result":{}}"#] {
            assert_eq!(Meaning::of(garbage), Meaning::Garbage, "{garbage}");
        }
    }
}
