//! The few system calls that std lacks. This file and its folder alone have unsafe code; their callers need none.
#![allow(unsafe_code, reason = "PID 1 needs these system calls, and has no other crate to ask for them")]

#[path = "sys/descriptors.rs"]
pub(super) mod descriptors;
#[path = "sys/disk.rs"]
mod disk;
#[path = "sys/net.rs"]
pub(super) mod net;
#[path = "sys/outside.rs"]
mod outside;
#[path = "sys/signalled.rs"]
mod signalled;
#[path = "sys/userns.rs"]
pub(super) mod userns;
#[path = "sys/xattr.rs"]
pub(super) mod xattr;

use std::ffi::{CString, c_char, c_int, c_long, c_short, c_uint, c_ulong, c_ushort};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, ptr};

pub(super) use disk::{room, settle};
pub(super) use outside::{enter_mounts, hide, kernel_log, kill_process};
#[cfg(test)]
pub(super) use signalled::{SIGNAL_RECORD, signal_of};
pub(super) use signalled::{Signal, block_signals, ending_signals, signals, take_signal};

pub(super) const NO_SIGNAL: c_int = 0;
const SIGINT: c_int = 2;
pub(super) const SIGKILL: c_int = 9;
pub(super) const SIGTERM: c_int = 15;
/// So on every Linux but MIPS, Alpha, PA-RISC and SPARC, like the next five.
pub(super) const SIGUSR1: c_int = 10;
pub(super) const SIGUSR2: c_int = 12;
pub(super) const SIGCHLD: c_int = 17;
/// The kernel gives the lower numbers first, of signals that wait: an announced claim comes before this.
pub(super) const SIGWINCH: c_int = 28;
const SIG_IGN: usize = 1;
const PR_SET_DUMPABLE: c_int = 4;
const PR_SET_NAME: c_int = 15;
const PR_SET_SECCOMP: c_int = 22;
const PR_GET_NO_NEW_PRIVS: c_int = 39;
const SECCOMP_MODE_FILTER: c_ulong = 2;
const WNOHANG: c_int = 1;
/// On every architecture.
const SYS_OPENAT2: c_long = 437;
const O_PATH: c_int = 0o10_000_000;
const O_CLOEXEC: c_int = 0o2_000_000;
const RESOLVE_NO_MAGICLINKS: u64 = 2;
const RESOLVE_NO_SYMLINKS: u64 = 4;
const RESOLVE_BENEATH: u64 = 8;
const RESOLVE_IN_ROOT: u64 = 16;
const EAGAIN: c_int = 11;
const ELOOP: c_int = 40;
/// How often other containers' mounts may come between a look and its end.
const OPEN_ATTEMPTS: u32 = 1_000;

/// What becomes of symbolic links in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Refused,
    /// Followed, as if the folder were the root of all.
    Inside,
}
const SPLICE_F_NONBLOCK: c_uint = 2;
/// As much as a pipe ever holds without privileges.
const PIPE_MOST: usize = 1 << 20;
const ESRCH: c_int = 3;
const POLLIN: c_short = 1;
const POLLPRI: c_short = 2;
const POLLOUT: c_short = 4;
const POLLERR: c_short = 8;

#[repr(C)]
struct PollFd {
    fd: RawFd,
    events: c_short,
    revents: c_short,
}

/// The kernel's `sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_so: u8,
    pub(super) if_not: u8,
    pub(super) value: u32,
}

/// `open_how`
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `sock_fprog`
#[repr(C)]
struct FilterProgram {
    length: c_ushort,
    instructions: *const Instruction,
}

