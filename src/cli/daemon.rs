//! The arguments of the commands about the daemon: `up`, `down`, `status`, `bake`.

use clap::Args;

/// Nothing to set: the configuration says it all.
#[derive(Debug, Args)]
pub struct UpArgs {}

#[derive(Debug, Args)]
pub struct DownArgs {
    /// Remove the volume with the images too.
    #[arg(long)]
    pub volumes: bool,

    /// End active sessions without asking, even where they can't be counted or another home's `berth up` made the daemon.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BakeArgs {
    /// Servers of the configuration; all that come from packages, if none is named.
    #[arg(value_name = "SERVER", conflicts_with = "line")]
    pub servers: Vec<String>,

    /// Ask the registries again: what is baked stays as it is otherwise.
    #[arg(long)]
    pub update: bool,

    /// Write the versions and digests that were found into the configuration.
    #[arg(long, conflicts_with = "line")]
    pub pin: bool,

    /// A line such as `npx PACKAGE` instead of a configured server.
    #[arg(last = true, value_name = "COMMAND")]
    pub line: Vec<String>,
}
