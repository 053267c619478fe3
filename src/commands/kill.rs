//! `berth kill`: ends one session from outside.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::KillArgs;
use crate::config::{Config, Home};
use crate::dock::roster::{self, Entry};
use crate::failure::Failure;
use crate::rpc::Code;

pub async fn run(args: &KillArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let entries = roster::list_with_sessions(&engine).await.map_err(Failure::from)?;
    let asked = |entry: &&Entry| {
        // What is on standby has no session.
        entry.name == args.session || (!entry.session.is_empty() && entry.session == args.session)
    };
    let Some(entry) = entries.iter().find(asked) else {
        return Err(Failure {
            code: Code::Unavailable,
            text: format!("no session `{}`", args.session),
            next: Some("see `berth ps`".to_owned()),
        }
        .into());
    };
    engine.remove(&entry.id).await.map_err(Failure::from)?;
    writeln!(std::io::stdout().lock(), "ended {} (session {})", entry.name, entry.session)?;
    Ok(ExitCode::SUCCESS)
}
