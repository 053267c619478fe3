//! The images that the configuration names: from the host's engine if it has them, else from a registry.
//!
//! The host's engine comes first: an image that was built there is in no registry, and is newer. Of a server with `pull =
//! "always"` the registry does (`images/newest.rs`).

pub(crate) mod newest;
mod refusal;
pub mod room;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use sha2::{Digest, Sha256};

pub(super) use refusal::Refusal;
use room::Shelf;

use super::lock::{self, Lock};
use super::progress::Progress;
use crate::config::{ChangedImage, Config, Server};
use crate::dock::docker::{DockerError, Engine, Image};
use crate::docker_cli::{Credential, DockerCli, registry};
use crate::failure::{Code, Explain, Failure, chain};
use crate::human::hex;
use crate::signatures::{Held, Judge, SignatureError};

/// How long one process waits for another that fetches the same image.
const FETCHED_WITHIN: Duration = Duration::from_mins(10);

/// Why an image is not in the daemon.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot copy the image `{image}` into the DinD daemon")]
    Copy { image: String, source: DockerError },
    #[error("the image `{image}` is not on the host's engine, and no registry has it")]
    NotFound { image: String, source: DockerError },
    #[error(
        "the image `{image}` is not on the host's engine, and `{}` refuses access to it",
        registry(image)
    )]
    Denied { image: String, source: DockerError },
    #[error("the image `{image}` is not on the host's engine, and cannot be pulled")]
    Pull { image: String, source: DockerError },
    /// `source` is what the daemon said, `host` what the engine of the host did.
    #[error(transparent)]
    Changed(#[from] ChangedImage),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("neither the DinD daemon nor the host's engine ({host}) can pull the image `{image}`")]
    PullTwice { image: String, source: DockerError, host: Box<DockerError> },
}

impl Explain for ImageError {
    fn code(&self) -> Code {
        match self {
            Self::Signature(signature) => signature.code(),
            Self::NotFound { .. } | Self::Denied { .. } | Self::Changed(_) => Code::Configuration,
            Self::Copy { .. } | Self::Pull { .. } | Self::PullTwice { .. } => Code::Unavailable,
        }
    }

    fn next(&self) -> Option<String> {
        let next = match self {
            Self::Changed(changed) => return changed.next(),
            Self::Signature(signature) => return signature.next(),
            Self::Copy { .. } => "type `berth up` again, or see `berth status`".to_owned(),
            Self::NotFound { image, .. } => {
                format!("build it (`docker build -t {image} .`) or correct `image`, then type `berth up`")
            }
            Self::Denied { image, .. } => {
                format!("type `docker login {}`, then `berth up`", registry(image))
            }
            Self::Pull { image, .. } | Self::PullTwice { image, .. } => {
                format!("get it with `docker pull {image}`, then type `berth up`")
            }
        };
        Some(next)
    }
}

/// How an image came to be in the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Present,
    Loaded,
    Pulled,
}

/// Puts the images into `daemon`, each for itself: one that fails leaves the others alone. `state` is the folder of the
/// locks with which one process fetches an image at a time.
pub async fn ensure<'a>(
    state: &Path,
    host: Option<&Engine>,
    daemon: &Engine,
    images: impl IntoIterator<Item = &'a str>,
    cli: &DockerCli,
    progress: &Progress,
) -> Vec<(&'a str, Result<Origin, ImageError>)> {
    let mut results = Vec::new();
    for image in images {
        let placed = match is_there(host, daemon, image).await {
            Ok(true) => Ok(Origin::Present),
            Ok(false) => {
                let _lock = alone(state, image, progress).await;
                let placed = put(host, daemon, image, cli, progress).await;
                if matches!(placed, Ok(Origin::Loaded | Origin::Pulled)) {
                    room::note(state, daemon, image);
                }
                placed
            }
            Err(error) => Err(error),
        };
        results.push((image, placed));
    }
    results
}

/// The same for what the servers of a configuration need, but for an image that is not the one that was pinned, or has not
/// the signature that it needs: a build of the host's with that name is left where it is.
pub async fn ensure_trusted<'a>(
    state: &Path,
    host: Option<&Engine>,
    daemon: &Engine,
    config: &'a Config,
    cli: &DockerCli,
    progress: &Progress,
) -> Vec<(&'a str, Result<Origin, ImageError>)> {
    let mut results = Vec::new();
    let (judge, shelf) = (Judge { state, cli }, Shelf::of(config));
    for image in config.foreign_images() {
        let placed = async {
            let newest = if config.renews(image) {
                let at = newest::Site { state, host, daemon, cli, progress };
                let accepted = async |held: &str| {
                    let signed = is_signed(config, daemon, host, (image, held), judge, progress).await;
                    signed.map_err(|error| Failure::of(&error))
                };
                Box::pin(newest::keep(&at, image, accepted)).await?
            } else {
                None
            };
            let origin = if let Some(origin) = newest {
                origin
            } else {
                if let Some(host) = host {
                    may_be_pinned(config, host, daemon, image).await?;
                    is_signed(config, host, None, (image, image), judge, progress).await?;
                }
                if shelf.limit.is_some() && matches!(is_there(host, daemon, image).await, Ok(false)) {
                    room::make(state, daemon, &shelf, image, progress).await;
                }
                let placed = ensure(state, host, daemon, [image], cli, progress).await.pop();
                placed.map_or(Ok(Origin::Present), |(_, placed)| placed)?
            };
            is_pinned(config, daemon, image).await?;
            is_signed(config, daemon, host, (image, image), judge, progress).await.map(|()| origin)
        };
        results.push((image, placed.await));
    }
    results
}

