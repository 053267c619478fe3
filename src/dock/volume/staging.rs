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
        // Whoever has the other one's lock now may need it, or begin to.
        let Some(held) = hold(engine, &whose, looked_at).await? else { continue };
        let swept_one = sweep_one(engine, &name, held.as_ref(), &whose, &mut swept).await;
        if let Some(held) = held {
            held.leave().await?;
        }
        swept_one?;
    }
    Ok(swept)
}

/// The volume into whose place it is to come, if there is one; `None` where somebody else has that.
async fn hold<'a>(
    engine: &'a Engine,
    whose: &Whose,
    looked_at: bool,
) -> Result<Option<Option<Held<'a>>>, LeaseError> {
    let is_there = match whose.name() {
        Some(name) => engine.volume_labels(&name).await?.is_some(),
        None => false,
    };
    if !is_there {
        return Ok(Some(None));
    }
    match Held::take(engine, whose, Purpose::Restore, looked_at).await {
        Ok(held) => Ok(Some(Some(held))),
        Err(LeaseError::VolumeHeld { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn sweep_one(
    engine: &Engine,
    name: &str,
    held: Option<&Held<'_>>,
    whose: &Whose,
    swept: &mut Swept,
) -> Result<(), LeaseError> {
    if let Some(held) = held
        && held.room().await?.is_unfinished
    {
        swept.needed.push((name.to_owned(), whose.volume.clone()));
        return Ok(());
    }
    match engine.remove_volume(name).await {
        Ok(_) => swept.removed.push(name.to_owned()),
        // Somebody restores it now.
        Err(error) if error.is_conflict() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Removes the one of a volume, if there is one, as soon as the container that had it has gone.
pub async fn remove(engine: &Engine, whose: &Whose) -> Result<(), DockerError> {
    match whose.staging_name() {
        Some(name) => discard(engine, &name).await,
        None => Ok(()),
    }
}
