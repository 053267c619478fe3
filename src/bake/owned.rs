//! An archive on its way from one container into another, with each file owned by whoever runs servers.
//!
//! A daemon with a user namespace of its own gives a file's owner as the machine knows it, and takes the one that the
//! container knows.

use std::io::{self, Read, Write};

use super::container::UID;

/// Copies an archive; only owners change.
pub(super) fn copy(from: impl Read, to: impl Write) -> io::Result<()> {
    let (mut archive, mut copy) = (tar::Archive::new(from), tar::Builder::new(to));
    for entry in archive.entries()? {
        let entry = entry?;
        let (path, link) = (entry.path()?.into_owned(), entry.link_name()?.map(std::borrow::Cow::into_owned));
        let mut header = entry.header().clone();
        header.set_uid(UID);
        header.set_gid(UID);
        match link {
            Some(link) => copy.append_link(&mut header, path, link)?,
            None => copy.append_data(&mut header, path, entry)?,
        }
    }
    copy.into_inner()?.flush()
}

/// A writer into a queue, for a thread that may wait.
#[derive(Debug)]
pub struct Queue(pub tokio::sync::mpsc::Sender<io::Result<bytes::Bytes>>);

impl Write for Queue {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(bytes::Bytes::copy_from_slice(piece)));
        sent.map(|()| piece.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_owners_change() {
        let long = format!("berth/{}/x", "long".repeat(40));
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(2_107_965_438);
        header.set_gid(2_107_965_438);
        header.set_size(3);
        tar.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut header, "berth/link", &long).unwrap();
        let mut copied = Vec::new();
        copy(&tar.into_inner().unwrap()[..], &mut copied).unwrap();
        let mut archive = tar::Archive::new(&copied[..]);
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                let header = entry.header();
                assert_eq!(
                    (header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap()),
                    (UID, UID, 0o755)
                );
                let link = entry.link_name().unwrap().map(|link| link.display().to_string());
                (entry.path().unwrap().display().to_string(), link, text)
            })
            .collect();
        assert_eq!(
            found,
            [(long.clone(), None, "abc".to_owned()), ("berth/link".to_owned(), Some(long), String::new())]
        );
    }
}
