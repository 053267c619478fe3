//! The volumes of servers, as people and the daemon call them.

use std::time::Duration;

use tokio::time::Instant;

use super::{name, staging_name};
use crate::config::Volume;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::{LABEL_CLIENT, LABEL_VOLUME, managed_by};
use crate::dock::lease::error::LeaseError;
use crate::values::is_server_name;

/// The folder of the volume in archives of it, and in its container.
pub const FOLDER: &str = "volume";

const LOOK_EVERY: Duration = Duration::from_millis(20);
const GONE_WITHIN: Duration = Duration::from_secs(10);

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

    /// What the daemon calls the volume in which its other content is made.
    pub(super) fn staging_name(&self) -> Option<String> {
        self.name()?;
        self.settings().map(|volume| staging_name(&volume, self.client()))
    }

    pub(super) fn settings(&self) -> Option<Volume> {
        let shared = if self.client.is_none() { ":shared" } else { "" };
        format!("{}:/{FOLDER}{shared}", self.volume).parse().ok()
    }

    /// Nobody's name is in what all have.
    pub(super) fn client(&self) -> &str {
        self.client.as_deref().unwrap_or("berth")
    }

    pub(super) fn unusable(&self) -> LeaseError {
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

/// Removes a volume, as soon as the container that had it has gone.
pub async fn discard(engine: &Engine, name: &str) -> Result<(), DockerError> {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        match engine.remove_volume(name).await {
            // In use.
            Err(_) if Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
            removed => return removed.map(drop),
        }
    }
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
