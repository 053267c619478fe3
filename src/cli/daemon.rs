//! The arguments of the commands about the daemon: `up`, `down`, `status`, `bake`, `sbom`.

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
pub struct SbomArgs {
    /// A server of the configuration that comes from a package.
    pub server: String,

    /// How the list is written.
    #[arg(long, default_value = "cyclonedx-json", value_parser = ["cyclonedx-json"])]
    pub format: String,
}

#[derive(Debug, Args)]
pub struct BakeArgs {
    /// Servers of the configuration; all that come from packages, if none is named (with `--pin`, all).
    #[arg(value_name = "SERVER", conflicts_with = "line")]
    pub servers: Vec<String>,

    /// Ask the registries again: what is baked stays as it is otherwise.
    #[arg(long)]
    pub update: bool,

    /// Write the versions and digests that were found into the configuration, of images too.
    #[arg(long, conflicts_with = "line")]
    pub pin: bool,

    /// Put the images into `registry` of `[kubernetes]`, where the nodes of a cluster pull them.
    #[arg(long)]
    pub push: bool,

    /// A line such as `npx PACKAGE` instead of a configured server.
    #[arg(last = true, value_name = "COMMAND")]
    pub line: Vec<String>,
}
