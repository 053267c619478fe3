//! `berth volume`: what the person's own engine keeps, for berth's servers.

use std::io::Write;
use std::process::ExitCode;

use super::variable;
use crate::cli::{VolumeArgs, VolumeCommand, VolumeImportArgs};
use crate::config::{Config, Home, Volume};
use crate::dock::volume::import::{Imported, import};
use crate::failure::{Code, Failure};
use crate::human::Bytes;
use crate::session::client::identity::Client;

/// Whose volume it becomes where nobody says.
const USUAL: &str = "claude-code";

pub async fn run(args: &VolumeArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let VolumeCommand::Import(args) = &args.command;
    let volume = volume(args, config)?;
    let client = Client::from_start(args.client.as_deref(), variable, || None)
        .unwrap_or_else(|| Client::from_message(Some(USUAL)));
    let client = client.as_str();
    let own = config.dind.engine(&variable)?;
    let host = crate::dind::engine(&own).await.map_err(|error| Failure::of(&error))?;
    let daemon = super::dind_engine(config, home)?;
    let from = args.from.as_deref().unwrap_or(&args.name);
    let copied = import((&host, &own.address), &daemon, from, (&volume, client), args.force).await;
    let Imported { volume: to, bytes } = copied.map_err(|error| Failure::of(&error))?;
    let whose = if volume.shared { "all clients".to_owned() } else { format!("`{client}`") };
    writeln!(
        std::io::stdout().lock(),
        "copied the volume `{from}` of {} into `{to}`, the `{}` of {whose}: {} ({bytes} bytes of an archive)",
        own.address,
        volume.name,
        Bytes(bytes),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The volume as a server of the configuration has it. Nothing may be copied where no server would find it.
fn volume(args: &VolumeImportArgs, config: &Config) -> Result<Volume, Failure> {
    let name = &args.name;
    let all = || config.servers.values().flat_map(|server| &server.settings.volumes);
    let found = all().find(|volume| volume.name == *name && (volume.shared || !args.shared));
    let mut volume = found.cloned().ok_or_else(|| {
        let mut names: Vec<&str> = all().map(|volume| volume.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mode = if args.shared { ":shared" } else { "" };
        let next = match names.as_slice() {
            [] => format!("write `volumes = [\"{name}:/PATH{mode}\"]` into the server's table first"),
            names => format!(
                "write `volumes = [\"{name}:/PATH{mode}\"]` into the server's table first; there are {}",
                names.join(", ")
            ),
        };
        let text = format!("no server of the configuration has a volume `{name}{mode}`");
        Failure { code: Code::Configuration, text, next: Some(next) }
    })?;
    // Whoever names a client means that client's own.
    volume.shared &= args.client.is_none();
    Ok(volume)
}
