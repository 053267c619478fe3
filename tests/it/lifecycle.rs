//! Sessions begin and end, in every way, and leave nothing behind.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Berth, containers_of, docker_says, eventually, expect_gone};

#[test]
fn closing_the_input_ends_the_session() {
    let mut session = Berth::run("fixture").client("it-close").start();
    session.initialize();
    assert_eq!(session.container(), "mcp-it-close-1");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    expect_gone("it-close");
}

#[test]
fn every_signal_ends_the_session() {
    for signal in ["-INT", "-TERM", "-HUP", "-KILL"] {
        let client = format!("it-signal{}", signal.to_lowercase());
        let mut session = Berth::run("fixture").client(&client).start();
        session.initialize();
        session.signal(signal);
        let status = session.wait();
        assert_eq!(status.code(), (signal != "-KILL").then_some(0), "{signal}");
        expect_gone(&client);
    }
}

#[test]
fn a_hundred_kills_at_any_moment_leave_nothing() {
    // Spread over the whole start and beyond; the seed is in the arithmetic.
    let moment = |n: u64| Duration::from_millis(n.wrapping_mul(2_654_435_761) % 600);
    std::thread::scope(|scope| {
        for lane in 0..4_u64 {
            scope.spawn(move || {
                for n in 0..25 {
                    let mut session = Berth::run("fixture").client("it-kill").start();
                    std::thread::sleep(moment(lane * 25 + n));
                    session.signal("-KILL");
                    session.wait();
                }
            });
        }
    });
    expect_gone("it-kill");
}

#[test]
fn a_server_that_ignores_everything_is_gone_within_the_grace_period() {
    let mut session = Berth::run("fixture").client("it-stubborn").args(["--stop-grace", "2s"]).start();
    session.initialize();
    session.call("ignore_eof", json!({}));
    let began = Instant::now();
    session.close();
    session.wait();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900), "it had no time to end by itself: {took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    expect_gone("it-stubborn");
}

#[test]
fn a_server_that_ignores_everything_is_gone_after_a_kill_of_the_proxy_too() {
    let mut session = Berth::run("fixture").client("it-orphan").start();
    session.initialize();
    session.call("ignore_eof", json!({}));
    session.signal("-KILL");
    session.wait();
    expect_gone("it-orphan");
}

#[test]
fn sessions_of_one_client_take_the_lowest_free_number() {
    let mut sessions: Vec<_> = (0..3).map(|_| Berth::run("fixture").client("it-number").start()).collect();
    for session in &mut sessions {
        session.initialize();
    }
    let names = |wanted: &[&str]| {
        eventually(&format!("{wanted:?}"), Duration::from_secs(10), || {
            let mut names = containers_of("it-number");
            names.sort();
            (names == wanted).then_some(())
        });
    };
    names(&["mcp-it-number-1", "mcp-it-number-2", "mcp-it-number-3"]);
    docker_says(&["rm", "-f", "mcp-it-number-2"]);
    let mut again = Berth::run("fixture").client("it-number").start();
    again.initialize();
    names(&["mcp-it-number-1", "mcp-it-number-2", "mcp-it-number-3"]);
}

#[test]
fn a_request_in_flight_is_answered_when_the_container_dies() {
    let mut session = Berth::run("fixture").client("it-lost").start();
    session.initialize();
    session.send(&json!({
        "jsonrpc": "2.0", "id": "doomed", "method": "tools/call", "params": { "name": "sleep", "arguments": { "ms": 60_000 } },
    }));
    docker_says(&["rm", "-f", &session.container()]);
    let answer = session.answer("doomed");
    assert_eq!(answer["error"]["code"], 69);
    assert!(answer["error"]["message"].as_str().unwrap().contains("`fixture`"), "{answer}");
    assert_eq!(session.exit_code(), Some(69));
    expect_gone("it-lost");
}
