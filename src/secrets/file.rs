//! A secret in a file. Nothing that blocks, and nothing without an end: a regular file, its first 64 KiB.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::LONGEST;
use super::error::Why;
use crate::regular;

/// Who but the owner may read it.
const OTHERS: u32 = 0o044;

/// A file system may be far away: another thread waits for it.
pub(super) async fn read(path: &Path, within: Duration) -> Result<Vec<u8>, Why> {
    let file = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_now(&file));
    let (bytes, mode) = match tokio::time::timeout(within, reading).await {
        Ok(Ok(read)) => read?,
        Ok(Err(error)) => return Err(Why::Unreadable(error.into())),
        Err(_) => return Err(Why::Slow(within)),
    };
    if mode & OTHERS != 0 {
        let path = path.display();
        tracing::warn!("others can read the secret in `{path}`; type `chmod 600 {path}`");
    }
    Ok(bytes)
}

/// What it holds, and its mode.
fn read_now(path: &Path) -> Result<(Vec<u8>, u32), Why> {
    let file = regular::open(path).map_err(Why::Unreadable)?.ok_or(Why::NoFile)?;
    let mode = file.metadata().map_err(Why::Unreadable)?.mode();
    let mut bytes = Vec::new();
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(Why::Unreadable)?;
    if bytes.len() > LONGEST {
        return Err(Why::TooLong);
    }
    Ok((bytes, mode))
}