unsafe extern "C" {
    // SAFETY: neither takes a pointer, except a handler that is only ever `SIG_IGN`.
    safe fn kill(pid: c_int, signal: c_int) -> c_int;
    safe fn signal(signal: c_int, handler: usize) -> usize;
    fn prctl(option: c_int, ...) -> c_int;
    #[link_name = "poll"]
    fn poll_files(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    /// glibc's and musl's name for where the first argument lies.
    static program_invocation_name: *const c_char;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn splice(
        from: c_int,
        from_offset: *mut i64,
        to: c_int,
        to_offset: *mut i64,
        length: usize,
        flags: c_uint,
    ) -> c_long;
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Closes `/proc/self/fd` and tracing to other processes of the same user.
pub(super) fn forbid_dumping() -> io::Result<()> {
    // SAFETY: this option takes one number and no pointer.
    checked(unsafe { prctl(PR_SET_DUMPABLE, c_ulong::from(0u8)) }).map(drop)
}

/// Whether this process, and all that come of it, can never gain privileges.
pub(super) fn has_no_new_privileges() -> bool {
    let none = c_ulong::from(0u8);
    // SAFETY: this option takes numbers and no pointer.
    let has = unsafe { prctl(PR_GET_NO_NEW_PRIVS, none, none, none, none) };
    has == 1
}

/// Has the kernel ask `program` about every call that this process makes from now on, and all that come of it.
pub(super) fn filter_calls(program: &[Instruction]) -> io::Result<()> {
    let length = program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = FilterProgram { length, instructions: program.as_ptr() };
    // SAFETY: as many instructions follow the pointer as is said; the call copies them.
    checked(unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) }).map(drop)
}

/// Has the command's process do `work` right before it becomes its program. Only the one thread comes along, so `work`
/// may neither allocate nor wait for another.
pub(super) fn before_exec(command: &mut Command, work: fn() -> io::Result<()>) {
    // SAFETY: the keeper has one thread wherever it starts a server, so none can have been cut off within a lock.
    unsafe { command.pre_exec(work) };
}

/// Has the kernel reap all our children, adopted ones too, the moment they end: no zombie, no wake-up. One that ended
/// before stays a zombie, which counts among the others: it is reaped here.
pub(super) fn disown_children() {
    signal(SIGCHLD, SIG_IGN);
    while reap().is_some() {}
}

/// Sends to all processes of the pid namespace but ourselves. Says whether there is any, also where none of
/// them may be signalled.
pub(super) fn signal_others(signal: c_int) -> bool {
    kill(-1, signal) == 0 || io::Error::last_os_error().raw_os_error() != Some(ESRCH)
}

/// Ends a process, if it is one of ours.
pub(super) fn kill_at_once(pid: u32) {
    // Zero and less would be others.
    if let Some(pid) = c_int::try_from(pid).ok().filter(|pid| *pid > 1) {
        kill(pid, SIGKILL);
    }
}

/// Sends to all processes of a group, if there are any.
pub(super) fn signal_group(group: c_int, signal: c_int) {
    if group > 1 {
        kill(-group, signal);
    }
}

/// Reaps one child that has ended, adopted ones too: its pid and its wait status.
pub(super) fn reap() -> Option<(c_int, c_int)> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// Shows `name`, or as much as fits (15 bytes), where processes are listed.
pub(super) fn show_as(name: &[u8]) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: the name ends with a NUL and outlives the call, which copies it.
    // It fails for no name.
    let _ = unsafe { prctl(PR_SET_NAME, name.as_ptr()) };
}

/// Shows `line`, or as much as fits, as our command line where processes are listed: in the place of our arguments, which
/// nobody may want any more.
pub(super) fn show_command_line(line: &[u8]) {
    static PLACE: OnceLock<Option<Range<usize>>> = OnceLock::new();
    // Once: afterwards our arguments have another length.
    let place = PLACE.get_or_init(|| {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        stat.and_then(|stat| arguments(&stat)).or_else(first_arguments)
    });
    let Some(place) = place else { return };
    // The NUL at the end stays: without it the environment is taken for a part of the line.
    let room = place.len().saturating_sub(1);
    let line = &line[..line.len().min(room)];
    let start: *mut u8 = ptr::with_exposed_provenance_mut(place.start);
    // SAFETY: the kernel says that our arguments lie there. It has put them onto the stack, where they stay, writable, until
    // the process ends; std copies them for whoever asks, so that no reference to them exists, and no other thread that asks.
    unsafe {
        start.write_bytes(0, place.len());
        start.copy_from_nonoverlapping(line.as_ptr(), line.len());
    }
}

