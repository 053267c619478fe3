//! Extended attributes of a file, never of what a link at its end leads to.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::checked;

/// Of a longer one nothing is of use here (bytes).
const LONGEST: usize = 4096;

unsafe extern "C" {
    fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize;
    fn lsetxattr(
        path: *const c_char,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int;
}

/// `None` where the file has none, or its file system knows none.
pub(in super::super) fn get(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut value = [0_u8; LONGEST];
    // SAFETY: both names end with a NUL, the buffer is as long as is said, and all outlive the call.
    let length = unsafe { lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), LONGEST) };
    Some(value.get(..usize::try_from(length).ok()?)?.to_vec())
}

pub(in super::super) fn set(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both names end with a NUL, as many bytes are there as is said, and all outlive the call.
    let set = unsafe { lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    checked(set).map(drop)
}
