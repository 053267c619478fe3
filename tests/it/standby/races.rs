//! Many claimants for one container, and deaths in the middle.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{Tidy, claimed, container_of, containers, on_standby, standbys};
use crate::harness::{Berth, GONE_WITHIN, PATIENCE, Session, at_once, eventually, inspect, until_traced};

/// A container that was taken and never attached to ends by itself: the keeper's four seconds, and what it takes to see.
const NEVER_TAKEN_WITHIN: Duration = Duration::from_secs(6);

#[test]
fn twelve_sessions_race_for_two_and_none_shares() {
    const SESSIONS: usize = 12;
    let _tidy = Tidy("it-race");
    let run = || Berth::run("ready").client("it-race").args(["--standby", "2"]);
    let mut first = run().started();
    let ready = standbys("it-race", 2);
    first.close();
    first.wait();
    let runs = (0..SESSIONS).map(|_| run()).collect();
    let mut sessions = at_once(runs, |n, run: Berth| {
        let mut session = run.started();
        assert_eq!(session.call("read", json!({ "path": "/mine" }))["isError"], true, "session {n}");
        session.call("write", json!({ "path": "/mine", "text": n.to_string() }));
        session.call("marker", json!({ "set": format!("marker {n}") }));
        let id = container_of(&mut session);
        (session, id)
    });
    for (n, (session, id)) in sessions.iter_mut().enumerate() {
        assert_eq!(session.call_text("read", json!({ "path": "/mine" })), n.to_string());
        assert_eq!(session.call_text("marker", json!({})), format!("marker {n}"));
        assert_eq!(container_of(session), *id);
    }
    let ids: BTreeSet<&String> = sessions.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), SESSIONS, "{ids:?}");
    assert!(ready.values().any(|id| ids.contains(id)), "somebody won");
    // All are told apart by their numbers, too.
    let numbered = eventually("a number for each", Duration::from_secs(20), || {
        let names: Vec<String> = containers("it-race").into_keys().collect();
        let own: Vec<String> = names.into_iter().filter(|name| !name.ends_with(".standby")).collect();
        own.iter().all(|name| !name.ends_with(".starting")).then_some(own)
    });
    assert_eq!(numbered.len(), SESSIONS, "{numbered:?}");
    // One that has an active one's number could not be claimed; whoever made it has to look first.
    eventually("two for the next sessions, of numbers that are free", PATIENCE, || {
        let next = on_standby("it-race");
        let free = |name: &String| !numbered.iter().any(|own| name.strip_suffix(".standby") == Some(own));
        (next.len() >= 2 && next.keys().all(free)).then_some(())
    });
    at_once(sessions, |n, (mut session, _): (Session, String)| {
        session.close();
        assert_eq!(session.exit_code(), Some(0), "session {n}: {}", session.stderr());
    });
}

#[test]
fn nothing_stands_by_for_a_number_that_is_taken() {
    const SESSIONS: usize = 6;
    let _tidy = Tidy("it-numbers");
    let runs = (0..SESSIONS).map(|_| Berth::run("ready").client("it-numbers").args(["--standby", "6"]));
    let mut starting: Vec<Session> = runs.map(Berth::start).collect();
    // One takes its number while another puts some on standby.
    for session in &mut starting {
        session.initialize();
    }
    // Two may have the same number for a moment, until one of them has looked.
    eventually("a number for each, and some that may be claimed", PATIENCE, || {
        let names: BTreeSet<String> = containers("it-numbers").into_keys().collect();
        let standby: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".standby")).collect();
        let unnamed = names.iter().any(|name| name.ends_with(".starting"));
        let free = standby.iter().all(|own| !names.contains(*own));
        (!unnamed && free && !standby.is_empty() && names.len() - standby.len() == SESSIONS).then_some(())
    });
    drop(starting);
}

#[test]
fn a_session_that_was_killed_takes_its_container_along() {
    let _tidy = Tidy("it-born-before");
    let (mut session, id) = claimed(|| Berth::run("ready").client("it-born-before").started());
    session.signal("-KILL");
    session.wait();
    eventually("the end of the container", GONE_WITHIN, || {
        (!containers("it-born-before").values().any(|left| *left == id)).then_some(())
    });
}

/// How far a session had come when it was killed, by its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before,
    /// It may have claimed a container, and did not know it.
    Claiming,
    Claimed,
    TakenOver,
}

impl Stage {
    fn of(trace: &str) -> Self {
        if trace.contains(MARKS[3]) {
            Self::TakenOver
        } else if trace.contains(MARKS[2]) {
            Self::Claimed
        } else if trace.contains(MARKS[1]) {
            Self::Claiming
        } else {
            Self::Before
        }
    }
}

/// What a trace says at the end of each step; the next one has begun.
const MARKS: [&str; 4] = [
    "connect for the container",
    "look for a container on standby",
    "claim a container on standby",
    "take over the container",
];

#[test]
fn thirty_kills_while_claiming_leave_nothing_but_what_can_be_claimed() {
    const KILLS: u64 = 10;
    let lanes = ["it-sudden-0", "it-sudden-1", "it-sudden-2"];
    let _tidy = lanes.map(Tidy);
    let traces = tempfile::tempdir().unwrap();
    let kill = |client: &str, lane: u64, n: u64| {
        let file = traces.path().join(format!("{client}-{n}"));
        let flag = format!("--trace={}", file.display());
        let trace = || std::fs::read_to_string(&file).unwrap_or_default();
        let mut session = Berth::run("ready").client(client).args(["--standby", "12", flag.as_str()]).start();
        session.send(&json!({ "jsonrpc": "2.0", "id": "alive", "method": "ping" }));
        // A program's start takes longer than all that follows.
        let turn = usize::try_from(n * lanes.len() as u64 + lane).unwrap();
        // What is claimed may have come to its end in that moment: the session has another container made.
        until_traced(&file, &[MARKS[turn % MARKS.len()], "create, start and attach"]);
        std::thread::sleep(Duration::from_millis(n));
        session.kill();
        let stage = Stage::of(&trace());
        let what = format!("the end of {client}'s container {n}, killed in the stage {stage:?}");
        eventually(&what, NEVER_TAKEN_WITHIN, || {
            containers(client).keys().all(|name| name.ends_with(".standby")).then_some(())
        });
        stage
    };
    let hit = at_once(lanes.to_vec(), |lane, client| {
        let mut first = Berth::run("ready").client(client).args(["--standby", "12"]).started();
        standbys(client, 12);
        first.close();
        first.wait();
        (0..KILLS).map(|n| kill(client, lane as u64, n)).collect::<Vec<_>>()
    });
    let hit: Vec<Stage> = hit.into_iter().flatten().collect();
    for stage in [Stage::Claiming, Stage::TakenOver] {
        assert!(hit.contains(&stage), "{stage:?} was never hit: {hit:?}");
    }
    // What was announced and never claimed has ended by now; what is left is there for the next.
    std::thread::sleep(NEVER_TAKEN_WITHIN);
    for client in lanes {
        let left = containers(client);
        assert!(left.keys().all(|name| name.ends_with(".standby")), "{left:?}");
        // A killed session's last wish may still be under way in the daemon.
        let running = |id: &String| inspect(id)["State"]["Running"] == true;
        let left = eventually("containers that run", GONE_WITHIN, || {
            let left = containers(client);
            (!left.is_empty() && left.values().all(running)).then_some(left)
        });
        let mut session = Berth::run("ready").client(client).args(["--standby", "12"]).started();
        let own = container_of(&mut session);
        assert!(left.values().any(|id| *id == own), "{}", session.stderr());
    }
}
