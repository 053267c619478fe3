//! What a registry has under an image's name by now: `pull = "always"`.
//!
//! The new image comes by its digest, and gets the name once it is accepted: whoever ends before that leaves the former one. A
//! registry that the daemon cannot ask for a digest is pulled from by the name, which leads back where the image is not
//! accepted. Sessions judge what they start for themselves.

use std::path::Path;

use super::{ImageError, Origin, alone, from_registry, login, pull_as};
use crate::dind::progress::Progress;
use crate::dock::docker::Engine;
use crate::docker_cli::DockerCli;
use crate::failure::Failure;

/// Where an image is to be, and who gets it there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub state: &'a Path,
    pub host: Option<&'a Engine>,
    pub daemon: &'a Engine,
    pub cli: &'a DockerCli,
    pub progress: &'a Progress,
}

/// Why the daemon has no newer image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRenewed {
    #[error(transparent)]
    Asked(#[from] ImageError),
    /// The registry has another, which may not run here.
    #[error("{0}")]
    Refused(Failure),
}

/// Has the registry's image in the daemon, if `accepted` says so once it is there, of what it is called there by then. `None`:
/// it is the one that was there.
pub(crate) async fn renew<T>(
    at: &Site<'_>,
    image: &str,
    accepted: impl AsyncFnOnce(&str) -> Result<T, Failure>,
) -> Result<Option<T>, NotRenewed> {
    let Site { state, host, daemon, cli, progress } = *at;
    let failed = |source| ImageError::Copy { image: image.to_owned(), source };
    let _lock = alone(state, image, progress).await;
    let id = async |name: &str| {
        let found = daemon.image(name).await.map_err(failed)?;
        Ok::<_, ImageError>(found.map(|found| found.id))
    };
    let before = id(image).await?;
    let exact = by_digest(at, image).await;
    if exact.is_none() {
        from_registry(host, daemon, image, cli, progress).await?;
    }
    let held = exact.as_deref().unwrap_or(image);
    let after = id(held).await?;
    if before == after {
        return Ok(None);
    }
    let judged = accepted(held).await;
    // Whoever has no name any more.
    let unnamed = match (&judged, exact.is_some()) {
        (Ok(_), true) => {
            if let Some(after) = &after {
                daemon.tag_image(after, image).await.map_err(failed)?;
            }
            before
        }
        (Ok(_), false) => before,
        (Err(_), true) => after,
        (Err(_), false) => match before {
            Some(before) => {
                daemon.tag_image(&before, image).await.map_err(failed)?;
                after
            }
            None => None,
        },
    };
    if let Some(unnamed) = unnamed {
        daemon.remove_unnamed(&unnamed).await.map_err(failed)?;
    }
    judged.map(Some).map_err(NotRenewed::Refused)
}

/// Pulls what the registry has under the name now, without that name. What it is called then; `None`: it can't be had so.
async fn by_digest(at: &Site<'_>, image: &str) -> Option<String> {
    let Site { daemon, cli, progress, .. } = *at;
    let credential = login(image, cli, progress).await;
    let digest = daemon.registry_digest(image, credential.as_ref()).await.ok()??;
    let exact = format!("{}@{digest}", repository(image));
    pull_as(credential.as_ref(), daemon, &exact, progress).await.ok()?;
    Some(exact)
}

/// An image's name without its tag.
fn repository(image: &str) -> &str {
    let last = image.rfind('/').map_or(0, |at| at + 1);
    image[last..].find(':').map_or(image, |at| &image[..last + at])
}

/// The same for `berth up`: what cannot be had is told, and what is there stays. `None`: it is to come from elsewhere.
pub(super) async fn keep(
    at: &Site<'_>,
    image: &str,
    accepted: impl AsyncFnOnce(&str) -> Result<(), Failure>,
) -> Result<Option<Origin>, ImageError> {
    let why = match Box::pin(renew(at, image, accepted)).await {
        Ok(Some(())) => return Ok(Some(Origin::Pulled)),
        Ok(None) => return Ok(Some(Origin::Present)),
        // It was built here, and the host may have built another.
        Err(NotRenewed::Asked(ImageError::NotFound { .. })) => {
            at.progress.say(&format!("warning: `pull = \"always\"` of `{image}`: no registry has it"));
            return Ok(None);
        }
        Err(NotRenewed::Asked(error)) => crate::failure::chain(&error),
        Err(NotRenewed::Refused(failure)) => failure.text,
    };
    let failed = |source| ImageError::Copy { image: image.to_owned(), source };
    let is_there = at.daemon.image(image).await.map_err(failed)?.is_some();
    at.progress.say(&format!("warning: there is no newer `{image}`: {why}"));
    Ok(is_there.then_some(Origin::Present))
}

#[cfg(test)]
mod tests;
