//! `berth chaos`: breaks everything under load, on a daemon of its own, and counts.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::chaos::Options;
use crate::config::Config;
use crate::dind::progress::Progress;
use crate::values::Image;

/// If only one of faults and minutes is given.
const FAULTS_A_MINUTE: u32 = 50;

#[derive(Debug, clap::Args)]
pub struct ChaosArgs {
    /// A server of the configuration: its image and command, with the tools of `berth-fixture`.
    #[arg(conflicts_with = "image")]
    pub server: Option<String>,

    /// An image with the tools of `berth-fixture`.
    #[arg(long, default_value = "berth-fixture")]
    pub image: Image,

    /// About how long faults are injected, a minute if nothing is said; to begin and to end takes half a minute besides.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: Option<u32>,

    /// How many faults, instead of 50 a minute.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub faults: Option<u32>,

    /// Sessions at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub sessions: u16,

    /// Fixes the faults, their targets and the calls; one that is not given is told, to be given again.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

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
