//! A keeper as PID 1 beside processes that a container may have.

#[path = "hold/signals.rs"]
mod signals;
#[path = "hold/surplus.rs"]
mod surplus;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use super::{AT_ONCE, KEEPER};
use crate::hold::claimant;
use crate::sys::{self, Signal};

pub(super) const MINUTE: u32 = 60_000;
/// A server has no capability, and the keeper has none either.
const NO_RIGHTS: &str = "--bounding-set=-all";
pub(super) const CLAIM: &[u8] = b"cs1\n";

#[test]
fn a_claim_is_a_line_that_names_its_session() {
    assert_eq!(claimant(b"c0123456789ab\n"), Some(&b"0123456789ab"[..]));
    for other in [&b"c0123456789ab"[..], b"0123456789ab\n", b"t\n", b"\n", b""] {
        assert_eq!(claimant(other), None);
    }
}

/// `unshare` into a pid namespace, with the rights of root or those of a user namespace.
pub(super) fn unshare() -> Command {
    // A broken keeper may never end; the time limit is what lets such a test fail.
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "45", "unshare"]);
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// The number that the keeper has out here, which `unshare` and `timeout` have started.
pub(super) fn keeper_of(timeout: &Child) -> String {
    let below = |pid: &str| {
        let found = Command::new("ps").args(["-o", "pid=", "--ppid", pid]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    };
    below(&below(&timeout.id().to_string()))
}

static NAMESPACES: LazyLock<bool> =
    LazyLock::new(|| unshare().arg("true").output().is_ok_and(|output| output.status.success()));

/// A keeper as PID 1, among processes that a shell started before it became the keeper.
pub(super) struct Berth {
    pub(super) child: Child,
    started: Instant,
}

impl Berth {
    pub(super) fn hold(claim_within: u32, grace: u32, company: &str) -> Self {
        Self::start(claim_within, grace, company, &[])
    }

    /// Where `setuid` programs still do as they say, as with `no_new_privileges = false`.
    pub(super) fn with_new_privileges(company: &str) -> Self {
        Self::privileged(MINUTE, MINUTE, company, &[], &[NO_RIGHTS])
    }

    /// With a server that the keeper starts itself.
    pub(super) fn ahead(claim_within: u32, grace: u32, server: &[&str]) -> Self {
        Self::start(claim_within, grace, "", &[&["--"], server].concat())
    }

    /// With further options.
    pub(super) fn with(grace: u32, company: &str, options: &[&str]) -> Self {
        Self::start(MINUTE, grace, company, options)
    }

    /// With the right to every file.
    pub(super) fn with_all_files(options: &[&str]) -> Self {
        let rights = ["--bounding-set=-all,+dac_override", "--no-new-privs"];
        Self::privileged(MINUTE, MINUTE, "", options, &rights)
    }

    /// One that is called by this name, with further options.
    pub(super) fn at(program: &str, grace: u32, options: &[&str]) -> Self {
        Self::called(program, MINUTE, grace, "", options, &[NO_RIGHTS, "--no-new-privs"])
    }

    /// With company besides, which the keeper has not started and no filter holds.
    pub(super) fn ahead_beside(company: &str, claim_within: u32, grace: u32, server: &[&str]) -> Self {
        Self::start(claim_within, grace, company, &[&["--"], server].concat())
    }

    /// The same with one processor for both.
    pub(super) fn pinned(claim_within: u32, grace: u32, server: &[&str]) -> Self {
        let pin = "taskset --pid --cpu-list 0 $$ >/dev/null";
        Self::start(claim_within, grace, pin, &[&["--"], server].concat())
    }

    fn start(claim_within: u32, grace: u32, company: &str, command: &[&str]) -> Self {
        Self::privileged(claim_within, grace, company, command, &[NO_RIGHTS, "--no-new-privs"])
    }

    fn privileged(
        claim_within: u32,
        grace: u32,
        company: &str,
        command: &[&str],
        privileges: &[&str],
    ) -> Self {
        Self::called(KEEPER, claim_within, grace, company, command, privileges)
    }

    fn called(
        program: &str,
        claim_within: u32,
        grace: u32,
        company: &str,
        command: &[&str],
        privileges: &[&str],
    ) -> Self {
        assert!(
            *NAMESPACES,
            "the keeper's tests need `unshare --pid`: run them as root or allow user namespaces"
        );
        let child = unshare()
            .args(["setpriv", "--inh-caps=-all"])
            .args(privileges)
            .args(["sh", "-c"])
            .arg(format!("{company}\nexec \"$@\""))
            .args(["sh", program, "hold", "--claim-within", &claim_within.to_string()])
            .args(["--grace", &grace.to_string()])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, started: Instant::now() }
    }

    pub(super) fn send(mut self, bytes: &[u8]) -> Self {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
        self
    }

    pub(super) fn let_go(mut self) -> Self {
        drop(self.child.stdin.take());
        self
    }

    /// Has the keeper end by `SIGKILL`, as the daemon would.
    pub(super) fn kill(&mut self) {
        self.signal("KILL");
    }

    /// Signals the keeper as the daemon would: from outside of its namespace.
    pub(super) fn signal(&mut self, signal: &str) {
        let keeper = keeper_of(&self.child);
        assert!(Command::new("kill").args([&format!("-{signal}"), &keeper]).status().unwrap().success());
    }

    /// Reads one line of the company's output.
    pub(super) fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Waits for the end, while stdin stays open unless it was let go. Returns what was printed, and the time.
    pub(super) fn end(self) -> (String, Duration) {
        let (code, printed, time) = self.exit();
        assert_eq!(code, Some(0));
        (printed, time)
    }

    /// The same with the exit code.
    pub(super) fn exit(mut self) -> (Option<i32>, String, Duration) {
        let stdin = self.child.stdin.take();
        let mut printed = String::new();
        // All others are dead before PID 1 is, so that this is at its end together with the keeper.
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let status = self.child.wait().unwrap();
        drop(stdin);
        (status.code(), printed, self.started.elapsed())
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            let _ = stdin.write_all(b"t");
        }
        let _ = self.child.wait();
    }
}

