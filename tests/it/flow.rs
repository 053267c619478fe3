//! A side that does not read: its own direction waits, the other direction goes on, and the proxy's memory stays flat.
//! Nothing is lost when it reads on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PATIENCE, berth, containers_of, daemon, docker_says, eventually, expect_gone};

const MIB: usize = 1 << 20;

/// What a proxy may use of its own, whatever passes (bytes). What one of the tests sends is more.
pub(crate) const FLAT: usize = 12 * MIB;

/// Nothing has moved for so long: both ends of it wait.
const STILL: Duration = Duration::from_secs(1);

/// The most memory that a process has used so far (bytes), without what it has mapped of files: a test's program is large.
pub(crate) fn peak(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    };
    of("VmHWM:") - of("RssFile:")
}

pub(crate) fn expect_flat(pid: u32) {
    let peak = peak(pid);
    assert!(peak < FLAT, "the proxy has used {} KiB", peak >> 10);
}

/// A session whose client reads when the test does, and not before.
pub(crate) struct Slow {
    berth: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    client: &'static str,
}

impl Slow {
    /// `berth run` with these arguments; its standard error is a pipe that nobody reads.
    pub(crate) fn run(client: &'static str, args: &[&str]) -> Self {
        daemon();
        let mut command = berth();
        command.args(["run", "--client", client]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut berth = command.spawn().expect("berth starts");
        let stdin = berth.stdin.take();
        let stdout = BufReader::new(berth.stdout.take().expect("piped"));
        Self { berth, stdin, stdout, client }
    }

    /// The same with a shell script as the server.
    pub(crate) fn script(client: &'static str, script: &str) -> Self {
        let image = ["--image", "berth-everything", "--network", "none", "--", "sh", "-ec", script];
        Self::run(client, &image)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.berth.id()
    }

    pub(crate) fn send(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().expect("still open"), "{message}").expect("berth reads");
    }

    pub(crate) fn call(&mut self, id: usize, tool: &str, arguments: Value) {
        let params = json!({ "name": tool, "arguments": arguments });
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
    }

