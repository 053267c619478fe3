//! Which signals the keeper obeys, and which count for nothing.

use super::*;

#[test]
fn sigterm_and_sigint_are_requests_to_stop() {
    for signal in ["TERM", "INT"] {
        let mut berth = Berth::hold(MINUTE, MINUTE, OBEDIENT).send(CLAIM);
        assert_eq!(berth.line(), "ready");
        berth.signal(signal);
        let (printed, time) = berth.end();
        assert_eq!(printed, "term\n");
        assert!(time < AT_ONCE, "{time:?}");
    }
}

#[test]
fn somebody_elses_end_is_told_to_the_owner() {
    let mut berth = Berth::hold(MINUTE, MINUTE, OBEDIENT).send(CLAIM);
    assert_eq!(berth.line(), "ready");
    berth.signal("USR2");
    assert_eq!(berth.line(), "ended");
    let (code, printed, _) = berth.send(b"t").exit();
    assert_eq!((code, printed.as_str()), (Some(251), "term\n"));
    // One that does not answer keeps it for a moment.
    let mut silent = Berth::hold(MINUTE, MINUTE, OBEDIENT).send(CLAIM);
    assert_eq!(silent.line(), "ready");
    silent.signal("USR2");
    let (code, printed, _) = silent.exit();
    assert_eq!((code, printed.as_str()), (Some(251), "ended\nterm\n"));
}

/// As sigqueue(3) does it, and with a sender's number of 0, which is how the engine's looks.
const FORGE: &str = "perl -e '$info = pack q(l4 x112), $ARGV[0], 0, -1, 0;
    exit(syscall($ARGV[1], 1, $ARGV[0], $info) ? 1 : 0)'";

#[test]
fn what_comes_from_inside_the_container_counts_for_nothing() {
    let queue = if cfg!(target_arch = "x86_64") { 129 } else { 138 };
    let company = format!(
        "(sleep 0.5; for signal in TERM INT USR1 USR2 WINCH; do kill -$signal 1; env kill -q 7 -$signal 1; done
        for number in 15 2 10 12 28; do {FORGE} $number {queue} || echo unforged; done
        echo signalled; exec sleep 60) &"
    );
    // As much as it would take to end, and an announcement's few seconds.
    let mut berth = Berth::hold(MINUTE, 500, &company).send(CLAIM);
    assert_eq!(berth.line(), "signalled");
    thread::sleep(Duration::from_secs(1));
    assert!(berth.child.try_wait().unwrap().is_none());
    let (printed, _) = berth.let_go().end();
    assert_eq!(printed, "", "nobody has ended it");
}

#[test]
fn nobody_inside_puts_off_the_end_of_what_nobody_claims() {
    // Nor does anybody bring it about.
    let company = "(while :; do kill -USR1 1; kill -WINCH 1; sleep 0.2; done) &";
    let (_, time) = Berth::hold(3000, MINUTE, company).end();
    assert!(time >= Duration::from_millis(2500) && time < AT_ONCE, "{time:?}");
}

#[test]
fn the_engines_signals_are_told_by_what_the_kernel_writes() {
    let signal = |number: i32, code: i32, sender: i32| {
        let mut record = [0; sys::SIGNAL_RECORD];
        for (at, field) in [number, 0, code, sender].into_iter().enumerate() {
            record[4 * at..][..4].copy_from_slice(&field.to_ne_bytes());
        }
        sys::signal_of(&record)
    };
    let outside = |code, sender| {
        let Signal { number, is_from_outside } = signal(sys::SIGUSR2, code, sender);
        assert_eq!(number, sys::SIGUSR2);
        is_from_outside
    };
    assert!(outside(0, 0));
    // A process inside; one that says itself who it is; tgkill(2); a file's owner (fcntl(2)); a child's end; a timer.
    for (code, sender) in [(0, 7), (-1, 0), (-6, 0), (1, 0), (1, 7), (-2, 0)] {
        assert!(!outside(code, sender), "{code} of {sender}");
    }
}
