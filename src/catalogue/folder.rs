//! The files of a folder that is this user's alone: read with suspicion, replaced as a whole.
//!
//! Nobody else's file is believed, no link is followed, and whatever can't be read is as if it were not there.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};

/// What becomes of a file that a killed process was writing.
const TEMPORARY: &str = ".new-";
const ABANDONED_AFTER: Duration = Duration::from_hours(1);
/// A file that is used is marked so at most so often.
const MARKED_EVERY: Duration = Duration::from_hours(24);

/// A folder; it need not be there.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The whole file, if it is this user's and has at most `most` bytes.
    pub(super) fn read(&self, name: &str, most: usize) -> Option<Vec<u8>> {
        let (file, size) = self.open(name)?;
        let size = usize::try_from(size).ok().filter(|size| *size <= most)?;
        let mut bytes = Vec::with_capacity(size + 1);
        // Nobody writes into a file that is there already: one that grows is not ours.
        file.take(size as u64 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() == size).then_some(bytes)
    }

    /// It is in use: the files that nobody uses go first.
    pub(super) fn mark(&self, name: &str) {
        let Some((file, _)) = self.open(name) else { return };
        let now = SystemTime::now();
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > MARKED_EVERY)) {
            let _ = file.set_modified(now);
        }
    }

    /// Puts the whole file there in one step, whatever was there.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.temporary(bytes)?.persist(self.0.join(name))?;
        Ok(())
    }

    /// The same if there was none: whether it was this process that put it there.
    pub(super) fn write_first(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        match self.temporary(bytes)?.persist_noclobber(self.0.join(name)) {
            Ok(_) => Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    }

    /// The files whose names end in `end`, the latest first.
    pub(super) fn names(&self, end: &str) -> Vec<(String, SystemTime)> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let mut names: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok().filter(|name| name.ends_with(end))?;
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((name, metadata.modified().ok()?))
            })
            .collect();
        names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        names
    }

    /// Leaves the latest so many of the files of each ending, and nothing that was left half-written.
    pub(super) fn prune(&self, bounds: &[(&str, usize)]) {
        let names = self.names("");
        for (end, most) in bounds {
            let of_kind = names.iter().filter(|(name, _)| name.ends_with(end));
            of_kind.skip(*most).for_each(|(name, _)| self.remove(name));
        }
        let now = SystemTime::now();
        let is_abandoned = |at| now.duration_since(at).is_ok_and(|age| age > ABANDONED_AFTER);
        let temporary = names.iter().filter(|(name, _)| name.starts_with(TEMPORARY));
        temporary.filter(|(_, at)| is_abandoned(*at)).for_each(|(name, _)| self.remove(name));
    }

    /// Another process may have been faster.
    pub(super) fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.0.join(name));
    }

    fn open(&self, name: &str) -> Option<(File, u64)> {
        if !self.is_ours() {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(self.0.join(name), flags, Mode::empty()).ok()?);
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && is_ours(metadata))?;
        Some((file, metadata.len()))
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.0).is_ok_and(|metadata| metadata.is_dir() && is_ours(&metadata))
    }

    fn temporary(&self, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        if !self.is_ours() {
            let message = format!("{} is not a folder that only this user can write to", self.0.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        // Made with mode 0600.
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.0)?;
        file.write_all(bytes)?;
        Ok(file)
    }
}

/// Nobody else has written it.
fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    impl Folder {
        pub(in super::super) fn path(&self) -> &std::path::Path {
            &self.0
        }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path().join("state/catalogue"));
        (state, folder)
    }

    #[test]
    fn what_is_written_is_this_users_alone() {
        let (_state, folder) = folder();
        assert_eq!(folder.read("a", 9), None);
        assert!(!folder.path().exists(), "reading makes nothing");
        folder.write("a", b"one").unwrap();
        folder.write("a", b"two").unwrap();
        assert_eq!(folder.read("a", 3).as_deref(), Some(&b"two"[..]));
        assert_eq!(folder.read("a", 2), None, "longer than the bound");
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o600);
        assert_eq!(folder.names("").len(), 1, "nothing temporary is left");
    }

    #[test]
    fn the_first_of_many_is_the_one() {
        let (_state, folder) = folder();
        assert!(folder.write_first("a", b"1").unwrap());
        assert!(!folder.write_first("a", b"2").unwrap());
        assert_eq!(folder.read("a", 9).as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn nothing_that_others_could_have_written_is_read() {
        let (_state, folder) = folder();
        folder.write("a", b"text").unwrap();
        let path = folder.path().join("a");
        symlink(&path, folder.path().join("link")).unwrap();
        assert_eq!(folder.read("link", 9), None);
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        assert_eq!(folder.read("a", 9), None);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(folder.read("a", 9).is_some(), "others may look");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(folder.read("a", 9), None);
        let error = folder.write("a", b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(folder.read("folder", 9), None);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(folder.read("pipe", 9), None, "it does not wait for a writer");
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
            assert_eq!(folder.read("a", 9), None);
        }
    }

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_stays() {
        let (state, folder) = folder();
        let target = state.path().join("precious");
        fs::write(&target, "precious").unwrap();
        folder.write("a", b"1").unwrap();
        folder.remove("a");
        symlink(&target, folder.path().join("a")).unwrap();
        assert_eq!(folder.read("a", 99), None);
        folder.write("a", b"2").unwrap();
        assert_eq!(folder.read("a", 9).as_deref(), Some(&b"2"[..]));
        assert_eq!(fs::read_to_string(target).unwrap(), "precious");
    }

    fn age(folder: &Folder, name: &str, hours: u64) {
        let file = File::open(folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
    }

    #[test]
    fn the_oldest_go_first_and_what_is_used_stays() {
        let (_state, folder) = folder();
        for (name, hours) in
            [("a.x", 90), ("b.x", 80), ("c.x", 70), ("d.y", 99), (".new-1", 2), (".new-2", 0)]
        {
            folder.write(name, b"").unwrap();
            age(&folder, name, hours);
        }
        folder.mark("a.x");
        folder.prune(&[(".x", 2), (".y", 1)]);
        let mut left: Vec<_> = folder.names("").into_iter().map(|(name, _)| name).collect();
        left.sort();
        assert_eq!(left, [".new-2", "a.x", "c.x", "d.y"]);
    }

    #[test]
    fn a_use_is_marked_once_a_day() {
        let (_state, folder) = folder();
        folder.write("a", b"").unwrap();
        age(&folder, "a", 20);
        let at = folder.names("a")[0].1;
        folder.mark("a");
        assert_eq!(folder.names("a")[0].1, at);
        age(&folder, "a", 25);
        folder.mark("a");
        assert!(folder.names("a")[0].1 > at);
    }
}