/// The same where the kernel does not say it (gVisor): they begin with the first, and each ends with a NUL.
fn first_arguments() -> Option<Range<usize>> {
    // SAFETY: the C library has set it before `main`, and nobody writes to it.
    let start = unsafe { program_invocation_name }.expose_provenance();
    let length: usize = env::args_os().map(|argument| argument.len() + 1).sum();
    (start > 0 && length > 0).then(|| start..start + length)
}

/// Where `/proc/self/stat` says that the arguments lie (`proc_pid_stat(5)`: fields 48 and 49).
pub(super) fn arguments(stat: &str) -> Option<Range<usize>> {
    // The second field is the name, in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(48 - 3).map(str::parse);
    let (first, last) = (fields.next()?.ok()?, fields.next()?.ok()?);
    (first > 0 && first < last).then_some(first..last)
}

/// Moves what is there from one file to another, of which one is a pipe, without copying it; 0 at the end of the first.
/// `WouldBlock`: the first has nothing, or the other no room.
pub(super) fn transfer(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: without offsets no pointer is followed.
    let moved = unsafe {
        splice(
            from.as_raw_fd(),
            ptr::null_mut(),
            to.as_raw_fd(),
            ptr::null_mut(),
            PIPE_MOST,
            SPLICE_F_NONBLOCK,
        )
    };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// What is waited for, besides a hang-up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    Input,
    Room,
    Hangup,
    /// Of a list of the kernel's.
    Change,
}

/// Opens a folder only to look at it.
pub(super) fn open_folder(path: &Path) -> io::Result<File> {
    // The kernel calls for one of reading and writing, which `O_PATH` makes void.
    OpenOptions::new().read(true).custom_flags(O_PATH).open(path)
}

/// Opens what is at `path`, absolute or not, below `folder`, only to look at it. No link leads out.
pub(super) fn open_beneath(folder: BorrowedFd<'_>, path: &Path, links: Links) -> io::Result<File> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let path = CString::new(path.as_os_str().as_bytes())?;
    let how = OpenHow {
        flags: u64::from((O_PATH | O_CLOEXEC).cast_unsigned()),
        mode: 0,
        resolve: match links {
            Links::Refused => RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH,
            Links::Inside => RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT,
        },
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        // SAFETY: the path ends with a NUL, the size is that of what the pointer leads to, and both outlive the call.
        let opened = unsafe {
            syscall(SYS_OPENAT2, folder.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<OpenHow>())
        };
        match checked(opened.try_into().unwrap_or(-1)) {
            // `..` could not be followed safely, since something was mounted or renamed somewhere meanwhile (openat2(2)).
            Err(error) if error.raw_os_error() == Some(EAGAIN) && attempts < OPEN_ATTEMPTS => {}
            // SAFETY: the file descriptor is new and nobody else's.
            opened => return Ok(File::from(unsafe { OwnedFd::from_raw_fd(opened?) })),
        }
    }
}

/// Whether it was a link that a path was refused for.
pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ELOOP)
}

/// Waits until a file has what is wanted of it or is at its end, or the time is up; for ever without one. Which
/// of them it is comes back.
pub(super) fn poll<const N: usize>(
    files: [Option<(BorrowedFd<'_>, Wanted)>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    // A negative number is skipped by the kernel.
    let mut fds = files.map(|file| PollFd {
        fd: file.map_or(-1, |(file, _)| file.as_raw_fd()),
        events: match file {
            Some((_, Wanted::Input)) => POLLIN,
            Some((_, Wanted::Room)) => POLLOUT,
            Some((_, Wanted::Change)) => POLLPRI,
            Some((_, Wanted::Hangup)) | None => 0,
        },
        revents: 0,
    });
    // Rounded up: a wait that ends a little early would come again, and again.
    let milliseconds =
        timeout.map_or(-1, |time| time.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(c_int::MAX));
    // SAFETY: the array is as long as is said, and the call does not keep the pointer.
    checked(unsafe { poll_files(fds.as_mut_ptr(), N as c_ulong, milliseconds) })?;
    Ok(fds.map(|fd| fd.revents != 0))
}
