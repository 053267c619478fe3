//! The second filter, as the kernel would read it for each calling convention, and a server that tries.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::KEEPER;
use crate::filter::{ALLOW, AND, IF_EQUAL, LOAD, REFUSE, RETURN};
use crate::modes::{AARCH64, ARM, Calls, I386, IF_ANY, LENGTH, NONE, UNKNOWN, X86_64, program};
use crate::sys::Instruction;

const X32: u32 = 0x4000_0000;
const MARKED: [u64; 3] = [0o4755, 0o2755, 0o6000];
const PLAIN: [u64; 3] = [0o755, 0o1777, 0];
const MAKES: [u64; 2] = [0o101, 0o20_200_001];

/// What the kernel makes of a call.
fn decide(program: &[Instruction], audit: u32, number: u32, arguments: [u64; 4]) -> u32 {
    let mut data = [number.to_le_bytes(), audit.to_le_bytes(), [0; 4], [0; 4]].concat();
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, if_so, if_not, value } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { if_so } else { if_not });
        match code {
            LOAD => {
                let from = value as usize;
                accumulator = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            AND => accumulator &= value,
            IF_EQUAL => at += jump(accumulator == value),
            IF_ANY => at += jump(accumulator & value != 0),
            RETURN => return value,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn every_way() -> impl Iterator<Item = ([Instruction; LENGTH], &'static Calls)> {
    [(&X86_64, &I386), (&AARCH64, &ARM)].into_iter().flat_map(|(native, compatible)| {
        let filter = program(native, compatible);
        [(filter, native), (filter, compatible)]
    })
}

#[test]
fn no_call_sets_the_bits_however_it_is_called() {
    for (filter, calls) in every_way() {
        let is_call = |number: &&u32| **number != NONE;
        let decide = |number, arguments| decide(&filter, calls.audit, number, arguments);
        let taken = |modes: [u64; 3], verdict| {
            for mode in modes {
                for number in calls.second.iter().filter(is_call) {
                    assert_eq!(decide(*number, [1, mode, 0, 0]), verdict, "{calls:?} {number} {mode:o}");
                }
                for number in calls.third {
                    assert_eq!(decide(number, [1, 1, mode, 0]), verdict, "{calls:?} {number} {mode:o}");
                }
                for flags in MAKES {
                    for open in [&calls.open].into_iter().filter(is_call) {
                        assert_eq!(decide(*open, [1, flags, mode, 0]), verdict, "{calls:?} {mode:o}");
                    }
                    assert_eq!(decide(calls.openat, [1, 1, flags, mode]), verdict, "{calls:?} {mode:o}");
                }
            }
        };
        taken(MARKED, REFUSE);
        taken(PLAIN, ALLOW);
        // What makes nothing has whatever lay there.
        assert_eq!(decide(calls.open, [1, 0o2, 0o6755, 0]), ALLOW);
        assert_eq!(decide(calls.openat, [1, 1, 0o200_000, 0o6755]), ALLOW);
        for number in calls.unseen {
            assert_eq!(decide(number, [0; 4]), UNKNOWN, "{calls:?} {number}");
        }
        let own = [&calls.second[..], &calls.third, &calls.unseen, &[calls.open, calls.openat]].concat();
        for number in (0..1024).filter(|number| !own.contains(number)) {
            assert_eq!(decide(number, [0o6755; 4]), ALLOW, "{calls:?} {number}");
        }
    }
    let filter = program(&X86_64, &I386);
    assert_eq!(decide(&filter, X86_64.audit, 0x5a | X32, [0, 0o4755, 0, 0]), REFUSE, "x32");
    assert_eq!(decide(&filter, AARCH64.audit, 52, [0, 0, 0, 0]), REFUSE, "a way that this machine has not");
}

#[test]
fn a_server_that_may_write_marks_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let attempt = |options: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--no-new-privs", KEEPER, "exec", "--session", "s1"]).args(options);
        let script = "chmod 640 file && chmod 4755 file; chmod 2755 file; install -m 6755 file other; true";
        command.args(["--", "sh", "-c", script]).current_dir(&folder);
        assert!(command.output().unwrap().status.success());
        let mode =
            |name: &str| Some(fs::metadata(folder.path().join(name)).ok()?.permissions().mode() & 0o7777);
        (mode("file"), mode("other").is_some_and(|mode| mode & 0o6000 != 0))
    };
    assert_eq!(attempt(&["--plain-modes"]), (Some(0o640), false));
    assert_eq!(attempt(&[]), (Some(0o2755), true));
}
