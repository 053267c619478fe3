//! Mounts that are made for a container, of what is the person's: they show its files as the container's users have them.
//!
//! Each is in the daemon's container for a moment, until the real runtime has made the container.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;

use crate::json::Json;
use crate::needs::{self, Expected};
use crate::sys::userns;

/// Where they are for that moment.
const COPIES: &str = "/run/berth";

/// The mounts of a container that somebody's files lie in.
#[derive(Debug, Default)]
pub(super) struct Foreign<'a> {
    /// The person's: what is to be mounted, and where.
    pub(super) given: Vec<&'a Expected>,
    /// Volumes, whose files belong to ids of the range.
    pub(super) volumes: Vec<&'a Path>,
    /// The person on the machine, as user and group, if the container's own user is to have the person's rights there.
    pub(super) caller: Option<(u32, u32)>,
}

/// Why there is no such mount.
pub(super) enum Failed {
    Open(String),
    Map(String),
}

/// Mounts that are made for a container.
pub(super) struct Copies<'a> {
    container: &'a OsStr,
    /// Where in the container, and what is mounted there now.
    sources: Vec<(PathBuf, PathBuf)>,
    made: Vec<Copy>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(container: &'a OsStr) -> Self {
        Self { container, sources: Vec::new(), made: Vec::new() }
    }

    /// Of all that is the person's.
    pub(super) fn add_given(
        &mut self,
        config: &Json,
        foreign: &Foreign<'_>,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Failed> {
        let mut given = foreign.given.iter();
        given
            .try_for_each(|given| self.add(config, &given.path, Some((given.device, given.inode)), namespace))
    }

    /// Of what `config` mounts at `path`, with the ids of `namespace`; if `expected` says so, only of that.
    pub(super) fn add(
        &mut self,
        config: &Json,
        path: &Path,
        expected: Option<(u64, u64)>,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Failed> {
        let mut mounts = config.at("mounts").items();
        let is_here = |mount: &&Json| mount.at("destination").text().is_some_and(|at| Path::new(at) == path);
        let Some(source) = mounts.find(is_here).and_then(|mount| mount.at("source").text()) else {
            return Ok(());
        };
        let failed = |error: io::Error| format!("what is to be mounted at `{}`: {error}", path.display());
        let mount = userns::copy_mount(Path::new(source)).map_err(|error| Failed::Open(failed(error)))?;
        let found = mount.metadata().map_err(|error| Failed::Open(failed(error)))?;
        if expected.is_some_and(|expected| expected != (found.dev(), found.ino())) {
            return Err(Failed::Open(needs::not_as_asked(path)));
        }
        userns::map_ids(mount.as_fd(), namespace).map_err(|error| {
            Failed::Map(format!("`{source}` is on a file system without id-mapped mounts ({error})"))
        })?;
        let copy = Copy::attach(&mount, found.is_dir(), self.container, self.made.len())
            .map_err(|error| Failed::Open(failed(error)))?;
        self.sources.push((path.to_owned(), copy.0.clone()));
        self.made.push(copy);
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.sources.clear();
        self.made.clear();
    }

    /// Has the configuration mount them. They have to live until that is done.
    pub(super) fn name_in(self, config: &mut Json) -> Vec<Copy> {
        let Some(mounts) = config.at_mut("mounts") else { return self.made };
        for mount in mounts.items_mut() {
            let at = mount.at("destination").text().map(PathBuf::from);
            let source = self.sources.iter().find(|(path, _)| Some(path) == at.as_ref());
            if let Some(source) = source.and_then(|(_, source)| source.to_str()) {
                mount.set("source", Json::Text(source.to_owned()));
            }
        }
        self.made
    }
}

/// A mount in the daemon's container, while it is in use.
#[derive(Debug)]
pub(super) struct Copy(PathBuf);

impl Copy {
    fn attach(mount: &File, is_folder: bool, container: &OsStr, number: usize) -> io::Result<Self> {
        let folders = Path::new(COPIES);
        DirBuilder::new().recursive(true).mode(0o711).create(folders)?;
        if number == 0 {
            sweep(folders, |_, maker| !Path::new("/proc").join(maker.to_string()).exists());
        }
        let mut name = container.to_owned();
        name.push(format!("-{number}-{}", process::id()));
        let copy = Self(folders.join(name));
        if is_folder {
            fs::create_dir(&copy.0)?;
        } else {
            File::create_new(&copy.0)?;
        }
        userns::attach(mount.as_fd(), &copy.0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Of a container that goes, if its maker was killed.
pub(super) fn forget(container: &OsStr) {
    sweep(Path::new(COPIES), |of, _| OsStr::new(of) == container);
}

/// Removes the copies of which `is_over` says so: of a container, by a process.
fn sweep(folder: &Path, is_over: impl Fn(&str, u32) -> bool) {
    for copy in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = copy.file_name();
        let mut parts = name.to_str().unwrap_or_default().rsplitn(3, '-');
        let [maker, number, container] =
            [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
        if let (Ok(maker), Ok(_)) = (maker.parse(), number.parse::<usize>())
            && is_over(container, maker)
        {
            remove(&copy.path());
        }
    }
}

fn remove(copy: &Path) {
    // What stays there goes with the daemon's container.
    let _ = userns::detach(copy);
    let _ = fs::remove_dir(copy).or_else(|_| fs::remove_file(copy));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn what_a_killed_runtime_has_left_goes_with_its_container_or_before() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name);
        let left = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        for name in ["a1-0-7", "a1-1-7", "b2-0-8", "c3-0-9", "pending"] {
            fs::create_dir(here(name)).unwrap();
        }
        fs::write(here("a1-2-7"), "").unwrap();
        fs::write(here("c3-0-9/x"), "").unwrap();
        sweep(folder.path(), |container, _| container == "a1");
        assert_eq!(left(), ["b2-0-8", "c3-0-9", "pending"]);
        sweep(folder.path(), |_, maker| maker >= 8);
        assert_eq!(left(), ["c3-0-9", "pending"], "and nothing that somebody has filled");
    }

    #[test]
    fn a_mount_is_made_of_its_copy() {
        let mut config = json::read(
            r#"{"mounts":[{"destination":"/w","source":"/home/me"},{"destination":"/v","source":"/home/me"}]}"#,
        )
        .unwrap();
        let sources = vec![("/w".into(), "/run/berth/1-0".into())];
        let made = Copies { container: OsStr::new("1"), sources, made: Vec::new() }.name_in(&mut config);
        assert!(made.is_empty());
        let sources: Vec<_> =
            config.at("mounts").items().map(|mount| mount.at("source").text().unwrap()).collect();
        assert_eq!(sources, ["/run/berth/1-0", "/home/me"]);
    }
}
