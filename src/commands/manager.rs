//! `berth manager`: becomes `berth-manager`, a program beside this one, so that no session carries its weight.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::ManagerArgs;

/// The program's name.
const PROGRAM: &str = "berth-manager";

pub fn run(args: &ManagerArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    super::become_program(PROGRAM, args.words(), config)
}
