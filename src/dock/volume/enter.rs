//! The wait for the right to write to a volume, which one session has at a time.
//!
//! The keeper holds it as a lock on the volume's folder (`keeper/locks.rs`). The kernel frees the lock when the keeper
//! dies, for any reason. berth asks the keeper for it before it starts the server. A new volume gets its owner here,
//! while no other session can use it.

use std::time::Duration;

use bytes::BytesMut;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::codec::Decoder;

use super::{name, written};
use crate::config::Volume;
use crate::dock::dial::Stream;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::exec::{Chunk, Demultiplexer};
use crate::dock::keeper;
use crate::dock::labels;
use crate::dock::lease::error::LeaseError;
use crate::dock::place::Place;
use crate::dock::protocol::volumes;
use crate::dock::spec::Spec;

/// How often the place is asked for while somebody else has it.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// A session that is ending is gone this long after its server's grace.
const GONE_AFTER: Duration = Duration::from_secs(2);
/// Where a new volume is put, below a place that no image knows, while it is made somebody's: an archive's entry for a folder
/// itself would be passed over.
const ENTRY: &str = "volume";
/// Longer than anything that the keeper says.
const LINE: usize = 1024;

/// The daemon's word for an owner who is not among the users that it has for containers.
const UNKNOWN: &str = "cannot be mapped to a host ID";

/// What the keeper says of the place.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Ready,
    Held {
        target: String,
    },
    /// `berth restore` fills it, or was cut off.
    Unfinished {
        target: String,
    },
    /// It is new, and not the server's user's.
    Foreign {
        uid: u64,
        gid: u64,
        target: String,
    },
    Unusable {
        target: String,
        why: String,
    },
}

impl Answer {
    fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        // A target may hold spaces, so it comes last.
        Some(match word {
            volumes::READY => Self::Ready,
            volumes::HELD => Self::Held { target: rest.to_owned() },
            volumes::UNFINISHED => Self::Unfinished { target: rest.to_owned() },
            volumes::FOREIGN => {
                let (ids, target) = rest.split_once(' ')?;
                let (uid, gid) = ids.split_once(':')?;
                Self::Foreign { uid: uid.parse().ok()?, gid: gid.parse().ok()?, target: target.to_owned() }
            }
            volumes::UNUSABLE => {
                let (why, target) = rest.split_once(": ")?;
                Self::Unusable { target: target.to_owned(), why: why.to_owned() }
            }
            _ => return None,
        })
    }
}

