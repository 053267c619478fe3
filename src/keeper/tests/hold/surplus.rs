//! A container on standby that is one too many: it ends if nobody is about to claim it.

use super::*;

/// Says when the keeper hears signals: it blocks them all first.
const LISTENING: &str = "(until grep -q '^SigBlk:.*ffbfeff$' /proc/1/status; do sleep 0.02; done; echo listening
    until tr '\\0' ' ' </proc/1/cmdline | grep -q ' hold for s1 '; do sleep 0.02; done; echo claimed; sleep 60) &";

fn listening() -> Berth {
    let mut berth = Berth::with(2000, LISTENING, &["--room", &"-".repeat(99)]);
    assert_eq!(berth.line(), "listening");
    berth
}

/// The claim is heard and holds, until it is let go.
fn is_held(mut berth: Berth) {
    assert_eq!(berth.line(), "claimed");
    assert!(berth.child.try_wait().unwrap().is_none());
    let (_, time) = berth.let_go().end();
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn what_nobody_claims_ends() {
    let mut berth = listening();
    berth.signal("WINCH");
    let (printed, time) = berth.end();
    assert_eq!(printed, "");
    assert!(time < AT_ONCE, "{time:?}");
}

/// One that took its time could be claimed meanwhile, and would end under its session.
#[test]
fn a_server_that_was_started_ahead_takes_no_time() {
    let server = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut berth = Berth::ahead_beside(LISTENING, MINUTE, MINUTE, &["sh", "-c", server]);
    let mut lines = [berth.line(), berth.line()];
    lines.sort();
    assert_eq!(lines, ["listening", "ready"]);
    berth.signal("WINCH");
    let (_, printed, time) = berth.exit();
    assert_eq!(printed, "");
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn an_announced_claim_makes_it_void() {
    let mut berth = listening();
    berth.signal("USR1");
    berth.signal("WINCH");
    is_held(berth.send(CLAIM));
}

#[test]
fn so_does_one_that_comes_with_it() {
    let mut berth = listening();
    // Neither is heard before the other has come.
    berth.signal("STOP");
    berth.signal("WINCH");
    berth.signal("USR1");
    berth.signal("CONT");
    is_held(berth.send(CLAIM));
}

#[test]
fn so_does_a_claim_and_it_is_no_end_for_a_session() {
    let mut berth = listening();
    berth.signal("STOP");
    let mut berth = berth.send(CLAIM);
    berth.signal("WINCH");
    berth.signal("CONT");
    assert_eq!(berth.line(), "claimed");
    berth.signal("WINCH");
    thread::sleep(Duration::from_millis(200));
    assert!(berth.child.try_wait().unwrap().is_none());
}
