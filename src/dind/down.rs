//! `berth down`: ends the daemon, and with it every session in it.

use super::progress::Progress;
use super::{ActiveSessions, DindError, Sessions, spec};
use crate::config::{Config, Home, Lookup};
use crate::dock::docker::Engine;
use crate::dock::spec::managed_by;

/// What `down` ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    pub container: bool,
    pub volume: bool,
}

/// Ends and removes the container and, if told to, the volume with the images. `confirm` is asked where sessions are
/// active, and may refuse.
pub async fn down(
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
    volumes: bool,
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
    if let Some(container) = host.inspect(&dind.name).await? {
        if !super::is_ours(&container) {
            return Err(DindError::Foreign(dind.name.clone()));
        }
        let active = if container.running { active_sessions(config, home).await } else { 0 };
        if active > 0 && !confirm(ActiveSessions(active)) {
            return Err(DindError::Active(ActiveSessions(active)));
        }
        let task = progress.task(&format!("stopping the container `{}`", dind.name));
        if container.status == "paused" {
            host.unpause(&container.id).await?;
        }
        // By its id: whatever has the name in a moment is another one. One that can't be stopped is removed by force.
        drop(host.stop(&container.id, super::STOP_GRACE).await);
        report.container = host.remove(&container.id).await?;
        task.done(&format!("removed the container `{}`", dind.name));
    }
    if volumes {
        let volume = spec::volume(dind);
        let (label, value) = managed_by();
        match host.volume_labels(&volume).await? {
            None => {}
            Some(labels) if labels.get(&label) != Some(&value) => {
                return Err(DindError::ForeignVolume(volume));
            }
            Some(_) => {
                report.volume = host.remove_volume(&volume).await?;
                progress.say(&format!("removed the volume `{volume}`"));
            }
        }
    }
    Ok(report)
}

/// A daemon that can't be asked has no sessions that could go on.
async fn active_sessions(config: &Config, home: &Home) -> usize {
    let Ok(endpoint) = super::endpoint(config, home) else { return 0 };
    let daemon = Engine::new(endpoint.with_timeout(super::ANSWER_WITHIN));
    Sessions::count(&daemon).await.unwrap_or_default().active
}
