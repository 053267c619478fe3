//! `berth kubernetes up|down|doctor|image|install`: what sessions need in a namespace, made, taken back and proved.
//!
//! ```text
//! berth.toml -> objects (pure; roles, network, security) -> print, or apply        up
//!                                                           takedown               down
//! questions, probe pods -> facts -> verdict (pure) -> the lines of a report       doctor
//! the keeper, or this program (agent) -> image                                    image, install
//! ```
//!
//! Nothing of anybody else's is ever changed or deleted: what is berth's has its label. A session needs none of this module
//! but `network` (the label of its pods) and `proof` (whether the policies were shown to hold).

mod agent;
mod apply;
mod doctor;
mod elf;
mod forwarder;
mod image;
mod kind;
mod living;
pub(crate) mod network;
mod objects;
pub(crate) mod proof;
mod refused;
mod roles;
mod security;
mod takedown;
#[cfg(test)]
mod tests;
mod wanted;

pub(crate) use doctor::api_server;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use mcp_berth::cli::KubernetesCommand;
use mcp_berth::config::Config;
use mcp_berth::doctor::line::{Line, State};
use mcp_berth::failure::{Code, Failure};

use super::cluster::Cluster;
use super::lists;
use super::pod::{LABEL_MANAGED_BY, MANAGER, PROBER, STANDBY_AT_MOST};
use wanted::Wanted;

/// Namespaces that others live in: sessions' limits are not for them.
const RESERVED: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Runs a command.
pub(crate) async fn run(command: &KubernetesCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        KubernetesCommand::Image { agent: false, output } => image::write_keeper(config, output.as_deref())?,
        KubernetesCommand::Image { agent: true, output } => agent::write_image(config, output.as_deref())?,
        KubernetesCommand::Install { folder } => agent::install(folder)?,
        KubernetesCommand::Lists { folder } => {
            let cluster = Cluster::connect(&config.kubernetes).await?;
            match lists::keep(&cluster, folder).await? {}
        }
        // It reads the configuration again and again (`tend.rs`).
        KubernetesCommand::Tend => {}
        KubernetesCommand::Up { print: true, .. } => print(config)?,
        KubernetesCommand::Up { force, .. } => {
            let cluster = Cluster::connect(&config.kubernetes).await?;
            refuse_reserved(&cluster.namespace)?;
            let done = apply::up(&cluster, config, *force).await?;
            write!(std::io::stdout().lock(), "{done}")?;
        }
        KubernetesCommand::Down { force, volumes } => {
            let cluster = Cluster::connect(&config.kubernetes).await?;
            let done = takedown::down(&cluster, *force, *volumes).await?;
            write!(std::io::stdout().lock(), "{done}")?;
        }
        KubernetesCommand::Doctor { json, quick, world } => {
            let options = doctor::Options { quick: *quick, world: *world };
            let report =
                Box::pin(doctor::examine(config, Cluster::connect(&config.kubernetes).await, &options)).await;
            let mut out = std::io::stdout().lock();
            if *json {
                writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
            } else {
                report.write(&mut out, doctor::look(std::io::stdout().is_terminal()))?;
            }
            if !report.healthy {
                return Ok(ExitCode::from(Code::Unavailable.exit_code()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Its lines in the report of `berth doctor`: what can be told without a pod.
pub(crate) async fn seen(config: &Config) -> Vec<Line> {
    let cluster = Cluster::connect(&config.kubernetes).await;
    Box::pin(doctor::examine(config, cluster, &doctor::Options::QUICK)).await.lines
}

/// What of it is wrong, as a look without a pod tells it.
pub(crate) async fn problems(config: &Config, cluster: Cluster) -> Vec<String> {
    let report = Box::pin(doctor::examine(config, Ok(cluster), &doctor::Options::QUICK)).await;
    let failed = report.lines.into_iter().filter(|line| line.state == State::Failed);
    failed.map(|line| format!("{} {}: {}", line.name, line.object.unwrap_or_default(), line.fact)).collect()
}

/// All objects, the namespace first: the same text for the same configuration.
fn print(config: &Config) -> anyhow::Result<()> {
    let name = config.kubernetes.namespace.as_deref().ok_or_else(|| Failure {
        code: Code::Configuration,
        text: "[kubernetes] names no namespace".to_owned(),
        next: Some("set `namespace = \"berth\"` there".to_owned()),
    })?;
    refuse_reserved(name)?;
    std::io::stdout().lock().write_all(text(config, name)?.as_bytes())?;
    Ok(())
}

fn text(config: &Config, name: &str) -> Result<String, serde_saphyr::ser::Error> {
    let (itself, profile) = objects::namespace(config, name);
    let mut text = String::new();
    let own = objects::own(config, name).into_iter().chain(forwarder::objects(config, name));
    // The keeper is a megabyte: whoever reads the rest need not pass it.
    let last = objects::keeper(config, name);
    let all = std::iter::once(itself).chain(own).chain(objects::limits(config, name)).chain(last);
    for Wanted { why, object } in all {
        text.push_str("---\n");
        let refused = (object["kind"] == "Namespace").then_some(&profile.refused).into_iter().flatten();
        for line in why.iter().chain(refused) {
            text = text + "# " + line + "\n";
        }
        text += &serde_saphyr::to_string(&object)?;
    }
    Ok(text)
}

fn refuse_reserved(namespace: &str) -> Result<(), Failure> {
    if !RESERVED.contains(&namespace) {
        return Ok(());
    }
    Err(Failure {
        code: Code::Configuration,
        text: format!(
            "the namespace `{namespace}` is for others, too: berth's limits and roles are not for them"
        ),
        next: Some("set `namespace = \"berth\"` in [kubernetes]".to_owned()),
    })
}
