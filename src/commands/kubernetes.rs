//! What of a cluster is needed is in `berth-kubernetes`, a program beside this one, so that no other session carries it.

use std::process::ExitCode;

use super::run::refuse;
use crate::failure::Failure;
use crate::observe::stderr::StderrSink;

/// The program's name.
const PROGRAM: &str = "berth-kubernetes";

/// Becomes the program that knows clusters, too, with the arguments that this one was given.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    super::become_program(PROGRAM, std::env::args_os().skip(1).collect(), None)
}

/// The same for a session, whose client must be told if that fails.
pub(super) async fn run_session(stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    match run() {
        Ok(code) => Ok(code),
        Err(error) => match error.downcast::<Failure>() {
            Ok(failure) => Box::pin(refuse(failure, stderr)).await,
            Err(error) => Err(error),
        },
    }
}
