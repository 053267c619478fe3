//! The whole of a volume, while no session may write to it: what `berth backup` reads and `berth restore` fills.
//!
//! A container without a server holds the volume by the same lock as a session does (`enter.rs`), and ends with this
//! process. Nothing runs in it but its keeper.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::Purpose;
use super::whole::Whose;
use crate::config::{Server, Settings};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::lease::Lease;
use crate::dock::lease::error::LeaseError;
use crate::dock::protocol::content::{self, DONE, EMPTY, MEASURE, OPEN};
use crate::dock::spec::Spec;
use crate::dock::wire::Wire;
use crate::dock::{declared, exec, keeper};
use crate::values::{Image, Network};

/// The mode of the folder of a volume whose content is on its way.
pub const UNFINISHED: u32 = content::UNFINISHED;

/// Where it is in its container.
const PLACE: &str = "/volume";

/// A keeper needs little.
const MEMORY: u64 = 64 << 20;
const PIDS: u32 = 32;
const GRACE: Duration = Duration::from_secs(1);

/// The folder may be anybody's, and so may all in it.
const RIGHTS: [&str; 3] = ["DAC_OVERRIDE", "FOWNER", "FSETID"];

const LOOK_EVERY: Duration = Duration::from_millis(20);
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Tells what the daemon makes of a user's number.
const PROBE: &str = "berth-owner";

/// A volume that no session may write to while this lives.
#[derive(Debug)]
pub struct Held<'a> {
    engine: &'a Engine,
    lease: Lease,
    name: String,
}

/// What a volume takes of its daemon's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Whether its content is on its way, or was.
    pub is_unfinished: bool,
    pub used: u64,
    /// How much more there is room for.
    pub free: u64,
}

impl Room {
    fn parse(said: &str) -> Option<Self> {
        let mut numbers = said.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let (mode, used, free) = (next()?, next()?, next()?);
        Some(Self { is_unfinished: mode == u64::from(UNFINISHED), used, free })
    }
}

impl<'a> Held<'a> {
    /// Fails soon where a session may write to it; the error names that session. `looked_at`: the daemon is one of berth's own.
    pub async fn take(
        engine: &'a Engine,
        whose: &Whose,
        purpose: Purpose,
        looked_at: bool,
    ) -> Result<Self, LeaseError> {
        let name = match purpose {
            Purpose::Use | Purpose::Restore => whose.name(),
            Purpose::Staging => whose.staging_name(),
        };
        let name = name.ok_or_else(|| whose.unusable())?;
        let volume = whose.settings().ok_or_else(|| whose.unusable())?;
        let none = || LeaseError::NoImage("of any name".to_owned());
        let image = engine.any_image().await?.ok_or_else(none)?;
        let mut settings = Settings::default();
        (settings.memory, settings.pids, settings.stop_grace) = (MEMORY, PIDS, GRACE);
        (settings.network, settings.read_only) = (Network::None, false);
        settings.user = Some("0:0".to_owned());
        settings.cap_add = RIGHTS.map(str::to_owned).to_vec();
        settings.volumes = vec![volume];
        let mut server =
            Server::from_image("berth".parse::<Image>().map_err(|_| none())?, Vec::new(), &settings);
        (server.name, server.image) = ("backup".to_owned(), image.clone());
        let now = jiff::Timestamp::now().as_nanosecond();
        let session = format!("{:012x}", (now ^ i128::from(std::process::id()) << 40) & 0xffff_ffff_ffff);
        let mut spec = Spec::new(server, whose.client(), &session);
        (spec.image, spec.looked_at, spec.volumes_for) = (image.clone(), looked_at, purpose);
        let mut wire = Wire::connect(engine.endpoint()).await?;
        let declared = wire.image(&image, "").await?.map(|image| image.volumes).unwrap_or_default();
        spec.declared = declared::places(&image, &declared, &settings)?;
        let lease = Lease::create(engine, wire, &spec).await?;
        Ok(Self { engine, lease, name })
    }

