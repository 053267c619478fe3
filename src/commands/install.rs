//! `berth install`: adds configured servers to a client's configuration.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::InstallArgs;
use crate::clients::{Manner, Wanted, install};
use crate::config::Config;

pub fn run(args: &InstallArgs, config: &Config, explicit: Option<&Path>) -> anyhow::Result<ExitCode> {
    let wanted =
        Wanted { client: args.client, scope: args.scope, servers: &args.servers, move_secrets: false };
    let mut said = Vec::new();
    let manner = Manner { force: args.force, required: args.required, profile: args.profile.as_deref() };
    let done = install(wanted, manner, config, explicit, &super::variable, &mut said);
    super::print(&said)?;
    done?;
    Ok(ExitCode::SUCCESS)
}
