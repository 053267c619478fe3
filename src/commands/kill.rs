//! `berth kill`: ends sessions from outside: one, or all that belong to one session of a client.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use futures::future::join_all;

use crate::cli::KillArgs;
use crate::config::{Config, Home};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::roster::{self, Entry};
use crate::dock::{keeper, owner};
use crate::failure::{Code, Failure};

/// A server has the grace of its `stop_grace`; this is for what doesn't end by itself.
const GONE_WITHIN: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub async fn run(args: &KillArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let mut entries = roster::list_with_owners(&engine).await.map_err(Failure::from)?;
    let asked = args.session.as_str();
    let client_session = owner::id(asked);
    // berth's own names go before what a client calls itself. What is on standby has no session.
    if entries.iter().any(|entry| is_called(entry, asked)) {
        entries.retain(|entry| is_called(entry, asked));
    } else {
        entries.retain(|entry| client_session.is_some() && entry.owner.client_session == client_session);
    }
    if entries.is_empty() {
        return Err(Failure {
            code: Code::Unavailable,
            text: format!("no session `{asked}`"),
            next: Some("see `berth ps`".to_owned()),
        }
        .into());
    }
    let ended = join_all(entries.iter().map(|entry| end(&engine, &entry.id))).await;
    let mut out = std::io::stdout().lock();
    for (entry, ended) in entries.iter().zip(ended) {
        ended.map_err(Failure::from)?;
        writeln!(out, "ended {} (session {})", entry.name, entry.owner.session)?;
    }
    if entries.len() > 1 {
        writeln!(out, "{} sessions of `{asked}` ended", entries.len())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the keeper end the session, which knows then that it was meant; one that does not is removed all the same.
async fn end(engine: &Engine, container: &str) -> Result<(), DockerError> {
    if engine.kill(container, keeper::END).await.is_ok() {
        let gone = async {
            while !matches!(engine.inspect(container).await, Ok(None)) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(GONE_WITHIN, gone).await.is_ok() {
            return Ok(());
        }
    }
    engine.remove(container).await.map(drop)
}

fn is_called(entry: &Entry, name: &str) -> bool {
    entry.name == name || (!entry.owner.session.is_empty() && entry.owner.session == name)
}
