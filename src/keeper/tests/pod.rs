//! A keeper as PID 1 of a pod: its lifeline is a heartbeat.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::hold::{MINUTE, keeper_of, unshare};
use super::serve::{opening, start};
use super::{AT_ONCE, KEEPER};
use crate::limits::field;
use crate::records::Start;
use crate::{Failure, Subcommand};

/// Prints `term` at SIGTERM and ends.
const OBEDIENT: &str =
    "(trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.05; done) 2>/dev/null &";

struct Pod {
    child: Child,
    started: Instant,
}

impl Pod {
    /// Times in milliseconds: until somebody has spoken, of silence, for an end in order.
    fn start(claim_within: u32, reconnect: u32, grace: u32, company: &str) -> Self {
        let times = [claim_within, reconnect, grace].map(|time| time.to_string());
        let child = unshare()
            .args(["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "sh", "-c"])
            // Its own words would be among the company's.
            .arg(format!("{company}\nexec \"$@\" >/proc/self/fd/2"))
            .args(["sh", KEEPER, "hold-pod", "--claim-within", &times[0]])
            .args(["--reconnect", &times[1], "--grace", &times[2]])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, started: Instant::now() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// From outside of its pid namespace, as the kubelet does, once it listens.
    fn signal(&self, signal: &str) {
        let keeper = keeper_of(&self.child);
        let has_blocked = || {
            let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
            field(&status, "SigBlk").is_some_and(|blocked| !blocked.starts_with("00000000"))
        };
        while !has_blocked() {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(Command::new("kill").args([&format!("-{signal}"), &keeper]).status().unwrap().success());
    }

    /// What the others have printed, and the time. It has said nothing itself.
    fn end(mut self) -> (String, Duration) {
        let (mut printed, mut said) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
        (printed, self.started.elapsed())
    }
}

#[test]
fn its_command_line_is_read() {
    let parse = |line: &str| Subcommand::parse(line.split_whitespace().map(Into::into));
    let told = format!("{:?}", parse("hold-pod --claim-within 5 --grace 7").unwrap());
    assert_eq!(told, "HoldPod(Pod { claim_within: 5ms, reconnect: 15s, grace: 7ms })");
    for (line, why) in [
        ("hold-pod --grace 7", "`--claim-within` is missing"),
        ("hold-pod --claim-within 7", "`--grace` is missing"),
        ("hold-pod --forever", "unexpected `--forever`"),
        ("serve 1", "unexpected `1`"),
        ("resume", "an epoch is missing"),
        ("resume -1", "`-1` is not an epoch"),
    ] {
        assert_eq!(parse(line), Err(Failure::usage(why)), "{line}");
    }
}

#[test]
fn nobody_who_ever_spoke_is_not_waited_for() {
    let (printed, time) = Pod::start(500, MINUTE, MINUTE, OBEDIENT).end();
    assert_eq!(printed, "ready\nterm\n");
    assert!(time >= Duration::from_millis(500) && time < AT_ONCE, "{time:?}");
}

/// A pod that was kept by a heartbeat, and when that was heard last; none if the heart stood still for too long.
fn kept_for(time: Duration, reconnect: Duration) -> Option<(Pod, Instant)> {
    let mut pod = Pod::start(MINUTE, reconnect.as_millis().try_into().unwrap(), 1000, OBEDIENT);
    assert_eq!(pod.line(), "ready");
    let began = Instant::now();
    let (mut last, mut has_stood) = (began, false);
    while began.elapsed() < time {
        // A keeper that has ended reads no more.
        let is_heard = pod.child.stdin.as_mut().unwrap().write_all(b".").is_ok();
        has_stood |= last.elapsed() > reconnect / 2;
        assert!(is_heard || has_stood, "it hears its owner");
        last = Instant::now();
        thread::sleep(Duration::from_millis(100));
    }
    let goes_on = pod.child.try_wait().unwrap().is_none();
    has_stood |= last.elapsed() > reconnect / 2;
    assert!(goes_on || has_stood, "it hears its owner");
    (!has_stood).then_some((pod, last))
}

#[test]
fn silence_ends_it_in_order_and_a_heartbeat_keeps_it() {
    let reconnect = Duration::from_secs(2);
    // A machine that lets us sleep for longer shows nothing: another try then.
    let (pod, last) =
        (0..5).find_map(|_| kept_for(reconnect * 2, reconnect)).expect("a machine with time for us");
    let (printed, _) = pod.end();
    // Half of the grace passes first, for an end by itself.
    assert!(last.elapsed() >= reconnect + Duration::from_millis(500), "{:?}", last.elapsed());
    assert_eq!(printed, "term\n");
}

#[test]
fn the_end_of_the_stream_is_a_silence_like_any_other() {
    let mut pod = Pod::start(MINUTE, 2000, 0, "");
    pod.send(b".");
    let sent = Instant::now();
    drop(pod.child.stdin.take());
    let (_, time) = pod.end();
    assert!(sent.elapsed() >= Duration::from_millis(1900) && time < AT_ONCE, "{time:?}");
}

#[test]
fn the_goodbye_ends_it_at_once() {
    for word in [&b"t"[..], b"..t", b"..gt"] {
        let mut pod = Pod::start(MINUTE, MINUTE, MINUTE, OBEDIENT);
        assert_eq!(pod.line(), "ready");
        pod.send(word);
        let (printed, time) = pod.end();
        assert_eq!(printed, "term\n");
        assert!(time < AT_ONCE, "{time:?}");
    }
    // A client that has left gives the server half of the grace.
    let mut pod = Pod::start(MINUTE, MINUTE, 1000, OBEDIENT);
    assert_eq!(pod.line(), "ready");
    pod.send(b".g");
    let (printed, time) = pod.end();
    assert_eq!(printed, "term\n");
    assert!(time >= Duration::from_millis(500) && time < AT_ONCE, "{time:?}");
}

#[test]
fn its_orphans_are_reaped_and_nobody_inside_can_end_it_or_read_it() {
    let company = "sleep 0.3 & (sleep 0.5 &)
        (sleep 0.5; for signal in TERM INT USR2 HUP QUIT 37; do kill -$signal 1; done; readlink /proc/1/fd/0 || echo denied
         sleep 1; cat /proc/[0-9]*/stat | grep -c ' Z '; exec sleep 60) &";
    let mut pod = Pod::start(MINUTE, MINUTE, MINUTE, company);
    pod.send(b".");
    assert_eq!((pod.line().as_str(), pod.line().as_str()), ("denied", "0"));
    assert!(pod.child.try_wait().unwrap().is_none());
    pod.send(b"t");
    pod.end();
}

#[test]
fn it_rests_between_heartbeats() {
    let company = "(switches() { grep ^voluntary /proc/1/status; }
        for try in 1 2 3 4 5; do
            before=$(switches); sleep 1; [ \"$before\" != \"$(switches)\" ] || { echo idle; exec sleep 60; }
        done; echo busy; sleep 60) 2>/dev/null &";
    let mut pod = Pod::start(MINUTE, MINUTE, MINUTE, company);
    pod.send(b".");
    assert_eq!(pod.line(), "idle");
    pod.send(b"t");
    pod.end();
}

/// `serve` beside it, as an exec is: the end of the lease reaches the server as the end of its input.
#[test]
fn the_server_of_a_helper_has_its_time_to_end_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("in");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let server = "trap 'echo term >&9' TERM; echo ready >&9; while read -r _; do :; done; echo over >&9";
    let company = format!("({KEEPER} serve 9>&1 <{} >/dev/null) &", fifo.display());
    let mut pod = Pod::start(MINUTE, 1000, MINUTE, &company);
    let mut to_helper = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    to_helper.write_all(&opening(&start(server))).unwrap();
    assert_eq!(pod.line(), "ready");
    pod.send(b".");
    // The helper's own stream goes on all the time: only PID 1 hears the silence.
    let (printed, time) = pod.end();
    assert_eq!(printed, "over\n");
    assert!(time < AT_ONCE, "{time:?}");
    drop(to_helper);
}

/// PID 1 has its own time for it; the helper's, which is shorter here, is of no account then.
#[test]
fn a_server_has_one_sigterm_for_one_end() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("in");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let server = "trap 'echo term >&9' TERM; echo ready >&9; while :; do sleep 0.05; done";
    let company = format!("({KEEPER} serve 9>&1 <{} >/dev/null) &", fifo.display());
    let mut pod = Pod::start(MINUTE, 500, 2000, &company);
    let mut to_helper = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let start = Start { grace: Duration::from_millis(200), ..start(server) };
    to_helper.write_all(&opening(&start)).unwrap();
    assert_eq!(pod.line(), "ready");
    pod.send(b".");
    let (printed, _) = pod.end();
    assert_eq!(printed, "term\n");
}

#[test]
fn whatever_the_image_calls_its_stop_signal_ends_it_in_order() {
    for signal in ["TERM", "QUIT", "HUP", "USR1", "WINCH", "RTMIN+3"] {
        let mut pod = Pod::start(MINUTE, MINUTE, MINUTE, OBEDIENT);
        assert_eq!(pod.line(), "ready");
        pod.send(b".");
        pod.signal(signal);
        let (printed, time) = pod.end();
        assert_eq!(printed, "term\n", "{signal}");
        assert!(time < AT_ONCE, "{signal} {time:?}");
    }
}
