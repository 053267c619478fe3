//! Stops a server from taking PID 1's processor time or limits away.
//!
//! Both run as the same user, and the kernel lets a user slow down all of their own processes. Suppose that PID 1 were
//! in the idle class or at the lowest priority, beside hundreds of busy processes. Then its container would long
//! outlive its session. So each server starts with a seccomp filter, which all of its processes inherit and cannot
//! remove. It is one fixed program per architecture. It never refuses what a process does to itself or to processes
//! other than PID 1. The exceptions are priorities of whole groups and users, which may include PID 1.

use std::io;
use std::process::Command;

use super::sys::{self, Instruction};

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_ALU | BPF_AND | BPF_K`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K`.
pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const RETURN: u16 = 0x06;

pub(super) const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO` with `EPERM`.
pub(super) const REFUSE: u32 = 0x0005_0001;

/// Where `seccomp_data` has them. Of an argument only the lower half: all of these are an `int` to the kernel.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST: u32 = 16;
const SECOND: u32 = 24;

/// The x32 calls of x86-64 are these numbers with this bit; none that is looked for here has a number of its own there.
const X32: u32 = 0x4000_0000;
const PRIO_PROCESS: u32 = 0;
const IOPRIO_WHO_PROCESS: u32 = 1;
const KEEPER: u32 = 1;

const ENOSYS: i32 = 38;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;

/// A way to call the kernel, as audit(8) names it, and the numbers that the calls have there.
#[derive(Debug)]
pub(super) struct Abi {
    pub(super) audit: u32,
    /// `sched_setparam`, `sched_setscheduler`, `sched_setaffinity`, `sched_setattr`, `prlimit64`: a pid comes first.
    pub(super) by_pid: [u32; 5],
    /// `setpriority` and `ioprio_set`: the kind of target comes first, then which of them.
    pub(super) priority: u32,
    pub(super) io_priority: u32,
}

pub(super) const X86_64: Abi =
    Abi { audit: 0xc000_003e, by_pid: [142, 144, 203, 314, 302], priority: 141, io_priority: 251 };
pub(super) const I386: Abi =
    Abi { audit: 0x4000_0003, by_pid: [154, 156, 241, 351, 340], priority: 97, io_priority: 289 };
pub(super) const AARCH64: Abi =
    Abi { audit: 0xc000_00b7, by_pid: [118, 119, 122, 274, 261], priority: 140, io_priority: 30 };
pub(super) const ARM: Abi =
    Abi { audit: 0x4000_0028, by_pid: [154, 156, 241, 380, 369], priority: 97, io_priority: 314 };

const PART: usize = 22;
/// A part for each of two ways, and the refusal of any other.
pub(super) const LENGTH: usize = 2 * PART + 1;

/// Empty where nobody has written down the numbers.
static PROGRAM: &[Instruction] = if cfg!(target_arch = "x86_64") {
    &program(&X86_64, &I386)
} else if cfg!(target_arch = "aarch64") {
    &program(&AARCH64, &ARM)
} else {
    &[]
};

pub(super) const fn program(native: &Abi, compatible: &Abi) -> [Instruction; LENGTH] {
    let (first, second) = (part(native), part(compatible));
    let mut program = [done(REFUSE); LENGTH];
    let mut at = 0;
    while at < PART {
        program[at] = first[at];
        program[PART + at] = second[at];
        at += 1;
    }
    program
}

/// Jumps are counted from the next instruction, and lead forward only.
const fn part(abi: &Abi) -> [Instruction; PART] {
    let [setparam, setscheduler, setaffinity, setattr, prlimit] = abi.by_pid;
    [
        load(ARCHITECTURE),
        // To the end of this part.
        check(abi.audit, 0, 20),
        load(NUMBER),
        Instruction { code: AND, if_so: 0, if_not: 0, value: !X32 },
        check(setparam, 7, 0),
        check(setscheduler, 6, 0),
        check(setaffinity, 5, 0),
        check(setattr, 4, 0),
        check(prlimit, 3, 0),
        check(abi.priority, 4, 0),
        check(abi.io_priority, 5, 0),
        done(ALLOW),
        // By pid.
        load(FIRST),
        check(KEEPER, 6, 7),
        // A priority: of a process, or else it is refused.
        load(FIRST),
        check(PRIO_PROCESS, 2, 4),
        load(FIRST),
        check(IOPRIO_WHO_PROCESS, 0, 2),
        load(SECOND),
        check(KEEPER, 0, 1),
        done(REFUSE),
        done(ALLOW),
    ]
}

const fn load(value: u32) -> Instruction {
    Instruction { code: LOAD, if_so: 0, if_not: 0, value }
}

const fn check(value: u32, if_so: u8, if_not: u8) -> Instruction {
    Instruction { code: IF_EQUAL, if_so, if_not, value }
}

const fn done(value: u32) -> Instruction {
    Instruction { code: RETURN, if_so: 0, if_not: 0, value }
}

/// Has the command's process filtered from before its program begins.
pub(super) fn apply_to(command: &mut Command) {
    sys::before_exec(command, install);
}

/// Without `no_new_privileges` nobody but root's equal may install a filter, and a kernel may be built without: then the
/// server runs all the same.
fn install() -> io::Result<()> {
    if PROGRAM.is_empty() {
        return Ok(());
    }
    sys::filter_calls(PROGRAM).or_else(|error| match error.raw_os_error() {
        Some(EACCES | EINVAL | ENOSYS) => Ok(()),
        _ => Err(error),
    })
}
