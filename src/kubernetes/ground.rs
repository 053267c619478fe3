//! `berth kubernetes up|down|doctor|image`: what sessions need in a namespace, made, taken back and proved.
//!
//! ```text
//! berth.toml -> objects (pure; roles, network, security) -> print, or apply        up
//!                                                           takedown               down
//! questions, probe pods -> facts -> verdict (pure) -> the lines of a report       doctor
//! the keeper -> image                                                             image
//! ```
//!
//! Nothing of anybody else's is ever changed or deleted: what is berth's has its label. A session needs none of this module
//! but `network` (the label of its pods) and `proof` (whether the policies were shown to hold).

mod apply;
mod doctor;
mod image;
mod kind;
pub(crate) mod network;
mod objects;
pub(crate) mod proof;
mod refused;
mod roles;
mod security;
mod takedown;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use mcp_berth::cli::KubernetesCommand;
use mcp_berth::config::Config;
use mcp_berth::failure::{Code, Failure};

use super::cluster::Cluster;
use super::pod::{LABEL_MANAGED_BY, MANAGER, PROBER, STANDBY_AT_MOST};
use objects::Wanted;

/// Namespaces that others live in: sessions' limits are not for them.
const RESERVED: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Runs a command.
pub(crate) async fn run(command: &KubernetesCommand, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        KubernetesCommand::Image { output } => image::write(config, output.as_deref())?,
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
    let all = std::iter::once(itself).chain(objects::own(config, name)).chain(objects::limits(config, name));
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
