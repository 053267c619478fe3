//! `berth install`: adds configured servers to a client's configuration.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::InstallArgs;
use crate::clients::{Changes, Manner, Wanted, install};
use crate::config::{Config, Home};
use crate::dind::progress::Progress;
use crate::observe::audit;

pub async fn run(
    args: &InstallArgs,
    config: &Config,
    home: &Home,
    explicit: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let wanted =
        Wanted { client: args.client, scope: args.scope, servers: &args.servers, move_secrets: false };
    let mut changes = Changes::default();
    let manner = Manner { force: args.force, required: args.required, profile: args.profile.as_deref() };
    let done = install(wanted, manner, config, explicit, &super::variable, &mut changes);
    audit::note_changes(&home.state, "berth install", &changes.made);
    super::print(&changes.said)?;
    done?;
    let of_profile = args.profile.as_ref().and_then(|name| config.profiles.get(name));
    let servers = of_profile.map_or(&args.servers, |profile| &profile.servers);
    super::catalogue::fill::ahead(config, home, explicit, Some(servers), &Progress::stderr()).await;
    Ok(ExitCode::SUCCESS)
}
