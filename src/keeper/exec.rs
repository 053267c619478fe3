//! Becomes the server: the process keeps nothing of the keeper.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::needs::Needs;
use super::{Failure, filter};

/// Returns only when it failed. `CommandExt::exec` gives SIGPIPE, which Rust's runtime ignores, its
/// default back, so that the server starts as from a shell.
pub(super) fn exec(needs: &Needs, program: &OsStr, arguments: &[OsString]) -> Failure {
    if let Err(failure) = needs.check() {
        return failure;
    }
    let mut command = Command::new(program);
    filter::apply_to(&mut command, needs.plain_modes());
    failure(program, &command.args(arguments).envs(needs.home()).exec())
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
