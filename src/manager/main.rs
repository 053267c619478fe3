//! `berth-manager`, which `berth manager` becomes: an index of all sessions of a state folder, an API, metrics and a page.
//!
//! ```text
//!  sessions' journals -> journals::Follower -> Sinks: the index, the counters, the watch over demand, spans
//!  index, daemon      -> api (18080), monitor (19090)
//!  spans, counters    -> otlp -> an OpenTelemetry collector, where the configuration names one
//! ```
//!
//! It is never in the data path. Sessions neither know nor need it; it may be killed at any moment, and goes on where the
//! index and the counters say that they are.
#![forbid(unsafe_code)]

mod api;
mod audits;
mod configured;
mod database;
mod holder;
mod index;
mod instance;
mod journals;
mod listeners;
mod logins;
mod metrics;
mod monitor;
mod open;
mod otlp;
mod page;
mod pods;
mod run;
mod scale;
mod settings;
mod shared;
mod tend;
mod token;
mod unit;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mcp_berth::cli::{ManagerArgs, ManagerCommand};
use mcp_berth::commands::program;
use mcp_berth::config::{Config, Home};

/// Keeps an index of all sessions, and serves an API, metrics and a page of them.
#[derive(Debug, Parser)]
#[command(name = "berth-manager", version)]
struct Arguments {
    /// Configuration file instead of `berth.toml` in the configuration folder.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    manager: ManagerArgs,
}

fn main() -> ExitCode {
    program(async |_| execute(&Arguments::parse()).await)
}

async fn execute(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let home = Home::from_env(&|name| std::env::var(name).ok())?;
    match arguments.manager.command() {
        ManagerCommand::Run(args) => {
            let mut config = Config::load(&home, arguments.config.as_deref())?;
            mcp_berth::dind::place::recall(&mut config, &home);
            Box::pin(run::run(&args, config, arguments.config.as_deref(), home)).await
        }
        ManagerCommand::Open => open::open(&home).await,
        ManagerCommand::Token => instance::token(&home),
        ManagerCommand::Status => instance::status(&home),
        ManagerCommand::Unit { which } => {
            let config = Config::load(&home, arguments.config.as_deref())?;
            unit::run(which, &config.manager, arguments.config.as_deref())
        }
        ManagerCommand::Stop => instance::stop(&home).await,
    }
}