/// Prints `term` at SIGTERM and ends.
const OBEDIENT: &str =
    "(trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.05; done) 2>/dev/null &";
/// Ends by SIGKILL alone.
const STUBBORN: &str = "(trap '' TERM; echo ready; exec sleep 60) &";

#[test]
fn unclaimed_ends_when_its_time_is_up() {
    let (_, time) = Berth::hold(500, MINUTE, "").end();
    assert!(time >= Duration::from_millis(500) && time < AT_ONCE, "{time:?}");
    // What is no claim changes nothing, and a server started in advance is not waited for.
    let (printed, time) = Berth::hold(500, MINUTE, OBEDIENT).send(b"x\n\0C").end();
    assert!(time >= Duration::from_millis(500) && time < AT_ONCE, "{time:?}");
    assert_eq!(printed, "ready\nterm\n");
}

#[test]
fn claimed_stays_until_it_is_let_go() {
    let mut berth = Berth::hold(200, MINUTE, "").send(CLAIM);
    thread::sleep(Duration::from_secs(1));
    assert!(berth.child.try_wait().unwrap().is_none());
    let (_, time) = berth.let_go().end();
    assert!(time < AT_ONCE, "nobody else was there: {time:?}");
}

#[test]
fn whom_it_is_for_is_shown_and_may_change() {
    let wait_for = |shown| {
        format!("until tr '\\0' ' ' </proc/1/cmdline | grep -qx '{KEEPER} {shown} *'; do sleep 0.05; done")
    };
    let company = format!(
        "({}; echo first; {}; echo second) &",
        wait_for("hold for s1 project=/a"),
        wait_for("hold for s1 client-session=tt project=/a")
    );
    let mut berth = Berth::with(MINUTE, &company, &["--room", &"-".repeat(99)]).send(b"cs1 project=/a\n");
    assert_eq!(berth.line(), "first");
    let mut berth = berth.send(b"ns1 client-session=tt project=/a\n");
    assert_eq!(berth.line(), "second", "and no letter in it is a command");
    // One that is cut off takes no command with it.
    let (_, time) = berth.send(b"ns1 cut\nt").end();
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn the_kernel_says_where_the_arguments_are() {
    let numbers: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
    let stat = format!("1 (a) (b c)) {}", numbers.join(" "));
    assert_eq!(sys::arguments(&stat), Some(48..49));
    assert_eq!(sys::arguments(&stat.replace(" 48 ", " 0 ")), None, "for who may not know");
    assert_eq!(sys::arguments("1 (a) S"), None);
    assert_eq!(sys::arguments(""), None);
}

#[test]
fn a_claim_and_the_end_in_one_go_are_an_end() {
    let (_, time) = Berth::hold(MINUTE, MINUTE, "").send(CLAIM).let_go().end();
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn a_server_that_ends_at_eof_is_not_signalled() {
    let folder = tempfile::tempdir().unwrap();
    let stdin = folder.path().join("stdin");
    assert!(Command::new("mkfifo").arg(&stdin).status().unwrap().success());
    let server = format!(
        "(trap 'echo term; exit' TERM; exec <{}; echo ready; while read -r _; do :; done; sleep 0.3; echo late) &",
        stdin.display()
    );
    let mut berth = Berth::hold(MINUTE, MINUTE, &server).send(CLAIM);
    let to_server = fs::OpenOptions::new().write(true).open(&stdin).unwrap();
    assert_eq!(berth.line(), "ready");
    let berth = berth.let_go();
    drop(to_server);
    let (printed, time) = berth.end();
    assert_eq!(printed, "late\n");
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn a_server_that_ignores_eof_gets_sigterm_after_half_the_grace() {
    let (printed, time) = Berth::hold(MINUTE, 2000, OBEDIENT).send(CLAIM).let_go().end();
    assert_eq!(printed, "ready\nterm\n");
    assert!(time >= Duration::from_secs(1), "{time:?}");
}

#[test]
fn a_server_that_ignores_sigterm_too_is_gone_after_the_grace() {
    let (_, time) = Berth::hold(MINUTE, 2000, STUBBORN).send(CLAIM).let_go().end();
    assert!(time >= Duration::from_secs(2) && time < AT_ONCE, "{time:?}");
}

#[test]
fn stop_on_request_waits_for_no_eof() {
    let mut berth = Berth::hold(MINUTE, MINUTE, OBEDIENT).send(CLAIM);
    assert_eq!(berth.line(), "ready");
    let (printed, time) = berth.send(b"t").end();
    assert_eq!(printed, "term\n");
    assert!(time < AT_ONCE, "{time:?}");
    let mut berth = Berth::hold(MINUTE, 2000, STUBBORN).send(CLAIM);
    assert_eq!(berth.line(), "ready");
    let (_, time) = berth.send(b"t").end();
    assert!(time >= Duration::from_secs(1) && time < AT_ONCE, "{time:?}");
}

#[test]
fn other_signals_and_idling_do_nothing() {
    // On a busy machine a signal may come late; one that keeps it from rest would do so in each of these seconds.
    let company = "(sleep 0.5; for signal in HUP PIPE USR1 ALRM QUIT STOP; do kill -$signal 1; done
        switches() { grep ^voluntary /proc/1/status; }
        for try in 1 2 3 4 5; do
            before=$(switches); sleep 1; [ \"$before\" != \"$(switches)\" ] || { echo idle; exec sleep 60; }
        done; echo busy; sleep 60) &";
    let mut berth = Berth::hold(MINUTE, MINUTE, company).send(CLAIM);
    assert_eq!(berth.line(), "idle");
    assert!(berth.child.try_wait().unwrap().is_none());
}

/// A child that ended before the keeper was there to hear of it.
#[test]
fn a_zombie_from_before_is_nobody_to_wait_for() {
    let company = "exec perl -e 'fork or exit; sleep 1; exec @ARGV' \"$@\"";
    let (_, time) = Berth::hold(MINUTE, MINUTE, company).send(CLAIM).let_go().end();
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn orphans_leave_no_zombies() {
    // The first two are PID 1's own children; the third is adopted.
    let company = "sleep 0.3 & sleep 0.4 & (sleep 0.5 &)
        (sleep 1.5; cat /proc/[0-9]*/stat | grep -c ' Z '; echo $(ls -d /proc/[0-9]*); sleep 60) &";
    let mut berth = Berth::hold(MINUTE, MINUTE, company).send(CLAIM);
    assert_eq!(berth.line(), "0");
}

#[test]
fn the_lifeline_is_closed_to_the_same_user() {
    let company = "(sleep 0.5; readlink /proc/1/fd/0 || echo denied; readlink /proc/self/fd/0; sleep 60) &";
    let mut berth = Berth::hold(MINUTE, MINUTE, company).send(CLAIM);
    assert_eq!(berth.line(), "denied");
    assert_eq!(berth.line(), "/dev/null", "a process can read its own");
}

#[test]
fn a_keeper_that_can_no_longer_poll_ends() {
    let company = "(sleep 0.5; prlimit --pid 1 --nofile=1:1; echo lowered; exec sleep 60) &";
    let mut berth = Berth::hold(MINUTE, 2000, company);
    assert_eq!(berth.line(), "lowered");
    // The poll that goes on does not notice; the next one fails.
    let (_, time) = berth.send(CLAIM).end();
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn hold_refuses_to_be_anything_but_pid_1() {
    assert!(
        *NAMESPACES,
        "the keeper's tests need `unshare --pid`: run them as root or allow user namespaces"
    );
    // In a namespace all the same: a keeper that does not refuse signals everybody it can see.
    let script = "\"$0\" hold --claim-within 100 --grace 100; echo $?";
    let output = unshare().args(["sh", "-c", script, KEEPER]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "70\n");
    let line = "berth: keeper: `hold` runs as PID 1 of a container only\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), line);
}
