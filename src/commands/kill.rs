//! `berth kill`: ends one session from outside, or all that belong to one session of a client.

use std::io::Write;
use std::process::ExitCode;

use futures::future::join_all;

use crate::cli::KillArgs;
use crate::config::{Config, Home};
use crate::dock::roster;
use crate::failure::{Code, Failure};

pub async fn run(args: &KillArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let asked = args.session.as_str();
    let entries = roster::named(roster::list_with_owners(&engine).await.map_err(Failure::from)?, asked);
    if entries.is_empty() {
        return Err(Failure {
            code: Code::Unavailable,
            text: format!("no session `{asked}`"),
            next: Some("see `berth ps`".to_owned()),
        }
        .into());
    }
    let ended = join_all(entries.iter().map(|entry| roster::end(&engine, &entry.id))).await;
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
