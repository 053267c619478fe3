//! Looks into a container through its engine alone. One of the few files that name bollard.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bollard::exec::StartExecOptions;
use bollard::models::ExecConfig;
use bollard::query_parameters as query;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

use super::error::{absent, explain};
use super::{DockerError, Engine};

/// A file or a folder, as far as an engine tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Nanoseconds since the epoch.
    pub modified: i128,
    /// The permissions: the last nine bits.
    pub mode: u32,
    pub is_link: bool,
}

/// Go's bit for a symbolic link.
const LINK: u32 = 1 << 27;

impl Engine {
    /// Whether a container, which may be gone, has used more memory than its limit. Takes a second, in which the daemon may
    /// still hear of it.
    pub async fn ran_out_of_memory(&self, id: &str) -> Result<bool, DockerError> {
        let until = self.now().await? + 1;
        let only = |key: &str, value: &str| (key.to_owned(), vec![value.to_owned()]);
        let options = query::EventsOptions {
            // The first second: all that the daemon remembers.
            since: Some("1".to_owned()),
            until: Some(until.to_string()),
            filters: Some(HashMap::from([only("container", id), only("event", "oom")])),
        };
        let mut events = pin!(self.docker.events(Some(options)));
        let first = events.next().await.transpose();
        Ok(first.map_err(explain("ask for the events of", id))?.is_some())
    }

    /// What is at `path` in a container, which needn't run; its mounts count. `None` where nothing is.
    pub async fn stat(&self, name: &str, path: &str) -> Result<Option<Stat>, DockerError> {
        const OP: &str = "look into";
        let options = query::ContainerArchiveInfoOptions { path: path.to_owned() };
        let found = self.docker.get_container_archive_info(name, Some(options)).await;
        let Some(found) = absent(found.map_err(explain(OP, name)))? else { return Ok(None) };
        let modified = found.modification_time.unwrap_or_default().parse::<jiff::Timestamp>();
        let modified = modified.map_err(|error| DockerError::broken(OP, name, error))?.as_nanosecond();
        Ok(Some(Stat { modified, mode: found.file_mode & 0o777, is_link: found.file_mode & LINK != 0 }))
    }

    /// A folder of a container, which needn't run, as a tar archive.
    pub fn download(&self, name: &str, path: &str) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let options = query::DownloadFromContainerOptions { path: path.to_owned() };
        self.docker.download_from_container(name, Some(options)).map_err(io::Error::other)
    }

    /// Whether a command in a running container exits with 0.
    pub async fn succeeds(&self, name: &str, command: &[String]) -> Result<bool, DockerError> {
        const OP: &str = "run a command in";
        let config = ExecConfig { cmd: Some(command.to_vec()), ..Default::default() };
        let exec = self.docker.create_exec(name, config).await.map_err(explain(OP, name))?;
        let options = StartExecOptions { detach: true, ..Default::default() };
        self.docker.start_exec(&exec.id, Some(options)).await.map_err(explain(OP, name))?;
        loop {
            if let Some(code) = self.exec_exit(&exec.id).await? {
                return Ok(code == 0);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
