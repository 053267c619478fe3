//! `berth chaos`: breaks everything under load, on a daemon of its own, and counts.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::chaos::Options;
use crate::chaos::ground::Ground;
use crate::chaos::report::Report;
use crate::cli::ChaosArgs;
use crate::config::Config;
use crate::dind::progress::Progress;
use crate::failure::{Code, Failure};
use crate::values::Backend;

/// If only one of faults and minutes is given.
const FAULTS_A_MINUTE: u32 = 50;

/// Whether the server that is named runs elsewhere than in a Docker daemon.
pub fn is_elsewhere(args: &ChaosArgs, config: &Config) -> bool {
    let server = args.server.as_ref().and_then(|name| config.servers.get(name));
    server.is_some_and(|server| server.settings.backend != Backend::Docker)
}

pub async fn run(args: &ChaosArgs, config: &Config) -> anyhow::Result<ExitCode> {
    if !args.fault.is_empty() {
        return Err(Failure {
            code: Code::Usage,
            text: "`--fault` is for servers in a cluster".to_owned(),
            next: Some("name one with `backend = \"kubernetes\"`".to_owned()),
        }
        .into());
    }
    let options = options(args, config)?;
    let progress = begun(&options);
    let stopped = super::validate::stopped();
    let ran = Box::pin(crate::chaos::run(&options, config, &super::variable, &progress, stopped));
    shown(args, ran.await?, &progress)
}

/// The same on another ground than a daemon of its own.
///
/// # Errors
/// It cannot be begun.
pub async fn run_on(args: &ChaosArgs, config: &Config, ground: Box<dyn Ground>) -> anyhow::Result<ExitCode> {
    let options = options(args, config)?;
    let progress = begun(&options);
    let ran = Box::pin(crate::chaos::run_on(ground, &options, &progress, super::validate::stopped()));
    shown(args, ran.await?, &progress)
}

fn options(args: &ChaosArgs, config: &Config) -> anyhow::Result<Options> {
    let (image, command) = match &args.server {
        Some(name) => {
            let server = config.server(name)?;
            (server.image.clone(), server.command.clone())
        }
        None => (args.image.clone().into_inner(), None),
    };
    let faults = args.faults.unwrap_or(args.minutes.unwrap_or(1) * FAULTS_A_MINUTE);
    let time = match args.minutes {
        Some(minutes) => Duration::from_mins(minutes.into()),
        None => Duration::from_mins(1) * faults / FAULTS_A_MINUTE,
    };
    Ok(Options {
        seed: args
            .seed
            .unwrap_or_else(|| u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs())),
        time,
        faults: usize::try_from(faults)?,
        sessions: args.sessions.into(),
        image,
        command,
        streams: args.streams,
    })
}

fn begun(options: &Options) -> Progress {
    let progress = Progress::stderr();
    progress.say(&format!("seed {}", options.seed));
    progress
}

fn shown(args: &ChaosArgs, report: Option<Report>, progress: &Progress) -> anyhow::Result<ExitCode> {
    let Some(report) = report else {
        progress.say("interrupted; the sessions and the daemon were ended");
        return Ok(ExitCode::from(super::validate::INTERRUPTED));
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        report.write(&mut out)?;
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
