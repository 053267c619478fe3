//! A volume's files as an archive that is the same for the same files, and nothing but files, folders and links.
//!
//! An archive of a volume comes from a daemon, or from a backup that anybody may have made. Each entry lies in the volume's
//! folder, none lies behind a link, and a hard link leads to a file that came before it. A symbolic link may say what it
//! likes: only the server's own container follows it.

use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use mcp_berth::dock::volume::held::UNFINISHED;
use mcp_berth::dock::volume::whole::FOLDER;
use tar::EntryType;

use crate::meter::{self, Known};

/// What was in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) entries: u64,
    /// Pipes and sockets, which a server makes anew.
    pub(crate) left_out: u64,
    /// When the last of the files changed: seconds since 1970. The volume's own folder does not count, as sessions try
    /// whether they may write to it.
    pub(crate) changed: u64,
    /// Of the volume's own folder.
    pub(crate) mode: u32,
}

/// How an archive is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// A daemon packed it; its machine calls the first user of containers so.
    Daemon { first_user: u64, last_user: u64 },
    /// A backup: every entry has to be as berth wrote it.
    Backup { last_user: u64 },
}

fn wrong(why: &str, path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{why} `{}`", path.to_string_lossy().escape_debug()))
}

/// Copies an archive of [`FOLDER`] with nothing in it that depends on its daemon.
pub(crate) fn copy(from: impl Read, to: impl Write, how: From) -> io::Result<Seen> {
    copy_as(from, to, how, None)
}

/// The same; the copy has another `mode` for the volume's own folder.
pub(crate) fn copy_as(from: impl Read, to: impl Write, how: From, mode: Option<u32>) -> io::Result<Seen> {
    let ((mut archive, limit), mut copy) = (meter::archive(from), tar::Builder::new(to));
    let (mut seen, mut known) = (Seen::default(), Known::default());
    let mut entries = archive.entries()?;
    while let Some(entry) = limit.next(&mut entries) {
        let mut entry = entry?;
        let path = inside(&entry.path()?)?;
        let kind = entry.header().entry_type();
        let kind = match kind {
            // A few bytes of a backup's would come to terabytes; berth writes none.
            EntryType::Continuous | EntryType::GNUSparse if matches!(how, From::Daemon { .. }) => {
                EntryType::Regular
            }
            kind => kind,
        };
        match kind {
            EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link => {}
            EntryType::Fifo if matches!(how, From::Daemon { .. }) => {
                seen.left_out += 1;
                continue;
            }
            _ => return Err(wrong("it holds what is neither file, folder nor link:", &path)),
        }
        let is_root = path == Path::new(FOLDER);
        if is_root != known.is_empty() || (is_root && kind != EntryType::Directory) {
            return Err(wrong("its first entry is not its folder alone:", &path));
        }
        let above = path.parent().and_then(|above| known.get(above));
        if !is_root && above != Some(EntryType::Directory) {
            return Err(wrong("it has no folder of its own above", &path));
        }
        if !known.add(&path, kind)? {
            return Err(wrong("it holds twice", &path));
        }
        seen.entries += 1;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        let own_mode = entry.header().mode()? & 0o7777;
        header.set_mode(own_mode);
        if is_root {
            if own_mode == UNFINISHED && matches!(how, From::Backup { .. }) {
                return Err(wrong("its folder has the mode of a volume that is not whole:", &path));
            }
            seen.mode = own_mode;
            header.set_mode(mode.unwrap_or(own_mode));
        }
        header.set_uid(user(entry.header().uid()?, how));
        header.set_gid(user(entry.header().gid()?, how));
        let changed = entry.header().mtime()?;
        if !is_root {
            header.set_mtime(changed);
            seen.changed = seen.changed.max(changed);
        }
        let link = entry.link_name()?.map(std::borrow::Cow::into_owned);
        match (kind, link) {
            (EntryType::Regular, _) => {
                header.set_size(entry.size());
                copy.append_data(&mut header, &path, &mut entry)?;
            }
            (EntryType::Directory, _) => {
                header.set_size(0);
                copy.append_data(&mut header, format!("{}/", utf8(&path)?), io::empty())?;
            }
            (EntryType::Link, Some(link)) => {
                header.set_size(0);
                let link = inside(&link)?;
                if known.get(&link) != Some(EntryType::Regular) {
                    return Err(wrong("a hard link leads to no file of it:", &path));
                }
                copy.append_link(&mut header, &path, &link)?;
            }
            (_, Some(link)) => {
                header.set_size(0);
                copy.append_link(&mut header, &path, &link)?;
            }
            (_, None) => return Err(wrong("a link leads nowhere:", &path)),
        }
        // Other kinds may have bytes as well.
        io::copy(&mut entry, &mut io::sink())?;
    }
    if known.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
    }
    copy.into_inner()?.flush()?;
    Ok(seen)
}

