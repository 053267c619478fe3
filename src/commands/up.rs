//! `berth up`: the DinD daemon, ready for sessions.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::UpArgs;
use crate::config::{Config, Home};
use crate::dind::DindError;
use crate::dind::images::ImageError;
use crate::dind::progress::Progress;
use crate::dind::up;
use crate::failure::{Explain, Failure};
use crate::human::count;

pub async fn run(
    _: &UpArgs,
    config: &Config,
    home: &Home,
    config_file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::stderr();
    let report = up::up(config, home, &super::variable, &progress)
        .await
        .map_err(|error| failure(&error, &progress))?;
    for deferred in &report.changes.deferred {
        progress.say(deferred);
    }
    let mut failed: Option<&ImageError> = None;
    for error in report.images.iter().filter_map(|(_, result)| result.as_ref().err()) {
        progress.say(&Failure::of(error).message());
        // A missing image is for the person to mend; that outdoes a registry out of reach.
        if failed.is_none_or(|first| error.code().exit_code() > first.code().exit_code()) {
            failed = Some(error);
        }
    }
    let baked = super::bake::all(config, home, &progress).await?;
    let images = report.images.iter().filter(|(_, result)| result.is_ok()).count();
    writeln!(
        std::io::stdout().lock(),
        "the DinD daemon is up: Docker {} at {}, {images} of {}",
        report.version.engine,
        report.endpoint,
        count(report.images.len(), "image"),
    )?;
    super::catalogue::fill::ahead(config, home, config_file, None, &progress).await;
    let failed = failed.map(Explain::code).or(baked);
    Ok(failed.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code.exit_code())))
}

/// The error as it is told everywhere; what the daemon printed last goes before it.
pub(super) fn failure(error: &DindError, progress: &Progress) -> Failure {
    if let DindError::NotReady { log, .. } = error {
        log.lines().for_each(|line| progress.say(&format!("  {line}")));
    }
    Failure::of(error)
}
