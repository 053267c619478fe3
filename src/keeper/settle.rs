//! Moves what a daemon has (images, volumes) to where the daemon looks for it now, and gives it the owners it needs there.
//!
//! A daemon with a range of ids has a folder of its own for each range, in which files belong to ids of the range. So a
//! change of the range would hide all images and volumes. Here they come along, before the daemon starts.
//!
//! It may be cut off anywhere and done again: a file's owner tells whether it has been seen to, and a folder is renamed when
//! all in it has been. A file tells in which direction it was going: what was begun is finished before anything else, also
//! where the other direction is asked for by now.

#[path = "settle/attributes.rs"]
mod attributes;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};

use super::ids::Range;
use super::sys::xattr;
use super::{Failure, Words, range};

/// Images are in all of these together; the last one names them. What the daemon knows of containers holds the paths of
/// before, and stays.
const IMAGES: [&str; 4] = ["overlay2", "vfs", "buildkit", "image"];
const VOLUMES: [&str; 1] = ["volumes"];

/// In the daemon's folder, while something is moved: the direction.
const MOVING: &str = ".berth-settle";

/// `S_ISUID | S_ISGID`: a new owner takes them from a file.
const BITS: u32 = 0o6000;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settle {
    /// The daemon's, with folders for ranges in it.
    folder: PathBuf,
    range: Range,
    /// Whether the daemon's files belong to the range from now on.
    is_mapped: bool,
}

impl Settle {
    /// `FOLDER RANGE mapped|plain`
    pub(super) fn parse(words: &mut Words<impl Iterator<Item = OsString>>) -> Result<Self, Failure> {
        let folder = words.next("the daemon's folder")?.into();
        let range = range(words)?;
        let is_mapped = match words.text("`mapped` or `plain`")?.as_str() {
            "mapped" => true,
            "plain" => false,
            other => return Err(Failure::usage(format_args!("`{other}` is not `mapped` or `plain`"))),
        };
        Ok(Self { folder, range, is_mapped })
    }

    pub(super) fn execute(&self) -> Result<(), Failure> {
        let moved = self.settle().map_err(|error| {
            Failure::new(
                Failure::SYSTEM,
                format_args!("`{}` cannot be moved: {error}", self.folder.display()),
            )
        })?;
        for line in moved.lines(self.is_mapped) {
            writeln!(io::stdout(), "{line}")?;
        }
        Ok(())
    }

    fn settle(&self) -> io::Result<Moved> {
        let other = Self { is_mapped: !self.is_mapped, folder: self.folder.clone(), ..*self };
        if fs::read_to_string(self.folder.join(MOVING)).is_ok_and(|begun| begun == other.direction()) {
            other.move_all()?;
        }
        self.move_all()
    }

