//! Copies a volume of the person's own engine into one of a client's.
//!
//! Both engines pack and unpack it, through containers that are never started. The bytes are streamed from one into the
//! other, and never held as a whole.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde_json::json;

use crate::config::Volume;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::{self, LABEL_CLIENT, LABEL_VOLUME};
use crate::dock::place::Place;
use crate::failure::{Code, Explain, chain};

/// Where the volume is in such a container, below a place that no image knows.
const ENTRY: &str = "volume";

/// The folder's own entry is no longer, with all attributes that it can have (bytes).
const OWN_ENTRY: usize = 256 << 10;

/// Why a volume was not copied.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("the engine at {engine} has no volume `{name}`")]
    Missing { engine: String, name: String },
    #[error("{engine} has no image, and a volume is looked into through one")]
    NoImage { engine: String },
    #[error("the volume `{name}` of {whose} holds something already")]
    NotEmpty { name: String, whose: String },
    #[error("the volume `{name}` is in use by {holder}")]
    Held { name: String, holder: String },
    #[error("the volume `{name}` is not copied to its end")]
    Unfinished { name: String, source: DockerError },
}

impl Explain for ImportError {
    fn code(&self) -> Code {
        match self {
            Self::Docker(error) => error.code(),
            Self::Missing { .. } | Self::NotEmpty { .. } => Code::Configuration,
            Self::NoImage { .. } | Self::Held { .. } | Self::Unfinished { .. } => Code::Unavailable,
        }
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Docker(error) => return error.next(),
            Self::Missing { .. } => "see its names with `docker volume ls`".to_owned(),
            Self::NoImage { .. } => "type `berth up`, or pull any image there".to_owned(),
            Self::NotEmpty { name, .. } => {
                format!("type `berth volume import --force {name}` to replace what it holds")
            }
            Self::Held { holder, .. } => format!("end that session with `berth kill {holder}`"),
            Self::Unfinished { name, .. } => {
                format!("mend the cause, and type `berth volume import --force {name}`")
            }
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Docker(error) => error.text(),
            error => chain(error),
        }
    }
}

/// A copy that was made.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// What the daemon calls the volume.
    pub volume: String,
    /// Of the archive that the two engines exchanged.
    pub bytes: u64,
}

/// Copies the volume `from` of the engine `host`, whose address is `engine`, into the `volume` of `client`.
pub async fn import(
    (host, engine): (&Engine, &str),
    daemon: &Engine,
    from: &str,
    (volume, client): (&Volume, &str),
    force: bool,
) -> Result<Imported, ImportError> {
    if host.volume_labels(from).await?.is_none() {
        return Err(ImportError::Missing { engine: engine.to_owned(), name: from.to_owned() });
    }
    let to = super::name(volume, client);
    if let Some(holder) = daemon.writers(&to).await?.into_iter().next() {
        return Err(ImportError::Held { name: volume.name.clone(), holder: holder.name });
    }
    let source = Room::at(host, engine, from).await?;
    let copied = async {
        // Nothing of the other goes before this one can be read.
        let archive = source.open().await?;
        if daemon.volume_labels(&to).await?.is_some() {
            let there = Room::at(daemon, "the daemon", &to).await?;
            let holds_something = there.holds_something().await;
            let left = there.leave().await;
            if holds_something? && !force {
                let whose = if volume.shared { "all clients".to_owned() } else { format!("`{client}`") };
                return Err(ImportError::NotEmpty { name: volume.name.clone(), whose });
            }
            left?;
            daemon.remove_volume(&to).await?;
        }
        daemon.create_volume(&to, labels_of(volume, client)).await?;
        let target = Room::at(daemon, "the daemon", &to).await?;
        let copied = source.copy_to(archive, &target).await;
        let left = target.leave().await;
        let bytes = copied.map_err(|source| ImportError::Unfinished { name: volume.name.clone(), source })?;
        left?;
        Ok(bytes)
    };
    let copied = copied.await;
    let left = source.leave().await;
    // Why nothing was copied tells more than what stays behind.
    let bytes = copied?;
    left?;
    Ok(Imported { volume: to, bytes })
}

/// As the daemon would have labelled it for a session.
pub(super) fn labels_of(volume: &Volume, client: &str) -> HashMap<String, String> {
    let own = (!volume.shared).then(|| (LABEL_CLIENT.to_owned(), client.to_owned()));
    let named = (LABEL_VOLUME.to_owned(), volume.name.clone());
    [labels::managed_by(), named].into_iter().chain(own).collect()
}

