//! What a registry has under an image's name by now: `pull = "always"`.
//!
//! The name leads to the new image while that is judged, and back to the former where it is not accepted. Sessions judge
//! what they start for themselves.

use std::path::Path;

use super::{ImageError, Origin, alone, from_registry};
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

/// Has the registry's image in the daemon, if `accepted` says so once it is there. `None`: it is the one that was there.
pub(crate) async fn renew<T>(
    at: &Site<'_>,
    image: &str,
    accepted: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, NotRenewed> {
    let Site { state, host, daemon, cli, progress } = *at;
    let failed = |source| ImageError::Copy { image: image.to_owned(), source };
    let _lock = alone(state, image, progress).await;
    let before = daemon.image(image).await.map_err(failed)?;
    from_registry(host, daemon, image, cli, progress).await?;
    let after = daemon.image(image).await.map_err(failed)?;
    let id = |found: &Option<crate::dock::docker::Image>| found.as_ref().map(|found| found.id.clone());
    let (before, after) = (id(&before), id(&after));
    if before == after {
        return Ok(None);
    }
    match (accepted.await, before) {
        (Ok(accepted), before) => {
            if let Some(before) = before {
                daemon.remove_unnamed(&before).await.map_err(failed)?;
            }
            Ok(Some(accepted))
        }
        (Err(refused), Some(before)) => {
            daemon.tag_image(&before, image).await.map_err(failed)?;
            if let Some(after) = after {
                daemon.remove_unnamed(&after).await.map_err(failed)?;
            }
            Err(NotRenewed::Refused(refused))
        }
        (Err(refused), None) => Err(NotRenewed::Refused(refused)),
    }
}

/// The same for `berth up`: what cannot be had is told, and what is there stays. `None`: it is to come from elsewhere.
pub(super) async fn keep(
    at: &Site<'_>,
    image: &str,
    accepted: impl Future<Output = Result<(), Failure>>,
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
