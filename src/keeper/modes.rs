//! Stops a server from marking files as another user's program, where it may write to the person's own folders.
//!
//! `nosuid` on a mount only says how the container treats such files. The bits lie in the host's file system, and the
//! host obeys them. So a second seccomp filter refuses every call that sets setuid or setgid bits. It cannot follow
//! pointers: a call that has its mode in memory is answered as if the kernel did not know it. Programs then take the
//! older call. `mkdir` needs no rule, because the kernel drops these bits from its mode.

use super::filter::{
    ALLOW, AND, ARCHITECTURE, NUMBER, REFUSE, X32, check, done, for_this_machine, joined, load,
};
use super::sys::Instruction;

/// `BPF_JMP | BPF_JSET | BPF_K`.
pub(super) const IF_ANY: u16 = 0x45;
/// `SECCOMP_RET_ERRNO` with `ENOSYS`.
pub(super) const UNKNOWN: u32 = 0x0005_0026;

/// `S_ISUID | S_ISGID`.
pub(super) const BITS: u32 = 0o6000;
/// `O_CREAT`, and the bit that makes `O_TMPFILE` of `O_DIRECTORY`. Without either the mode is what lay in the register.
const MAKES: u32 = 0o20_000_100;

/// What no call is.
pub(super) const NONE: u32 = 0x3fff_ffff;

/// The calls that take a mode, as one way of calling the kernel numbers them.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) audit: u32,
    /// `chmod`, `fchmod`, `creat`, `mknod`: the mode is the second argument.
    pub(super) second: [u32; 4],
    /// `fchmodat`, `fchmodat2`, `mknodat`: the third.
    pub(super) third: [u32; 3],
    /// Flags and mode are the second and the third.
    pub(super) open: u32,
    /// The third and the fourth.
    pub(super) openat: u32,
    /// `openat2`, `io_uring_setup`: in memory.
    pub(super) unseen: [u32; 2],
}

const UNSEEN: [u32; 2] = [437, 425];
pub(super) const X86_64: Calls = Calls {
    audit: super::filter::X86_64.audit,
    second: [90, 91, 85, 133],
    third: [268, 452, 259],
    open: 2,
    openat: 257,
    unseen: UNSEEN,
};
pub(super) const I386: Calls = Calls {
    audit: super::filter::I386.audit,
    second: [15, 94, 8, 14],
    third: [306, 452, 297],
    open: 5,
    openat: 295,
    unseen: UNSEEN,
};
pub(super) const AARCH64: Calls = Calls {
    audit: super::filter::AARCH64.audit,
    second: [NONE, 52, NONE, NONE],
    third: [53, 452, 33],
    open: NONE,
    openat: 56,
    unseen: UNSEEN,
};
pub(super) const ARM: Calls = Calls {
    audit: super::filter::ARM.audit,
    second: [15, 94, 8, 14],
    third: [333, 452, 324],
    open: 5,
    openat: 322,
    unseen: UNSEEN,
};

const PART: usize = 31;
/// A part for each of two ways, and the refusal of any other.
pub(super) const LENGTH: usize = 2 * PART + 1;

pub(super) static PROGRAM: &[Instruction] =
    for_this_machine(&program(&X86_64, &I386), &program(&AARCH64, &ARM));

pub(super) const fn program(native: &Calls, compatible: &Calls) -> [Instruction; LENGTH] {
    joined(part(native), part(compatible))
}

/// Where an argument lies in `seccomp_data`, its lower half.
const fn argument(number: u32) -> Instruction {
    load(16 + 8 * number)
}

/// Jumps are counted from the next instruction, and lead forward only.
const fn part(calls: &Calls) -> [Instruction; PART] {
    let [chmod, fchmod, creat, mknod] = calls.second;
    let [fchmodat, fchmodat2, mknodat] = calls.third;
    let [openat2, io_uring] = calls.unseen;
    [
        load(ARCHITECTURE),
        // To the end of this part.
        check(calls.audit, 0, 29),
        load(NUMBER),
        Instruction { code: AND, if_so: 0, if_not: 0, value: !X32 },
        check(chmod, 11, 0),
        check(fchmod, 10, 0),
        check(creat, 9, 0),
        check(mknod, 8, 0),
        check(fchmodat, 9, 0),
        check(fchmodat2, 8, 0),
        check(mknodat, 7, 0),
        check(calls.open, 8, 0),
        check(calls.openat, 11, 0),
        check(openat2, 16, 0),
        check(io_uring, 15, 0),
        done(ALLOW),
        // The second is the mode.
        argument(1),
        any(BITS, 10, 11),
        // The third.
        argument(2),
        any(BITS, 8, 9),
        // `open`, if it makes something.
        argument(1),
        any(MAKES, 0, 7),
        argument(2),
        any(BITS, 4, 5),
        // `openat`, if it makes something.
        argument(2),
        any(MAKES, 0, 3),
        argument(3),
        any(BITS, 0, 1),
        done(REFUSE),
        done(ALLOW),
        done(UNKNOWN),
    ]
}

const fn any(value: u32, if_so: u8, if_not: u8) -> Instruction {
    Instruction { code: IF_ANY, if_so, if_not, value }
}
