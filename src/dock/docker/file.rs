//! A small file of a container's, as the daemon shows it. One of the few files that name bollard.

use std::io::Read;

use bollard::query_parameters as query;
use futures::TryStreamExt;

use super::error::{absent, explain};
use super::{DockerError, Engine};

/// Beside the file: its frame in the archive, and the archive's end.
const FRAME: usize = 16 << 10;

impl Engine {
    /// The text of a file of at most so many bytes; `None` where there is none.
    pub async fn small_file(
        &self,
        container: &str,
        path: &str,
        longest: usize,
    ) -> Result<Option<String>, DockerError> {
        let options = query::DownloadFromContainerOptions { path: path.to_owned() };
        let chunks = self.docker.download_from_container(container, Some(options));
        let chunks = chunks.map_err(explain("read a file of", container));
        let whole = chunks.try_fold(Vec::new(), async |mut all: Vec<u8>, chunk| {
            // The rest is read and dropped, for the connection is used again.
            all.extend_from_slice(&chunk[..chunk.len().min((longest + FRAME).saturating_sub(all.len()))]);
            Ok(all)
        });
        let Some(whole) = absent(whole.await)? else { return Ok(None) };
        let broken = |error| DockerError::broken("read a file of", container, error);
        let mut archive = tar::Archive::new(whole.as_slice());
        let Some(entry) = archive.entries().map_err(broken)?.next() else { return Ok(None) };
        let mut bytes = Vec::new();
        let limit = u64::try_from(longest).unwrap_or(u64::MAX);
        entry.map_err(broken)?.take(limit).read_to_end(&mut bytes).map_err(broken)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
