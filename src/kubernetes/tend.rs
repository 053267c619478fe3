//! A manager's half in a cluster: what killed sessions have left goes, what stands by beyond its wish gives way, and it is told
//! which pods there are.
//!
//! `berth-manager` runs this as a child, so that it links no client of a cluster. It says a line of JSON after each look, and
//! ends with its standard input.

use std::io::Write;
use std::time::Duration;

use mcp_berth::backend::docker::targets;
use mcp_berth::config::{Config, ConfigError, Home, Kubernetes};
use mcp_berth::dock::roster::Entry;
use mcp_berth::failure::{Code, Failure};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::Cluster;
use super::sweep::{Among, sweep};
use super::{roster, standby};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// A look at a full namespace takes its time; so many times as long nothing is asked.
const REST: u32 = 4;
/// An API server that is slower is asked again later.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Until the end of standard input. `load` gives the configuration as it is at the moment.
///
/// # Errors
/// Nobody hears what is said.
pub(crate) async fn tend(load: impl Fn() -> Result<(Config, Home), ConfigError>) -> anyhow::Result<()> {
    tokio::select! {
        () = end_of_input() => Ok(()),
        error = keep_looking(load) => Err(error.into()),
    }
}

async fn end_of_input() {
    let (mut input, mut byte) = (tokio::io::stdin(), [0]);
    while input.read(&mut byte).await.is_ok_and(|read| read > 0) {}
}

async fn keep_looking(load: impl Fn() -> Result<(Config, Home), ConfigError>) -> std::io::Error {
    let mut known = None;
    loop {
        let began = Instant::now();
        let looked = match load() {
            Ok((config, home)) => timeout(ANSWERS_WITHIN, look(&mut known, &config, &home)).await,
            Err(error) => Ok(Err(error.into())),
        };
        let said = looked.unwrap_or_else(|_| Err(late())).unwrap_or_else(|failure| {
            known = None;
            json!({ "failure": failure.to_string() })
        });
        if let Err(error) = say(&said) {
            return error;
        }
        sleep(LOOK_EVERY.max(began.elapsed() * REST)).await;
    }
}

fn say(line: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn late() -> Failure {
    Failure {
        code: Code::Unavailable,
        text: format!("the cluster gave no answer within {ANSWERS_WITHIN:?}"),
        next: Some("look at it with `berth kubernetes doctor`".to_owned()),
    }
}

/// One look; what it has to say. `known` is the cluster of the last one.
async fn look(
    known: &mut Option<(Kubernetes, Cluster)>,
    config: &Config,
    home: &Home,
) -> Result<Value, Failure> {
    if known.as_ref().is_none_or(|(settings, _)| *settings != config.kubernetes) {
        *known = Some((config.kubernetes.clone(), Cluster::connect(&config.kubernetes).await?));
    }
    let Some((_, cluster)) = &*known else { return Err(late()) };
    let failed = |verb| move |error: kube::Error| roster::refused(cluster, verb, &error);
    let swept = sweep(cluster, Among::All).await.map_err(failed("list"))?;
    for name in &swept.gone {
        tracing::info!("deleted the pod `{name}`, which a session had left");
    }
    let wanted = targets::read(&home.state);
    for name in standby::trim(cluster, wanted.all()).await.map_err(failed("list"))? {
        tracing::info!("`{name}` is one too many");
    }
    let entries = roster::entries(cluster).await?;
    Ok(json!({ "pods": entries.iter().map(told).collect::<Vec<_>>(), "swept": swept.gone }))
}

/// What a manager is told of a pod.
fn told(entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "client": entry.client,
        "server": entry.server,
        "spec": entry.spec,
        "state": entry.state.as_str(),
        "running": entry.running,
        "isolation": entry.isolation.as_str(),
        "created": entry.created,
        "session": entry.owner.session,
        "client_session": entry.owner.client_session,
        "project": entry.owner.project,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake;

    #[tokio::test]
    async fn a_look_clears_away_and_tells_what_is_there() {
        let ended = json!({
            "metadata": { "name": "left" },
            "status": { "phase": "Failed", "containerStatuses": fake::ended("server", "2020-01-01T00:00:00Z") },
        });
        let active = json!({
            "metadata": {
                "name": "mcp-codex-1",
                "labels": {
                    "mcp-berth.io/state": "active", "mcp-berth.io/client": "codex",
                    "mcp-berth.io/server": "files",
                },
            },
            "status": { "phase": "Running" },
        });
        let list = json!({ "metadata": {}, "items": [ended, active] });
        let (cluster, seen) = fake::cluster(move |(method, ..)| match method.as_str() {
            "GET" => (200, list.clone()),
            _ => (200, json!({ "kind": "Status", "status": "Success" })),
        });
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| place.clone())).unwrap();
        let config = Config::parse("", std::path::Path::new("/b.toml"), &home).unwrap();
        let mut known = Some((config.kubernetes.clone(), cluster));
        let said = look(&mut known, &config, &home).await.unwrap();
        assert_eq!(said["swept"], json!(["left"]));
        assert_eq!(said["pods"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&said["pods"][0]["name"], &said["pods"][0]["state"]),
            (&"mcp-codex-1".into(), &"active".into())
        );
        assert_eq!(fake::told(&seen), ["GET ", "DELETE /left", "GET "]);
    }
}
