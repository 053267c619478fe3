//! What of a cluster is needed is in `berth-kubernetes`, a program beside this one, so that no other session carries it.

use std::process::ExitCode;

use super::run::refuse;
use crate::failure::Failure;
use crate::observe::stderr::StderrSink;

/// The program's name.
const PROGRAM: &str = "berth-kubernetes";

/// Becomes the program that runs servers in pods, with the arguments that this one was given.
pub(super) async fn run(stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    match super::become_program(PROGRAM, std::env::args_os().skip(1).collect(), None) {
        Ok(code) => Ok(code),
        // Its client must be told.
        Err(error) => match error.downcast::<Failure>() {
            Ok(failure) => Box::pin(refuse(failure, stderr)).await,
            Err(error) => Err(error),
        },
    }
}