    /// The next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("UTF-8");
        line
    }

    pub(crate) fn message(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next answer's id and text; notifications are passed over.
    pub(crate) fn answer(&mut self) -> (usize, String) {
        let mut line = self.line();
        while line.contains("\"method\"") {
            line = self.line();
        }
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let id = usize::try_from(answer["id"].as_u64().expect("a number")).unwrap();
        (id, answer["result"]["content"][0]["text"].as_str().expect("a text").to_owned())
    }

    /// Writes `lines` from a thread of its own; counts them.
    fn pour(&mut self, lines: Arc<[String]>) -> (JoinHandle<()>, Arc<AtomicUsize>) {
        let mut stdin = self.stdin.take().expect("still open");
        let written = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&written);
        let pouring = thread::spawn(move || {
            for line in &*lines {
                stdin.write_all(line.as_bytes()).expect("berth reads");
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        (pouring, written)
    }

    /// Runs a command in the container.
    fn exec(&self, command: &[&str]) -> String {
        let container = containers_of(self.client).pop().expect("a container");
        docker_says(&[&["exec", container.as_str()], command].concat())
    }

    /// Ends it, reading what is left of it: how it ended, and what was on standard error.
    pub(crate) fn end(mut self) -> String {
        let stderr = self.berth.stderr.take().expect("piped");
        let said = thread::spawn(|| std::io::read_to_string(stderr).expect("UTF-8"));
        drop(self.stdin.take());
        assert_eq!(self.line(), "", "nothing more");
        let said = said.join().unwrap();
        assert!(self.berth.wait().expect("a child").success(), "{said}");
        expect_gone(self.client);
        said
    }
}

/// Messages of a mebibyte each, more of them than a proxy may keep.
fn cargo() -> Arc<[String]> {
    let filler = "x".repeat(MIB);
    let message = |n| format!("{{\"jsonrpc\":\"2.0\",\"method\":\"cargo\",\"params\":[{n},\"{filler}\"]}}\n");
    (0..64).map(message).collect()
}

/// Waits until the count stands still, which it must do before it is `all`.
fn expect_stall(written: &AtomicUsize, all: usize) -> usize {
    let mut last = usize::MAX;
    eventually("a standstill", PATIENCE, || {
        let now = written.load(Ordering::SeqCst);
        assert!(now < all, "all of it went somewhere");
        let still = now == last;
        last = now;
        thread::sleep(STILL);
        still.then_some(now)
    })
}

/// Prints numbered lines of ten kilobytes as fast as they are taken, until it is told to go on.
const FLOOD: &str = r#"
    pad=$(printf '%10000s' x); i=0
    while [ ! -e /tmp/go ]; do i=$((i + 1)); echo "{\"jsonrpc\":\"2.0\",\"method\":\"tick\",\"params\":[$i,\"$pad\"]}"; done
    echo '{"jsonrpc":"2.0","method":"last"}'
"#;

/// Reads what [`FLOOD`] has printed, all of it; how many lines.
fn drain(session: &mut Slow) -> usize {
    let mut lines = 0;
    loop {
        let message = session.message();
        if message["method"] == "last" {
            return lines;
        }
        lines += 1;
        assert_eq!(message["params"][0], lines, "{message}");
    }
}

#[test]
fn a_client_that_does_not_read_is_heard_all_the_same() {
    let mut session = Slow::script("it-flow-client", &format!("exec 3<&0; cat <&3 >/tmp/got & {FLOOD} wait"));
    let cargo = &cargo()[..32];
    let all: usize = cargo.iter().map(String::len).sum();
    for line in cargo {
        session.stdin.as_mut().unwrap().write_all(line.as_bytes()).expect("berth reads");
    }
    eventually("all of it at the server's", PATIENCE, || {
        (session.exec(&["stat", "-c", "%s", "/tmp/got"]) == all.to_string()).then_some(())
    });
    thread::sleep(STILL);
    expect_flat(session.pid());
    session.exec(&["touch", "/tmp/go"]);
    let lines = drain(&mut session);
    println!("on the way: {} KiB; peak {} KiB", lines * 10, peak(session.pid()) >> 10);
    // Were it not held up, the server would have printed gigabytes meanwhile.
    assert!(lines * 10_000 < 128 * MIB, "{lines} lines were on the way");
    expect_flat(session.pid());
    session.end();
}

#[test]
fn a_server_that_does_not_read_is_heard_all_the_same() {
    let tick =
        r#"i=$((i + 1)); echo "{\"jsonrpc\":\"2.0\",\"method\":\"tick\",\"params\":[$i]}"; sleep 0.05"#;
    let script = format!("i=0; while [ ! -e /tmp/go ]; do {tick}; done; exec cat");
    let mut session = Slow::script("it-flow-server", &script);
    let cargo = cargo();
    let (pouring, written) = session.pour(Arc::clone(&cargo));
    let mut ticks = 0;
    let mut tick = |session: &mut Slow| {
        let message = session.message();
        ticks += 1;
        assert_eq!(message["params"][0], ticks, "{message}");
    };
    let (mut last, mut still) = (usize::MAX, 0);
    while still < 40 {
        tick(&mut session);
        let now = written.load(Ordering::SeqCst);
        assert!(now < cargo.len(), "all of it went somewhere");
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    println!("taken: {last} MiB; peak {} KiB", peak(session.pid()) >> 10);
    expect_flat(session.pid());
    session.exec(&["touch", "/tmp/go"]);
    come_back(&mut session, &cargo);
    pouring.join().unwrap();
    expect_flat(session.pid());
    session.end();
}

/// All of the cargo comes back in order, after whatever else was on the way.
fn come_back(session: &mut Slow, cargo: &[String]) {
    let mut line = session.line();
    while line.contains("\"tick\"") || line.contains("\"last\"") {
        line = session.line();
    }
    for (n, sent) in cargo.iter().enumerate() {
        if n > 0 {
            line = session.line();
        }
        assert!(line == *sent, "line {n} is another: {line:.100}");
    }
}

#[test]
fn both_sides_may_stand_still_and_go_on() {
    let mut session = Slow::script("it-flow-both", &format!("{FLOOD} exec cat"));
    let cargo = cargo();
    let (pouring, written) = session.pour(Arc::clone(&cargo));
    let taken = expect_stall(&written, cargo.len());
    println!("taken: {taken} MiB; peak {} KiB", peak(session.pid()) >> 10);
    expect_flat(session.pid());
    session.exec(&["touch", "/tmp/go"]);
    drain(&mut session);
    come_back(&mut session, &cargo);
    pouring.join().unwrap();
    expect_flat(session.pid());
    session.end();
}

/// So many mebibytes; a gibibyte with `BERTH_TEST_FLOW_MIB=1024`.
fn amount() -> usize {
    std::env::var("BERTH_TEST_FLOW_MIB").map_or(256, |amount| amount.parse().expect("a number"))
}

#[test]
fn results_of_a_mebibyte_pass_a_reader_that_stalls() {
    // More of them wait than the proxy may keep.
    const WAITING: usize = 64;
    let all = amount();
    let mut session = Slow::run("it-flow-results", &["fixture"]);
    for id in 0..WAITING {
        session.call(id, "big", json!({ "bytes": MIB }));
    }
    let mut seen = vec![false; all];
    let mut stalls = Vec::new();
    let mut first = None;
    for n in 0..all {
        if n % (all / 4) == 0 {
            thread::sleep(STILL);
            stalls.push(peak(session.pid()) >> 10);
        }
        let line = session.line();
        // All of them look like the first, but for the id.
        let (id, rest) = line.strip_prefix("{\"id\":").and_then(|line| line.split_once(',')).expect("an id");
        let id: usize = id.parse().unwrap();
        assert!(!std::mem::replace(&mut seen[id], true), "{id} is answered twice");
        let first = first.get_or_insert_with(|| {
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(answer["result"]["content"][0]["text"], "x".repeat(MIB));
            rest.to_owned()
        });
        assert!(rest == first, "{id} is spoilt");
        if n + WAITING < all {
            session.call(n + WAITING, "big", json!({ "bytes": MIB }));
        }
    }
    println!("peaks at the stalls: {stalls:?} KiB; at the end {} KiB", peak(session.pid()) >> 10);
    expect_flat(session.pid());
    session.end();
}
