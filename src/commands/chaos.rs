//! `berth chaos`: breaks everything under load, on a daemon of its own, and counts.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::chaos::Options;
use crate::cli::ChaosArgs;
use crate::config::Config;
use crate::dind::progress::Progress;

/// If only one of faults and minutes is given.
const FAULTS_A_MINUTE: u32 = 50;

pub async fn run(args: &ChaosArgs, config: &Config) -> anyhow::Result<ExitCode> {
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
    let options = Options {
        seed: args
            .seed
            .unwrap_or_else(|| u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs())),
        time,
        faults: usize::try_from(faults)?,
        sessions: args.sessions.into(),
        image,
        command,
        streams: args.streams,
    };
    let progress = Progress::stderr();
    progress.say(&format!("seed {}", options.seed));
    let stopped = super::validate::stopped();
    let ran = Box::pin(crate::chaos::run(&options, config, &super::variable, &progress, stopped));
    let Some(report) = ran.await? else {
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
