//! System calls about network namespaces, and about a process that serves a container from outside of it.
#![allow(unsafe_code, reason = "the keeper needs these system calls, and has no other crate to ask for them")]

use std::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{POLLERR, POLLIN, POLLOUT, PollFd, checked, poll_files, prctl, syscall};

const CLONE_NEWNET: c_int = 0x4000_0000;
const AF_NETLINK: c_int = 16;
const SOCK_RAW: c_int = 3;
const SOCK_CLOEXEC: c_int = 0o2_000_000;
/// On every architecture.
const SYS_PIDFD_OPEN: c_long = 434;
const SYS_CLOSE_RANGE: c_long = 436;
const PR_SET_NO_NEW_PRIVS: c_int = 38;
/// Half the way to the last.
const NICE: c_int = 10;
/// Nothing belongs to it, and no image has it: sessions run as `nobody`, too, which is the next one.
const NOBODY: c_uint = 65_533;
// On x86-64 and aarch64, as on most.
const SOL_SOCKET: c_int = 1;
const SO_KEEPALIVE: c_int = 9;
const SO_LINGER: c_int = 13;
const IPPROTO_TCP: c_int = 6;
/// `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT` (tcp(7)): after a silence of a minute, four questions.
const KEEP_ALIVE: [(c_int, c_int); 3] = [(4, 60), (5, 15), (6, 4)];

unsafe extern "C" {
    // SAFETY: none takes a pointer; each checks its numbers itself.
    safe fn setns(fd: c_int, kind: c_int) -> c_int;
    safe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    safe fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    safe fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, option: c_int, value: *const c_int, length: c_uint) -> c_int;
    safe fn nice(more: c_int) -> c_int;
    fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    fn recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize;
    fn send(fd: c_int, buffer: *const c_void, length: usize, flags: c_int) -> isize;
}

/// Has this thread alone be in a network namespace, which `/proc/PID/ns/net` is. What it opens there stays there.
pub(in super::super) fn enter_network(namespace: &File) -> io::Result<()> {
    checked(setns(namespace.as_raw_fd(), CLONE_NEWNET)).map(drop)
}

/// A connection to the kernel's routes of this thread's namespace.
#[derive(Debug)]
pub(in super::super) struct Routes(OwnedFd);