/// Waits until the session of `spec` is the one that may write to its volumes. `stream` is its lifeline, claimed.
pub(in crate::dock) async fn enter(
    engine: &Engine,
    stream: &mut Stream,
    container: &str,
    spec: &Spec,
) -> Result<(), LeaseError> {
    let settings = &spec.server.settings;
    let patience = (settings.stop_grace + GONE_AFTER).min(settings.start_timeout / 2);
    let until = Instant::now() + patience;
    let broken = |error| DockerError::broken("take the volumes of the container", container, error);
    let volume = |target: &str| settings.volumes.iter().find(|volume| volume.target == target);
    let mut lines = Lines::default();
    // Each of them once.
    let mut to_give = written(settings).count();
    loop {
        let line = lines.next(stream).await.map_err(broken)?;
        match Answer::parse(&line) {
            Some(Answer::Ready) => return Ok(()),
            Some(Answer::Held { target }) => {
                if let Some(volume) = volume(&target).filter(|_| Instant::now() >= until) {
                    return Err(held_by(engine, spec, volume, container).await?);
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
            Some(Answer::Unfinished { target }) => return Err(unfinished(spec, &target)),
            Some(Answer::Foreign { uid, gid, target }) if to_give > 0 => {
                if let Some(volume) = volume(&target) {
                    give(engine, spec, &name(volume, &spec.client), (uid, gid)).await?;
                }
                to_give -= 1;
            }
            Some(Answer::Foreign { target, .. }) => {
                return Err(unusable(volume(&target), "its folder cannot be given to the server's user"));
            }
            Some(Answer::Unusable { target, why }) => return Err(unusable(volume(&target), &why)),
            None => return Err(broken(std::io::Error::other(format!("the keeper said `{line}`"))).into()),
        }
        let again = async {
            stream.write_all(keeper::AGAIN).await?;
            stream.flush().await
        };
        again.await.map_err(broken)?;
    }
}

fn unusable(volume: Option<&Volume>, why: &str) -> LeaseError {
    let volume = volume.map(|volume| volume.name.clone()).unwrap_or_default();
    LeaseError::VolumeUnusable { volume, why: why.to_owned() }
}

/// The error of a session that wants the volume at `target`, whose restoration is not finished.
pub(in crate::dock) fn unfinished(spec: &Spec, target: &str) -> LeaseError {
    let volume = spec.server.settings.volumes.iter().find(|volume| volume.target == target);
    LeaseError::VolumeUnfinished { volume: volume.map_or(target, |volume| &volume.name).to_owned() }
}

/// The error of a session whose container was not made, since another session has the volume at `target`.
pub(in crate::dock) async fn held(
    engine: &Engine,
    spec: &Spec,
    target: &str,
) -> Result<LeaseError, DockerError> {
    match spec.server.settings.volumes.iter().find(|volume| volume.target == target) {
        Some(volume) => held_by(engine, spec, volume, "").await,
        None => Ok(LeaseError::VolumeHeld { volume: target.to_owned(), holder: None }),
    }
}

async fn held_by(
    engine: &Engine,
    spec: &Spec,
    volume: &Volume,
    own: &str,
) -> Result<LeaseError, DockerError> {
    let holder = holder(engine, &name(volume, &spec.client), own).await?;
    Ok(LeaseError::VolumeHeld { volume: volume.name.clone(), holder })
}

/// The container that most probably has the place: of those that may write, the one that has its number, or was first.
async fn holder(engine: &Engine, volume: &str, own: &str) -> Result<Option<String>, DockerError> {
    let mut others = engine.writers(volume).await?;
    others.retain(|row| row.id != own);
    others.sort_by_key(|row| (row.name.ends_with(".starting"), row.created));
    Ok(others.into_iter().next().map(|row| row.name))
}

/// Makes a new volume's folder its user's. We have the place, so nobody else does the same.
async fn give(engine: &Engine, spec: &Spec, volume: &str, owner: (u64, u64)) -> Result<(), DockerError> {
    let (label, value) = labels::managed_by();
    let place = Place::new()?;
    let body = json!({
        "Image": spec.judged_image(),
        "Entrypoint": [place.program()],
        "Labels": labels::of_container(&[(&label, &value)]),
        "HostConfig": { "AutoRemove": true, "NetworkMode": "none", "Mounts": [{
            "Type": "volume", "Source": volume, "Target": format!("{}/{ENTRY}", place.folder()),
            "VolumeOptions": { "NoCopy": true },
        }] },
    });
    // Never started; what is killed here is swept like any other that never was.
    let filler = format!("berth-data-filler-{}", spec.session);
    let created = engine.create(&filler, body).await?;
    let upload = async |owner| match archive(ENTRY, owner) {
        Ok(archive) => engine.upload(&created, place.folder(), archive).await,
        Err(error) => Err(DockerError::broken("pack", volume, error)),
    };
    let given = match upload(owner).await {
        Err(error) if error.to_string().contains(UNKNOWN) => upload(known(owner)).await,
        given => given,
    };
    engine.remove(&created).await?;
    given
}

/// Who it is there.
fn known((uid, gid): (u64, u64)) -> (u64, u64) {
    let last = u64::from(keeper::USERS) - 1;
    (uid.min(last), gid.min(last))
}

fn archive(folder: &str, (uid, gid): (u64, u64)) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_uid(uid);
    header.set_gid(gid);
    tar.append_data(&mut header, format!("{folder}/"), std::io::empty())?;
    tar.into_inner()
}

/// What the keeper prints, line by line.
#[derive(Debug, Default)]
struct Lines {
    demultiplexer: Demultiplexer,
    unread: BytesMut,
    line: Vec<u8>,
}

impl Lines {
    async fn next(&mut self, stream: &mut Stream) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let rest = self.line.split_off(end + 1);
                let line = std::mem::replace(&mut self.line, rest);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match self.demultiplexer.decode(&mut self.unread)? {
                Some(Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) if self.line.len() < LINE => {
                    self.line.extend_from_slice(&bytes);
                }
                Some(_) => return Err(std::io::Error::other("the keeper's line has no end")),
                None if stream.read_buf(&mut self.unread).await? == 0 => {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keepers_answers_are_read() {
        let target = || "/my data".to_owned();
        assert_eq!(Answer::parse("ready"), Some(Answer::Ready));
        assert_eq!(Answer::parse("held /my data"), Some(Answer::Held { target: target() }));
        assert_eq!(Answer::parse("unfinished /my data"), Some(Answer::Unfinished { target: target() }));
        let foreign = Answer::Foreign { uid: 1, gid: 2, target: target() };
        assert_eq!(Answer::parse("foreign 1:2 /my data"), Some(foreign));
        let why = "Permission denied".to_owned();
        assert_eq!(
            Answer::parse("unusable Permission denied: /my data"),
            Some(Answer::Unusable { target: target(), why })
        );
        for other in ["", "hello", "foreign /data", "foreign -1:2 /data", "unusable /data"] {
            assert_eq!(Answer::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_owner_of_an_archives_folder_is_the_one_that_was_asked_for() {
        let packed = archive("volume", (1234, 5678)).unwrap();
        let mut tar = tar::Archive::new(&packed[..]);
        let entry = tar.entries().unwrap().next().unwrap().unwrap();
        let header = entry.header();
        assert_eq!(
            (header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap()),
            (1234, 5678, 0o755)
        );
        assert_eq!(entry.path().unwrap().to_str(), Some("volume/"));
    }
}
