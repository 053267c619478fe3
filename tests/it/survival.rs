//! Peers that die or stall at the worst moment. Each was once a session that stayed for ever, or ended too soon.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Berth, berth, daemon, eventually, expect_gone};

#[test]
fn a_client_that_dies_while_the_server_does_not_read_leaves_nothing() {
    daemon();
    // The client writes more than all buffers hold, so that the end of its output stands behind what nobody reads.
    let script = "while :; do echo '{\"jsonrpc\":\"2.0\",\"method\":\"flood\"}'; done";
    let mut client = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("sh runs");
    let mut session = berth()
        .args([
            "run",
            "--client",
            "it-flood",
            "--image",
            "berth-everything",
            "--network",
            "none",
            "--",
            "sleep",
            "1000",
        ])
        .stdin(client.stdout.take().expect("piped"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("berth starts");
    std::thread::sleep(Duration::from_secs(3));
    assert!(session.try_wait().expect("a child").is_none(), "it runs");
    client.kill().expect("killed");
    client.wait().expect("gone");
    // A dead client reads no more, either.
    drop(session.stdout.take());
    eventually("the end of berth", Duration::from_secs(10), || session.try_wait().expect("a child"));
    expect_gone("it-flood");
}

#[test]
fn a_client_that_closes_its_side_and_never_reads_leaves_nothing() {
    daemon();
    let mut session = berth()
        .args(["run", "--client", "it-deaf", "fixture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("berth starts");
    let mut stdin = session.stdin.take().expect("piped");
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "big", "arguments": { "bytes": 8_000_000 } },
    });
    writeln!(stdin, "{call}").expect("berth reads");
    std::thread::sleep(Duration::from_secs(2));
    drop(stdin);
    // Its standard output stays open here, and is never read.
    eventually("the end of berth", Duration::from_secs(6), || session.try_wait().expect("a child"));
    expect_gone("it-deaf");
}

#[test]
fn the_container_of_a_server_that_ended_goes_though_its_client_is_silent() {
    let session = Berth::run("broken").client("it-idle").start();
    eventually("the server's end", Duration::from_secs(20), || {
        session.stderr().contains("exited with code").then_some(())
    });
    expect_gone("it-idle");
}