/// A container that has a volume, and is never started.
struct Room<'a> {
    engine: &'a Engine,
    container: String,
    place: Place,
}

impl<'a> Room<'a> {
    async fn at(engine: &'a Engine, called: &str, volume: &str) -> Result<Self, ImportError> {
        let none = || ImportError::NoImage { engine: called.to_owned() };
        let image = engine.any_image().await?.ok_or_else(none)?;
        let place = Place::new()?;
        let (label, value) = labels::managed_by();
        let body = json!({
            "Image": image,
            "Entrypoint": [place.program()],
            "Labels": labels::of_container(&[(&label, &value)]),
            "HostConfig": { "AutoRemove": true, "NetworkMode": "none", "Mounts": [{
                "Type": "volume", "Source": volume, "Target": format!("{}/{ENTRY}", place.folder()),
                "VolumeOptions": { "NoCopy": true },
            }] },
        });
        let name = format!("berth-import-{volume}");
        // One that was killed has left it.
        engine.remove(&name).await?;
        let container = engine.create(&name, body).await?;
        Ok(Self { engine, container, place })
    }

    fn archive(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        self.engine.download(&self.container, &format!("{}/{ENTRY}", self.place.folder()))
    }

    /// Whether more than the folder itself is there. No more is read than tells it; whoever packs the rest holds the container.
    async fn holds_something(&self) -> Result<bool, DockerError> {
        let mut chunks = std::pin::pin!(self.archive());
        let mut begin = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let broken = |error| DockerError::broken("look into the volume through", &self.container, error);
            begin.extend_from_slice(&chunk.map_err(broken)?);
            if begin.len() > OWN_ENTRY || has_second_entry(&begin) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Its archive, of which the first part is there.
    async fn open(&self) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, DockerError> {
        let broken = |why| DockerError::broken("read the volume through", &self.container, why);
        let mut archive = Box::pin(self.archive());
        let first = archive.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        Ok(stream::iter([Ok(first.map_err(broken)?)]).chain(archive))
    }

    /// Gives the bytes of the archive.
    async fn copy_to(
        &self,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        target: &Room<'_>,
    ) -> Result<u64, DockerError> {
        let (sent, broken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, failed) = (Arc::clone(&sent), Arc::clone(&broken));
        let archive = archive.inspect(move |chunk| match chunk {
            Ok(chunk) => drop(counted.fetch_add(chunk.len() as u64, Ordering::Relaxed)),
            Err(_) => failed.store(true, Ordering::Relaxed),
        });
        target.engine.upload_stream(&target.container, target.place.folder(), archive).await?;
        if broken.load(Ordering::Relaxed) {
            return Err(DockerError::broken("read the volume through", &self.container, "it was cut off"));
        }
        Ok(sent.load(Ordering::Relaxed))
    }

    async fn leave(self) -> Result<(), DockerError> {
        self.engine.remove(&self.container).await.map(drop)
    }
}

/// Of an archive that may go on.
fn has_second_entry(begin: &[u8]) -> bool {
    tar::Archive::new(begin).entries().is_ok_and(|mut entries| matches!(entries.nth(1), Some(Ok(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_empty_file_is_something_and_a_folder_alone_is_nothing() {
        let archive = |names: &[&str]| {
            let mut archive = tar::Builder::new(Vec::new());
            for name in names {
                let mut header = tar::Header::new_ustar();
                let is_folder = name.ends_with('/');
                header.set_entry_type(if is_folder {
                    tar::EntryType::Directory
                } else {
                    tar::EntryType::Regular
                });
                header.set_size(0);
                archive.append_pax_extensions([("SCHILY.xattr.user.x", &b"y"[..])]).unwrap();
                archive.append_data(&mut header, name, io::empty()).unwrap();
            }
            archive.into_inner().unwrap()
        };
        let (nothing, something) = (archive(&["volume/"]), archive(&["volume/", "volume/empty"]));
        for length in 0..nothing.len() {
            assert!(!has_second_entry(&nothing[..length]), "{length}");
        }
        assert!(has_second_entry(&something));
        assert!(!has_second_entry(&something[..nothing.len() - 1024]), "not before it is there");
    }
}
