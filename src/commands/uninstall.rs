//! `berth uninstall`: removes berth's servers from a client's configuration.

use std::process::ExitCode;

use crate::cli::UninstallArgs;
use crate::clients::{Wanted, uninstall};

pub fn run(args: &UninstallArgs) -> anyhow::Result<ExitCode> {
    let wanted =
        Wanted { client: args.client, scope: args.scope, servers: &args.servers, move_secrets: false };
    let mut said = Vec::new();
    let done = uninstall(wanted, &super::variable, &mut said);
    super::print(&said)?;
    done?;
    Ok(ExitCode::SUCCESS)
}
