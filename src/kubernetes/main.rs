//! `berth-kubernetes`: sessions whose servers run in pods.
#![forbid(unsafe_code)]

mod causes;
mod claim;
mod cluster;
mod hold;
mod housekeeping;
mod lifeline;
mod link;
mod names;
mod pod;
mod pump;
mod server;
mod standby;
mod start;
mod streams;
mod sweep;
mod upstream;

use std::process::ExitCode;

use mcp_berth::commands::program;
use mcp_berth::config::{Config, Home, Server};
use mcp_berth::dock::owner::new_session;
use mcp_berth::dock::spec::Spec;
use mcp_berth::observe::redact::Redactor;
use mcp_berth::observe::stderr::StderrSink;
use mcp_berth::observe::trace::{Sink, Trace};
use mcp_berth::session::upstream::{Output, Upstream};
use tokio::io::AsyncWriteExt;

use cluster::Cluster;
use start::Request;

fn main() -> ExitCode {
    program(async |stderr| {
        let ran = run(stderr).await;
        hold::settled().await;
        ran
    })
}

/// A trial: `berth-kubernetes SERVER`, by the usual configuration.
async fn run(stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let home = Home::from_env(&|name| std::env::var(name).ok())?;
    let file = std::env::var_os("BERTH_CONFIG").map(std::path::PathBuf::from);
    let config = Config::load(&home, file.as_deref())?;
    let server: Server = config.server(&name)?.clone();
    let trace = Trace::open(Sink::Stderr, false, Redactor::new([]), stderr.clone())?;
    let cluster = Cluster::connect(&config.kubernetes).await?;
    let env = server.resolve_env(&|name| std::env::var(name).ok())?;
    let mut spec = Spec::new(server, "trial", &new_session()?);
    spec.env = env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
    let mut upstream =
        start::start(Request { spec, cluster, is_first: true, limit: None }, trace.clone()).await?;
    if let Some(mut input) = upstream.take_input() {
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
            let _ = input.shutdown().await;
        });
    }
    let began = std::time::Instant::now();
    let mut is_first = true;
    while let Some(Ok(output)) = upstream.next().await {
        match output {
            Output::Stdout(bytes) => {
                if std::mem::take(&mut is_first) {
                    trace.step("first answer", began, "");
                }
                tokio::io::stdout().write_all(&bytes).await?;
            }
            Output::Stderr(bytes) => tokio::io::stderr().write_all(&bytes).await?,
        }
    }
    tokio::io::stdout().flush().await?;
    let exit = upstream.post_mortem().await;
    let released = std::time::Instant::now();
    upstream.release().await;
    trace.step("release", released, &format!("{exit:?}"));
    trace.flush().await;
    Ok(ExitCode::SUCCESS)
}
