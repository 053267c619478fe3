//! `berth down`: ends the daemon, and with it every session in it.

use super::owner::Owner;
use super::progress::Progress;
use super::{ActiveSessions, DindError, place, reach, sessions, spec};
use crate::config::{Config, Home};
use crate::dock::docker::{Container, Engine};
use crate::dock::labels::managed_by;
use crate::values::Lookup;

/// What `down` is to do besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Remove the volume with the images too.
    pub volumes: bool,
    /// Whatever sessions there may be, and whoever's.
    pub force: bool,
}

/// What `down` ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub container: bool,
    pub volume: bool,
}

/// Ends and removes the container and, if told to, the volume with the images. `confirm` is asked where sessions are
/// active, and may refuse; where that can't be found out, and where the container is another home's, only force will do.
pub async fn down(
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
    options: Options,
    confirm: impl FnOnce(ActiveSessions) -> bool,
    progress: &Progress,
) -> Result<Report, DindError> {
    let dind = &config.dind;
    if dind.host.is_some() {
        return Err(DindError::NotOurs);
    }
    let host = super::engine(&dind.engine(lookup)?).await?;
    let _lock = super::lock(home, progress).await?;
    let mut report = Report::default();
    if let Some(container) = check(&host, config, home, options, confirm).await? {
        let task = progress.task(&format!("stopping the container `{}`", dind.name));
        if container.status == "paused" {
            host.unpause(&container.id).await?;
        }
        // By its id: whatever has the name in a moment is another one. One that can't be stopped is removed by force.
        drop(host.stop(&container.id, super::STOP_GRACE).await);
        report.container = host.remove(&container.id).await?;
        task.done(&format!("removed the container `{}`", dind.name));
    }
    reach::part(&host, dind, progress).await?;
    place::forget(home);
    if options.volumes {
        let volume = spec::volume(dind);
        if has_own(&host, &volume).await? {
            report.volume = host.remove_volume(&volume).await?;
            progress.say(&format!("removed the volume `{volume}`"));
        }
    }
    Ok(report)
}

/// Refuses what [`down`] refuses, and changes nothing: for whoever ends other things before it. Gives the container, if
/// there is one.
pub(crate) async fn check(
    host: &Engine,
    config: &Config,
    home: &Home,
    options: Options,
    confirm: impl FnOnce(ActiveSessions) -> bool,
) -> Result<Option<Container>, DindError> {
    let dind = &config.dind;
    let container = host.inspect(&dind.name).await?;
    if container.as_ref().is_some_and(|container| !super::is_ours(container)) {
        return Err(DindError::Foreign(dind.name.clone()));
    }
    if options.volumes {
        has_own(host, &spec::volume(dind)).await?;
    }
    if let Some(container) = container.as_ref().filter(|_| !options.force) {
        if let Some(home) = Owner::of(home).other(&container.labels) {
            return Err(DindError::OtherHome { name: dind.name.clone(), home });
        }
        if container.running {
            let active = sessions::active(host, &container.id, super::endpoint(config, home)).await;
            let active = active.map_err(|source| DindError::Uncounted { name: dind.name.clone(), source })?;
            if active > ActiveSessions(0) && !confirm(active) {
                return Err(DindError::Active(active));
            }
        }
    }
    Ok(container)
}

/// Whether the volume is there. Another's is refused.
async fn has_own(host: &Engine, volume: &str) -> Result<bool, DindError> {
    let (label, value) = managed_by();
    match host.volume_labels(volume).await? {
        None => Ok(false),
        Some(labels) if labels.get(&label) == Some(&value) => Ok(true),
        Some(_) => Err(DindError::ForeignVolume(volume.to_owned())),
    }
}
