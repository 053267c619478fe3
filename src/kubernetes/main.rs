//! `berth-kubernetes`, which `berth` becomes where servers run in a cluster.
//!
//! ```text
//!  commands::run (of the library) -> both -> ready -> start (claim | pod) -> lifeline, link, ports -> upstream
//!                                                      causes: why there is none
//! ```
//!
//! It takes the same command line as `berth` itself, and knows containers as well: a session may have both.
#![forbid(unsafe_code)]

mod allowed;
mod both;
mod causes;
mod chaos;
mod claim;
mod cluster;
mod ended;
mod exam;
#[cfg(test)]
mod fake;
mod ground;
mod hold;
mod host_network;
mod housekeeping;
mod image;
mod keeper;
mod lifeline;
mod likeness;
mod link;
mod lists;
mod loopback;
mod mounted;
mod names;
mod nodes;
mod outgoing;
mod parent;
mod pause;
mod pod;
mod ports;
mod pump;
mod ready;
mod resolver;
mod roster;
mod server;
mod standby;
mod start;
mod streams;
mod sweep;
mod telling;
mod template;
mod tend;
mod upstream;
mod volumes;

use std::process::ExitCode;

use mcp_berth::backend::docker::ready::Docker;
use mcp_berth::cli::{Arguments, KubernetesArgs, KubernetesCommand, Subcommands, help};
use mcp_berth::commands::{self, program, variable};
use mcp_berth::observe::stderr::StderrSink;

use both::Both;
use ready::Pods;

fn main() -> ExitCode {
    program(async |stderr| match help::parse() {
        Ok(arguments) => Box::pin(execute(arguments, stderr)).await,
        Err(error) => commands::misuse(error, stderr).await,
    })
}

async fn execute(arguments: Arguments, stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    let loaded = commands::loaded(&arguments);
    if let Subcommands::Run(args) = arguments.command {
        let backend = Both { docker: Docker { lookup: variable }, pods: Pods };
        let ran = Box::pin(commands::run::run(*args, loaded, stderr, &backend)).await;
        hold::settled().await;
        return ran;
    }
    if let Subcommands::Doctor(args) = &arguments.command {
        return Box::pin(commands::doctor::run(args, loaded, ground::seen)).await;
    }
    if let Subcommands::Kubernetes(KubernetesArgs { command: KubernetesCommand::Tend }) = &arguments.command {
        tend::tend(|| commands::loaded(&arguments)).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let (config, home) = loaded?;
    match arguments.command {
        Subcommands::Bake(args) => {
            Box::pin(image::push::run(&args, &config, &home, arguments.config.as_deref())).await
        }
        Subcommands::Ps(args) => Box::pin(roster::ps(&args, &config, &home)).await,
        Subcommands::Kill(args) => Box::pin(roster::kill(&args, &config, &home)).await,
        Subcommands::Validate(args) => {
            Box::pin(exam::validate(&args, &config, arguments.config.as_deref())).await
        }
        Subcommands::Chaos(args) => Box::pin(chaos::run(&args, &config)).await,
        Subcommands::Kubernetes(args) => Box::pin(ground::run(&args.command, &config)).await,
        Subcommands::Gc(args) => Box::pin(roster::gc(&args, &config, &home)).await,
        _ => Err(anyhow::anyhow!("`berth` does this itself")),
    }
}
