//! Lines that are not messages, in either direction: berth answers them or sets them aside, and the next line passes.

use serde_json::{Value, json};

use crate::harness::{Berth, Session, expect_gone};

/// Longer than the line limit of the server `short`.
const FILLER: usize = 2000;

/// The next message is berth's own error with this id and code; its text.
fn refused(session: &mut Session, id: &Value, code: i64) -> String {
    let message = session.message();
    assert_eq!(message["id"], *id, "{message}");
    assert_eq!(message["error"]["code"], code, "{message}");
    let text = message["error"]["message"].as_str().unwrap();
    assert!(text.starts_with("berth: "), "the server's own answer: {message}");
    text.to_owned()
}

/// Nothing else waits to be read, and the server answers.
fn goes_on(session: &mut Session, text: &str) {
    session.send(&json!({
        "jsonrpc": "2.0", "id": text, "method": "tools/call", "params": { "name": "echo", "arguments": { "text": text } },
    }));
    let message = session.message();
    assert_eq!(message["id"], text, "{message}");
    assert_eq!(message["result"]["content"][0]["text"], text);
}

#[test]
fn invalid_json_is_answered_with_its_id() {
    let mut session = Berth::run("fixture").client("it-invalid").started();
    let cases = [
        (r#"{"jsonrpc":"2.0","id":5,"method":"x",}"#, json!(5)),
        (r#"{"jsonrpc":"2.0","id":"six","method":"x""#, json!("six")),
        (r#"{"method":"x",,"params":{"id":"inner"},"id":"at the end"}"#, json!("at the end")),
        (r#"{"id":7,"method":"\x"}"#, json!(7)),
        (r#"{"jsonrpc":"2.0","method":"x","params":{"id":8},}"#, Value::Null),
        (r#"{"jsonrpc":"2.0","params":"\"id\":9","method":x}"#, Value::Null),
        (r#"[{"jsonrpc":"2.0","id":10,"method":"x"},]"#, Value::Null),
        (r#"{"id":"#, Value::Null),
        ("GET / HTTP/1.1", Value::Null),
    ];
    for (n, (line, id)) in cases.iter().enumerate() {
        session.send_raw(format!("{line}\n").as_bytes());
        let text = refused(&mut session, id, -32700);
        assert!(text.contains("invalid JSON at column"), "{line}: {text}");
        goes_on(&mut session, &format!("after {n}"));
    }
}

#[test]
fn invalid_utf8_is_answered_with_its_id() {
    let mut session = Berth::run("fixture").client("it-utf8").started();
    session.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":\"u\",\"method\":\"x\",\"params\":[\"\xff\xfe\"]}\n");
    let text = refused(&mut session, &json!("u"), -32700);
    assert!(text.contains("invalid UTF-8 at byte 50"), "{text}");
    // A surrogate as UTF-8, and a character that is cut off by the line's end.
    session.send_raw(b"{\"id\":1,\"method\":\"\xed\xa0\x80\"}\n\xe2\x82\n");
    refused(&mut session, &json!(1), -32700);
    refused(&mut session, &Value::Null, -32700);
    goes_on(&mut session, "é…𝄞");
}

#[test]
fn blank_lines_are_skipped() {
    // What counts the lines prints no message, so that its number comes out on standard error.
    let mut session =
        Berth::image("berth-everything").client("it-blank").args(["--", "/usr/bin/wc", "-l"]).start();
    session.send_raw(b"\n  \t \n\r\n{\"jsonrpc\":\"2.0\",\"method\":\"one\"}\n\n \n");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
    session.expect_stderr("1\n");
    assert_eq!(session.stderr().trim(), "1");
}

#[test]
fn an_overlong_request_is_answered_at_once_and_the_session_goes_on() {
    let mut session = Berth::run("short").client("it-overlong").started();
    let filler = "x".repeat(FILLER);
    // Before the line has ended, for its end may be far away.
    session
        .send_raw(format!(r#"{{"jsonrpc":"2.0","id":"before","method":"m","params":"{filler}"#).as_bytes());
    let text = refused(&mut session, &json!("before"), -32600);
    assert!(text.contains("1024 bytes") && text.contains("`max_line`"), "{text}");
    session.send_raw(b"\"}\n");
    goes_on(&mut session, "first");

    let nested = format!(r#"{{"id":"inner","list":[{{"id":1}},"\"id\":2"],"filler":"{filler}"}}"#);
    session.send_raw(format!("{{\"method\":\"m\",\"params\":{nested},\"id\":\"after\"}}\n").as_bytes());
    refused(&mut session, &json!("after"), -32600);
    goes_on(&mut session, "second");

    // A megabyte of one line, where a thousand bytes are kept.
    let params = "[1,2,3],".repeat(1 << 17);
    session.send_raw(format!("{{\"params\":[{params}0],\"method\":\"m\",\"id\":17}}\n").as_bytes());
    refused(&mut session, &json!(17), -32600);
    goes_on(&mut session, "third");
}

#[test]
fn an_overlong_line_without_an_id_gets_none_invented() {
    let mut session = Berth::run("short").client("it-nameless").started();
    let filler = "x".repeat(FILLER);
    session.send_raw(
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":{{\"id\":3,\"f\":\"{filler}\"}}}}\n")
            .as_bytes(),
    );
    refused(&mut session, &Value::Null, -32600);
    session.send_raw(format!("{filler}\n").as_bytes());
    refused(&mut session, &Value::Null, -32600);
    // The id of an answer is the server's: under it the client knows another request.
    session.send_raw(format!("{{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":\"{filler}\"}}\n").as_bytes());
    goes_on(&mut session, "still here");
    session.expect_stderr("dropped a response from the client");
}

#[test]
fn an_overlong_answer_becomes_an_error_for_its_request() {
    let mut session = Berth::run("short").client("it-big-answer").started();
    for bytes in [FILLER, 1 << 20] {
        let answer = session.request("tools/call", json!({ "name": "big", "arguments": { "bytes": bytes } }));
        assert_eq!(answer["error"]["code"], -32600, "{answer}");
        let text = answer["error"]["message"].as_str().unwrap();
        assert!(text.contains("1024 bytes") && text.contains("`max_line`"), "{text}");
        goes_on(&mut session, "next");
    }
    // A notification that is too long takes nobody's answer along. Numbers grow on their way through the server.
    let params = json!({ "n": vec![1e15; 100] }).to_string().replace("1000000000000000.0", "1e15");
    let arguments = format!(r#"{{"method":"notifications/x","params":{params}}}"#);
    session.send_raw(
        format!("{{\"id\":\"n\",\"method\":\"tools/call\",\"params\":{{\"name\":\"notify\",\"arguments\":{arguments}}}}}\n")
            .as_bytes(),
    );
    let message = session.message();
    assert_eq!((&message["id"], &message["result"]["isError"]), (&json!("n"), &json!(false)), "{message}");
    session.expect_stderr("dropped a notification from the server");
}

#[test]
fn stray_prints_go_to_standard_error_and_never_to_the_client() {
    let mut session = Berth::run("fixture").client("it-noise").started();
    let prints = [
        "Server listening…",
        r#"{"level":"info","msg":"ready"}"#,
        r#"{"id":1,"name":"no answer"}"#,
        "42",
        r#""a string""#,
        "null",
        "[]",
        "[1,2]",
        r#"{"jsonrpc":"2.0","method":"cut"#,
    ];
    for text in prints {
        let result = session.call_first("noise", json!({ "text": text, "lines": 2 }));
        assert_eq!(result["content"][0]["text"], "printed 2");
        session.expect_stderr(&format!("{text}\n{text}\n"));
    }
    goes_on(&mut session, "after the noise");
}

#[test]
fn the_servers_standard_error_reaches_ours_line_by_line() {
    let mut session = Berth::run("fixture").client("it-stderr").started();
    session.call_first("stderr", json!({ "text": "warning: é → ü", "lines": 3 }));
    session.expect_stderr("warning: é → ü\nwarning: é → ü\nwarning: é → ü\n");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
}

#[test]
fn half_an_answer_never_reaches_the_client() {
    for code in [0, 3] {
        let client = format!("it-partial-{code}");
        let mut session = Berth::run("fixture").client(&client).started();
        session.send(&json!({
            "jsonrpc": "2.0", "id": "half", "method": "tools/call",
            "params": { "name": "partial", "arguments": { "code": code } },
        }));
        let answer = session.message();
        assert_eq!(answer["id"], "half");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("berth: "), "{answer}");
        // The client has no other request in flight: it sees the end at once.
        assert_eq!(session.rest(), Vec::<Vec<u8>>::new(), "one answer, and nothing else");
        assert_eq!(session.exit_code(), Some(code));
        assert!(session.stderr().contains(&format!("exited with code {code}")), "{}", session.stderr());
        expect_gone(&client);
    }
}

#[test]
fn a_crash_answers_everything_in_flight_once() {
    let mut session = Berth::run("fixture").client("it-crash").started();
    for id in 1..=3 {
        session.send(&json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": "sleep", "arguments": { "ms": 60_000 } },
        }));
    }
    session.send(&json!({
        "jsonrpc": "2.0", "id": "end", "method": "tools/call", "params": { "name": "crash", "arguments": { "code": 9 } },
    }));
    for id in [json!(1), json!(2), json!(3), json!("end")] {
        let answer = session.message();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(69)));
        assert!(answer["error"]["message"].as_str().unwrap().contains("exited with code 9"), "{answer}");
    }
    assert_eq!(session.exit_code(), Some(9));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
    expect_gone("it-crash");
}
