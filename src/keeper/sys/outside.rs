//! System calls of the runtime and its guard, outside of sessions' containers, and of probes.

use std::ffi::{CStr, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use super::{SIGKILL, checked, syscall};

/// On every architecture.
const SYS_PIDFD_SEND_SIGNAL: c_long = 424;
const CLONE_NEWNS: c_int = 0x2_0000;
const MS_RDONLY: c_ulong = 1;
const MS_REC: c_ulong = 0x4000;
const MS_SLAVE: c_ulong = 0x8_0000;

unsafe extern "C" {
    fn klogctl(action: c_int, buffer: *mut c_char, length: c_int) -> c_int;
    // SAFETY: neither takes a pointer.
    safe fn unshare(flags: c_int) -> c_int;
    safe fn setns(fd: c_int, kind: c_int) -> c_int;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
}

/// From now on this process, and all that it becomes, sees an empty folder at `folder`; nobody else does.
pub(in super::super) fn hide(folder: &CStr) -> io::Result<()> {
    checked(unshare(CLONE_NEWNS))?;
    // SAFETY: the texts end with a NUL and outlive the calls, which copy them; for a change of how mounts spread the kernel
    // looks at no source, kind or data, and for a file system in memory at no source and no data.
    unsafe {
        checked(mount(ptr::null(), c"/".as_ptr(), ptr::null(), MS_REC | MS_SLAVE, ptr::null()))?;
        checked(mount(c"none".as_ptr(), folder.as_ptr(), c"tmpfs".as_ptr(), MS_RDONLY, ptr::null()))?;
    }
    Ok(())
}

/// From now on this process has the mounts of the namespace that a file stands for.
pub(in super::super) fn enter_mounts(namespace: &File) -> io::Result<()> {
    checked(setns(namespace.as_raw_fd(), CLONE_NEWNS)).map(drop)
}

/// Kills the process that a file stands for.
pub(in super::super) fn kill_process(process: &File) {
    let none: *const c_void = ptr::null();
    // It fails only for one that has ended.
    // SAFETY: without a record of what the sender says of itself no pointer is followed.
    let _ = unsafe { syscall(SYS_PIDFD_SEND_SIGNAL, process.as_raw_fd(), SIGKILL, none, c_ulong::from(0u8)) };
}

/// What the kernel's log begins with.
pub(in super::super) fn kernel_log() -> io::Result<Vec<u8>> {
    const READ_ALL: c_int = 3;
    let mut log = vec![0u8; 64 << 10];
    let length = log.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the buffer is as long as is said and outlives the call.
    let length = checked(unsafe { klogctl(READ_ALL, log.as_mut_ptr().cast(), length) })?;
    log.truncate(length.try_into().unwrap_or_default());
    Ok(log)
}
