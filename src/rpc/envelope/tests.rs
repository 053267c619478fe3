use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::super::arbitrary::json;
use super::oracle::{Seen, see};
use super::*;

fn one(line: &str) -> Envelope<'_> {
    match look(line.as_bytes()) {
        Ok(Look::One(envelope)) => envelope,
        other => panic!("{line}: {other:?}"),
    }
}

fn is_message(line: &str) -> bool {
    look(line.as_bytes()).unwrap().is_message()
}

#[test]
fn each_kind_has_its_article() {
    let kinds = [Kind::Request, Kind::Notification, Kind::Response, Kind::ErrorResponse, Kind::Other];
    let phrases = kinds.map(Kind::phrase);
    assert_eq!(phrases, ["a request", "a notification", "a response", "an error", "a line"]);
}

#[test]
fn knows_the_kinds() {
    for (line, kind) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#, Kind::Request),
        (r#"{"id":"a","method":"x"}"#, Kind::Request),
        (r#"{"id":-1.5e3,"method":"x","result":1}"#, Kind::Request),
        (r#"{"jsonrpc":"2.0","method":"x"}"#, Kind::Notification),
        (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, Kind::Notification),
        (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, Kind::Response),
        (r#"{"id":1,"result":{},"error":null}"#, Kind::Response),
        (r#"{"id":1,"result":null,"error":{}}"#, Kind::ErrorResponse),
        (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, Kind::ErrorResponse),
        (r#"{"jsonrpc":"2.0","error":{}}"#, Kind::ErrorResponse),
        (r#"{"jsonrpc":"2.0","id":1}"#, Kind::Other),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, Kind::Other),
        (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, Kind::Other),
        (r#"{"jsonrpc":"2.0","id":true,"result":1}"#, Kind::Other),
        (r#"{"result":1}"#, Kind::Other),
        (r"{}", Kind::Other),
        ("17", Kind::Other),
    ] {
        let envelope = one(line);
        assert_eq!(envelope.kind, kind, "{line}");
        assert!(kind != Kind::Request || envelope.request_id().is_some(), "{line}");
    }
}

#[test]
fn knows_a_message_from_a_stray_print() {
    for line in [
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"method":null}"#,
        r#"{"id":null,"error":{}}"#,
        r#" {"id":1,"result":2} "#,
        r#"[{"method":"x"},{"id":1,"result":2}]"#,
    ] {
        assert!(is_message(line), "{line}");
    }
    for line in [
        "{}",
        "[]",
        "17",
        "\"jsonrpc\"",
        "null",
        r#"{"id":1}"#,
        r#"{"result":1}"#,
        r#"{"error":1}"#,
        r#"{"a":{"jsonrpc":"2.0"}}"#,
        r#"[{"method":"x"},17]"#,
        r#"[{"method":"x"},{}]"#,
        r#"[[{"method":"x"}]]"#,
    ] {
        assert!(!is_message(line), "{line}");
    }
}

#[test]
fn gives_the_members_as_they_stand() {
    let line = r#"{ "id" : 1.0 ,"x":[{"id":2}],"method":"a","params": {"b" : 1e999} ,"method":"tools/call"}"#;
    let envelope = one(line);
    assert_eq!(envelope.id.map(Raw::get), Some("1.0"));
    assert_eq!(envelope.raw_id().unwrap().as_bytes(), b"1.0");
    assert_eq!(envelope.params.map(Raw::get), Some(r#"{"b" : 1e999}"#));
    assert!(matches!(envelope.method, Some(Cow::Borrowed("tools/call"))), "the last one, and no copy");
    assert!(!envelope.has_jsonrpc);
    assert_eq!(one(r#"{"jsonrpc":1,"m\u0065thod":"\u0061\/b"}"#).method.as_deref(), Some("a/b"));
    assert_eq!(one(r#"{"id":1,"error":{"code":5}}"#).error.map(Raw::get), Some(r#"{"code":5}"#));
}

#[test]
fn accepts_what_a_parser_of_values_would_not() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    for value in [
        "1e999999",
        "-1e-999999",
        &"9".repeat(400),
        "\"\u{a0}\u{200d}\u{feff}\u{2028}\"",
        r#""\ud800""#,
        &deep("[", "]"),
        &format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)),
    ] {
        for line in [
            format!(r#"{{"id":1,"method":"x","params":{value}}}"#),
            format!(r#"{{"id":1,"method":"x","other":{value}}}"#),
            format!(r#"{{"id":1,"error":{value}}}"#),
            format!(r#"[{{"id":1,"result":{value}}}]"#),
        ] {
            assert!(is_message(&line), "{line:.60}");
        }
        look(value.as_bytes()).unwrap();
        look(format!("[{value}]").as_bytes()).unwrap();
    }
    assert_eq!(one(r#"{"id":"\ud800","method":"\ud800","\ud800":1}"#).kind, Kind::Request);
}

#[test]
fn says_where_a_line_is_broken_and_quotes_nothing_of_it() {
    assert_eq!(look(b"{\"a\":\"\xff\"}").unwrap_err(), LookError::NotUtf8 { at: 6 });
    let error = look(br#"{"secret":hunter2}"#).unwrap_err();
    assert_eq!(error, LookError::NotJson { what: "expected value".to_owned(), column: 11 });
    assert_eq!(error.to_string(), "invalid JSON at column 11: expected value");
    for line in [
        "",
        " ",
        "{",
        "[",
        "{\"id\":5,}",
        "[1,]",
        "{} {}",
        "{}x",
        "01",
        "+1",
        "1.",
        "nul",
        "'a'",
        "{\"a\" 1}",
        "{a:1}",
        "\"a\tb\"",
        "{\"a\tb\":1}",
        "\"\\x\"",
        "\"\\u12\"",
        "[1}",
        "\u{feff}{}",
        "NaN",
        "[{\"method\":\"x\"},{]",
    ] {
        assert!(matches!(look(line.as_bytes()), Err(LookError::NotJson { .. })), "{line:?}");
    }
}

#[test]
fn a_batch_shows_its_messages_and_stays_small() {
    let line =
        format!(r#"[1,{{"id":1,"method":"a"}},{},{{"method":"b"}},{{}}]"#, vec!["0"; 10_000].join(","));
    let look = look(line.as_bytes()).unwrap();
    let kinds: Vec<_> = look.envelopes().iter().map(|envelope| envelope.kind).collect();
    assert_eq!(kinds, [Kind::Other, Kind::Request, Kind::Notification]);
    assert!(!look.is_message());
}

#[test]
fn the_clients_name_of_both_eras() {
    for (line, name) in [
        (
            r#"{"method":"initialize","id":0,"params":{"clientInfo":{"name":"codex-mcp-client","version":"0"}}}"#,
            Some("codex-mcp-client"),
        ),
        (
            r#"{"method":"server/discover","id":"p","params":{"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"claude-code"}}}}"#,
            Some("claude-code"),
        ),
        (
            r#"{"method":"initialize","id":0,"params":{"clientInfo":{"name":"a\u0062","x":1e999}}}"#,
            Some("ab"),
        ),
        (r#"{"method":"tools/call","id":0,"params":{"clientInfo":{"name":"forged"}}}"#, None),
        (r#"{"method":"initialize","id":0,"params":{"clientInfo":{"name":5}}}"#, None),
        (r#"{"method":"initialize","id":0,"params":[1]}"#, None),
        (r#"{"method":"initialize","id":0}"#, None),
    ] {
        assert_eq!(client_info_name(&one(line)).as_deref(), name, "{line}");
    }
}

/// What the oracle refuses though it is JSON.
fn is_only_serde(err: &serde_json::Error) -> bool {
    let err = err.to_string();
    ["out of range", "surrogate", "hex escape", "recursion"].iter().any(|what| err.contains(what))
}

fn is_message_as_seen(seen: &Seen) -> bool {
    let [id, method, _, error] = &seen.raw;
    seen.jsonrpc || method.is_some() || (id.is_some() && (seen.result || error.is_some()))
}

type Shown = ([Option<String>; 4], bool, bool);

fn shown(envelope: &Envelope<'_>) -> Shown {
    let own = |raw: Option<Raw<'_>>| raw.map(|raw| raw.get().to_owned());
    let method = envelope.method.as_deref().map(str::to_owned);
    let members = [own(envelope.id), method, own(envelope.params), own(envelope.error)];
    (members, envelope.has_jsonrpc, envelope.is_message())
}

fn shown_as_seen(seen: Seen) -> Shown {
    let is_message = is_message_as_seen(&seen);
    let [id, method, params, error] = seen.raw;
    let method = method.and_then(|raw| Some(raw::string(Raw::parse(&raw)?)?.into_owned()));
    ([id, method, params, error], seen.jsonrpc, is_message)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_a_parser_on_what_is_json(
        mut line in json().prop_map(String::into_bytes),
        edits in vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\ 0e-"[..])]), 0..3),
    ) {
        for (at, byte) in edits {
            let at = at.index(line.len());
            line[at] = byte;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(_) => prop_assert!(look(&line).is_ok(), "refused {:?}", String::from_utf8_lossy(&line)),
            Err(err) if is_only_serde(&err) => {}
            Err(_) => prop_assert!(look(&line).is_err(), "took {:?}", String::from_utf8_lossy(&line)),
        }
    }

    #[test]
    fn sees_what_serde_json_sees(
        mut line in json().prop_map(String::into_bytes),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    ) {
        for (at, byte) in edits {
            let at = at.index(line.len());
            line[at] = byte;
        }
        let seen = look(&line).map(|look| look.envelopes().iter().map(shown).collect::<Vec<_>>());
        let expected = see(&line).map(|all| {
            let mut shown = Vec::new();
            let mut stray = false;
            let is_array = line.trim_ascii_start().starts_with(b"[");
            for seen in all {
                let seen = seen.filter(|seen| !is_array || is_message_as_seen(seen)).unwrap_or_default();
                if !is_array || is_message_as_seen(&seen) || !std::mem::replace(&mut stray, true) {
                    shown.push(shown_as_seen(seen));
                }
            }
            shown
        });
        prop_assert_eq!(seen.map_err(|_| ()), expected, "{}", String::from_utf8_lossy(&line));
    }

    #[test]
    fn agrees_with_a_parser_on_what_is_in_it(line in json()) {
        let value: Value = serde_json::from_str(&line).unwrap();
        let look = look(line.as_bytes()).unwrap();
        let Look::One(envelope) = &look else {
            prop_assert!(value.is_array());
            return Ok(());
        };
        let field = |name: &str| value.get(name).cloned();
        let parsed = |raw: Option<Raw<'_>>| raw.map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap());
        prop_assert_eq!(parsed(envelope.id), field("id"));
        prop_assert_eq!(parsed(envelope.params), field("params"));
        prop_assert_eq!(parsed(envelope.error), field("error"));
        prop_assert_eq!(envelope.has_jsonrpc, field("jsonrpc").is_some());
        prop_assert_eq!(envelope.method.as_deref().map(Value::from), field("method").filter(Value::is_string));
        let has = |name: &str| field(name).is_some();
        let message = has("jsonrpc") || has("method") || (has("id") && (has("result") || has("error")));
        prop_assert_eq!(look.is_message(), message);
    }
}
