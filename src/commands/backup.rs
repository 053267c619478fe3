//! `berth backup` and `berth restore`: become `berth-backup`, a program beside this one.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The program's name.
const PROGRAM: &str = "berth-backup";

pub fn run(words: Vec<OsString>, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    super::become_program(PROGRAM, words, config)
}
