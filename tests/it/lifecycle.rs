//! Sessions begin and end, in every way, and leave nothing behind.

use std::collections::BTreeMap;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    Berth, GONE_WITHIN, at_once, berth_says, containers_of, docker_says, eventually, expect_gone, own_kernel,
    until_traced,
};

/// What promises a time has no dozens of sessions beside it: those who start them have the module to themselves.
static TURNS: RwLock<()> = RwLock::new(());

#[test]
fn closing_the_input_ends_the_session() {
    let _turn = TURNS.read();
    let mut session = Berth::run("fixture").client("it-close").start();
    session.initialize();
    assert_eq!(session.container(), "mcp-it-close-1");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    expect_gone("it-close");
}

#[test]
fn every_signal_ends_the_session() {
    let _turn = TURNS.read();
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

/// How far a session had come when it was killed, by what it left: its trace, and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It had no connection to ask for a container with.
    Before,
    /// It may have asked for a container, and knew of none yet.
    Creating,
    /// It had a container; its server had not answered.
    Starting,
    Answered,
}

/// What a trace says at the beginning of the stages in the middle.
const STAGES: [&str; 2] = ["connect for the container", "create, start and attach"];

impl Stage {
    fn of(trace: &str, answered: bool) -> Self {
        if answered {
            Self::Answered
        } else if trace.contains(STAGES[1]) {
            Self::Starting
        } else if trace.contains(STAGES[0]) {
            Self::Creating
        } else {
            Self::Before
        }
    }
}

#[test]
fn a_hundred_kills_at_any_moment_leave_nothing_either_way() {
    const LANES: u64 = 4;
    const KILLS: u64 = 25;
    let _alone = TURNS.write();
    // From 0 to 40 ms behind the beginning of a stage, more of them early; the seed is in the arithmetic.
    let moment = |n: u64| Duration::from_micros((n.wrapping_mul(2_654_435_761) % 1000).pow(2) / 25);
    let traces = tempfile::tempdir().unwrap();
    let kill = |streams: &str, lane: u64, n: u64| {
        // A client for each kill: what is left of one can't be taken for another's.
        let client = format!("it-kill-{streams}-{lane}-{n}");
        let trace = traces.path().join(&client);
        let flag = format!("--trace={}", trace.display());
        let run = Berth::run("fixture").client(&client).args([flag.as_str(), "--streams", streams]);
        let mut session = run.start();
        session.send(&json!({ "jsonrpc": "2.0", "id": "alive", "method": "ping" }));
        let mut answered = false;
        let mut later = moment(lane * KILLS + n);
        match n % 6 {
            // A program's start takes a moment, too.
            0 => later = Duration::ZERO,
            1 => until_traced(&trace, &[""]),
            2 => until_traced(&trace, &STAGES[..1]),
            3 => until_traced(&trace, &STAGES[1..]),
            4 => until_traced(&trace, &["start the server"]),
            _ => answered = session.line().is_some(),
        }
        std::thread::sleep(later);
        session.kill();
        let trace = std::fs::read_to_string(trace).unwrap_or_default();
        let stage = Stage::of(&trace, answered || !session.rest().is_empty());
        eventually(&format!("the end of {client}, killed in the stage {stage:?}"), GONE_WITHIN, || {
            containers_of(&client).is_empty().then_some(())
        });
        (client, stage)
    };
    let lanes: Vec<u64> = (0..LANES).collect();
    let mut killed = Vec::new();
    let ways: &[&str] = if own_kernel() { &["exec"] } else { &["direct", "exec"] };
    for streams in ways {
        let kills = |lane: u64| (0..KILLS).map(|n| kill(streams, lane, n)).collect::<Vec<_>>();
        let kills = at_once(lanes.clone(), |_, lane| kills(lane));
        expect_all_stages(streams, kills.iter().flatten().map(|(_, stage)| *stage));
        killed.extend(kills.into_iter().flatten());
    }
    // What was on its way to the daemon when it looked empty has arrived a second later.
    std::thread::sleep(Duration::from_secs(1));
    for (client, stage) in killed {
        assert_eq!(containers_of(&client), Vec::<String>::new(), "killed in the stage {stage:?}");
    }
}

/// Each was hit in earnest.
fn expect_all_stages(streams: &str, hits: impl Iterator<Item = Stage>) {
    let mut hit = BTreeMap::<Stage, usize>::new();
    for stage in hits {
        *hit.entry(stage).or_default() += 1;
    }
    for stage in [Stage::Before, Stage::Creating, Stage::Starting, Stage::Answered] {
        assert!(
            hit.get(&stage).is_some_and(|count| *count >= 3),
            "{stage:?} was hardly hit with {streams}: {hit:?}"
        );
    }
}

#[test]
fn a_server_that_ignores_everything_is_gone_within_the_grace_period() {
    let _turn = TURNS.read();
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
    let _turn = TURNS.read();
    let mut session = Berth::run("fixture").client("it-orphan").start();
    session.initialize();
    session.call("ignore_eof", json!({}));
    session.signal("-KILL");
    session.wait();
    expect_gone("it-orphan");
}

#[test]
fn sessions_of_one_client_take_the_lowest_free_number() {
    let _turn = TURNS.read();
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
    let _turn = TURNS.read();
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

#[test]
fn a_proxy_that_stands_still_while_it_starts_has_its_session() {
    let _alone = TURNS.write();
    // Wherever in its start that is: its container waits for so long that it has given the proxy up.
    let restart = ["--on-failure", "restart"];
    let runs = (0..12).map(|_| Berth::run("fixture").client("it-still").args(restart)).collect();
    at_once(runs, |n, run: Berth| {
        let mut session = run.start();
        std::thread::sleep(Duration::from_millis(100) * u32::try_from(n).unwrap());
        session.signal("-STOP");
        std::thread::sleep(Duration::from_secs(6));
        session.signal("-CONT");
        session.initialize();
        assert_eq!(session.call_text("echo", json!({ "text": "here" })), "here");
        session.close();
        assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    });
    expect_gone("it-still");
}

#[test]
fn nobody_in_a_container_ends_its_session_by_a_signal() {
    let _turn = TURNS.read();
    let script = "for signal in USR1 USR2 TERM INT; do kill -$signal 1; done; echo signalled >&2; exec cat";
    let mut session =
        Berth::image("berth-everything").client("it-signals").args(["--", "/bin/sh", "-c", script]).start();
    session.expect_stderr("signalled");
    std::thread::sleep(Duration::from_secs(1));
    session.send_raw(b"{\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n");
    assert_eq!(session.message()["method"], "x");
    // The engine's still count.
    let (code, out, err) = berth_says(&["kill", &session.container()]);
    assert!(code == Some(0) && out.starts_with("ended "), "{out}{err}");
    session.expect_stderr("was ended by `berth kill`");
    expect_gone("it-signals");
}
