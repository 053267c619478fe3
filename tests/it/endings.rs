//! The manual's table of endings, for real: what a client sees of each, by either way of the server's bytes.

use std::time::Instant;

use serde_json::json;

use crate::harness::{Berth, PATIENCE, Session, berth, docker_says, expect_gone, own_kernel};

/// Answers, and ends with the second line.
fn ends(client: &str, way: &str, end: &str) -> Session {
    let script = format!(
        r#"read -r _; echo '{{"jsonrpc":"2.0","id":1,"result":{{}}}}'; read -r _; echo it ends >&2; {end}"#
    );
    let run = Berth::image("berth-everything").client(client);
    let options = ["--on-failure", "exit", "--streams", way, "--", "sh", "-c", &script];
    let mut session = run.args(options).start();
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
    assert_eq!(session.answer(1)["result"], json!({}));
    session
}

fn ways() -> &'static [&'static str] {
    if own_kernel() { &["exec"] } else { &["direct", "exec"] }
}

#[test]
fn each_ending_is_told_at_once_with_its_code() {
    for way in ways() {
        for (name, end, code) in [
            ("zero", "exit 0", 0),
            ("seven", "exit 7", 7),
            ("killed", "kill -KILL $$", 137),
            ("container", "exec sleep 600", 69),
            // A daemon's stream shows neither.
            ("output", "exec >&-; exec sleep 600", 69),
            ("input", "exec <&-; echo closed >&2; exec sleep 600", 69),
        ] {
            if *way == "exec" && matches!(name, "output" | "input") {
                continue;
            }
            for with_request in [false, true] {
                let client = format!("it-end-{way}-{name}-{with_request}");
                let mut session = ends(&client, way, end);
                let container = session.container();
                let mut last = json!({ "jsonrpc": "2.0", "method": "notifications/last" });
                if with_request {
                    last["id"] = json!(2);
                }
                session.send(&last);
                session.expect_stderr("it ends");
                match name {
                    "container" => drop(docker_says(&["kill", &container])),
                    "input" => {
                        session.expect_stderr("closed");
                        session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/unheard" }));
                    }
                    _ => {}
                }
                let ended = Instant::now();
                if with_request {
                    let answer = session.answer(2);
                    assert_eq!(answer["error"]["code"], 69, "{client}: {answer}");
                }
                assert_eq!(session.rest(), Vec::<Vec<u8>>::new(), "{client}");
                println!("{client}: its end after {:?}", ended.elapsed());
                assert_eq!(session.exit_code(), Some(code), "{client}: {}", session.stderr());
                let said = session.stderr();
                let line = said.trim_end().lines().last().unwrap_or_default();
                assert!(line.starts_with("berth: the "), "{client}: {said}");
                let own = line.ends_with(&format!("(exit code {code} is the server's own)"));
                assert_eq!(own, code != 69, "{client}: {line}");
                expect_gone(&client);
            }
        }
    }
}

#[test]
fn a_client_without_a_word_sees_what_its_server_says_and_its_code() {
    let script = "cat >/dev/null; echo no word for me >&2; exit 7";
    for way in ways() {
        let run = Berth::image("berth-everything").client("it-end-wordless");
        let mut session = run.args(["--streams", way, "--", "sh", "-c", script]).start();
        session.close();
        assert_eq!(session.exit_code(), Some(7), "{way}: {}", session.stderr());
        assert!(session.stderr().contains("no word for me"), "{}", session.stderr());
        expect_gone("it-end-wordless");
    }
}

#[test]
fn a_server_is_heard_before_its_client_has_a_name() {
    let script = "echo I am up >&2; read -r line; exit 5";
    let mut command = berth();
    command.args(["run", "--image", "berth-everything", "--", "sh", "-c", script]);
    let mut session = Berth::instead(command).start();
    session.expect_stderr("I am up");
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
    assert!(session.answer(1)["error"]["message"].as_str().unwrap().contains("exited with code 5"));
    assert_eq!(session.exit_code(), Some(5));
}

#[test]
fn a_server_that_ends_in_order_is_started_again_by_the_next_request_alone() {
    let script = r#"read -r _; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; exit 0"#;
    let mut session = Berth::image("berth-everything")
        .client("it-end-idle")
        .args(["--on-failure", "restart", "--", "sh", "-c", script])
        .start();
    for _ in 0..3 {
        session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
        assert_eq!(session.answer(1)["result"], json!({}));
        expect_gone("it-end-idle");
    }
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/nobody/waits" }));
    std::thread::sleep(PATIENCE / 20);
    session.close();
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new(), "a server answers all that it reads");
    assert_eq!(session.exit_code(), Some(0));
}
