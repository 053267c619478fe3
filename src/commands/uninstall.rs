//! `berth uninstall`: removes berth's servers from a client's configuration, or everything of berth's.

mod everything;

use std::process::ExitCode;

use crate::cli::UninstallArgs;
use crate::clients::{Changes, Wanted, uninstall};
use crate::config::{Config, Home};
use crate::observe::audit;

pub async fn run(args: &UninstallArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    // clap asks for a client wherever not all of it goes.
    let Some(client) = args.client else { return everything::run(args, config, home).await };
    let wanted = Wanted { client, scope: args.scope, servers: &args.servers, move_secrets: false };
    let mut changes = Changes::default();
    let done = uninstall(wanted, &super::variable, &mut changes);
    audit::note_changes(&home.state, "berth uninstall", &changes.made);
    super::print(&changes.said)?;
    done?;
    Ok(ExitCode::SUCCESS)
}
