//! Servers' volumes on their way out of a daemon and back into one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use mcp_berth::bake::owned::Queue;
use mcp_berth::bake::packages::Pieces;
use mcp_berth::config::{Config, Home};
use mcp_berth::dock::LeaseError;
use mcp_berth::dock::docker::{DockerError, Engine};
use mcp_berth::dock::volume::whole::{Held, Whose, last_user};
use mcp_berth::history::session;
use tokio::sync::mpsc::channel;

use crate::digested::Digested;
use crate::file::{Checked, is_full};
use crate::manifest::Part;
use crate::tree::{self, Seen};

/// Pieces of an archive that wait for the other side.
const PIECES: usize = 16;

/// What is known of a volume's archive, which went into `to`.
#[derive(Debug)]
pub(crate) struct Packed<W> {
    pub(crate) to: W,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    pub(crate) seen: Seen,
}

/// When sessions that could write to volumes ended.
#[derive(Debug, Default)]
pub(crate) struct Writers(BTreeMap<Whose, Timestamp>);

impl Writers {
    /// By the sessions' histories, and by the volumes that servers have in the configuration of today.
    pub(crate) fn of(home: &Home, config: &Config) -> Self {
        let mut ends = BTreeMap::new();
        for past in session::all(&home.state) {
            let (Some(client), Some(ended)) = (&past.client, past.ended) else { continue };
            let servers = past.servers().unwrap_or_else(|_| past.server.iter().cloned().collect());
            let servers = servers.iter().filter_map(|server| config.servers.get(server));
            let volumes = servers.flat_map(|server| &server.settings.volumes);
            for volume in volumes.filter(|volume| volume.writable) {
                let client = (!volume.shared).then(|| client.clone());
                let end = ends.entry(Whose { volume: volume.name.clone(), client }).or_insert(ended);
                *end = ended.max(*end);
            }
        }
        Self(ends)
    }

    /// When the last one ended: no sooner than the last file changed, whatever histories know.
    pub(crate) fn last(&self, whose: &Whose, seen: &Seen) -> Option<Timestamp> {
        let changed = i64::try_from(seen.changed).ok().filter(|seconds| *seconds > 0);
        let changed = changed.and_then(|seconds| Timestamp::from_second(seconds).ok());
        self.0.get(whose).copied().max(changed)
    }
}

/// Why a volume was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// On this machine.
    #[error(transparent)]
    Write(io::Error),
}

/// Reads a volume whole, while nobody may write to it.
pub(crate) async fn read<W: Write + Send + 'static>(
    engine: &Engine,
    whose: &Whose,
    looked_at: bool,
    to: W,
) -> Result<Packed<W>, ReadError> {
    let held = Held::take(engine, whose, looked_at).await?;
    let packed = pack(&held, whose, to).await;
    let left = held.leave().await;
    let packed = packed?;
    left?;
    Ok(packed)
}

async fn pack<W: Write + Send + 'static>(
    held: &Held<'_>,
    whose: &Whose,
    to: W,
) -> Result<Packed<W>, ReadError> {
    let how = tree::From::Daemon { first_user: held.first_user().await?, last_user: last_user() };
    let (pieces, read) = channel::<io::Result<bytes::Bytes>>(PIECES);
    let packing = tokio::task::spawn_blocking(move || {
        let mut to = Digested::new(io::BufWriter::new(to));
        let seen = tree::copy(Pieces::new(read), &mut to, how)?;
        let (to, size, sha256) = to.end();
        let to = to.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Packed { to, size, sha256, seen })
    });
    let mut from = std::pin::pin!(held.archive());
    while let Some(piece) = from.next().await {
        // Who packs it tells why it reads no more.
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let packed: io::Result<Packed<W>> = packing.await.map_err(io::Error::other).flatten();
    packed.map_err(|error| {
        if is_full(&error) {
            return ReadError::Write(error);
        }
        DockerError::broken("read the volume", &whose.name().unwrap_or_default(), error).into()
    })
}