/// Whether an engine's image, if it has one, is what each server of the configuration may run.
async fn is_pinned(config: &Config, engine: &Engine, image: &str) -> Result<(), ImageError> {
    if config.pinned(image).next().is_none() {
        return Ok(());
    }
    let failed = |source| ImageError::Copy { image: image.to_owned(), source };
    let Some(found) = engine.image(image).await.map_err(failed)? else { return Ok(()) };
    let digests = found.digests();
    config.pinned(image).try_for_each(|server| server.accepts(&digests)).map_err(ImageError::from)
}

/// The same of the host's engine, from which the daemon may get it.
async fn may_be_pinned(
    config: &Config,
    host: &Engine,
    daemon: &Engine,
    image: &str,
) -> Result<(), ImageError> {
    if config.pinned(image).next().is_none() {
        return Ok(());
    }
    let failed = |source| ImageError::Copy { image: image.to_owned(), source };
    let Some(here) = host.image(image).await.map_err(failed)? else { return Ok(()) };
    let there = daemon.image(image).await.map_err(failed)?;
    config.pinned(image).try_for_each(|server| accepts_here(server, &here, there.as_ref()))?;
    Ok(())
}

/// Whether the host's image `here` is, or may be, what a server may run; the daemon has `there`. The two may have stores that
/// know one image by different digests.
fn accepts_here(server: &Server, here: &Image, there: Option<&Image>) -> Result<(), ChangedImage> {
    let refused = |changed: ChangedImage| match there {
        // Nothing else is copied.
        Some(there) if there.is_same(here) => server.accepts(&there.digests()),
        // What it is by the daemon's store is seen when it is there.
        None if here.is_of_containerd() => Ok(()),
        _ => Err(changed),
    };
    server.accepts(&here.digests()).or_else(refused)
}

/// Whether an engine's image, if it has one, has the signatures that the servers of the configuration need; the engine has it as
/// `held`. `from` is the
/// engine that it may have been loaded from: on that way it loses what registries call it.
async fn is_signed(
    config: &Config,
    engine: &Engine,
    from: Option<&Engine>,
    (image, held): (&str, &str),
    judge: Judge<'_>,
    progress: &Progress,
) -> Result<(), ImageError> {
    if config.signed(image).next().is_none() {
        return Ok(());
    }
    let failed = |source| ImageError::Copy { image: image.to_owned(), source };
    let Some(found) = engine.image(held).await.map_err(failed)? else { return Ok(()) };
    let repo_digests = registry_names(&found, from, image).await;
    for server in config.signed(image) {
        if !judge.knows(server, &found.id)? {
            progress.say(&format!("looking for the signature of `{image}`"));
            judge.accepts(server, Held { id: &found.id, repo_digests: &repo_digests }).await?;
        }
    }
    Ok(())
}

/// What registries call an image, by the engine that has it or by the one that it was loaded from. Whoever asks compares
/// what a registry has with the image itself, so a wrong name does no harm.
async fn registry_names(found: &Image, from: Option<&Engine>, image: &str) -> Vec<String> {
    if !found.repo_digests.is_empty() {
        return found.repo_digests.clone();
    }
    let Some(from) = from else { return Vec::new() };
    from.image(image).await.ok().flatten().map(|found| found.repo_digests).unwrap_or_default()
}

/// One process fetches an image at a time. Without the lock the image comes twice, which is better than not at all.
async fn alone(state: &Path, image: &str, progress: &Progress) -> Option<Lock> {
    let name = format!("image-{:.16}.lock", hex(&Sha256::digest(image)));
    let wait = |holder: &str| progress.say(&format!("waiting for {holder}, which fetches `{image}`"));
    let lock = lock::take(state, &name, FETCHED_WITHIN, wait).await;
    lock.inspect_err(|error| progress.say(&format!("warning: {}", chain(error)))).ok()
}

/// Whether the daemon has the image as the host's engine has it, if that has it.
async fn is_there(host: Option<&Engine>, daemon: &Engine, image: &str) -> Result<bool, ImageError> {
    let failed = |source| ImageError::Copy { image: image.to_owned(), source };
    let Some(there) = daemon.image(image).await.map_err(failed)? else { return Ok(false) };
    let Some(host) = host else { return Ok(true) };
    let here = host.image(image).await.map_err(failed)?;
    Ok(here.is_none_or(|here| there.is_same(&here)))
}

