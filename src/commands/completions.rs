//! `berth completions`: what a shell needs to complete berth's command lines.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::CompletionsArgs;
use crate::cli::completions::script;
use crate::config::Config;

/// The names of the servers and profiles are those of the configuration at this moment; one that is wrong has none.
pub fn run(args: &CompletionsArgs, config: Option<&Config>) -> anyhow::Result<ExitCode> {
    let servers: Vec<String> = config.into_iter().flat_map(|config| config.servers.keys().cloned()).collect();
    let profiles: Vec<String> =
        config.into_iter().flat_map(|config| config.profiles.keys().cloned()).collect();
    std::io::stdout().lock().write_all(&script(args.shell, &servers, &profiles))?;
    Ok(ExitCode::SUCCESS)
}