    fn direction(&self) -> &'static str {
        if self.is_mapped { "mapped" } else { "plain" }
    }

    /// Before the first file has another owner.
    fn note(&self) -> io::Result<()> {
        let mut file = File::create(self.folder.join(MOVING))?;
        file.write_all(self.direction().as_bytes())?;
        file.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    fn move_all(&self) -> io::Result<Moved> {
        let ids = self.range.first;
        let mapped = self.folder.join(format!("{ids}.{ids}"));
        let plain = self.folder.clone();
        let (from, to) = if self.is_mapped { (plain, mapped) } else { (mapped, plain) };
        let mut moved = Moved::default();
        for (names, what) in [(&IMAGES[..], "images"), (&VOLUMES[..], "volumes")] {
            let there: Vec<&str> = names.iter().copied().filter(|name| from.join(name).is_dir()).collect();
            if there.is_empty() {
                continue;
            }
            if holds(&to, names) {
                moved.left.push((what, from.clone()));
                continue;
            }
            self.note()?;
            DirBuilder::new().recursive(true).mode(0o710).create(&to)?;
            for name in there {
                self.give(name, &from.join(name), &mut moved)?;
                set_aside(&to, name)?;
                fs::rename(from.join(name), to.join(name))?;
            }
            moved.what.push(what);
        }
        match fs::remove_file(self.folder.join(MOVING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(moved),
        }
    }

    /// Gives the files of containers in `folder` their owners; the rest in it is the daemon's.
    fn give(&self, name: &str, folder: &Path, moved: &mut Moved) -> io::Result<()> {
        let content: &[&str] = match name {
            "overlay2" => &["diff", "work", "merged"],
            "volumes" => &["_data"],
            "vfs" => return self.give_all(folder, moved),
            _ => return Ok(()),
        };
        if name == "overlay2" {
            self.let_through(folder)?;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?.path();
            if !fs::symlink_metadata(&entry)?.is_dir() {
                continue;
            }
            for part in content {
                let part = entry.join(part);
                if fs::symlink_metadata(&part).is_ok_and(|found| found.is_dir()) {
                    self.give_all(&part, moved)?;
                }
            }
            if name == "overlay2" {
                self.let_through(&entry)?;
            }
        }
        Ok(())
    }

    /// A container's root has to get to its own folder.
    fn let_through(&self, folder: &Path) -> io::Result<()> {
        chown(folder, Some(0), Some(if self.is_mapped { self.range.first } else { 0 }))
    }

    fn give_all(&self, folder: &Path, moved: &mut Moved) -> io::Result<()> {
        self.give_one(folder)?;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            // A path may be too long: a server makes what it likes in its volume, and is no reason for a daemon not to start.
            let Ok(entries) = fs::read_dir(&folder) else {
                moved.failed += 1;
                continue;
            };
            for entry in entries {
                let path = entry?.path();
                match self.give_one(&path) {
                    Ok(found) if found.is_dir() => folders.push(path),
                    Ok(_) => {}
                    Err(error) if is_full(&error) => return Err(error),
                    Err(_) => moved.failed += 1,
                }
            }
        }
        Ok(())
    }

    fn give_one(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::symlink_metadata(path)?;
        let (uid, gid) = (self.id(found.uid()), self.id(found.gid()));
        if (uid, gid) != (found.uid(), found.gid()) {
            let capabilities =
                if found.is_file() { xattr::get(path, attributes::CAPABILITIES) } else { None };
            // First what may be done twice: by its owner it is known whether a file has been seen to.
            for name in attributes::LISTS.iter().filter(|_| !found.is_symlink()) {
                if let Some(list) =
                    xattr::get(path, name).and_then(|list| attributes::list(&list, |id| self.id(id)))
                {
                    xattr::set(path, name, &list)?;
                }
            }
            lchown(path, Some(uid), Some(gid))?;
            let root = self.is_mapped.then_some(self.range.first);
            if let Some(given) = capabilities.and_then(|value| attributes::capabilities(&value, root)) {
                xattr::set(path, attributes::CAPABILITIES, &given)?;
            }
            if found.is_file() && found.mode() & BITS != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(found.mode() & 0o7777))?;
            }
        }
        Ok(found)
    }

    /// What an id becomes; the same where that has been done.
    fn id(&self, id: u32) -> u32 {
        let Range { first, .. } = self.range;
        match (self.is_mapped, self.range.contains(id)) {
            // Whoever has a greater number is the last of the range.
            (true, false) => first + id.min(self.range.common()),
            (false, true) => id - first,
            _ => id,
        }
    }
}

/// Makes room for a folder of that name. Mostly a daemon has just made the one that is there; what is in it is not looked at,
/// and stays.
fn set_aside(folder: &Path, name: &str) -> io::Result<()> {
    let there = folder.join(name);
    match fs::remove_dir(&there) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(()),
    }
    let mut aside = (1..).map(|n| folder.join(format!("{name}.aside-{n}")));
    aside.find(|path| !path.exists()).map_or(Ok(()), |aside| fs::rename(there, aside))
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Whether the daemon has images there already, or volumes.
fn holds(root: &Path, names: &[&str]) -> bool {
    let entries = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let is_folder = |entry: fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    if names == VOLUMES {
        return entries(root.join("volumes")).any(is_folder);
    }
    let mut drivers = entries(root.join("image"));
    drivers.any(|driver| entries(driver.path().join("imagedb/content/sha256")).next().is_some())
}

/// What has become of it.
#[derive(Debug, Default)]
struct Moved {
    what: Vec<&'static str>,
    /// What the daemon has in both places, and where it does not look.
    left: Vec<(&'static str, PathBuf)>,
    /// Files that are nobody's now.
    failed: usize,
}

impl Moved {
    fn lines(&self, is_mapped: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.what.is_empty() {
            let whose = if is_mapped { "to its own ids" } else { "back to the machine's ids" };
            lines.push(format!("gave the {} in the daemon {whose}", self.what.join(" and ")));
        }
        lines.extend(self.left.iter().map(|(what, place)| {
            format!("older {what} stay in `{}`, for there are newer ones", place.display())
        }));
        if self.failed > 0 {
            let files = if self.failed == 1 { "file" } else { "files" };
            lines.push(format!("{} {files} in volumes could not be given to the daemon's ids", self.failed));
        }
        lines
    }
}
