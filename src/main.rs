//! `berth`: parses the arguments, and runs what they say.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use mcp_berth::cli::help;
use mcp_berth::commands::{self, program};

fn main() -> ExitCode {
    program(async |stderr| match help::parse() {
        Ok(arguments) => commands::execute(arguments, stderr).await,
        Err(error) => commands::misuse(error, stderr).await,
    })
}
