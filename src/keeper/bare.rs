//! The entry of a small program, and what std's own would bring along: a third of it.
#![allow(unsafe_code, reason = "an entry is called by the C library, by its name")]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;

const SIGPIPE: c_int = 13;
const SIG_IGN: usize = 1;
/// What [`_Unwind_Backtrace`] answers where there is no frame.
const END_OF_STACK: c_int = 5;

unsafe extern "C" {
    // SAFETY: no handler is ever a pointer.
    safe fn signal(signal: c_int, handler: usize) -> usize;
}

/// Instead of std's entry, which looks for the end of the stack.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    // As std's entry does: that nobody reads any more is an error of the write.
    signal(SIGPIPE, SIG_IGN);
    let word = |index: usize| -> OsString {
        // SAFETY: the C library gives `count` strings, which stay for as long as the process.
        OsStr::from_bytes(unsafe { CStr::from_ptr(*words.add(index)) }.to_bytes()).to_owned()
    };
    let count = usize::try_from(count).unwrap_or_default();
    super::run((1..count).map(word)).into()
}

/// Instead of the C compiler's: a panic tells its message and no frames. So nothing that reads a program's debugging
/// information is linked.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}
