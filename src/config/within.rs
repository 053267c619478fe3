//! What is mounted within a server's mounts: other mounts, and names that it may not write (`protect`).
//!
//! Each protected name is mounted read-only into the project's own mount. A mount point can be neither renamed nor
//! removed from inside. Where a folder lies between the project and the name, it is mounted over itself, so that nobody
//! renames it and makes another one.
//!
//! Here is found out what to mount. Nothing is made: a name that is missing gets its place from `dock/reserved.rs`. The
//! keeper checks each mount before the server starts (`keeper/within.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::error::ConfigError;
use super::mount::Mount;
use super::server::Server;

mod git;
mod projects;

/// How the empty folder looks that holds a missing name's place: no person makes one like it.
pub const RESERVED_MODE: u32 = 0o1700;

/// What is mounted for a server, with what lies within.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Within {
    pub mounts: Vec<Mount>,
    /// Names that are not there yet; each has its mount already, of nothing.
    pub missing: BTreeSet<PathBuf>,
}

impl Within {
    /// What holds the place of a missing name now.
    pub fn fill(&mut self, source: &Path, (device, inode): (u64, u64)) {
        for mount in self.mounts.iter_mut().filter(|mount| Path::new(&mount.source) == source) {
            (mount.device, mount.inode) = (device, inode);
        }
    }

    /// Leaves out a missing name that nobody can make.
    pub fn leave_out(&mut self, source: &Path) {
        self.mounts.retain(|mount| Path::new(&mount.source) != source);
        self.missing.remove(source);
    }
}

/// Finds out what is to be mounted for `server`, which has these `mounts`. Looks at the files of the moment.
pub fn within(server: &Server, mounts: &[Mount]) -> Result<Within, ConfigError> {
    let mut view = View { server, asked: mounts, mounts: mounts.to_vec() };
    view.nest()?;
    let mut protected = view.protected()?;
    if !server.settings.reserve {
        protected.retain(|_, found| found.is_some());
    }
    view.protect(&protected);
    let missing = protected.into_iter().filter(|(_, stat)| stat.is_none()).map(|(path, _)| path).collect();
    Ok(Within { mounts: view.mounts, missing })
}

struct View<'a> {
    server: &'a Server,
    asked: &'a [Mount],
    mounts: Vec<Mount>,
}

/// What a path leads to, without following a link at its end.
fn look(path: &Path) -> Option<Metadata> {
    fs::symlink_metadata(path).ok()
}

impl<'a> View<'a> {
    /// The folders that the server may write.
    fn writable(&self) -> impl Iterator<Item = &'a Mount> + use<'a> {
        self.asked.iter().filter(|mount| mount.writable && Path::new(&mount.source).is_dir())
    }

