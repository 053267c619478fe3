//! Becomes the server: the process keeps nothing of the keeper.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, io};

use super::needs::Needs;
use super::{Failure, door, filter};

/// Returns only when it failed. `CommandExt::exec` gives SIGPIPE, which Rust's runtime ignores, its
/// default back, so that the server starts as from a shell.
pub(super) fn exec(needs: &Needs, with_door: bool, program: &OsStr, arguments: &[OsString]) -> Failure {
    if let Err(failure) = needs.check() {
        return failure;
    }
    let mut command = Command::new(program);
    if with_door && let Err(error) = pipes(&mut command) {
        return error.into();
    }
    filter::apply_to(&mut command, needs.plain_modes());
    failure(program, &command.args(arguments).envs(needs.home()).exec())
}

/// Has `command` read and write pipes whose other ends its session takes. Where nobody takes them, it has the streams that
/// it was started with, and the session hears why.
fn pipes(command: &mut Command) -> io::Result<()> {
    // A duplicate, because std's own stdin reads ahead.
    let token = door::token(File::from(io::stdin().as_fd().try_clone_to_owned()?))?;
    let ((input, to_input), (from_output, output)) = (io::pipe()?, io::pipe()?);
    let socket = door::socket(Path::new(&env::args_os().next().unwrap_or_default()));
    match door::hand_over(&socket, &token, to_input, from_output) {
        Ok(()) => {
            command.stdin(input).stdout(output);
            Ok(())
        }
        Err(why) => door::tell(&why),
    }
}

/// Why a command cannot run, as a shell would end.
pub(super) fn failure(program: &OsStr, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Failure::NOT_FOUND,
        _ => Failure::CANNOT_EXECUTE,
    };
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    Failure::new(code, format_args!("cannot run `{}`: {reason}", program.display()))
}
