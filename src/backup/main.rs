//! `berth-backup`, which `berth backup` and `berth restore` become: configuration, catalogue and volumes in one file.
//!
//! ```text
//!  gather -> volumes (a daemon's archive -> tree: the same for the same files) -> file
//!  file (checked whole, against its manifest) -> restore -> refill, volumes, place
//! ```
//!
//! A backup is anybody's file: nothing of it is written before all of it is checked, and nothing where it wants to be
//! written, but where berth has such things.
#![forbid(unsafe_code)]

mod age;
mod digested;
mod file;
mod gather;
mod manifest;
mod meter;
mod place;
mod refill;
mod report;
mod restore;
mod secrets;
mod tree;
mod volumes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mcp_berth::cli::{BackupArgs, RestoreArgs};
use mcp_berth::commands::program;
use mcp_berth::config::{Config, Home};
use mcp_berth::dind;

/// Writes a backup, or restores one.
#[derive(Debug, Parser)]
#[command(name = "berth-backup", version)]
struct Arguments {
    /// Configuration file instead of `berth.toml` in the configuration folder.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write configuration, catalogue and servers' volumes into one file.
    Backup(BackupArgs),
    /// Bring back what a backup holds.
    Restore(RestoreArgs),
}

fn main() -> ExitCode {
    program(async |_| execute(&Arguments::parse()).await.map(|()| ExitCode::SUCCESS))
}

async fn execute(arguments: &Arguments) -> anyhow::Result<()> {
    let home = Home::from_env(&|name| std::env::var(name).ok())?;
    let explicit = arguments.config.as_deref();
    match &arguments.command {
        Command::Backup(args) => {
            let mut config = Config::load(&home, explicit)?;
            dind::place::recall(&mut config, &home);
            Box::pin(gather::run(args, &config, &home)).await
        }
        Command::Restore(args) => Box::pin(restore::run(args, explicit, &home)).await,
    }
}
