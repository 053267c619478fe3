//! Servers that flood, fill and fork: their own session goes on or ends in order, and its neighbour notices nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::flow::{FLAT, Slow, expect_flat, peak};
use crate::harness::{Berth, PATIENCE, docker_says, eventually, expect_gone};

const MIB: usize = 1 << 20;

/// Runs `attack` while another session works: each of its calls must be answered, and right.
fn beside<T>(client: &str, attack: impl FnOnce() -> T) -> T {
    let mut other = Berth::run("fixture").client(&format!("{client}-beside")).started();
    other.call("marker", json!({ "set": client }));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            let mut calls = 0;
            while calls < 10 || !over.load(Ordering::SeqCst) {
                let text = format!("{client} {calls}");
                assert_eq!(other.call_text("echo", json!({ "text": text })), text);
                calls += 1;
                thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(other.call_text("marker", json!({})), client);
            other.close();
            assert_eq!(other.rest(), Vec::<Vec<u8>>::new());
        });
        // Who fails leaves nobody working on.
        let result = catch_unwind(AssertUnwindSafe(attack));
        over.store(true, Ordering::SeqCst);
        working.join().expect("the session beside it");
        result.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn an_endless_line_is_cut_off_and_the_next_message_passes() {
    let mut session = Berth::run("fixture").client("it-endless").started();
    beside("it-endless", || {
        session.call("flood", json!({ "bytes": 128 * MIB }));
        assert_eq!(session.call_text("echo", json!({ "text": "after it" })), "after it");
    });
    session.expect_stderr("dropped a notification from the server");
    let peak = peak(session.pid());
    println!("endless line: peak {} KiB", peak >> 10);
    assert!(peak < FLAT + 16 * MIB, "as much as `max_line`, and no more: {} KiB", peak >> 10);
}

#[test]
fn a_line_without_an_end_keeps_nobody() {
    let mut session = Berth::run("fixture").client("it-unending").args(["--max-line", "1m"]).start();
    session.initialize();
    session.send(&json!({
        "jsonrpc": "2.0", "id": "never", "method": "tools/call",
        "params": { "name": "flood", "arguments": { "bytes": 1_u64 << 50 } },
    }));
    beside("it-unending", || thread::sleep(Duration::from_secs(3)));
    expect_flat(session.pid());
    println!("line without an end: peak {} KiB", peak(session.pid()) >> 10);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
    expect_gone("it-unending");
}

/// A flood of this tool's, and other calls of the same session meanwhile; what was on standard error.
fn flooded(client: &'static str, tool: &str, arguments: serde_json::Value) -> String {
    let mut session = Slow::run(client, &["fixture"]);
    beside(client, || {
        session.call(0, tool, arguments);
        let mut is_over = false;
        for id in 1..=20 {
            session.call(id, "echo", json!({ "text": "meanwhile" }));
            let mut answer = session.answer();
            if answer.0 == 0 {
                is_over = true;
                answer = session.answer();
            }
            assert_eq!(answer, (id, "meanwhile".to_owned()));
        }
        assert!(is_over || session.answer().0 == 0);
    });
    expect_flat(session.pid());
    session.end()
}

#[test]
fn a_flood_of_messages_passes_and_stays_nowhere() {
    flooded("it-flood-messages", "flood", json!({ "bytes": 128 * MIB, "line": 64 << 10 }));
}

#[test]
fn a_flood_of_prints_is_dropped_where_nobody_reads_it() {
    let said = flooded("it-flood-prints", "noise", json!({ "text": "x".repeat(1 << 10), "lines": 64 << 10 }));
    assert!(said.contains("lines of standard error dropped"), "{} bytes", said.len());
}

#[test]
fn a_flood_of_standard_error_is_dropped_where_nobody_reads_it() {
    let said = flooded("it-flood-stderr", "stderr", json!({ "text": "x".repeat(100), "lines": 100_000 }));
    assert!(said.contains("lines of standard error dropped"), "{} bytes", said.len());
    assert!(said.len() < 8 * MIB, "{} bytes waited", said.len());
}

/// Answers with capabilities of ten megabytes, then asks a hundred times under an id of a megabyte.
const HOARDER: &str = r#"
    read -r initialize
    printf '{"jsonrpc":"2.0","id":1,"result":{"capabilities":{"tools":['
    yes 0, | head -c 15000000 | tr -d '\n'; echo '0]}}}'
    id=$(head -c 1000000 /dev/zero | tr '\0' x)
    for n in $(seq 100); do printf '{"jsonrpc":"2.0","method":"roots/list","id":"'; echo "$id$n\"}"; done
    cat
"#;

#[test]
fn a_server_does_not_make_the_proxy_hoard() {
    let mut session = Slow::script("it-hoarder", HOARDER);
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
    let answer = session.line();
    assert!(answer.len() > 10_000_000 && answer.ends_with("0,0]}}}\n"), "as it is: {} bytes", answer.len());
    for n in 1..=100 {
        assert!(session.line().ends_with(&format!("x{n}\"}}\n")), "request {n}");
    }
    println!("hoarder: peak {} KiB", peak(session.pid()) >> 10);
    // The longest line was on its way once.
    assert!(peak(session.pid()) < FLAT + 10 * MIB, "{} KiB", peak(session.pid()) >> 10);
    session.end();
}

