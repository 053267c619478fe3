//! Servers' volumes on their way out of a daemon and back into one.

use std::collections::BTreeMap;
use std::io::{self, Write};

use futures::StreamExt;
use jiff::Timestamp;
use mcp_berth::bake::packages::Pieces;
use mcp_berth::config::{Config, Home};
use mcp_berth::dock::LeaseError;
use mcp_berth::dock::docker::{DockerError, Engine};
use mcp_berth::dock::volume::Purpose;
use mcp_berth::dock::volume::held::{Held, last_user};
use mcp_berth::dock::volume::whole::Whose;
use mcp_berth::history::session;
use tokio::sync::mpsc::{Sender, channel};

use crate::digested::Digested;
use crate::file::is_full;
use crate::tree::{self, Seen};

/// Pieces of an archive that wait for the other side.
pub(crate) const PIECES: usize = 16;

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

/// Why a volume was not read, or not filled.
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
    let held = Held::take(engine, whose, Purpose::Use, looked_at).await?;
    let packed = pack(&held, whose, to).await;
    let left = held.leave().await;
    let packed = packed?;
    left?;
    Ok(packed)
}

/// The same of a volume that is held.
pub(crate) async fn pack<W: Write + Send + 'static>(
    held: &Held<'_>,
    whose: &Whose,
    to: W,
) -> Result<Packed<W>, ReadError> {
    let how = as_packed(held).await?;
    let (pieces, read) = channel(PIECES);
    let packing = tokio::task::spawn_blocking(move || {
        let mut to = Digested::new(io::BufWriter::new(to));
        let seen = tree::copy(Pieces::new(read), &mut to, how)?;
        let (to, size, sha256) = to.end();
        let to = to.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Packed { to, size, sha256, seen })
    });
    forward(held, pieces).await;
    let packed: io::Result<Packed<W>> = packing.await.map_err(io::Error::other).flatten();
    packed.map_err(|error| {
        if is_full(&error) {
            return ReadError::Write(error);
        }
        DockerError::broken("read the volume", &whose.name().unwrap_or_default(), error).into()
    })
}

/// How an archive of it is taken.
pub(crate) async fn as_packed(held: &Held<'_>) -> Result<tree::From, DockerError> {
    Ok(tree::From::Daemon { first_user: held.first_user().await?, last_user: last_user() })
}

/// Hands its archive on, as it comes.
pub(crate) async fn forward(held: &Held<'_>, to: Sender<io::Result<bytes::Bytes>>) {
    let mut from = std::pin::pin!(held.archive());
    while let Some(piece) = from.next().await {
        // Who packs it tells why it reads no more.
        if to.send(piece).await.is_err() {
            break;
        }
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
}
