//! The whole of a volume, while nobody else may write to it: what `berth backup` reads and `berth restore` fills.
//!
//! A container without a server holds the volume by the same lock as a session does (`enter.rs`), and ends with this
//! process. Nothing runs in it but its keeper.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::Instant;

use super::import::labels_of;
use super::name;
use crate::config::{Server, Settings, Volume};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::{LABEL_CLIENT, LABEL_VOLUME, managed_by};
use crate::dock::lease::Lease;
use crate::dock::lease::error::LeaseError;
use crate::dock::spec::Spec;
use crate::dock::wire::Wire;
use crate::dock::{declared, keeper};
use crate::values::{Image, Network, is_server_name};

/// The folder of the volume in archives of it, and in its container.
pub const FOLDER: &str = "volume";

/// A keeper needs little.
const MEMORY: u64 = 64 << 20;
const PIDS: u32 = 32;
const GRACE: Duration = Duration::from_secs(1);

const LOOK_EVERY: Duration = Duration::from_millis(20);
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Tells what the daemon makes of a user's number.
const PROBE: &str = "berth-owner";

/// A volume, as berth names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whose {
    /// What the person calls it.
    pub volume: String,
    /// The kind of client; `None`: it is all clients'.
    pub client: Option<String>,
}

impl Whose {
    /// What the daemon calls it; `None`: berth gives no such names.
    pub fn name(&self) -> Option<String> {
        let is_client = |client: &str| {
            !client.is_empty()
                && client.len() <= 64
                && client.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        };
        let fits = is_server_name(&self.volume) && self.client.as_deref().is_none_or(is_client);
        fits.then(|| self.settings().map(|volume| name(&volume, self.client()))).flatten()
    }

    fn settings(&self) -> Option<Volume> {
        let shared = if self.client.is_none() { ":shared" } else { "" };
        format!("{}:/{FOLDER}{shared}", self.volume).parse().ok()
    }

    /// Nobody's name is in what all have.
    fn client(&self) -> &str {
        self.client.as_deref().unwrap_or("berth")
    }

    fn unusable(&self) -> LeaseError {
        let why = "berth gives no such names".to_owned();
        LeaseError::VolumeUnusable { volume: self.volume.clone(), why }
    }
}

/// The volumes of servers that the daemon has.
pub async fn all(engine: &Engine) -> Result<Vec<Whose>, DockerError> {
    let mut all = Vec::new();
    let (managed, berth) = managed_by();
    for name in engine.volumes(LABEL_VOLUME).await? {
        let Some(labels) = engine.volume_labels(&name).await? else { continue };
        let Some(volume) = labels.get(LABEL_VOLUME).cloned() else { continue };
        let client = labels.get(LABEL_CLIENT).filter(|client| !client.is_empty()).cloned();
        let whose = Whose { volume, client };
        if labels.get(&managed) == Some(&berth) && whose.name().as_ref() == Some(&name) {
            all.push(whose);
        }
    }
    all.sort();
    Ok(all)
}

/// Makes an empty volume in the place of one that there may be.
pub async fn renew(engine: &Engine, whose: &Whose) -> Result<(), LeaseError> {
    let (volume, name) = (whose.settings(), whose.name());
    let (volume, name) = volume.zip(name).ok_or_else(|| whose.unusable())?;
    engine.remove_volume(&name).await?;
    engine.create_volume(&name, labels_of(&volume, whose.client())).await?;
    Ok(())
}

/// Removes what was not filled whole, as soon as the container that filled it has gone.
pub async fn discard(engine: &Engine, whose: &Whose) -> Result<(), DockerError> {
    let Some(name) = whose.name() else { return Ok(()) };
    let until = Instant::now() + GONE_WITHIN;
    loop {
        match engine.remove_volume(&name).await {
            // In use.
            Err(_) if Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
            removed => return removed.map(drop),
        }
    }
}

/// A volume that no session may write to while this lives.
#[derive(Debug)]
pub struct Held<'a> {
    engine: &'a Engine,
    lease: Lease,
}

impl<'a> Held<'a> {
    /// Fails soon where a session may write to it; the error names that session. `looked_at`: the daemon is one of berth's own.
    pub async fn take(engine: &'a Engine, whose: &Whose, looked_at: bool) -> Result<Self, LeaseError> {
        let volume = whose.settings().filter(|_| whose.name().is_some());
        let volume = volume.ok_or_else(|| whose.unusable())?;
        let none = || LeaseError::NoImage("of any name".to_owned());
        let image = engine.any_image().await?.ok_or_else(none)?;
        let mut settings = Settings::default();
        (settings.memory, settings.pids, settings.stop_grace) = (MEMORY, PIDS, GRACE);
        (settings.network, settings.read_only) = (Network::None, false);
        // The folder may be anybody's.
        settings.user = Some("0:0".to_owned());
        settings.cap_add = vec!["DAC_OVERRIDE".to_owned()];
        settings.volumes = vec![volume];
        let mut server =
            Server::from_image("berth".parse::<Image>().map_err(|_| none())?, Vec::new(), &settings);
        (server.name, server.image) = ("backup".to_owned(), image.clone());
        let now = jiff::Timestamp::now().as_nanosecond();
        let session = format!("{:012x}", (now ^ i128::from(std::process::id()) << 40) & 0xffff_ffff_ffff);
        let mut spec = Spec::new(server, whose.client(), &session);
        (spec.image, spec.looked_at) = (image.clone(), looked_at);
        let mut wire = Wire::connect(engine.endpoint()).await?;
        let declared = wire.image(&image, "").await?.map(|image| image.volumes).unwrap_or_default();
        spec.declared = declared::places(&image, &declared, &settings)?;
        let lease = Lease::create(engine, wire, &spec).await?;
        Ok(Self { engine, lease })
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

    /// Its archive, in which [`FOLDER`] is the first entry; owners as the daemon's machine has them.
    pub fn archive(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        self.engine.download(self.lease.container(), &format!("/{FOLDER}"))
    }

    /// Unpacks such an archive, with owners as containers have them. No owner is greater than the daemon has one for
    /// ([`last_user`]).
    pub async fn fill(
        &self,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), DockerError> {
        self.engine.upload_stream(self.lease.container(), "/", archive).await
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
    use super::*;

    #[test]
    fn only_names_of_berths_own_making_are_taken() {
        let whose = |volume: &str, client: Option<&str>| {
            Whose { volume: volume.to_owned(), client: client.map(str::to_owned) }.name()
        };
        assert_eq!(whose("memory", Some("codex")).as_deref(), Some("berth-data-codex_memory"));
        assert_eq!(whose("memory", None).as_deref(), Some("berth-data_memory"));
        for (volume, client) in [
            ("../x", None),
            ("a/b", Some("codex")),
            ("a:/etc", None),
            ("memory", Some("")),
            ("memory", Some("a_b")),
            ("memory", Some("../..")),
            ("memory", Some("a b")),
        ] {
            let found = whose(volume, client);
            assert!(
                found.is_none() || !found.as_ref().unwrap().contains('/'),
                "{volume} {client:?}: {found:?}"
            );
        }
        assert_eq!(whose("memory", Some("a_b")), None);
        assert_eq!(whose("a:/etc", None), None);
    }
}
