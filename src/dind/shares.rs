//! Whether the engine has the folders of `share`, or other folders of the same names. The engine may be on another
//! machine than its socket. A berth in a container may have files that the engine has elsewhere or not at all.
//!
//! berth asks the engine itself: it gives the folders to a container that never starts. Then it compares their times
//! and permissions with its own view. Nothing is written into them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::place::{self, Place};
use super::{DindError, is_ours, spec};
use crate::config::{Dind, Home};
use crate::dock::docker::{DockerError, Engine, Stat};
use crate::dock::labels::managed_by;
use crate::dock::lease::NO_SOURCE;

/// A folder in which something changes all the time may look different in each moment.
const ATTEMPTS: u32 = 5;

/// An error at the first of `shared` that is not what the engine has there. `image` is one that the engine has.
pub(super) async fn check(
    dind: &Dind,
    shared: &[PathBuf],
    image: &str,
    engine: &Engine,
    home: &Home,
) -> Result<(), DindError> {
    let unseen = if shared.is_empty() { Vec::new() } else { unseen(dind, shared, image, engine).await? };
    let Some(first) = unseen.first() else { return Ok(place::note_seen(home)?) };
    let place = Place::find(engine, home).await;
    place.note_unseen(home, unseen.clone())?;
    let apart = place.apart(unseen.clone());
    Err(dind
        .share
        .unseen_error(first, &apart)
        .map_or_else(|| DindError::Unsettled(dind.name.clone()), DindError::Config))
}

/// Those that the engine does not have, or has others in the place of.
async fn unseen(
    dind: &Dind,
    shared: &[PathBuf],
    image: &str,
    engine: &Engine,
) -> Result<Vec<PathBuf>, DockerError> {
    let name = format!("{}-files", dind.name);
    if engine.inspect(&name).await?.as_ref().is_some_and(is_ours) {
        // Of a `berth up` that was killed.
        engine.remove(&name).await?;
    }
    let mut rest = shared.to_vec();
    let mut unseen = Vec::new();
    loop {
        match engine.create(&name, body(&rest, image)).await {
            Ok(_) => break,
            Err(DockerError::Refused { message, .. }) if message.contains(NO_SOURCE) => {
                let named = |folder: &PathBuf| message.trim_end().ends_with(&folder.display().to_string());
                // The longest: one name may be the end of another.
                let longest =
                    rest.iter().filter(|folder| named(folder)).max_by_key(|folder| folder.as_os_str().len());
                let Some(missing) = longest.cloned() else { return Ok(rest) };
                rest.retain(|folder| *folder != missing);
                unseen.push(missing);
            }
            Err(error) => return Err(error),
        }
    }
    let mut compared = Ok(());
    for folder in &rest {
        match is_same(engine, &name, folder).await {
            Ok(true) => {}
            Ok(false) => unseen.push(folder.clone()),
            Err(error) => compared = Err(error),
        }
    }
    engine.remove(&name).await?;
    compared.map(|()| unseen)
}

fn body(folders: &[PathBuf], image: &str) -> serde_json::Value {
    let mounts: Vec<_> = folders.iter().map(|folder| spec::bind(folder, folder)).collect();
    let (label, value) = managed_by();
    json!({
        "Image": image,
        "Entrypoint": ["/bin/true"],
        "Cmd": [],
        "Labels": { label: value },
        "HostConfig": { "NetworkMode": "none", "Mounts": mounts },
    })
}

async fn is_same(engine: &Engine, container: &str, folder: &Path) -> Result<bool, DockerError> {
    for _ in 0..ATTEMPTS {
        let before = ours(folder);
        let theirs = engine.stat(container, &folder.to_string_lossy()).await?;
        if theirs.is_some() && theirs == before {
            return Ok(true);
        }
        if ours(folder) == before {
            return Ok(false);
        }
    }
    // Too lively to be compared; what a server gets of it is compared by its keeper.
    Ok(true)
}

fn ours(folder: &Path) -> Option<Stat> {
    let found = std::fs::metadata(folder).ok()?;
    let modified = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    Some(Stat { modified, mode: found.mode() & 0o777, is_link: found.is_symlink() })
}
