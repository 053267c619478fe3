//! The arguments of the commands that examine: `doctor`, `validate`, `chaos`.

use std::path::PathBuf;

use clap::Args;

use crate::values::{Image, Way};

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Only look: make no container to try limits, end of input and lifeline in.
    #[arg(long)]
    pub quick: bool,

    /// Everything may take so many times as long: for machines that are emulated or overloaded.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub patience: u32,
}

#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Sessions at once; half of them as Claude Code, half as Codex.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub clients: u16,

    /// Calls that each of them makes.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub calls: u16,

    /// Everything may take so many times as long: for machines that are emulated or overloaded.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub patience: u32,

    /// The server to examine, instead of `everything` or the first of the configuration.
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,

    /// Also write validation.json and validation.md into this folder.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,

    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// A server of the configuration: its image and command, with the tools of `berth-fixture`.
    #[arg(conflicts_with = "image")]
    pub server: Option<String>,

    /// An image with the tools of `berth-fixture`.
    #[arg(long, default_value = "berth-fixture")]
    pub image: Image,

    /// About how long faults are injected, a minute if nothing is said; to begin and to end takes half a minute besides.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: Option<u32>,

    /// How many faults, instead of 50 a minute.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub faults: Option<u32>,

    /// In a cluster: a line of shell that breaks a part of it and mends it again; of several, one after another is run.
    #[arg(long, value_name = "COMMAND")]
    pub fault: Vec<String>,

    /// Sessions at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub sessions: u16,

    /// Fixes the faults, their targets and the calls; one that is not given is told, to be given again.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// The way of the servers' bytes: `direct` by pipes, `exec` through the daemon, `auto` by pipes where they can be had.
    #[arg(long, value_name = "WAY", default_value = "auto")]
    pub streams: Way,

    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}
