//! Passes open files to another process (unix(7), `SCM_RIGHTS`).
#![allow(unsafe_code, reason = "the keeper needs this system call, and has no other crate to ask for it")]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

const SOL_SOCKET: c_int = 1;
const SCM_RIGHTS: c_int = 1;
/// The peer's end is an error, not a signal.
const MSG_NOSIGNAL: c_int = 0x4000;

/// `iovec`
#[repr(C)]
struct Part {
    base: *const c_void,
    length: usize,
}

/// `msghdr`. musl has two lengths of 32 bits and padding behind each: the same bytes where the low ones come first.
#[repr(C)]
struct Message {
    name: *const c_void,
    name_length: u32,
    parts: *const Part,
    count: usize,
    control: *const c_void,
    control_length: usize,
    flags: c_int,
}

/// `cmsghdr` with two descriptors, as they lie behind it.
#[repr(C)]
struct Rights {
    length: usize,
    level: c_int,
    kind: c_int,
    files: [RawFd; 2],
}

unsafe extern "C" {
    fn sendmsg(socket: c_int, message: *const Message, flags: c_int) -> isize;
}

/// Sends `bytes`, whole, and two open files with them.
pub(in super::super) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    files: [BorrowedFd<'_>; 2],
) -> io::Result<()> {
    let part = Part { base: bytes.as_ptr().cast(), length: bytes.len() };
    let rights = Rights {
        length: size_of::<Rights>(),
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        files: files.map(|file| file.as_raw_fd()),
    };
    let message = Message {
        name: std::ptr::null(),
        name_length: 0,
        parts: &raw const part,
        count: 1,
        control: (&raw const rights).cast(),
        control_length: size_of::<Rights>(),
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
