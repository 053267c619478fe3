//! Signals as a file to read from: no handler, and no race with the poll.
#![allow(unsafe_code, reason = "the keeper needs these system calls, and has no other crate to ask for them")]

use std::ffi::{c_int, c_ulong};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use super::{SIGCHLD, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, checked};

const SIG_SETMASK: c_int = 2;
const SFD_CLOEXEC: c_int = 0o2_000_000;
/// The size of `signalfd_siginfo`: a read takes whole ones only.
pub(in super::super) const SIGNAL_RECORD: usize = 128;
const SI_USER: c_int = 0;

/// `sigset_t`: 1024 bits, in glibc as in musl.
#[repr(C)]
struct SignalSet([c_ulong; 128 / size_of::<c_ulong>()]);

unsafe extern "C" {
    fn sigfillset(set: *mut SignalSet) -> c_int;
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn sigdelset(set: *mut SignalSet, signal: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn signalfd(fd: c_int, set: *const SignalSet, flags: c_int) -> c_int;
}

/// Blocks every signal for good, so that none can interrupt or end us.
pub(in super::super) fn block_signals() -> io::Result<()> {
    block_all().map(drop)
}

/// The same, and gives a file from which SIGTERM, SIGINT, SIGUSR1, SIGUSR2 and SIGWINCH are read, and SIGCHLD where children
/// matter.
pub(in super::super) fn signals(children: bool) -> io::Result<File> {
    let mut set = block_all()?;
    // SAFETY: the set is a whole `sigset_t` that outlives the call, which keeps no pointer.
    checked(unsafe { sigemptyset(&raw mut set) })?;
    for signal in [SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGWINCH].into_iter().chain(children.then_some(SIGCHLD))
    {
        // SAFETY: as above.
        checked(unsafe { sigaddset(&raw mut set, signal) })?;
    }
    read_from(&set)
}

/// The same with every signal but SIGCHLD: an image may call any of them its stop signal.
pub(in super::super) fn ending_signals() -> io::Result<File> {
    let mut set = block_all()?;
    // SAFETY: the set is a whole `sigset_t` that outlives the call, which keeps no pointer.
    checked(unsafe { sigdelset(&raw mut set, SIGCHLD) })?;
    read_from(&set)
}

/// Gives the set of all signals.
fn block_all() -> io::Result<SignalSet> {
    let mut set = SignalSet([0; _]);
    // SAFETY: the set is a whole `sigset_t` that outlives the calls; none keeps the pointer.
    unsafe {
        checked(sigfillset(&raw mut set))?;
        checked(sigprocmask(SIG_SETMASK, &raw const set, ptr::null_mut()))?;
    }
    Ok(set)
}

/// SIGKILL and SIGSTOP cannot be read, and nobody minds that they are in the set (signalfd(2)).
fn read_from(set: &SignalSet) -> io::Result<File> {
    // SAFETY: the set is a whole `sigset_t` that outlives the call. The file descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(checked(signalfd(-1, set, SFD_CLOEXEC))?) }.into())
}

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Signal {
    pub(in super::super) number: c_int,
    /// Whether a process outside of this pid namespace has sent it with kill(2): the engine, or somebody on its machine.
    pub(in super::super) is_from_outside: bool,
}

/// Reads one signal that has come.
pub(in super::super) fn take_signal(mut signals: &File) -> Option<Signal> {
    let mut record = [0; SIGNAL_RECORD];
    signals.read_exact(&mut record).ok()?;
    Some(signal_of(&record))
}

/// Reads a `signalfd_siginfo`: `ssi_signo`, `ssi_errno`, `ssi_code`, `ssi_pid`.
///
/// A sender that has no number in our namespace is shown as 0. That alone proves nothing: with sigqueue(3) a sender
/// writes its own number, and other kinds of signals have none. Only kill(2) gives `SI_USER`, and there the kernel writes
/// the number.
pub(in super::super) fn signal_of(record: &[u8; SIGNAL_RECORD]) -> Signal {
    let field = |n: usize| {
        let bytes = record[4 * n..].first_chunk().copied().unwrap_or_default();
        c_int::from_ne_bytes(bytes)
    };
    Signal { number: field(0), is_from_outside: field(2) == SI_USER && field(3) == 0 }
}
