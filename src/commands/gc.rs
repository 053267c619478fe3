//! `berth gc`: removes leftovers of crashed sessions. It should never find anything.

use std::io::Write;
use std::process::ExitCode;

use crate::config::{Config, Home};
use crate::dock::{keeper, roster};
use crate::failure::Failure;

pub async fn run(config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let stale_after = roster::stale_after(&super::variable)?;
    let mut removed = roster::sweep(&engine, stale_after).await.map_err(Failure::from)?;
    removed.extend(crate::bake::sweep(&engine).await.map_err(Failure::from)?);
    removed.extend(roster::end_unclaimed(&engine).await.map_err(Failure::from)?);
    let mut volumes = keeper::retire_former(&engine).await.map_err(Failure::from)?;
    if config.dind.host.is_none() {
        volumes.extend(roster::sweep_volumes(&engine).await.map_err(Failure::from)?);
    }
    removed.extend(volumes.into_iter().map(|volume| format!("the volume {volume}")));
    let mut out = std::io::stdout().lock();
    for name in &removed {
        writeln!(out, "removed {name}")?;
    }
    if removed.is_empty() {
        writeln!(out, "nothing was left behind")?;
    }
    Ok(ExitCode::SUCCESS)
}
