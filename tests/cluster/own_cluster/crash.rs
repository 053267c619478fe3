//! A keeper that ends by itself, and what the client is told of it.
#![cfg(target_arch = "x86_64")]

use crate::harness::{Cluster, LATER, Place};

/// Ends with code 3 at once: a program of 133 bytes.
const QUITTER: [u8; 133] = {
    let mut program = [0; 133];
    let head: [u8; 16] = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // An executable for x86-64, that begins at 0x400078.
    let more: [u8; 48] = [
        2, 0, 62, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    ];
    // All of the file at 0x400000, to be read and executed.
    let segment: [u8; 56] = [
        1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
        133, 0, 0, 0, 0, 0, 0, 0, 133, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
    ];
    // mov edi, 3; mov eax, 60; syscall
    let code: [u8; 13] = [0xbf, 3, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 5, 0x90];
    let mut at = 0;
    while at < 133 {
        program[at] = if at < 16 {
            head[at]
        } else if at < 64 {
            more[at - 16]
        } else if at < 120 {
            segment[at - 64]
        } else {
            code[at - 120]
        };
        at += 1;
    }
    program
};

#[test]
#[ignore = "needs a cluster"]
fn a_keeper_that_crashes_is_told_with_its_code() {
    Cluster::of_this_machine();
    let place = Place::new("crash").with_keeper("berth-quitter:test", &QUITTER);
    place.expect_error("fixture", LATER, &["berth's keeper ended in the pod", "code 3", "`keeper_image`"]);
}
