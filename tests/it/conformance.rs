//! The protocol's official conformance suite: what it finds through berth is what it finds directly.

use std::process::Command;

use crate::harness::{daemon, home};

#[test]
fn the_official_suite_tells_the_same_directly_and_through_berth() {
    daemon();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/conformance.sh");
    let mut command = Command::new("timeout");
    // Seconds: one that hangs says so.
    command
        .args(["600", "bash", script, "--quick", "--home"])
        .arg(home())
        .env("BERTH", env!("CARGO_BIN_EXE_berth"));
    let done = command.output().expect("bash runs");
    let (said, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{said}");
    assert!(done.status.success(), "{said}\n{errors}");
    for era in ["2025-11-25", "2026-07-28"] {
        assert!(said.contains(era), "{said}");
    }
}
