//! Stops a server from taking PID 1's processor time or limits away, and from forging the engine's signals.
//!
//! Both run as the same user, and the kernel lets a user slow down all of their own processes. Suppose that PID 1 were
//! in the idle class or at the lowest priority, beside hundreds of busy processes. Then its container would long
//! outlive its session. So each server starts with a seccomp filter, which all of its processes inherit and cannot
//! remove. It is one fixed program per architecture. It never refuses what a process does to itself or to processes
//! other than PID 1. The exceptions are priorities of whole groups and users, which may include PID 1.

use std::io;
use std::process::Command;

use super::sys::{self, Instruction};
use super::{modes, signals};

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_ALU | BPF_AND | BPF_K`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K`.
pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const RETURN: u16 = 0x06;

pub(super) const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO` with `EPERM`.
pub(super) const REFUSE: u32 = 0x0005_0001;

/// Where `seccomp_data` has them. Of the first two arguments only the lower half: these are an `int` to the kernel.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const FIRST: u32 = 16;
pub(super) const SECOND: u32 = 24;
pub(super) const THIRD: u32 = 32;

/// The x32 calls of x86-64 are these numbers with this bit, or have numbers of their own with it.
pub(super) const X32: u32 = 0x4000_0000;
const PRIO_PROCESS: u32 = 0;
const IOPRIO_WHO_PROCESS: u32 = 1;
pub(super) const KEEPER: u32 = 1;

const ENOSYS: i32 = 38;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;

/// A way to call the kernel, as audit(8) names it, and the numbers that the calls have there.
#[derive(Debug)]
pub(super) struct Abi {
    pub(super) audit: u32,
    /// `sched_setparam`, `sched_setscheduler`, `sched_setaffinity`, `sched_setattr`, `prlimit64`, `rt_sigqueueinfo`,
    /// `rt_tgsigqueueinfo`, and the last two as x32 has them: a pid comes first.
    pub(super) by_pid: [u32; BY_PID],
    /// `setpriority` and `ioprio_set`: the kind of target comes first, then which of them.
    pub(super) priority: u32,
    pub(super) io_priority: u32,
}

const BY_PID: usize = 9;

/// `pidfd_send_signal` everywhere: the third argument is what its sender says of itself, or nothing.
pub(super) const BY_PIDFD: u32 = 424;

pub(super) const X86_64: Abi = Abi {
    audit: 0xc000_003e,
    by_pid: [142, 144, 203, 314, 302, 129, 297, 524, 536],
    priority: 141,
    io_priority: 251,
};
pub(super) const I386: Abi = Abi {
    audit: 0x4000_0003,
    by_pid: [154, 156, 241, 351, 340, 178, 335, 178, 335],
    priority: 97,
    io_priority: 289,
};
pub(super) const AARCH64: Abi = Abi {
    audit: 0xc000_00b7,
    by_pid: [118, 119, 122, 274, 261, 138, 240, 138, 240],
    priority: 140,
    io_priority: 30,
};
pub(super) const ARM: Abi = Abi {
    audit: 0x4000_0028,
    by_pid: [154, 156, 241, 380, 369, 178, 363, 178, 363],
    priority: 97,
    io_priority: 314,
};

const PART: usize = 31;
/// A part for each of two ways, and the refusal of any other.
pub(super) const LENGTH: usize = 2 * PART + 1;

static PROGRAM: &[Instruction] = for_this_machine(&program(&X86_64, &I386), &program(&AARCH64, &ARM));

pub(super) const fn program(native: &Abi, compatible: &Abi) -> [Instruction; LENGTH] {
    joined(part(native), part(compatible))
}

/// The one for the architecture that we are built for; empty where nobody has written down the numbers.
pub(super) const fn for_this_machine(
    x86_64: &'static [Instruction],
    aarch64: &'static [Instruction],
) -> &'static [Instruction] {
    if cfg!(target_arch = "x86_64") {
        x86_64
    } else if cfg!(target_arch = "aarch64") {
        aarch64
    } else {
        &[]
    }
}

/// A part behind the other; what is meant for neither is refused.
pub(super) const fn joined<const PART: usize, const LENGTH: usize>(
    first: [Instruction; PART],
    second: [Instruction; PART],
) -> [Instruction; LENGTH] {
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
    const FIRST_BY_PID: usize = 4;
    let mut part = [
        load(ARCHITECTURE),
        // To the end of this part.
        check(abi.audit, 0, 29),
        load(NUMBER),
        Instruction { code: AND, if_so: 0, if_not: 0, value: !X32 },
        // Those by pid.
        done(ALLOW),
        done(ALLOW),
        done(ALLOW),
        done(ALLOW),
        done(ALLOW),
        done(ALLOW),
        done(ALLOW),
        done(ALLOW),
        done(ALLOW),
        check(abi.priority, 5, 0),
        check(abi.io_priority, 6, 0),
        check(BY_PIDFD, 9, 0),
        done(ALLOW),
        // By pid.
        load(FIRST),
        check(KEEPER, 10, 11),
        // A priority: of a process, or else it is refused.
        load(FIRST),
        check(PRIO_PROCESS, 2, 8),
        load(FIRST),
        check(IOPRIO_WHO_PROCESS, 0, 6),
        load(SECOND),
        check(KEEPER, 4, 5),
        // A pointer: both halves.
        load(THIRD),
        check(0, 0, 2),
        load(THIRD + 4),
        check(0, 1, 0),
        done(REFUSE),
        done(ALLOW),
    ];
    let (mut n, mut left) = (0, 12);
    while n < BY_PID {
        part[FIRST_BY_PID + n] = check(abi.by_pid[n], left, 0);
        n += 1;
        left -= 1;
    }
    part
}

pub(super) const fn load(value: u32) -> Instruction {
    Instruction { code: LOAD, if_so: 0, if_not: 0, value }
}

pub(super) const fn check(value: u32, if_so: u8, if_not: u8) -> Instruction {
    Instruction { code: IF_EQUAL, if_so, if_not, value }
}

pub(super) const fn done(value: u32) -> Instruction {
    Instruction { code: RETURN, if_so: 0, if_not: 0, value }
}

/// Has the command's process filtered from before its program begins; with `plain_modes`, `modes.rs` has its say, too.
pub(super) fn apply_to(command: &mut Command, plain_modes: bool) {
    if plain_modes {
        sys::before_exec(command, || install(modes::PROGRAM));
    }
    sys::before_exec(command, || install(signals::PROGRAM));
    sys::before_exec(command, || install(PROGRAM));
}

/// Without `no_new_privileges` nobody but root's equal may install a filter, and a kernel may be built without: then the
/// server runs all the same.
fn install(program: &[Instruction]) -> io::Result<()> {
    if program.is_empty() {
        return Ok(());
    }
    sys::filter_calls(program).or_else(|error| match error.raw_os_error() {
        Some(EACCES | EINVAL | ENOSYS) => Ok(()),
        _ => Err(error),
    })
}