    /// The innermost of those asked for that `target` lies in.
    fn outer(&self, target: &Path) -> Option<&'a Mount> {
        let around = self
            .asked
            .iter()
            .filter(|mount| target.starts_with(&mount.target) && target != Path::new(&mount.target));
        around.max_by_key(|mount| mount.target.len())
    }

    /// Sees to those that lie in others: that they have a place there already, which nobody can move.
    fn nest(&mut self) -> Result<(), ConfigError> {
        for n in 0..self.asked.len() {
            let inner = &self.asked[n];
            let Some(outer) = self.outer(Path::new(&inner.target)) else { continue };
            let Ok(rest) = Path::new(&inner.target).strip_prefix(&outer.target) else { continue };
            let refused = |why: String| {
                ConfigError::new(format!(
                    "server `{}` cannot have a mount at `{}`: {why}",
                    self.server.name, inner.target
                ))
                .with_hint("make it, or choose another place in the container")
            };
            let is_folder = Path::new(&inner.source).is_dir();
            let mut place = PathBuf::from(&outer.source);
            let mut parts = rest.components().peekable();
            while let Some(part) = parts.next() {
                place.push(part);
                let wants_folder = is_folder || parts.peek().is_some();
                let fits = look(&place).is_some_and(|found| {
                    found.dev() == outer.device && if wants_folder { found.is_dir() } else { found.is_file() }
                });
                if !fits {
                    let kind = if wants_folder { "folder" } else { "file" };
                    return Err(refused(format!("`{}` is no {kind}", place.display())));
                }
            }
            self.mounts[n].within = true;
            if outer.writable {
                self.pin(outer, rest);
            }
        }
        Ok(())
    }

    /// Mounts each folder on the way to `rest` over itself.
    fn pin(&mut self, outer: &Mount, rest: &Path) {
        let ways: Vec<&Path> = rest.ancestors().skip(1).filter(|way| !way.as_os_str().is_empty()).collect();
        for way in ways {
            if let Some(found) = look(&Path::new(&outer.source).join(way)) {
                self.add(outer, way, true, Some(&found));
            }
        }
    }

    /// Mounts a part of a mount over itself, unless something is mounted there.
    fn add(&mut self, outer: &Mount, rest: &Path, writable: bool, found: Option<&Metadata>) {
        let (source, target) = (Path::new(&outer.source).join(rest), Path::new(&outer.target).join(rest));
        // Another mount covers it.
        if self.outer(&target).is_none_or(|innermost| innermost != outer) {
            return;
        }
        let (Some(source), Some(target)) = (source.to_str(), target.to_str()) else { return };
        if let Some(there) = self.mounts.iter_mut().find(|mount| mount.target == target) {
            // It was only to stay where it is.
            there.writable &= writable || !there.within || Path::new(&there.source) != source;
            return;
        }
        let (device, inode) = found.map_or((0, 0), |found| (found.dev(), found.ino()));
        let (source, target) = (source.to_owned(), target.to_owned());
        self.mounts.push(Mount { source, target, writable, device, inode, within: true });
    }

    /// All that is protected, on this machine; what is not there yet has no metadata.
    fn protected(&mut self) -> Result<BTreeMap<PathBuf, Option<Metadata>>, ConfigError> {
        let names = &self.server.settings.protect;
        let mut protected = BTreeMap::new();
        if names.is_empty() {
            return Ok(protected);
        }
        // Whoever asks for `~/project/.git` by its name shall have it. AI clients keep worktrees in such folders, which are
        // projects like any other.
        let opened = |folder: &Path| {
            let is_name = |part: Component<'_>| names.iter().any(|name| part.as_os_str() == name.first());
            folder.components().any(is_name) && look(&folder.join(".git")).is_none()
        };
        // Whoever protects nothing of git's own protects nothing of where it leads.
        let is_git = names.iter().any(|name| name.first() == ".git");
        let follow = |project: &Path| if is_git { git::led(project) } else { Vec::new() };
        let roots: Vec<&Mount> = self.writable().filter(|mount| !opened(Path::new(&mount.source))).collect();
        for root in &roots {
            let mut led = follow(Path::new(&root.source));
            if is_git {
                led.extend(git::led_from_above(Path::new(&root.source)));
            }
            let led = led.iter().filter_map(|path| path.strip_prefix(&root.source).ok());
            for name in names {
                if let Some((path, found)) = self.find(root, Path::new(name.as_str()))? {
                    protected.insert(path, found);
                }
            }
            // No place is made for what a file in the project has named.
            for name in led {
                if let Some((path, Some(found))) = self.find(root, name)? {
                    protected.insert(path, Some(found));
                }
            }
        }
        for root in roots {
            for (path, found) in self.nested(root, follow)? {
                protected.entry(path).or_insert(Some(found));
            }
        }
        for mount in self.asked.iter().filter(|mount| mount.writable) {
            protected.remove(Path::new(&mount.source));
        }
        Ok(protected)
    }

    /// What a name stands for in a project: itself, or as much of the way to it as there is.
    fn find(&self, root: &Mount, name: &Path) -> Result<Option<(PathBuf, Option<Metadata>)>, ConfigError> {
        let mut path = PathBuf::from(&root.source);
        let mut parts = name.components().peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            let Some(found) = look(&path).filter(|found| !is_reserved(&path, found)) else {
                return Ok(Some((path, None)));
            };
            if found.is_symlink() {
                let shown = path.strip_prefix(&root.source).unwrap_or(&path);
                return Err(ConfigError::new(format!(
                    "server `{}` cannot have `{}` to write: `{}` is a link, and cannot be protected",
                    self.server.name,
                    root.source,
                    shown.display()
                ))
                .with_hint("replace the link, remove `:rw`, or set `protect` to a list without that name"));
            }
            // What is mounted there on this machine is no part of the server's mount.
            if found.dev() != root.device {
                return Ok(None);
            }
            if parts.peek().is_none() || !found.is_dir() {
                return Ok(Some((path, Some(found))));
            }
        }
        Ok(None)
    }

    /// What is there of the names in the repositories below a project, and of what git obeys besides.
    fn nested(
        &self,
        root: &Mount,
        follow: impl Fn(&Path) -> Vec<PathBuf>,
    ) -> Result<Vec<(PathBuf, Metadata)>, ConfigError> {
        let names = &self.server.settings.protect;
        let source = Path::new(&root.source);
        let is_name = |folder: &str| names.iter().any(|name| name.first() == folder);
        let projects = projects::below(source, is_name).map_err(|projects::TooMany(what)| {
            ConfigError::new(format!(
                "server `{}` cannot have `{}` to write: it holds too many {what} to protect them all",
                self.server.name, root.source
            ))
            .with_hint("mount the projects that it needs, or set `protect = false`")
        })?;
        let mut nested = Vec::new();
        for project in projects {
            // A repository that a server has made says nothing of others.
            let there = names.iter().map(|name| project.join(name.as_str()));
            let led = follow(&project).into_iter().filter(|path| path.starts_with(&project));
            nested.extend(there.chain(led).filter_map(|path| {
                let found = look(&path)?;
                let usual = found.is_dir() || found.is_file();
                // A link on the way could be led elsewhere.
                let is_itself = fs::canonicalize(&path).is_ok_and(|real| real == path);
                (usual && is_itself && found.dev() == root.device).then_some((path, found))
            }));
        }
        Ok(nested)
    }

    /// Mounts what is protected, by whatever way the server could reach it.
    fn protect(&mut self, protected: &BTreeMap<PathBuf, Option<Metadata>>) {
        let folders: Vec<&Mount> = self.writable().collect();
        for folder in folders {
            for (path, found) in protected {
                let Ok(rest) = path.strip_prefix(&folder.source) else { continue };
                // Within this mount; what lies around it is another's.
                let mut around =
                    path.ancestors().skip(1).take_while(|outer| *outer != Path::new(&folder.source));
                let is_inside = around.any(|outer| protected.contains_key(outer));
                if rest.as_os_str().is_empty() || is_inside {
                    continue;
                }
                self.pin(folder, rest);
                self.add(folder, rest, false, found.as_ref());
            }
        }
    }
}

/// Whether it is berth's own: an empty folder that holds a name's place for another session.
pub fn is_reserved(path: &Path, found: &Metadata) -> bool {
    found.is_dir()
        && found.mode() & 0o5777 == RESERVED_MODE
        && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests;
