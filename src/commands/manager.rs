//! `berth manager`: becomes `berth-manager`, a program beside this one, so that no session carries its weight.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::cli::ManagerArgs;
use crate::failure::{Code, Failure};

/// The program's name.
const PROGRAM: &str = "berth-manager";

pub fn run(args: &ManagerArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    let mut command = Command::new(&program);
    command.args(args.words());
    // Before a subcommand it would be one of `run`'s own.
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let error = command.exec();
    Err(Failure {
        code: Code::Unavailable,
        text: format!("cannot run `{}`: {error}", program.display()),
        next: Some("install berth whole: `cargo install` gives both programs".to_owned()),
    }
    .into())
}
