//! The arguments of `berth volume`.

use clap::{Args, Subcommand};

use crate::values::is_server_name;

#[derive(Debug, Args)]
pub struct VolumeArgs {
    #[command(subcommand)]
    pub command: VolumeCommand,
}

#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Copy a named volume of your own engine into berth's volume of that name.
    Import(VolumeImportArgs),
}

#[derive(Debug, Args)]
pub struct VolumeImportArgs {
    /// What `volumes` of a server calls it.
    #[arg(value_parser = name)]
    pub name: String,
    /// What the engine calls it, if that is another name.
    #[arg(long, value_name = "VOLUME")]
    pub from: Option<String>,
    /// Whose volume it becomes; without it Claude Code's.
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,
    /// Make it the one of all clients (`:shared` in `volumes`).
    #[arg(long, conflicts_with = "client")]
    pub shared: bool,
    /// Replace what berth's volume holds.
    #[arg(long)]
    pub force: bool,
}

fn name(text: &str) -> Result<String, String> {
    if is_server_name(text) { Ok(text.to_owned()) } else { Err("it is no volume's name".to_owned()) }
}
