//! `berth gc`: removes leftovers of crashed sessions. It should never find anything.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::config::{Config, Home};
use crate::dind::images::room::{self, Shelf};
use crate::dock::door::Doors;
use crate::dock::volume::staging::{self, Swept};
use crate::dock::{keeper, reserved, roster};
use crate::failure::{Failure, chain};
use crate::human::Bytes;

pub async fn run(config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    say(&sweep(config, home).await?)
}

/// What was left behind.
#[derive(Debug, Default)]
pub struct Leftovers {
    pub removed: Vec<String>,
    /// Volumes that somebody may need, by their names and those of what they are copies of.
    pub kept: Vec<(String, String)>,
}

/// Removes what was left in the daemon and on this machine.
///
/// # Errors
/// The daemon gives no answer.
pub async fn sweep(config: &Config, home: &Home) -> Result<Leftovers, Failure> {
    let engine = super::dind_engine(config, home)?;
    let stale_after = roster::stale_after(&super::variable)?;
    let mut removed = roster::sweep(&engine, stale_after).await.map_err(Failure::from)?;
    removed.extend(crate::bake::sweep(&engine).await.map_err(Failure::from)?);
    removed.extend(roster::end_unclaimed(&engine).await.map_err(Failure::from)?);
    let mut volumes = keeper::retire_former(&engine).await.map_err(Failure::from)?;
    if config.dind.host.is_none() {
        volumes.extend(roster::sweep_volumes(&engine).await.map_err(Failure::from)?);
    }
    // It needs a container, which the daemon may have no image for.
    let stagings = Box::pin(staging::sweep(&engine, config.dind.host.is_none())).await;
    let stagings = stagings.unwrap_or_else(|error| {
        tracing::warn!("cannot look for what restorations left: {}", chain(&error));
        Swept::default()
    });
    volumes.extend(stagings.removed);
    removed.extend(volumes.into_iter().map(|volume| format!("the volume {volume}")));
    if let Some(doors) = Doors::find(&home.state, &config.dind.name).filter(|_| config.dind.host.is_none()) {
        let doors = doors.sweep(&engine, stale_after).await.map_err(Failure::from)?;
        removed.extend(doors.into_iter().map(|door| format!("the door {door}")));
    }
    let cleared = reserved::clear(&home.state, &engine).await.map_err(Failure::from)?;
    removed.extend(cleared.removed.iter().map(|path| path.display().to_string()));
    Ok(Leftovers { removed, kept: stagings.needed })
}

/// Prints it.
///
/// # Errors
/// Standard output cannot be written.
pub fn say(Leftovers { removed, kept }: &Leftovers) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for name in removed {
        writeln!(out, "removed {name}")?;
    }
    for (name, volume) in kept {
        writeln!(
            out,
            "kept the volume {name}: `{volume}` is not restored to its end; type the same `berth restore` again"
        )?;
    }
    if removed.is_empty() && kept.is_empty() {
        writeln!(out, "nothing was left behind")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `berth gc --images`: by the whole configuration, for what no server of it has would go.
pub async fn images(dry_run: bool, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let cleared = room::clear(&home.state, &engine, &Shelf::of(config), dry_run).await;
    let removed = cleared.map_err(Failure::from)?;
    let (mut out, verb) = (std::io::stdout().lock(), if dry_run { "would remove" } else { "removed" });
    for image in &removed {
        writeln!(out, "{verb} the image {} ({})", image.name, Bytes(image.bytes))?;
    }
    if removed.is_empty() {
        writeln!(out, "every image that berth has put into the daemon is needed")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A container may take its server's grace to end, and a daemon may be restarting.
const CLEARED_WITHIN: Duration = Duration::from_mins(2);
/// The kernel takes a dead process' locks one by one, and its end of our input may go first.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Stands behind a session that has reserved names in a project: its death, of any kind, is the end of our input.
pub async fn after_session(config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    let began = Instant::now();
    let until = began + CLEARED_WITHIN;
    let mut patience = LOOK_EVERY;
    loop {
        let Ok(engine) = super::dind_engine(config, home) else { return Ok(ExitCode::FAILURE) };
        match reserved::clear(&home.state, &engine).await {
            // What other sessions use is theirs to clear.
            Ok(cleared)
                if cleared.in_use.is_empty()
                    && (cleared.locked.is_empty() || began.elapsed() > UNLOCKED_WITHIN) =>
            {
                return Ok(ExitCode::SUCCESS);
            }
            // A daemon that fails under its load is asked again, as one that is restarting.
            Err(error) if Instant::now() >= until => return Err(Failure::from(error).into()),
            Ok(_) if Instant::now() >= until => return Ok(ExitCode::SUCCESS),
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(patience).await;
        patience = (patience * 5 / 4).min(Duration::from_secs(2));
    }
}