/// Fills a new volume with what a backup holds of it.
pub(crate) async fn fill(
    engine: &Engine,
    whose: &Whose,
    looked_at: bool,
    (backup, part): (&Arc<Checked>, &Part),
) -> Result<(), LeaseError> {
    let held = Held::take(engine, whose, looked_at).await?;
    let (written, pieces) = channel::<io::Result<bytes::Bytes>>(PIECES);
    let (backup, part) = (Arc::clone(backup), part.clone());
    let copying = tokio::task::spawn_blocking(move || {
        let to = io::BufWriter::with_capacity(64 << 10, Queue(written.clone()));
        let copied = backup.copy_volume(&part, to);
        if let Err(error) = &copied {
            // Who unpacks it must not take a part for the whole.
            let _ = written.blocking_send(Err(io::Error::other(error.to_string())));
        }
        copied
    });
    let pieces = futures::stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let filled = held.fill(Box::pin(pieces)).await;
    let copied = copying.await.map_err(io::Error::other).flatten();
    let left = held.leave().await;
    let name = whose.name().unwrap_or_default();
    both(filled, copied, &name)?;
    left?;
    Ok(())
}

/// Why a volume was not filled: the side that failed first knows, and the other one only saw it go.
fn both(filled: Result<(), DockerError>, copied: io::Result<()>, name: &str) -> Result<(), DockerError> {
    let copied = copied.map_err(|error| (error.kind(), DockerError::broken("fill the volume", name, error)));
    match copied {
        Err((io::ErrorKind::BrokenPipe, error)) => filled.and(Err(error)),
        Err((_, error)) => Err(error),
        Ok(()) => filled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_of_a_session_is_a_writer_however_late_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| at.clone())).unwrap();
        let servers = ["a", "b", "c"]
            .map(|name| format!("[servers.{name}]\nimage = \"i\"\nvolumes = [\"{name}:/data\"]\n"));
        let config = Config::parse(&servers.concat(), &home.config_file, &home).unwrap();
        let up = |server: &str| {
            format!(
                "{{\"time\":\"2026-11-22T10:00:00Z\",\"kind\":\"up\",\"server\":\"{server}\",\"client\":\"codex\"}}\n"
            )
        };
        let calls = "{\"time\":\"2026-11-22T10:00:00Z\",\"kind\":\"call\"}\n".repeat(4000);
        let end = "{\"time\":\"2026-11-22T11:00:00Z\",\"kind\":\"end\"}\n";
        let journal: String = [up("a").as_str(), &calls, &up("b"), &calls, &up("c"), end].concat();
        std::fs::create_dir_all(home.state.join("sessions")).unwrap();
        std::fs::write(home.state.join("sessions/x.jsonl"), journal).unwrap();
        let writers = Writers::of(&home, &config);
        for volume in ["a", "b", "c"] {
            let whose = Whose { volume: volume.to_owned(), client: Some("codex".to_owned()) };
            let last = writers.last(&whose, &Seen { entries: 1, ..Seen::default() });
            assert_eq!(last, Some("2026-11-22T11:00:00Z".parse().unwrap()), "{volume}");
        }
    }

    #[test]
    fn the_side_that_failed_first_says_why_a_volume_was_not_filled() {
        let daemon = || Err(DockerError::broken("upload", "v", io::Error::other("no space left")));
        let gone = || Err(io::ErrorKind::BrokenPipe.into());
        let changed = || Err(io::Error::other("has changed"));
        let said = |filled, copied| both(filled, copied, "v").map_err(|e| mcp_berth::failure::chain(&e));
        assert!(said(daemon(), gone()).unwrap_err().contains("no space left"));
        assert!(said(daemon(), changed()).unwrap_err().contains("has changed"));
        assert!(said(Ok(()), gone()).is_err());
        assert_eq!(said(Ok(()), Ok(())), Ok(()));
    }
}
