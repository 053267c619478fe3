//! What the file system of a volume says.

use std::ffi::{c_int, c_ulong};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::checked;

/// `struct statvfs`, as glibc and musl have it where numbers have 64 bits.
#[repr(C)]
#[derive(Default)]
struct StatVfs {
    block: c_ulong,
    fragment: c_ulong,
    blocks: u64,
    free: u64,
    available: u64,
    /// Files, a name, flags, and room for what is to come.
    rest: [u64; 16],
}

unsafe extern "C" {
    // SAFETY: it takes no pointer.
    safe fn syncfs(fd: c_int) -> c_int;
    fn fstatvfs(fd: c_int, to: *mut StatVfs) -> c_int;
}

/// What was written in the file system of `file` is on its disk.
pub(in super::super) fn settle(file: &File) -> io::Result<()> {
    checked(syncfs(file.as_raw_fd())).map(drop)
}

/// How many bytes can be written there still.
pub(in super::super) fn room(file: &File) -> io::Result<u64> {
    let mut found = StatVfs::default();
    // SAFETY: the record outlives the call, and is longer than what the call writes.
    checked(unsafe { fstatvfs(file.as_raw_fd(), &raw mut found) })?;
    Ok(found.available.saturating_mul(found.fragment))
}
