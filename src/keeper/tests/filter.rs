//! The filter, as the kernel would read it for each calling convention, and a server that tries.

use super::hold::{Berth, CLAIM, MINUTE};
use super::{KEEPER, field};
use crate::filter::{
    AARCH64, ALLOW, AND, ARM, Abi, BY_PIDFD, I386, IF_EQUAL, LENGTH, LOAD, REFUSE, RETURN, X86_64, program,
};
use crate::sys::Instruction;

const OF_PROCESS: u64 = 0;
const OF_GROUP: u64 = 1;
const OF_USER: u64 = 2;
const X32: u32 = 0x4000_0000;

/// What the kernel makes of a call.
fn decide(program: &[Instruction], audit: u32, number: u32, arguments: [u64; 2]) -> u32 {
    let [first, second] = arguments;
    decide_all(program, audit, number, [first, second, 0])
}

pub(super) fn decide_all(program: &[Instruction], audit: u32, number: u32, arguments: [u64; 3]) -> u32 {
    let mut data = [number.to_le_bytes(), audit.to_le_bytes(), [0; 4], [0; 4]].concat();
    data.extend(arguments.into_iter().flat_map(u64::to_le_bytes));
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, if_so, if_not, value } = program[at];
        at += 1;
        match code {
            LOAD => {
                let from = value as usize;
                accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            AND => accumulator &= value,
            IF_EQUAL => at += usize::from(if accumulator == value { if_so } else { if_not }),
            RETURN => return value,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn every_way() -> impl Iterator<Item = ([Instruction; LENGTH], &'static Abi, &'static str)> {
    let ways = [(&X86_64, &I386, ["x86_64", "i386"]), (&AARCH64, &ARM, ["aarch64", "arm"])];
    ways.into_iter().flat_map(|(native, compatible, [one, other])| {
        let filter = program(native, compatible);
        [(filter, native, one), (filter, compatible, other)]
    })
}

#[test]
fn what_is_aimed_at_pid_1_is_refused_however_it_is_called() {
    // The kernel takes the lower half of a register for a pid.
    let padded = 0xffff_ffff_0000_0001;
    for (filter, abi, name) in every_way() {
        let decide = |number, arguments| decide(&filter, abi.audit, number, arguments);
        for number in abi.by_pid {
            for (pid, verdict) in [(1, REFUSE), (padded, REFUSE), (0, ALLOW), (2, ALLOW), (1 << 32, ALLOW)] {
                assert_eq!(decide(number, [pid, 7]), verdict, "{name} call {number} of {pid:#x}");
                assert_eq!(decide(number, [pid, 1]), verdict, "the second argument is none of ours");
            }
        }
        for (number, process) in [(abi.priority, 0), (abi.io_priority, 1)] {
            for (pid, verdict) in [(1, REFUSE), (padded, REFUSE), (0, ALLOW), (2, ALLOW), (257, ALLOW)] {
                assert_eq!(decide(number, [process, pid]), verdict, "{name} call {number} of {pid:#x}");
            }
            // What PID 1 may be among.
            for kind in [OF_GROUP, OF_USER] {
                for which in [0, 1, 2] {
                    let verdict = decide(number, [process + kind, which]);
                    assert_eq!(verdict, REFUSE, "{name} call {number} of kind {kind}");
                }
            }
        }
        for number in (0..1024).filter(|number| {
            !abi.by_pid.contains(number) && ![abi.priority, abi.io_priority].contains(number)
        }) {
            assert_eq!(decide(number, [1, 1]), ALLOW, "{name} call {number}");
        }
    }
}

#[test]
fn a_signal_by_pidfd_says_nothing_of_its_own_sender() {
    for (filter, abi, name) in every_way() {
        for (info, verdict) in [(0, ALLOW), (1, REFUSE), (1 << 32, REFUSE), (0x7fff_0000_1000, REFUSE)] {
            assert_eq!(decide_all(&filter, abi.audit, BY_PIDFD, [3, 12, info]), verdict, "{name} {info:#x}");
        }
    }
}

#[test]
fn no_other_way_to_call_leads_past_it() {
    let filter = program(&X86_64, &I386);
    for number in X86_64.by_pid {
        assert_eq!(decide(&filter, X86_64.audit, number | X32, [1, 0]), REFUSE, "x32");
        assert_eq!(decide(&filter, X86_64.audit, number | X32, [2, 0]), ALLOW);
    }
    assert_eq!(decide(&filter, X86_64.audit, X86_64.priority | X32, [OF_PROCESS, 1]), REFUSE);
    for number in [0, 1, X86_64.priority] {
        assert_eq!(decide(&filter, AARCH64.audit, number, [0, 0]), REFUSE, "a way that this machine has not");
    }
}

/// The same to PID 1 and to a process of one's own; then to all of the user's, which PID 1 is among.
const TRIES: &str = r#"
    try() { "$@" >/dev/null 2>&1 && echo " done" || echo " refused"; }
    for pid in 1 $$; do
        for call in "chrt --batch --pid 0" "chrt --idle --pid 0" "taskset -p 1" "ionice -c 3 -p" "renice -n 19 -p"; do
            printf "%s" "$call"; try $call $pid
        done
        printf "prlimit"; try prlimit --pid $pid --nofile=99:99
        printf "queue"; try env kill -q 1 -CHLD $pid
    done
    printf "renice -u"; try renice -n 19 -u 0
    grep ^Seccomp: /proc/self/status"#;

const TRIED: &str = "\
chrt --batch --pid 0 refused
chrt --idle --pid 0 refused
taskset -p 1 refused
ionice -c 3 -p refused
renice -n 19 -p refused
prlimit refused
queue refused
chrt --batch --pid 0 done
chrt --idle --pid 0 done
taskset -p 1 done
ionice -c 3 -p done
renice -n 19 -p done
prlimit done
queue done
renice -u refused
Seccomp:\t2
";

#[test]
fn a_server_started_ahead_takes_nothing_from_the_keeper() {
    let (code, printed, _) = Berth::ahead(MINUTE, MINUTE, &["sh", "-c", TRIES]).exit();
    assert_eq!((code, printed), (Some(0), TRIED.to_owned()));
}

#[test]
fn a_server_that_an_exec_becomes_takes_nothing_from_the_keeper() {
    let company = format!(
        "TRIES='{}'\n({KEEPER} exec --session s1 -- sh -c \"$TRIES\") &",
        TRIES.replace('\'', r"'\''")
    );
    let (printed, _) = Berth::hold(MINUTE, MINUTE, &company).send(CLAIM).let_go().end();
    assert_eq!(printed, TRIED);
}

#[test]
fn where_no_filter_may_be_a_server_runs_without() {
    let company = format!("({KEEPER} exec --session s1 -- grep ^Seccomp: /proc/self/status) &");
    let (printed, _) = Berth::with_new_privileges(&company).send(CLAIM).let_go().end();
    assert_eq!(field(&printed, "Seccomp"), Some("0"));
}
