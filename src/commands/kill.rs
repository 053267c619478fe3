//! `berth kill`: ends sessions from outside: one, or all that belong to one session of a client.

use std::io::Write;
use std::process::ExitCode;

use futures::future::join_all;

use crate::cli::KillArgs;
use crate::config::{Config, Home};
use crate::dock::owner;
use crate::dock::roster::{self, Entry};
use crate::failure::Failure;
use crate::rpc::Code;

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
    let ended = join_all(entries.iter().map(|entry| engine.remove(&entry.id))).await;
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

fn is_called(entry: &Entry, name: &str) -> bool {
    entry.name == name || (!entry.owner.session.is_empty() && entry.owner.session == name)
}
