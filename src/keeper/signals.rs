//! Keeps a server's signals from PID 1, which obeys those of the engine alone.
//!
//! PID 1 tells them apart by what the kernel writes of the sender. The kernel writes nothing where a user has too many
//! signals pending, and one that waits already swallows the next of its kind. So none may be sent. Signal 0 passes: a
//! server that PID 1 has started may ask whether its parent is there. `kill(-1)` does not reach PID 1 (kill(2)).

use super::filter::{
    ALLOW, AND, ARCHITECTURE, FIRST, KEEPER, NUMBER, REFUSE, SECOND, THIRD, X32, check, done,
    for_this_machine, joined, load,
};
use super::sys::Instruction;

/// The calls that send a signal to a process or a thread, as one way of calling the kernel numbers them.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) audit: u32,
    pub(super) kill: u32,
    pub(super) tkill: u32,
    pub(super) tgkill: u32,
}

pub(super) const X86_64: Calls =
    Calls { audit: super::filter::X86_64.audit, kill: 62, tkill: 200, tgkill: 234 };
pub(super) const I386: Calls = Calls { audit: super::filter::I386.audit, kill: 37, tkill: 238, tgkill: 270 };
pub(super) const AARCH64: Calls =
    Calls { audit: super::filter::AARCH64.audit, kill: 129, tkill: 130, tgkill: 131 };
pub(super) const ARM: Calls = Calls { audit: super::filter::ARM.audit, kill: 37, tkill: 238, tgkill: 268 };

const PART: usize = 18;
/// A part for each of two ways, and the refusal of any other.
pub(super) const LENGTH: usize = 2 * PART + 1;

pub(super) static PROGRAM: &[Instruction] =
    for_this_machine(&program(&X86_64, &I386), &program(&AARCH64, &ARM));

pub(super) const fn program(native: &Calls, compatible: &Calls) -> [Instruction; LENGTH] {
    joined(part(native), part(compatible))
}

/// Jumps are counted from the next instruction, and lead forward only.
const fn part(calls: &Calls) -> [Instruction; PART] {
    [
        load(ARCHITECTURE),
        // To the end of this part.
        check(calls.audit, 0, 16),
        load(NUMBER),
        Instruction { code: AND, if_so: 0, if_not: 0, value: !X32 },
        check(calls.kill, 3, 0),
        check(calls.tkill, 2, 0),
        check(calls.tgkill, 5, 0),
        done(ALLOW),
        // To whom, and which.
        load(FIRST),
        check(KEEPER, 0, 7),
        load(SECOND),
        check(0, 5, 4),
        // A thread of whom, and which.
        load(FIRST),
        check(KEEPER, 0, 3),
        load(THIRD),
        check(0, 1, 0),
        done(REFUSE),
        done(ALLOW),
    ]
}
