//! A volume's content on its way back into a daemon. The volume is marked meanwhile, so that no session that may write to
//! it takes a part for the whole.

use std::io::{self, Write};
use std::sync::Arc;

use futures::FutureExt;
use mcp_berth::bake::owned::Queue;
use mcp_berth::bake::packages::Pieces;
use mcp_berth::dock::docker::DockerError;
use mcp_berth::dock::volume::held::{Held, UNFINISHED};
use mcp_berth::dock::volume::whole::Whose;
use tokio::sync::mpsc::{Sender, channel};

use crate::digested::Digested;
use crate::file::Checked;
use crate::manifest::Part;
use crate::tree::{self, Seen};
use crate::volumes::{self, PIECES, ReadError};

/// Where the content comes from.
pub(crate) enum Source<'a> {
    Backup(Arc<Checked>, Part),
    /// With the SHA-256 that it was filled with.
    Staging(&'a Held<'a>, &'a str),
}

/// Replaces what a volume holds; gives its SHA-256. It is the source's content to the last byte, and on the disk, or the
/// volume stays marked.
pub(crate) async fn fill(held: &Held<'_>, whose: &Whose, source: Source<'_>) -> Result<String, ReadError> {
    held.empty().await?;
    let expected = match &source {
        // Checked against the manifest while it is read.
        Source::Backup(..) => None,
        Source::Staging(_, sha256) => Some((*sha256).to_owned()),
    };
    let (seen, sent) = pour(held, source).await?;
    let found = volumes::pack(held, whose, io::sink()).await?.sha256;
    if found != sent || expected.is_some_and(|expected| expected != sent) {
        let why = "the daemon has other content than it was sent";
        return Err(DockerError::broken("fill the volume", held.name(), why).into());
    }
    held.open(seen.mode).await?;
    Ok(sent)
}

/// Gives what was in the archive that was sent, and its SHA-256.
async fn pour(held: &Held<'_>, source: Source<'_>) -> Result<(Seen, String), DockerError> {
    let (written, pieces) = channel(PIECES);
    let (copying, forwarding) = match source {
        Source::Backup(backup, part) => {
            let copy = move || digested(&written, |to| backup.copy_volume(&part, to, Some(UNFINISHED)));
            (tokio::task::spawn_blocking(copy), std::future::ready(()).boxed())
        }
        Source::Staging(staging, _) => {
            let how = volumes::as_packed(staging).await?;
            let (read, from) = channel(PIECES);
            let copy =
                move || digested(&written, |to| tree::copy_as(Pieces::new(from), to, how, Some(UNFINISHED)));
            (tokio::task::spawn_blocking(copy), volumes::forward(staging, read).boxed())
        }
    };
    let pieces = futures::stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let (filled, ()) = tokio::join!(held.fill(Box::pin(pieces)), forwarding);
    both(filled, copying.await.map_err(io::Error::other).flatten(), held.name())
}

fn digested(
    written: &Sender<io::Result<bytes::Bytes>>,
    copy: impl FnOnce(&mut dyn Write) -> io::Result<Seen>,
) -> io::Result<(Seen, String)> {
    let mut to = Digested::new(io::BufWriter::with_capacity(64 << 10, Queue(written.clone())));
    let copied = copy(&mut to).and_then(|seen| to.flush().map(|()| seen));
    match copied {
        Ok(seen) => Ok((seen, to.end().2)),
        Err(error) => {
            // Who unpacks it must not take a part for the whole.
            let _ = written.blocking_send(Err(io::Error::other(error.to_string())));
            Err(error)
        }
    }
}

/// Why a volume was not filled: the side that failed first knows, and the other one only saw it go.
fn both<T>(filled: Result<(), DockerError>, copied: io::Result<T>, name: &str) -> Result<T, DockerError> {
    let copied = copied.map_err(|error| (error.kind(), DockerError::broken("fill the volume", name, error)));
    match copied {
        Err((io::ErrorKind::BrokenPipe, error)) => filled.and(Err(error)),
        Err((_, error)) => Err(error),
        Ok(copied) => filled.map(|()| copied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_that_failed_first_says_why_a_volume_was_not_filled() {
        let daemon = || Err(DockerError::broken("upload", "v", io::Error::other("no space left")));
        let gone = || Err(io::ErrorKind::BrokenPipe.into());
        let changed = || Err(io::Error::other("has changed"));
        let said =
            |filled, copied| both::<()>(filled, copied, "v").map_err(|e| mcp_berth::failure::chain(&e));
        assert!(said(daemon(), gone()).unwrap_err().contains("no space left"));
        assert!(said(daemon(), changed()).unwrap_err().contains("has changed"));
        assert!(said(Ok(()), gone()).is_err());
        assert_eq!(said(Ok(()), Ok(())), Ok(()));
    }
}
