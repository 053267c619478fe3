//! A server that the keeper started ahead of its session: its input, and which end causes which.

use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use super::hold::{Berth, CLAIM, MINUTE, unshare};
use super::{AT_ONCE, KEEPER, field};

/// More than the server's input holds, and less than that and the lifeline.
const UNREAD: usize = 96 << 10;

/// Waits until PID 1 has done nothing for half a second; for ever if it never rests.
const REST: &str = "
    work() { cut -d' ' -f14,15 /proc/1/stat; grep ctxt /proc/1/status; }
    until before=$(work); sleep 0.5; [ \"$before\" = \"$(work)\" ]; do :; done; echo idle";

fn unread(times: usize) -> Vec<u8> {
    vec![b'x'; times * UNREAD]
}

fn shell(claim_within: u32, grace: u32, script: &str) -> Berth {
    Berth::ahead(claim_within, grace, &["sh", "-c", script])
}

fn claimed(grace: u32, script: &str) -> Berth {
    shell(MINUTE, grace, script).send(CLAIM)
}

#[test]
fn what_follows_the_claim_is_the_servers_and_nothing_before() {
    let berth = Berth::ahead(MINUTE, MINUTE, &["cat"]).send(b"no claim\nt\n").send(b"cs1\ncs2\nt\n");
    let (code, printed, _) = berth.let_go().exit();
    assert_eq!((code, printed.as_str()), (Some(0), "cs2\nt\n"));
    let berth = Berth::ahead(MINUTE, MINUTE, &["cat"]).send(b"c").send(b"s1").send(b"\nlate");
    assert_eq!(berth.let_go().exit().1, "late");
}

#[test]
fn the_end_of_the_input_is_the_servers_and_its_exit_code_is_ours() {
    let input = vec![b'x'; 3 << 20];
    let berth = claimed(MINUTE, "wc -c; sleep 0.5; echo late; exit 5").send(&input).let_go();
    let (code, printed, time) = berth.exit();
    assert_eq!((code, printed), (Some(5), format!("{}\nlate\n", input.len())));
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn a_server_that_ends_ends_its_container() {
    for (server, code) in
        [("exit 3", 3), ("kill -TERM $$", 143), ("kill -SEGV $$", 139), ("kill -USR1 $$", 138)]
    {
        // Whatever it leaves behind, claimed or not.
        let script = format!("(trap '' TERM; exec sleep 60) & sleep 0.2; {server}");
        for berth in [shell(MINUTE, MINUTE, &script), claimed(MINUTE, &script)] {
            let (ended, _, time) = berth.exit();
            assert_eq!(ended, Some(code), "{server}");
            assert!(time < AT_ONCE, "{time:?}");
        }
    }
}

#[test]
fn a_server_that_ends_before_the_keeper_has_looked_is_seen_to_end() {
    // On one processor the server may be through before the keeper goes on.
    for _ in 0..20 {
        let (code, _, time) = Berth::pinned(MINUTE, MINUTE, &["false"]).exit();
        assert_eq!(code, Some(1));
        assert!(time < AT_ONCE, "{time:?}");
    }
}

#[test]
fn a_server_starts_with_signals_as_from_a_shell() {
    // No shell in between, for shells put right what they were given.
    let masks = ["grep", "-E", "^Sig(Ign|Blk):", "/proc/self/status"];
    let (_, printed, _) = Berth::ahead(MINUTE, MINUTE, &masks).exit();
    let plain = unshare().args(masks).output().unwrap();
    assert_eq!(printed, String::from_utf8(plain.stdout).unwrap());
    for (name, signals) in [("SigIgn", 1 << 12 | 1 << 16), ("SigBlk", u64::MAX)] {
        let set = u64::from_str_radix(field(&printed, name).unwrap(), 16).unwrap();
        assert_eq!(set & signals, 0, "{name}: SIGPIPE, SIGCHLD: {printed}");
    }
}

#[test]
fn a_servers_orphans_leave_no_zombies() {
    // Many at once, for signals of one kind are one.
    let script = "for _ in 1 2 3 4 5 6 7 8 9; do (sleep 0.3 &); done
        while cat /proc/[0-9]*/stat 2>/dev/null | grep -q '(sleep)'; do :; done
        echo reaped; read -r line; echo $line";
    let mut berth = claimed(MINUTE, script);
    assert_eq!(berth.line(), "reaped");
    assert_eq!(berth.send(b"alive\n").exit().1, "alive\n");
}

#[test]
fn an_owner_that_dies_behind_unread_input_is_noticed() {
    let (code, _, time) = claimed(2000, "exec sleep 60").send(&unread(1)).let_go().exit();
    assert_eq!(code, Some(143));
    assert!(time >= Duration::from_secs(1) && time < AT_ONCE, "{time:?}");
    let stubborn = "trap '' TERM; exec sleep 60";
    let (code, _, time) = claimed(2000, stubborn).send(&unread(1)).let_go().exit();
    assert_eq!(code, Some(0));
    assert!(time >= Duration::from_secs(2) && time < AT_ONCE, "{time:?}");
    // It may read all the same, while its grace lasts.
    let (code, printed, _) = claimed(MINUTE, "sleep 1; wc -c").send(&unread(1)).let_go().exit();
    assert_eq!((code, printed), (Some(0), format!("{UNREAD}\n")));
}

#[test]
fn a_slow_server_gets_everything_in_order_and_costs_nothing() {
    let input: Vec<u8> = (0..1 << 20).flat_map(|n| format!("{n:07}\n").into_bytes()).collect();
    let script = format!(
        "{REST}; for _ in 1 2 3 4 5 6 7 8; do
        dd bs=64k count=16 iflag=fullblock status=none; sleep 0.05; done; {REST}; wc -c"
    );
    let mut berth = claimed(MINUTE, &script);
    let mut stdin = berth.child.stdin.take().unwrap();
    let mut stdout = berth.child.stdout.take().unwrap();
    let (written, passed) = std::sync::mpsc::channel();
    let sent = input.clone();
    let owner = thread::spawn(move || {
        stdin.write_all(&sent).unwrap();
        // Held open, so that the end of the input is not what wakes the keeper.
        passed.recv().unwrap();
    });
    let expected = [b"idle\n", &input[..], b"idle\n"].concat();
    let mut printed = vec![0; expected.len()];
    stdout.read_exact(&mut printed).unwrap();
    assert!(printed == expected, "it came otherwise");
    written.send(()).unwrap();
    owner.join().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\n");
}

#[test]
fn a_server_that_closes_its_input_is_left_in_peace() {
    // Before anything has come, and when it holds more than it ever read.
    for wait in ["", "sleep 1;"] {
        let script = format!("{wait} exec 0<&-; echo closed; sleep 0.5; {REST}; exec sleep 60");
        let mut berth = claimed(2000, &script).send(&unread(1));
        assert_eq!(berth.line(), "closed");
        // Its owner may go on writing.
        let mut berth = berth.send(&unread(4));
        assert_eq!(berth.line(), "idle");
        assert!(berth.child.try_wait().unwrap().is_none());
        let (code, _, time) = berth.let_go().exit();
        assert_eq!(code, Some(143));
        assert!(time < AT_ONCE * 2, "{time:?}");
    }
}

#[test]
fn a_server_that_cannot_run_is_named() {
    for (program, code, why) in
        [("no-such-command", 127, "No such file or directory"), ("/etc", 126, "Permission denied")]
    {
        let hold = ["hold", "--claim-within", "60000", "--grace", "60000", "--", program];
        let output = unshare().arg(KEEPER).args(hold).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let line = format!("berth: cannot run `{program}`: {why}\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line);
    }
}

#[test]
fn an_announced_claim_is_waited_for_a_few_seconds() {
    let announced = || {
        let mut berth = shell(MINUTE, 2000, "echo ready; exec cat");
        assert_eq!(berth.line(), "ready");
        berth.signal("USR1");
        berth
    };
    let (code, _, time) = announced().exit();
    assert_eq!(code, Some(143));
    assert!(time >= Duration::from_secs(4) && time < AT_ONCE, "{time:?}");

    let mut berth = announced().send(CLAIM);
    thread::sleep(Duration::from_secs(6));
    assert!(berth.child.try_wait().unwrap().is_none(), "it has an owner");
    let (code, printed, _) = berth.send(b"here\n").let_go().exit();
    assert_eq!((code, printed.as_str()), (Some(0), "here\n"));
}

#[test]
fn the_claim_is_shown_as_the_keepers_name() {
    let mut berth = shell(MINUTE, MINUTE, "cat /proc/1/comm; read -r _; cat /proc/1/comm");
    assert_eq!(berth.line(), "keeper");
    let (_, printed, _) = berth.send(b"c0123456789ab\ngo\n").exit();
    assert_eq!(printed, "0123456789ab\n");
}

#[test]
fn the_lifeline_is_closed_to_the_server() {
    let script = "for file in 0 1 2; do
        readlink /proc/1/fd/$file || echo denied; (: </proc/1/fd/$file) 2>/dev/null || echo denied; done
        [ -p /proc/self/fd/0 ] && echo a pipe of its own";
    let (_, printed, _) = claimed(MINUTE, script).exit();
    assert_eq!(printed, format!("{}a pipe of its own\n", "denied\n".repeat(6)));
}

#[test]
fn a_stop_reaches_the_server() {
    let obedient = "trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut berth = claimed(MINUTE, obedient);
    assert_eq!(berth.line(), "ready");
    berth.signal("TERM");
    let (code, printed, time) = berth.exit();
    assert_eq!((code, printed.as_str()), (Some(7), "term\n"));
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn a_keeper_that_can_no_longer_poll_ends_with_its_server() {
    // A server is kept from that, and so is whatever it starts.
    let company = "(sleep 0.5; prlimit --pid 1 --nofile=1:1 && echo lowered; exec sleep 60) &";
    let mut berth = Berth::ahead_beside(company, MINUTE, 2000, &["sleep", "60"]).send(CLAIM);
    assert_eq!(berth.line(), "lowered");
    // The poll that goes on does not notice; each one after the end of the lifeline fails.
    let (_, _, time) = berth.let_go().exit();
    assert!(time < AT_ONCE, "{time:?}");
}