#[test]
fn a_fork_bomb_stays_below_its_limit_and_goes_with_its_session() {
    let mut session = Berth::run("limited").client("it-bomb").started();
    let container = session.container();
    let processes = || docker_says(&["top", &container, "-eo", "pid"]).lines().count() - 1;
    beside("it-bomb", || {
        session.call("fork", json!({}));
        eventually("the bomb", PATIENCE, || (processes() >= 24).then_some(()));
        for _ in 0..20 {
            assert_eq!(session.call_text("echo", json!({ "text": "alive" })), "alive");
            let processes = processes();
            assert!(processes <= 32, "{processes} processes");
        }
        session.close();
        session.wait();
        expect_gone("it-bomb");
    });
}

#[test]
fn a_full_disk_is_the_servers_own() {
    let mut session = Berth::run("fixture").client("it-filler").started();
    let mut fill = |path: &str, bytes: usize| {
        let result = session.call("fill", json!({ "path": path, "bytes": bytes }));
        (result["structuredContent"].clone(), result["content"][0]["text"].to_string())
    };
    beside("it-filler", || {
        for (folder, most) in [("/tmp", 256 * MIB), ("/dev/shm", 64 * MIB), ("/dev", 64 * MIB)] {
            let (filled, said) = fill(&format!("{folder}/filler"), 1 << 30);
            println!("{folder}: {said}");
            assert!(said.contains("No space left"), "{folder}: {said}");
            assert!(filled["bytes"].as_u64().is_some_and(|bytes| bytes <= most as u64), "{folder}: {said}");
        }
        // The container's own file system has no limit but the daemon's disk; that is what `read_only` is for.
        assert_eq!(fill("/filler", 96 * MIB).0["error"], json!(null));
    });
    assert_eq!(session.call_text("echo", json!({ "text": "alive" })), "alive");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    expect_gone("it-filler");
}

#[test]
fn a_read_only_container_has_no_disk_to_fill() {
    let mut session = Berth::run("limited").client("it-read-only").started();
    let mounts = session.call_text("read", json!({ "path": "/proc/self/mounts" }));
    let mut seen = Vec::new();
    for mount in mounts.lines() {
        let [_, path, kind, options, ..] = mount.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{mount}")
        };
        let writable = options.split(',').any(|option| option == "rw");
        // `/dev` itself has the kernel's own bound.
        let bounded = options.contains("size=") || ["devpts", "mqueue", "proc"].contains(&kind);
        assert!(!writable || bounded, "{path} is writable: {mount}");
        seen.push((path, writable));
    }
    assert!(seen.contains(&("/", false)) && seen.contains(&("/tmp", true)), "{mounts}");
    let refused = session.call("fill", json!({ "path": "/filler", "bytes": 1 }));
    assert!(refused["content"][0]["text"].to_string().contains("Read-only file system"), "{refused}");
    // What stands in memory counts as memory.
    let fill = json!({ "name": "fill", "arguments": { "path": "/tmp/filler", "bytes": 1 << 30 } });
    let answer = session.request("tools/call", fill);
    let text = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(text.contains("memory limit of 64 MiB"), "{text}");
}

#[test]
fn forged_and_double_answers_reach_their_own_client_only() {
    let mut session = Berth::run("fixture").client("it-forger").args(["--trace"]).start();
    session.initialize();
    let mut victim = Berth::run("fixture").client("it-forged").started();
    let params = json!({ "name": "sleep", "arguments": { "ms": 1500 } });
    victim.send(&json!({ "jsonrpc": "2.0", "id": "both", "method": "tools/call", "params": params }));

    let forge = json!({ "name": "forge", "arguments": { "id": "both" } });
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": forge }));
    assert_eq!(session.message()["id"], "both", "passed on as it came");
    assert_eq!(session.message()["id"], 1);
    let twice = json!({ "name": "twice", "arguments": {} });
    session.send(&json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": twice }));
    for text in ["first", "second"] {
        let answer = session.message();
        assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(2), &json!(text)));
    }
    let answer = victim.message();
    assert_eq!(
        (&answer["id"], &answer["result"]["content"][0]["text"]),
        (&json!("both"), &json!("slept 1500 ms"))
    );

    session.close();
    assert_eq!(session.exit_code(), Some(0));
    let said = session.stderr();
    assert_eq!(said.matches("unasked answer").count(), 2, "{said}");
    assert_eq!(said.matches("that the client had not made").count(), 1, "said once: {said}");
    victim.close();
    assert_eq!(victim.rest(), Vec::<Vec<u8>>::new(), "nothing of the other's");
    assert!(!victim.stderr().contains("the client had not made"), "{}", victim.stderr());
}

#[test]
fn answers_that_come_back_are_as_they_went() {
    let mut session = Berth::image("berth-everything").client("it-mirror").args(["--", "/bin/cat"]).start();
    for line in [
        r#"{ "jsonrpc":"2.0","id":1.0 , "result":{} }"#,
        r#"{"id":"x","error":{"code":1,"message":"\u0061"}}"#,
    ] {
        session.send_raw(format!("{line}\n").as_bytes());
        assert_eq!(session.line().unwrap(), line.as_bytes());
    }
    session.expect_stderr("that the client had not made");
}
