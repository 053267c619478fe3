//! All bytes come out as they went in, in order.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::harness::{Berth, berth, daemon};
use serde_json::json;

/// Pipes `input` through `berth run`, as a shell would.
fn pipe(args: &[&str], input: Vec<u8>) -> Output {
    daemon();
    let mut command: Command = berth();
    command.arg("run").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("berth starts");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("berth ends");
    writer.join().unwrap().expect("berth reads everything");
    output
}

fn cat(client: &str, input: &[u8]) {
    let args = ["--image", "berth-everything", "--network", "none", "--client", client, "--", "/bin/cat"];
    let output = pipe(&args, input.to_vec());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if output.stdout != input {
        let at = output.stdout.iter().zip(input).take_while(|(a, b)| a == b).count();
        panic!("{} bytes came back of {}; they differ from byte {at} on", output.stdout.len(), input.len());
    }
}

#[test]
fn odd_but_valid_messages_come_back_unchanged() {
    let big = "9".repeat(400);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let input = [
        r#"{"jsonrpc":"2.0","id":1,"method":"plain"}"#,
        "  {  \"jsonrpc\" :\t\"2.0\" ,\"id\": 1.0e0 , \"method\":\"spaced\"  }  ",
        r#"{"method":"last","jsonrpc":"2.0","params":{"jsonrpc":"1.0","id":"inner"},"id":"\u0061\/\"\\"}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"nbsp\u{a0}zwj\u{200d}rlo\u{202e}bom\u{feff}sep\u{2028}\"}",
        r#"{"jsonrpc":"2.0","id":3,"method":"lone surrogate","params":"\ud800"}"#,
        r#"{"jsonrpc":"2.0","id":3,"id":4,"method":"twice","params":{"a":1,"a":2}}"#,
        r#"{"jsonrpc":"2.0","id":1e999999,"method":"huge","params":[-0,1E400,0.1000000000000000000001]}"#,
        &format!(r#"{{"jsonrpc":"2.0","id":{big},"method":"{big}"}}"#),
        &format!(r#"{{"jsonrpc":"2.0","method":"deep","params":{deep}}}"#),
        r#"[{"jsonrpc":"2.0","id":5,"method":"batch"},{"jsonrpc":"2.0","method":"n"} ,{"jsonrpc":"2.0","id":6,"result":null}]"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":""}}"#,
        "{\"jsonrpc\":\"2.0\",\"method\":\"crlf\"}\r",
        r#"{"jsonrpc":"2.0","id":{"not":"an id"},"method":"odd id"}"#,
        "",
    ]
    .join("\n");
    cat("it-odd", input.as_bytes());
}

#[test]
fn ten_megabytes_in_a_line_come_back_unchanged() {
    let mut input = Vec::new();
    for n in 0..3 {
        let filler = "0123456789 é ".repeat(800_000);
        writeln!(input, r#"{{"jsonrpc":"2.0","id":{n},"method":"big","params":"{filler}"}}"#).unwrap();
        writeln!(input, r#"{{"jsonrpc":"2.0","method":"small","params":{n}}}"#).unwrap();
    }
    cat("it-big", &input);
}

#[test]
fn thousands_of_messages_keep_their_order() {
    let lines = (0..20_000).map(|n| format!("{{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":[{n}]}}\n"));
    cat("it-order", lines.collect::<String>().as_bytes());
}

#[test]
fn output_after_the_end_of_the_input_still_arrives() {
    let args = ["fixture", "--client", "it-late", "--env", "FIXTURE_LATE=700"];
    let output = pipe(&args, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n".to_vec());
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].contains("notifications/message"), "{text}");
}

#[test]
fn a_big_result_passes_and_so_does_what_comes_behind_it() {
    let mut session = Berth::run("fixture").client("it-big-result").start();
    session.initialize();
    let text = session.call_text("big", json!({ "bytes": 10_000_000 }));
    assert_eq!(text.len(), 10_000_000);
    assert_eq!(session.call_text("echo", json!({ "text": "next" })), "next");
}