fn utf8(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| wrong("a folder's name is not UTF-8:", path))
}

/// A path below [`FOLDER`], without what leads elsewhere.
fn inside(path: &Path) -> io::Result<PathBuf> {
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain && path.starts_with(FOLDER) {
        return Ok(path.components().collect());
    }
    Err(wrong("it leads out of its folder:", path))
}

/// Whose a file is, as containers have it.
fn user(id: u64, how: From) -> u64 {
    match how {
        From::Daemon { first_user, last_user } => id.checked_sub(first_user).unwrap_or(id).min(last_user),
        From::Backup { last_user } => id.min(last_user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKUP: From = From::Backup { last_user: 1000 };

    fn header(kind: EntryType) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(7);
        header.set_gid(8);
        header.set_size(0);
        header.set_mtime(100);
        header
    }

    /// Paths as they are written, which the crate's own builder would refuse.
    fn raw(tar: &mut tar::Builder<Vec<u8>>, path: &str, link: &str, kind: EntryType, text: &[u8]) {
        let mut header = header(kind);
        header.set_size(text.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, text).unwrap();
    }

    fn archive(entries: &[(&str, &str, EntryType)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        raw(&mut tar, "volume/", "", EntryType::Directory, b"");
        for (path, link, kind) in entries {
            raw(&mut tar, path, link, *kind, b"");
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_backup_makes_no_volume_that_looks_as_if_it_were_not_whole() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = header(EntryType::Directory);
        header.set_mode(UNFINISHED);
        tar.append_data(&mut header, "volume/", io::empty()).unwrap();
        let archive = tar.into_inner().unwrap();
        let error = copy(&archive[..], io::sink(), BACKUP).unwrap_err();
        assert!(error.to_string().contains("not whole"), "{error}");
        let daemon = From::Daemon { first_user: 0, last_user: 1000 };
        assert_eq!(copy(&archive[..], io::sink(), daemon).unwrap().mode, UNFINISHED, "it tells");
    }

    #[test]
    fn nothing_leads_out_of_a_volume() {
        use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
        let said = |entries: &[_]| {
            let error = copy(&archive(entries)[..], io::sink(), BACKUP).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            error.to_string()
        };
        for path in ["../x", "volume/../../x", "/etc/passwd", "volume/../x", "other/x", "volume2"] {
            assert!(said(&[(path, "", Regular)]).contains("it leads out of its folder"), "{path}");
        }
        for kind in [Block, Char, Fifo] {
            assert!(said(&[("volume/d", "", kind)]).contains("neither file, folder nor link"), "{kind:?}");
        }
        let behind = [("volume/l", "/etc", Symlink), ("volume/l/passwd", "", Regular)];
        assert!(said(&behind).contains("it has no folder of its own above `volume/l/passwd`"));
        for link in ["/etc/passwd", "volume/../../etc/passwd", "volume/none", "../volume/f"] {
            let said = said(&[("volume/f", "", Regular), ("volume/h", link, Link)]);
            assert!(said.contains("lead"), "{link}: {said}");
        }
        let through = [("volume/s", "/etc/passwd", Symlink), ("volume/h", "volume/s", Link)];
        assert!(said(&through).contains("a hard link leads to no file of it"));
        assert!(said(&[("volume/f", "", Regular), ("volume/f", "/etc", Symlink)]).contains("it holds twice"));
        assert!(said(&[("volume/", "", Directory)]).contains("its first entry is not its folder"));
        assert!(said(&[("volume/d/f", "", Regular)]).contains("no folder of its own above"));
        let mut tar = tar::Builder::new(Vec::new());
        raw(&mut tar, "volume", "/etc", Symlink, b"");
        assert!(copy(&tar.into_inner().unwrap()[..], io::sink(), BACKUP).is_err());
        assert!(copy(&[0; 1024][..], io::sink(), BACKUP).is_err(), "an archive of nothing is none");
    }

    #[test]
    fn an_archive_is_the_same_whichever_daemon_packed_it_and_when_it_was_looked_at() {
        let packed = |first: u64, root: u64| {
            let mut tar = tar::Builder::new(Vec::new());
            let mut own = header(EntryType::Directory);
            own.set_mtime(root);
            own.set_uid(first);
            own.set_gid(first);
            tar.append_data(&mut own, "volume/", io::empty()).unwrap();
            let mut file = header(EntryType::Regular);
            file.set_size(3);
            file.set_uid(first + 7);
            file.set_gid(first + 8);
            // As the daemon writes what older forms have no room for.
            tar.append_pax_extensions([("comment", &b"x"[..])]).unwrap();
            tar.append_data(&mut file, format!("volume/{}", "n".repeat(150)), &b"abc"[..]).unwrap();
            let mut link = header(EntryType::Symlink);
            link.set_uid(first + 5000);
            tar.append_link(&mut link, "volume/l", "/usr/bin/python3").unwrap();
            tar.append_data(&mut header(EntryType::Fifo), "volume/p", io::empty()).unwrap();
            let mut copied = Vec::new();
            let how = From::Daemon { first_user: first, last_user: 1000 };
            let seen = copy(&tar.into_inner().unwrap()[..], &mut copied, how).unwrap();
            assert_eq!(seen, Seen { entries: 3, left_out: 1, changed: 100, mode: 0o644 });
            copied
        };
        let one = packed(2_013_265_920, 1);
        assert_eq!(one, packed(0, 999_999), "owners and the look at the folder");
        let mut again = Vec::new();
        let seen = copy(&one[..], &mut again, BACKUP).unwrap();
        assert_eq!((again, seen.left_out), (one.clone(), 0), "what was read back is the same again");
        let mut archive = tar::Archive::new(&one[..]);
        let owners: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().header().uid().unwrap()).collect();
        assert_eq!(owners, [0, 7, 1000], "no owner is greater than a daemon has");
    }

    #[test]
    fn a_backup_has_no_holes_that_come_to_terabytes() {
        for kind in [EntryType::GNUSparse, EntryType::Continuous] {
            let mut tar = tar::Builder::new(Vec::new());
            raw(&mut tar, "volume/", "", EntryType::Directory, b"");
            let mut hole = header(kind);
            hole.set_path("volume/f").unwrap();
            hole.as_gnu_mut().unwrap().realsize = *b"00000000000\0";
            hole.set_cksum();
            tar.append(&hole, io::empty()).unwrap();
            let archive = tar.into_inner().unwrap();
            let error = copy(&archive[..], io::sink(), BACKUP).unwrap_err().to_string();
            assert!(error.contains("neither file, folder nor link"), "{error}");
            let daemon = From::Daemon { first_user: 0, last_user: 1000 };
            assert!(copy(&archive[..], io::sink(), daemon).is_ok(), "{kind:?}");
        }
    }

    #[test]
    fn an_archive_that_is_cut_off_is_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        raw(&mut tar, "volume/", "", EntryType::Directory, b"");
        raw(&mut tar, "volume/f", "", EntryType::Regular, &[1; 2000]);
        let whole = tar.into_inner().unwrap();
        assert!(copy(&whole[..], io::sink(), BACKUP).is_ok());
        assert!(copy(&whole[..1700], io::sink(), BACKUP).is_err());
    }
}
