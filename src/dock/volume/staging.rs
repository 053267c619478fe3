//! Volumes in which `berth restore` makes the content that is to come into another one's place. They are of no session.
//!
//! The other one's lock is held meanwhile. One that is left was left by a restoration that was cut off. If the other
//! one's content is on its way, this is the only whole one in the daemon, and stays.

use super::Purpose;
use super::held::Held;
use super::whole::{Whose, discard};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::{LABEL_CLIENT, LABEL_STAGING, managed_by};
use crate::dock::lease::error::LeaseError;

/// What was found of restorations that were cut off.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub removed: Vec<String>,
    /// With the volumes into whose place they are to come.
    pub needed: Vec<(String, String)>,
}

/// Removes what restorations have left that were cut off before they changed anything. `looked_at`: the daemon is one of
/// berth's own.
pub async fn sweep(engine: &Engine, looked_at: bool) -> Result<Swept, LeaseError> {
    let mut swept = Swept::default();
    let (managed, berth) = managed_by();
    for name in engine.volumes(LABEL_STAGING).await? {
        let Some(labels) = engine.volume_labels(&name).await? else { continue };
        let Some(volume) = labels.get(LABEL_STAGING).cloned() else { continue };
        let whose = Whose { volume, client: labels.get(LABEL_CLIENT).cloned() };
        if labels.get(&managed) != Some(&berth) || whose.staging_name().as_ref() != Some(&name) {
            continue;
        }
        if is_needed(engine, &whose, looked_at).await? {
            swept.needed.push((name, whose.volume));
            continue;
        }
        match engine.remove_volume(&name).await {
            Ok(_) => swept.removed.push(name),
            // Somebody restores it now.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(swept)
}

async fn is_needed(engine: &Engine, whose: &Whose, looked_at: bool) -> Result<bool, LeaseError> {
    let Some(name) = whose.name() else { return Ok(false) };
    if engine.volume_labels(&name).await?.is_none() {
        return Ok(false);
    }
    let held = match Held::take(engine, whose, Purpose::Restore, looked_at).await {
        Ok(held) => held,
        // A session has no volume whose content is on its way, and a restoration has this one, too.
        Err(LeaseError::VolumeHeld { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let room = held.room().await;
    held.leave().await?;
    Ok(room?.is_unfinished)
}

/// Removes the one of a volume, if there is one, as soon as the container that had it has gone.
pub async fn remove(engine: &Engine, whose: &Whose) -> Result<(), DockerError> {
    match whose.staging_name() {
        Some(name) => discard(engine, &name).await,
        None => Ok(()),
    }
}
