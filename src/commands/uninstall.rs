//! `berth uninstall`: removes berth's servers from a client's configuration, or everything of berth's.

mod everything;

use std::process::ExitCode;

use crate::cli::UninstallArgs;
use crate::clients::{Wanted, uninstall};
use crate::config::{Config, Home};
use crate::observe::audit;

pub async fn run(args: &UninstallArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    // clap asks for a client wherever not all of it goes.
    let Some(client) = args.client else { return everything::run(args, config, home).await };
    let wanted = Wanted { client, scope: args.scope, servers: &args.servers, move_secrets: false };
    let mut said = Vec::new();
    let done = uninstall(wanted, &super::variable, &mut said);
    let is_change = |line: &&String| line.ends_with(" taken out");
    audit::note_changes(&home.state, "berth uninstall", said.iter().filter(is_change));
    super::print(&said)?;
    done?;
    Ok(ExitCode::SUCCESS)
}
