//! `berth env`: the variables that point the docker CLI at the DinD daemon, for `eval "$(berth env)"`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use crate::config::{Config, Home};
use crate::dind;
use crate::failure::Failure;

pub fn run(config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    // Variables that name certificates which are not there would only fail later, and say less.
    dind::endpoint(config, home).map_err(Failure::from)?;
    let lines = dind::env::lines(&dind::daemon(config, home), super::variable("DOCKER_CONTEXT").is_some());
    std::io::stdout().lock().write_all(lines.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