    /// The number that the daemon has for the users that containers call 0.
    pub async fn first_user(&self) -> Result<u64, DockerError> {
        let container = self.lease.container();
        let broken = |error: io::Error| DockerError::broken("look into", container, error);
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, PROBE, io::empty()).map_err(broken)?;
        self.engine.upload(container, "/", tar.into_inner().map_err(broken)?).await?;
        let mut archive = std::pin::pin!(self.engine.download(container, &format!("/{PROBE}")));
        let mut all = Vec::new();
        while let Some(piece) = archive.next().await {
            all.extend_from_slice(&piece.map_err(broken)?);
        }
        let mut archive = tar::Archive::new(all.as_slice());
        let entry = archive.entries().map_err(broken)?.next();
        let gone = || broken(io::ErrorKind::UnexpectedEof.into());
        entry.ok_or_else(gone)?.and_then(|entry| entry.header().uid()).map_err(broken)
    }

    /// Its archive, in which [`FOLDER`](super::whole::FOLDER) is the first entry; owners as the daemon's machine has them.
    pub fn archive(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        self.engine.download(self.lease.container(), PLACE)
    }

    /// Unpacks such an archive, with owners as containers have them. No owner is greater than the daemon has one for
    /// ([`last_user`]).
    pub async fn fill(
        &self,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), DockerError> {
        self.engine.upload_stream(self.lease.container(), "/", archive).await
    }

    /// What the daemon calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes of the daemon's disk.
    pub async fn room(&self) -> Result<Room, DockerError> {
        let said = self.have(&[MEASURE, PLACE]).await?;
        let unclear =
            || DockerError::broken("measure the volume", &self.name, format!("the keeper said `{said}`"));
        Room::parse(&said).ok_or_else(unclear)
    }

    /// Removes all that is in it. From here on it has the mode [`UNFINISHED`], and no session can have it until
    /// [`open`](Self::open).
    pub async fn empty(&self) -> Result<(), DockerError> {
        self.have(&[EMPTY, PLACE]).await.map(drop)
    }

    /// Its content is whole: it is brought onto the disk, and sessions can have it once it is left.
    pub async fn open(&self, mode: u32) -> Result<(), DockerError> {
        self.have(&[OPEN, &mode.to_string(), PLACE]).await.map(drop)
    }

    /// Has the keeper's program do something in the container; gives what it says.
    async fn have(&self, words: &[&str]) -> Result<String, DockerError> {
        let words = [&[content::NAME], words].concat();
        let said = exec::ask(self.engine.endpoint(), self.lease.container(), &words).await?;
        let said = String::from_utf8_lossy(&said);
        match said.trim_end().strip_prefix(DONE) {
            Some(said) => Ok(said.trim_start().to_owned()),
            None => Err(DockerError::broken("restore the volume", &self.name, said.trim_end())),
        }
    }

    /// Lets sessions have it again, once its container is gone.
    pub async fn leave(self) -> Result<(), DockerError> {
        let (engine, container) = (self.engine, self.lease.container().to_owned());
        drop(self.lease);
        engine.remove(&container).await?;
        // The daemon itself may be at it, and nobody can remove the volume before.
        let gone = async {
            while engine.inspect(&container).await?.is_some() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        tokio::time::timeout(GONE_WITHIN, gone).await.unwrap_or(Ok(()))
    }
}

/// The greatest number that a user may have in a daemon's containers.
pub fn last_user() -> u64 {
    u64::from(keeper::USERS) - 1
}

#[cfg(test)]
mod tests {
    use super::super::whole::FOLDER;
    use super::*;

    #[test]
    fn what_the_keeper_measures_is_read() {
        let room = Room { is_unfinished: false, used: 4096, free: 12 };
        assert_eq!(Room::parse("493 4096 12"), Some(room));
        assert_eq!(Room::parse("2048 4096 12"), Some(Room { is_unfinished: true, ..room }));
        for other in ["", "493 4096", "493 -1 12", "a 1 2"] {
            assert_eq!(Room::parse(other), None, "{other}");
        }
        assert_eq!(PLACE.strip_prefix('/'), Some(FOLDER));
    }
}
