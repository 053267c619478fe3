//! The images that the configuration names: from the host's engine where it has them, else from a registry.
//!
//! The host's engine comes first, because what was built there is in no registry, and is newer.

use std::collections::HashMap;

use futures::StreamExt;

use super::progress::Progress;
use crate::dock::docker::{DockerError, Engine};
use crate::rpc::Code;

/// Why an image is not in the daemon.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot copy the image `{image}` into the DinD daemon")]
    Copy { image: String, source: DockerError },
    #[error("the image `{image}` is not on the host's engine, and no registry has it")]
    NotFound { image: String, source: DockerError },
    #[error("the image `{image}` is not on the host's engine, and cannot be pulled")]
    Pull { image: String, source: DockerError },
}

impl ImageError {
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::Configuration,
            Self::Copy { .. } | Self::Pull { .. } => Code::Unavailable,
        }
    }

    /// What a person does next.
    pub fn next(&self) -> String {
        match self {
            Self::Copy { .. } => "type `berth up` again, or see `berth status`".to_owned(),
            Self::NotFound { image, .. } => {
                format!("build it (`docker build -t {image} .`) or correct `image`, then type `berth up`")
            }
            Self::Pull { image, .. } => format!("get it with `docker pull {image}`, then type `berth up`"),
        }
    }
}

/// How an image came to be in the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Present,
    Loaded,
    Pulled,
}

/// Puts the images into `daemon`, each for itself: one that fails leaves the others alone.
pub async fn ensure<'a>(
    host: Option<&Engine>,
    daemon: &Engine,
    images: impl IntoIterator<Item = &'a str>,
    progress: &Progress,
) -> Vec<(&'a str, Result<Origin, ImageError>)> {
    let mut results = Vec::new();
    for image in images {
        results.push((image, put(host, daemon, image, progress).await));
    }
    results
}

async fn put(
    host: Option<&Engine>,
    daemon: &Engine,
    image: &str,
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
    match pull(daemon, image, progress).await {
        Ok(()) => Ok(Origin::Pulled),
        Err(source) if is_unknown(&source) => Err(ImageError::NotFound { image: image.to_owned(), source }),
        Err(source) => Err(ImageError::Pull { image: image.to_owned(), source }),
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

/// Pulls an image into `engine`.
pub(super) async fn pull(engine: &Engine, image: &str, progress: &Progress) -> Result<(), DockerError> {
    let task = progress.task(&format!("pulling `{image}`"));
    let mut layers = HashMap::new();
    let pulled = engine.pull_image(image, |layer, done, total| {
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

/// Whether the registry answered that there is no such image; some say so, and some deny access to it.
fn is_unknown(error: &DockerError) -> bool {
    match error {
        DockerError::Refused { status: 404, .. } => true,
        DockerError::Refused { message, .. } => {
            ["manifest unknown", "not found", "does not exist", "access denied"]
                .iter()
                .any(|text| message.contains(text))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_knows_no_such_image_is_told_from_one_out_of_reach() {
        let refused = |status, message: &str| DockerError::Refused {
            op: "pull the image",
            object: "x".to_owned(),
            status,
            message: message.to_owned(),
        };
        assert!(is_unknown(&refused(404, "manifest for x:latest not found: manifest unknown")));
        assert!(is_unknown(&refused(500, "pull access denied for x, repository does not exist")));
        assert!(!is_unknown(&refused(500, "dial tcp: lookup registry on 10.0.0.1:53: no such host")));
        assert!(!is_unknown(&refused(500, "net/http: TLS handshake timeout")));
    }
}