async fn put(
    host: Option<&Engine>,
    daemon: &Engine,
    image: &str,
    cli: &DockerCli,
    progress: &Progress,
) -> Result<Origin, ImageError> {
    let copy = |source| ImageError::Copy { image: image.to_owned(), source };
    let there = daemon.image(image).await.map_err(copy)?;
    if let Some(host) = host
        && let Some(here) = host.image(image).await.map_err(copy)?
    {
        if there.as_ref().is_some_and(|there| there.is_same(&here)) {
            return Ok(Origin::Present);
        }
        load(host, daemon, image, here.bytes, progress).await.map_err(copy)?;
        // An image that is named by its digest loses that name on the way.
        if let Some(loaded) = daemon.image(image).await.map_err(copy)? {
            if let Some(before) = there.filter(|before| before.id != loaded.id) {
                daemon.remove_unnamed(&before.id).await.map_err(copy)?;
            }
            return Ok(Origin::Loaded);
        }
    } else if there.is_some() {
        return Ok(Origin::Present);
    }
    from_registry(host, daemon, image, cli, progress).await
}

/// Pulls it, or has the host's engine pull it.
async fn from_registry(
    host: Option<&Engine>,
    daemon: &Engine,
    image: &str,
    cli: &DockerCli,
    progress: &Progress,
) -> Result<Origin, ImageError> {
    let copy = |source| ImageError::Copy { image: image.to_owned(), source };
    let named = || image.to_owned();
    let credential = login(image, cli, progress).await;
    let pulled = pull_as(credential.as_ref(), daemon, image, progress).await;
    let Err(source) = pulled else { return Ok(Origin::Pulled) };
    match (Refusal::of(&source, image), host) {
        (Refusal::Unknown, _) => Err(ImageError::NotFound { image: named(), source }),
        (Refusal::Denied, _) => Err(ImageError::Denied { image: named(), source }),
        (Refusal::Other, None) => Err(ImageError::Pull { image: named(), source }),
        // It may have certificates, proxies and registries of its own that the daemon knows nothing of.
        (Refusal::Other, Some(host)) => {
            progress.say(&format!("the DinD daemon cannot pull `{image}`; the host's engine tries"));
            if let Err(error) = pull_as(credential.as_ref(), host, image, progress).await {
                return Err(match Refusal::of(&error, image) {
                    Refusal::Unknown => ImageError::NotFound { image: named(), source: error },
                    Refusal::Denied => ImageError::Denied { image: named(), source: error },
                    Refusal::Other => ImageError::PullTwice { image: named(), source, host: Box::new(error) },
                });
            }
            let bytes = host.image(image).await.map_err(copy)?.map(|found| found.bytes).unwrap_or_default();
            load(host, daemon, image, bytes, progress).await.map_err(copy)?;
            match daemon.image(image).await.map_err(copy)? {
                Some(_) => Ok(Origin::Loaded),
                None => Err(ImageError::Pull { image: named(), source }),
            }
        }
    }
}

/// Streams the image from one daemon into the other; it is never held as a whole.
async fn load(
    host: &Engine,
    daemon: &Engine,
    image: &str,
    bytes: u64,
    progress: &Progress,
) -> Result<(), DockerError> {
    let task = std::sync::Arc::new(progress.task(&format!("loading `{image}`")));
    let mut sent = 0;
    let shown = std::sync::Arc::clone(&task);
    let tar = host.export_image(image).inspect(move |chunk| {
        sent += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        shown.set(sent, bytes);
    });
    daemon.load_image(image, tar).await?;
    if let Some(task) = std::sync::Arc::into_inner(task) {
        task.done(&format!("loaded `{image}` from the host's engine"));
    }
    Ok(())
}

/// Pulls an image into `engine`, as whoever the person has logged in as.
pub(super) async fn pull(
    engine: &Engine,
    image: &str,
    cli: &DockerCli,
    progress: &Progress,
) -> Result<(), DockerError> {
    let credential = login(image, cli, progress).await;
    pull_as(credential.as_ref(), engine, image, progress).await
}

/// Who pulls `image`.
async fn login(image: &str, cli: &DockerCli, progress: &Progress) -> Option<Credential> {
    let found = cli.credential(image).await;
    if let Some(warning) = found.warning {
        progress.say(&format!("warning: {warning}"));
    }
    found.credential
}

async fn pull_as(
    credential: Option<&Credential>,
    engine: &Engine,
    image: &str,
    progress: &Progress,
) -> Result<(), DockerError> {
    let task = progress.task(&format!("pulling `{image}`"));
    let mut layers = HashMap::new();
    let pulled = engine.pull_image(image, credential, |layer, done, total| {
        // A layer is downloaded and then unpacked, and counted from the start again.
        let known = layers.entry(layer.to_owned()).or_insert((0, 0));
        *known = (known.0.max(done), known.1.max(total));
        let (done, total) = layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        task.set(done, total);
    });
    pulled.await?;
    task.done(&format!("pulled `{image}`"));
    Ok(())
}

#[cfg(test)]
mod tests;
