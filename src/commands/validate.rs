//! `berth validate`: examines this system with real sessions, and reports.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ValidateArgs;
use crate::config::{Config, Home};
use crate::dind::progress::Progress;
use crate::failure::{Code, Failure};
use crate::validate::place::Place;
use crate::validate::place::daemon::Daemon;
use crate::validate::plan::Plan;
use crate::validate::report::{Report, markdown, terminal};

/// As a shell has it for a process that SIGINT ended.
pub(super) const INTERRUPTED: u8 = 130;

pub async fn run(
    args: &ValidateArgs,
    config: &Config,
    home: &Home,
    config_file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let plan = plan(args, config, config_file)?;
    let daemon = Daemon::new(&plan, config, home, &super::variable)?;
    Box::pin(examine(args, &plan, &daemon)).await
}

/// What the arguments ask for.
///
/// # Errors
/// There is no such server.
pub fn plan(args: &ValidateArgs, config: &Config, config_file: Option<&Path>) -> Result<Plan, Failure> {
    let (clients, calls) = (args.clients.into(), args.calls.into());
    let server = args.server.as_deref();
    let mut plan = Plan::new(clients, calls, server, config, config_file, &super::variable)?;
    plan.patience = args.patience;
    Ok(plan)
}

/// Examines what is there, and reports.
///
/// # Errors
/// The report cannot be written.
pub async fn examine(args: &ValidateArgs, plan: &Plan, place: &dyn Place) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.report {
        // Found out before the work, not after it.
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    }
    let progress = Progress::stderr();
    let examination = Box::pin(crate::validate::gather(plan, place, &progress));
    let examined = tokio::select! {
        examined = examination => {
            examined.context("cannot make a folder for the sessions' files")?
        }
        // What was under way is dropped, and every session killed with it.
        stopped = stopped() => {
            stopped?;
            progress.say("interrupted; the sessions were ended");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let (seen, took) = examined;
    let report = Report::new(plan, &seen, took, Timestamp::now());
    let json = serde_json::to_string_pretty(&report)?;
    if let Some(folder) = &args.report {
        write(&folder.join("validation.json"), &format!("{json}\n"))?;
        write(&folder.join("validation.md"), &markdown::render(&report))?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{json}")?;
    } else {
        let colours = out.is_terminal() && super::variable("NO_COLOR").is_none_or(|value| value.is_empty());
        terminal::write(&mut out, &report, colours)?;
    }
    Ok(if report.passed {
        ExitCode::SUCCESS
    } else if seen.version().is_err() {
        ExitCode::from(Code::Unavailable.exit_code())
    } else {
        ExitCode::FAILURE
    })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Resolves at the first signal that asks for the end.
pub(super) async fn stopped() -> anyhow::Result<()> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
