//! User namespaces, and mounts that show files as another's or let nobody write them.

use std::ffi::{CString, c_int, c_long, c_uint};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::{O_CLOEXEC, SIGCHLD, SIGKILL, checked, kill, prctl, syscall, waitpid};

/// On every architecture, like the next three.
const SYS_OPEN_TREE: c_long = 428;
const SYS_MOVE_MOUNT: c_long = 429;
const SYS_CLONE3: c_long = 435;
const SYS_MOUNT_SETATTR: c_long = 442;

const CLONE_NEWUSER: u64 = 0x1000_0000;
const PR_SET_PDEATHSIG: c_int = 1;
const CAPABILITY_VERSION: u32 = 0x2008_0522;
const AT_FDCWD: c_int = -100;
const AT_EMPTY_PATH: c_uint = 0x1000;
const OPEN_TREE_CLONE: c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 4;
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const MNT_DETACH: c_int = 2;
const UMOUNT_NOFOLLOW: c_int = 8;

/// `clone_args`
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// `mount_attr`
#[repr(C)]
#[derive(Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// `__user_cap_header_struct`
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// `__user_cap_data_struct`
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

unsafe extern "C" {
    // SAFETY: none of them takes a pointer.
    safe fn getpid() -> c_int;
    safe fn getppid() -> c_int;
    safe fn pause() -> c_int;
    safe fn seteuid(user: c_uint) -> c_int;
    fn _exit(code: c_int) -> !;
    fn capget(header: *mut CapabilityHeader, data: *mut CapabilityData) -> c_int;
    fn capset(header: *mut CapabilityHeader, data: *const CapabilityData) -> c_int;
    fn umount2(target: *const std::ffi::c_char, flags: c_int) -> c_int;
}

/// A process that does nothing, in a user namespace of its own. Gone when it is dropped, or when we end.
#[derive(Debug)]
pub(in super::super) struct Idler(c_int);

impl Idler {
    /// The namespace belongs to the user `owner`. The caller is root, and has one thread.
    pub(in super::super) fn start(owner: u32) -> io::Result<Self> {
        let parent = getpid();
        checked(seteuid(owner))?;
        let started = regain_capabilities().and_then(|()| fork());
        if let Ok(0) = started {
            idle(parent);
        }
        let back = checked(seteuid(0));
        let idler = Self(started?);
        back?;
        Ok(idler)
    }

    pub(in super::super) fn pid(&self) -> c_int {
        self.0
    }
}

impl Drop for Idler {
    fn drop(&mut self) {
        kill(self.0, SIGKILL);
        // SAFETY: the kernel is given no place for the status.
        unsafe { waitpid(self.0, ptr::null_mut(), 0) };
    }
}

/// Root's capabilities lie idle while somebody else acts. Some hosts allow user namespaces to those alone who use them.
fn regain_capabilities() -> io::Result<()> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: the kernel takes the header and two parts of data in this version; both outlive the calls.
    unsafe {
        checked(capget(&raw mut header, data.as_mut_ptr()))?;
        for part in &mut data {
            part.effective = part.permitted;
        }
        checked(capset(&raw mut header, data.as_ptr())).map(drop)
    }
}

/// Into a new user namespace; 0 in the new process.
fn fork() -> io::Result<c_int> {
    let exit_signal = u64::from(SIGCHLD.unsigned_abs());
    let arguments = CloneArguments { flags: CLONE_NEWUSER, exit_signal, ..CloneArguments::default() };
    // SAFETY: the size is that of what the pointer leads to. Without a stack the new process has a copy of all that is ours,
    // as after fork(2); it only calls `idle`, which allocates nothing and takes no lock.
    let pid = unsafe { syscall(SYS_CLONE3, &raw const arguments, size_of::<CloneArguments>()) };
    checked(pid.try_into().unwrap_or(-1))
}

fn idle(parent: c_int) -> ! {
    // SAFETY: this option takes one number; the process that ends has nothing to tidy up.
    unsafe {
        if prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent {
            _exit(0);
        }
    }
    loop {
        pause();
    }
}

/// What is mounted at `source`, for a mount of one's own; without those below it.
pub(in super::super) fn copy_mount(source: &Path) -> io::Result<File> {
    let source = CString::new(source.as_os_str().as_bytes())?;
    let flags = OPEN_TREE_CLONE | O_CLOEXEC.cast_unsigned();
    // SAFETY: the path ends with a NUL and outlives the call; the file descriptor is new and nobody else's.
    unsafe {
        let opened = syscall(SYS_OPEN_TREE, AT_FDCWD, source.as_ptr(), flags);
        Ok(File::from(OwnedFd::from_raw_fd(checked(opened.try_into().unwrap_or(-1))?)))
    }
}

/// Has a copy, which is mounted nowhere yet, show all ids as the user namespace maps them.
pub(in super::super) fn map_ids(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<()> {
    let userns = u64::from(namespace.as_raw_fd().cast_unsigned());
    set_attributes(mount, &MountAttributes { set: MOUNT_ATTR_IDMAP, userns, ..MountAttributes::default() })
}

/// Makes the mount read-only that is open at its top. It has to be one of this process's own.
pub(in super::super) fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, &MountAttributes { set: MOUNT_ATTR_RDONLY, ..MountAttributes::default() })
}

fn set_attributes(mount: BorrowedFd<'_>, attributes: &MountAttributes) -> io::Result<()> {
    let (size, attributes) = (size_of::<MountAttributes>(), &raw const *attributes);
    // SAFETY: the path is empty and ends with a NUL; the size is that of what the pointer leads to, which outlives the call.
    let set = unsafe {
        syscall(SYS_MOUNT_SETATTR, mount.as_raw_fd(), c"".as_ptr(), AT_EMPTY_PATH, attributes, size)
    };
    checked(set.try_into().unwrap_or(-1)).map(drop)
}

/// Mounts a copy at `target`.
pub(in super::super) fn attach(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: both paths end with a NUL and outlive the call.
    let moved = unsafe {
        syscall(
            SYS_MOVE_MOUNT,
            mount.as_raw_fd(),
            c"".as_ptr(),
            AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    checked(moved.try_into().unwrap_or(-1)).map(drop)
}

pub(in super::super) fn detach(target: &Path) -> io::Result<()> {
    let target = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: the path ends with a NUL and outlives the call.
    checked(unsafe { umount2(target.as_ptr(), MNT_DETACH | UMOUNT_NOFOLLOW) }).map(drop)
}