impl Routes {
    pub(in super::super) fn open() -> io::Result<Self> {
        let fd = checked(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0))?;
        // SAFETY: the file descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(in super::super) fn send(&self, message: &[u8]) -> io::Result<()> {
        // SAFETY: as many bytes are there as is said; the call keeps no pointer.
        let sent = unsafe { send(self.0.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
        if usize::try_from(sent) == Ok(message.len()) { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(in super::super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        // SAFETY: the buffer is as long as is said and outlives the call.
        let received = unsafe { recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(&buffer[..length.min(buffer.len())])
    }
}

/// A file that is at its end when the process is; before Linux 5.3 there is none.
pub(in super::super) fn process(pid: u32) -> io::Result<File> {
    // SAFETY: no pointer is taken.
    let fd = unsafe { syscall(SYS_PIDFD_OPEN, c_ulong::from(pid), c_ulong::from(0u8)) };
    let fd = checked(fd.try_into().unwrap_or(-1))?;
    // SAFETY: the file descriptor is new and nobody else's.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Lets go of whatever files our parent had, but for the three that all have. Before any other is opened.
pub(in super::super) fn close_inherited() {
    // SAFETY: nothing of ours is open there yet. A kernel without this call leaves them open, which costs no more than that.
    let _ = unsafe {
        syscall(SYS_CLOSE_RANGE, c_ulong::from(3u8), c_ulong::from(c_uint::MAX), c_ulong::from(0u8))
    };
}

/// From now on this thread, and all that it starts, is in no group but its own.
pub(in super::super) fn leave_groups() -> io::Result<()> {
    // SAFETY: no group is read where there are none.
    checked(unsafe { setgroups(0, std::ptr::null()) }).map(drop)
}

/// Lets others have the processor first: this thread, and those that it starts from here on.
pub(in super::super) fn give_way() -> io::Result<()> {
    // What it gives is the new value, and an error only below zero.
    if nice(NICE) < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives up all that root may do, for good, and for all threads.
pub(in super::super) fn become_nobody() -> io::Result<()> {
    leave_groups()?;
    checked(setresgid(NOBODY, NOBODY, NOBODY))?;
    // With it go the capabilities.
    checked(setresuid(NOBODY, NOBODY, NOBODY))?;
    let zero = c_ulong::from(0u8);
    // SAFETY: this option takes numbers and no pointer.
    checked(unsafe { prctl(PR_SET_NO_NEW_PRIVS, c_ulong::from(1u8), zero, zero, zero) }).map(drop)
}

/// Has the kernel ask the other side of a silent connection whether it is still there.
pub(in super::super) fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let set = |level, option, value: c_int| {
        // SAFETY: an `int` is there, and as long as is said; the call keeps no pointer.
        checked(unsafe { setsockopt(stream.as_raw_fd(), level, option, &raw const value, 4) }).map(drop)
    };
    set(SOL_SOCKET, SO_KEEPALIVE, 1)?;
    KEEP_ALIVE.iter().try_for_each(|(option, value)| set(IPPROTO_TCP, *option, *value))
}

/// Waits until a process has ended.
pub(in super::super) fn wait_for(process: BorrowedFd<'_>) -> io::Result<()> {
    super::poll([Some((process, super::Wanted::Input))], None).map(drop)
}

/// A file, and what is waited for besides its end.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Watched<'a> {
    pub(in super::super) file: BorrowedFd<'a>,
    pub(in super::super) input: bool,
    pub(in super::super) room: bool,
}

/// What has come of a file that was waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Come {
    pub(in super::super) input: bool,
    pub(in super::super) room: bool,
    /// Nothing was wanted of it, and it has failed.
    pub(in super::super) gone: bool,
}

impl Come {
    pub(in super::super) const fn is_any(self) -> bool {
        self.input || self.room || self.gone
    }
}

/// Waits until one of many has what is wanted of it, or is at its end.
pub(in super::super) fn poll_each(watched: &[Watched<'_>]) -> io::Result<Vec<Come>> {
    let wanted = |watched: &Watched<'_>| {
        let wants = |wanted: bool, event| if wanted { event } else { 0 };
        wants(watched.input, POLLIN) | wants(watched.room, POLLOUT)
    };
    let mut fds: Vec<PollFd> = watched
        .iter()
        .map(|file| PollFd { fd: file.file.as_raw_fd(), events: wanted(file), revents: 0 })
        .collect();
    // SAFETY: as many follow the pointer as is said, and the call does not keep it.
    checked(unsafe { poll_files(fds.as_mut_ptr(), fds.len() as c_ulong, -1) })?;
    // An end shows as neither, and the next read or write tells of it.
    let is = |fd: &PollFd, event: i16, other: i16| fd.revents & !other != 0 && fd.events & event != 0;
    let come = |fd: &PollFd| Come {
        input: is(fd, POLLIN, POLLOUT),
        room: is(fd, POLLOUT, POLLIN),
        gone: fd.events == 0 && fd.revents & POLLERR != 0,
    };
    Ok(fds.iter().map(come).collect())
}

/// Has the connection end without order once it is closed: the other side gets an error.
pub(in super::super) fn reset(stream: &TcpStream) -> io::Result<()> {
    // `struct linger`: switched on, no time.
    let linger: [c_int; 2] = [1, 0];
    // SAFETY: two `int`s are there, and as long as is said; the call keeps no pointer.
    let set = unsafe { setsockopt(stream.as_raw_fd(), SOL_SOCKET, SO_LINGER, linger.as_ptr(), 8) };
    checked(set).map(drop)
}
