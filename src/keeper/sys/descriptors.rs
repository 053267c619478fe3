//! Passes open files to another process (unix(7), `SCM_RIGHTS`), takes them, and prepares them.
#![allow(unsafe_code, reason = "the keeper needs these system calls, and has no other crate to ask for them")]

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

// These are so on x86-64 and aarch64, as on most.
const SOL_SOCKET: c_int = 1;
const SO_PEERCRED: c_int = 17;
const SCM_RIGHTS: c_int = 1;
/// The peer's end is an error, not a signal.
const MSG_NOSIGNAL: c_int = 0x4000;
const MSG_DONTWAIT: c_int = 0x40;
const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
const F_GETFL: c_int = 3;
const F_SETFL: c_int = 4;
const F_SETPIPE_SZ: c_int = 1031;
/// What a pipe may hold without privileges is four times as much (bytes).
const PIPE_SIZE: c_int = 256 << 10;
const O_NONBLOCK: c_int = 0o4000;
/// What lies before the descriptors in `Rights`.
const BEFORE_FILES: usize = size_of::<usize>() + 2 * size_of::<c_int>();

/// `iovec`
#[repr(C)]
struct Part {
    base: *mut c_void,
    length: usize,
}

/// `msghdr`. musl has two lengths of 32 bits and padding behind each: the same bytes where the low ones come first.
#[repr(C)]
struct Message {
    name: *const c_void,
    name_length: u32,
    parts: *const Part,
    count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_int,
}

/// `cmsghdr` with descriptors, as they lie behind it.
#[repr(C)]
struct Rights<const N: usize> {
    length: usize,
    level: c_int,
    kind: c_int,
    files: [RawFd; N],
}

impl<const N: usize> Rights<N> {
    /// Without what may lie behind the last one: the kernel would take it for one more.
    const LENGTH: usize = BEFORE_FILES + N * size_of::<RawFd>();
}

/// `ucred`
#[repr(C)]
struct Credentials {
    pid: c_int,
    user: c_uint,
    group: c_uint,
}

unsafe extern "C" {
    // SAFETY: neither takes a pointer.
    safe fn geteuid() -> c_uint;
    safe fn dup2(from: c_int, to: c_int) -> c_int;
    fn sendmsg(socket: c_int, message: *const Message, flags: c_int) -> isize;
    fn recvmsg(socket: c_int, message: *mut Message, flags: c_int) -> isize;
    fn getsockopt(fd: c_int, level: c_int, option: c_int, value: *mut c_void, length: *mut c_uint) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
}

/// Sends `bytes`, whole, and open files with them.
pub(in super::super) fn send<const N: usize>(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    files: [BorrowedFd<'_>; N],
) -> io::Result<()> {
    let part = Part { base: bytes.as_ptr().cast_mut().cast(), length: bytes.len() };
    let mut rights = Rights {
        length: Rights::<N>::LENGTH,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        files: files.map(|file| file.as_raw_fd()),
    };
    let message = Message {
        name: std::ptr::null(),
        name_length: 0,
        parts: &raw const part,
        count: 1,
        control: (&raw mut rights).cast(),
        control_length: size_of::<Rights<N>>(),
        flags: 0,
    };
    // SAFETY: all that the message leads to is as long as it says and outlives the call, which changes nothing of it.
    let sent = unsafe { sendmsg(socket.as_raw_fd(), &raw const message, MSG_NOSIGNAL) };
    match usize::try_from(sent) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Takes one message that has come, without waiting: how much of it fits into `bytes`, and the files that came with it, if
/// they are so many. Others are closed.
pub(in super::super) fn receive<const N: usize>(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Option<[OwnedFd; N]>)> {
    let part = Part { base: bytes.as_mut_ptr().cast(), length: bytes.len() };
    let mut rights = Rights { length: 0, level: 0, kind: 0, files: [-1; N] };
    let mut message = Message {
        name: std::ptr::null(),
        name_length: 0,
        parts: &raw const part,
        count: 1,
        control: (&raw mut rights).cast(),
        // The kernel closes those for which there is no room.
        control_length: Rights::<N>::LENGTH,
        flags: 0,
    };
    // SAFETY: all that the message leads to is as long as it says, may be written, and outlives the call.
    let received = unsafe { recvmsg(socket.as_raw_fd(), &raw mut message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) };
    let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let has_files =
        message.control_length >= BEFORE_FILES && (rights.level, rights.kind) == (SOL_SOCKET, SCM_RIGHTS);
    let count = if has_files { rights.length.saturating_sub(BEFORE_FILES) / size_of::<RawFd>() } else { 0 };
    let files: Vec<OwnedFd> = rights.files[..count.min(N)]
        .iter()
        // SAFETY: the kernel says that so many descriptors are there; they are new and nobody else's.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) })
        .collect();
    Ok((length, files.try_into().ok()))
}

/// Whether the process at the other end of a connection, as it was made, has our own user.
pub(in super::super) fn is_of_our_user(socket: BorrowedFd<'_>) -> bool {
    let mut peer = Credentials { pid: 0, user: c_uint::MAX, group: c_uint::MAX };
    let Ok(mut length) = c_uint::try_from(size_of::<Credentials>()) else { return false };
    // SAFETY: there is room for as much as is said, and for the length; the call keeps no pointer.
    let asked = unsafe {
        getsockopt(socket.as_raw_fd(), SOL_SOCKET, SO_PEERCRED, (&raw mut peer).cast(), &raw mut length)
    };
    // A socket that is no connection of this machine has no such process.
    asked == 0 && peer.pid > 0 && peer.user == geteuid()
}

/// Reads and writes of this open file don't wait, whoever else has it.
pub(in super::super) fn never_wait(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: neither command follows a pointer.
    unsafe {
        let flags = checked(fcntl(file.as_raw_fd(), F_GETFL))?;
        checked(fcntl(file.as_raw_fd(), F_SETFL, flags | O_NONBLOCK)).map(drop)
    }
}

/// Has a pipe hold more, so that who writes and who reads take turns less often. What is none, or is refused, stays as it is.
pub(in super::super) fn widen(file: BorrowedFd<'_>) {
    // SAFETY: the command follows no pointer.
    let _ = unsafe { fcntl(file.as_raw_fd(), F_SETPIPE_SZ, PIPE_SIZE) };
}

/// Has `number`, one of the three files that all processes have, be another file from now on.
pub(in super::super) fn put(file: BorrowedFd<'_>, number: BorrowedFd<'_>) -> io::Result<()> {
    checked(dup2(file.as_raw_fd(), number.as_raw_fd())).map(drop)
}
