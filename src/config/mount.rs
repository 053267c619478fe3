//! `mounts`: folders and files of this machine in a server's container.
//!
//! An entry is a text until its server starts ([`Config::mounts`]). Then its source is opened once, and what the kernel
//! says of the open file decides: its path without links has to lie in a shared folder, and its device and inode go
//! with it, so that whatever the daemon mounts in the end is known for the same or another thing (see
//! `keeper/mounts.rs`): a server that may write in a folder can put a link in the place of anything below it, at any moment.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::Config;
use super::error::{ConfigError, Place};
use super::reader::Section;
use super::server::{Server, Settings};
use super::share::Shares;
use crate::values::Lookup;
use crate::values::Template;
use crate::values::{Value, ValueError, from_str};

from_str!(MountEntry);

/// Where nothing of a person's may be mounted, nor below.
const CLOSED: [&str; 4] = ["/.berth", "/dev", "/proc", "/sys"];

/// A mount of a server's, its source not yet expanded. As a flag the same text: `SOURCE:TARGET[:ro|rw]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    source: Template,
    /// The source begins with `~`.
    at_home: bool,
    pub(super) target: String,
    writable: bool,
    pub(super) place: Option<Place>,
}

impl Value for MountEntry {
    const EXPECTED: &'static str =
        "a mount such as \"~/src/project:/workspace\", with \":rw\" behind it to be written";

    fn from_text(text: &str) -> Option<Self> {
        let (rest, writable) = match text.rsplit_once(':') {
            Some((rest, "rw")) => (rest, true),
            Some((rest, "ro")) => (rest, false),
            _ => (text, false),
        };
        let (source, target) = rest.rsplit_once(':')?;
        let target = target_path(target)?;
        let at_home = source == "~" || source.starts_with("~/");
        let source = Template::parse(source.strip_prefix('~').filter(|_| at_home).unwrap_or(source)).ok()?;
        Some(Self { source, at_home, target, writable, place: None })
    }
}

/// A path in the container as Docker and the kernel will read it; `None` for what could mean another than it says.
pub(super) fn target_path(text: &str) -> Option<String> {
    let plain = text.starts_with('/')
        && !text.contains(['\0', ',', ':'])
        && text.split('/').all(|part| part != "." && part != "..");
    let path: PathBuf = Path::new(text).components().collect();
    plain.then(|| path.to_string_lossy().into_owned())
}

pub(super) fn read_mounts(section: &mut Section) -> Result<Option<Vec<MountEntry>>, ConfigError> {
    let Some(item) = section.take_item("mounts") else { return Ok(None) };
    let mut mounts: Vec<MountEntry> = item.list()?;
    for mount in &mut mounts {
        mount.place = Some(item.place());
    }
    Ok(Some(mounts))
}

impl Settings {
    /// Adds a layer's mounts, target by target; an empty list takes away those of the layers below.
    pub(super) fn apply_mounts(&mut self, over: &[MountEntry]) {
        if over.is_empty() {
            self.mounts.clear();
        }
        self.mounts.retain(|mount| over.iter().all(|other| other.target != mount.target));
        self.mounts.extend_from_slice(over);
    }

    /// Where something is mounted, and the line that says so.
    fn targets(&self) -> impl Iterator<Item = (&str, Option<&Place>)> {
        let mounts = self.mounts.iter().map(|mount| (mount.target.as_str(), mount.place.as_ref()));
        mounts.chain(self.volumes.iter().map(|volume| (volume.target.as_str(), volume.place.as_ref())))
    }

    /// Whether the places of all that is mounted go together. Below a folder that a server may write, it could have put a
    /// link there that leads to the keeper; and Docker would make a missing one, as root, in the person's own folder.
    pub(super) fn check_targets(&self, server: &str) -> Result<(), ConfigError> {
        for (n, (target, place)) in self.targets().enumerate() {
            let refused = |why: String| {
                ConfigError::new(format!("server `{server}` cannot have a mount at `{target}`: {why}"))
                    .at(place.cloned())
                    .with_hint("choose another place in the container, such as \"/workspace\"")
            };
            let path = Path::new(target);
            if path == Path::new("/") || CLOSED.iter().any(|closed| path.starts_with(closed)) {
                return Err(refused("the container needs its own".to_owned()));
            }
            let tmpfs = self.tmpfs.keys().map(String::as_str).filter(|tmpfs| {
                // One inside of a tmpfs is no fault; that is the container's own.
                Path::new(tmpfs).components().eq(path.components()) || Path::new(tmpfs).starts_with(path)
            });
            let others =
                self.targets().enumerate().filter(|(other, _)| *other != n).map(|(_, (other, _))| other);
            let below = others.filter(|other| path.starts_with(other));
            if let Some(other) = tmpfs.chain(below).next() {
                return Err(refused(if Path::new(other) == path {
                    "something else is to be there, too".to_owned()
                } else {
                    format!("`{other}` is to be there, and one may not lie in the other")
                }));
            }
        }
        Ok(())
    }
}

/// A folder or a file of this machine in a server's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On this machine and in the daemon; no part of it is a link.
    pub source: String,
    /// In the container.
    pub target: String,
    pub writable: bool,
    device: u64,
    inode: u64,
}

impl Mount {
    /// Of a device and an inode.
    #[cfg(test)]
    pub(crate) fn new(source: &str, target: &str, writable: bool, (device, inode): (u64, u64)) -> Self {
        Self { source: source.to_owned(), target: target.to_owned(), writable, device, inode }
    }

    /// What the keeper compares with what it finds: `DEVICE:INODE:TARGET`.
    pub fn identity(&self) -> String {
        format!("{}:{}:{}", self.device, self.inode, self.target)
    }
}

impl Config {
    /// The mounts of `server`, one of this configuration's or of the flags' own.
    pub fn mounts(&self, server: &Server, lookup: Lookup) -> Result<Vec<Mount>, ConfigError> {
        let entries = &server.settings.mounts;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        // DOCKER_HOST may name a socket that the file knows nothing of.
        let share = match self.dind.find_engine(lookup) {
            Ok(engine) => self.dind.share.clone().without_socket(&engine.address),
            Err(_) => self.dind.share.clone(),
        };
        let shared = share.present();
        entries.iter().map(|entry| self.mount(&server.name, entry, (&share, &shared), lookup)).collect()
    }

    fn mount(
        &self,
        server: &str,
        entry: &MountEntry,
        (share, shared): (&Shares, &[PathBuf]),
        lookup: Lookup,
    ) -> Result<Mount, ConfigError> {
        let wrong = |message: String| ConfigError::new(message).at(entry.place.clone());
        let source = entry.expand(lookup).map_err(|variable| {
            wrong(format!("server `{server}` needs the variable `{variable}` for a mount, which is not set"))
                .with_hint(format!(
                    "set it for the client that starts berth (Codex passes what its `env_vars` names), \
                     or write `${{{variable}:-default}}`"
                ))
        })?;
        let from = Path::new(&source);
        if !from.is_absolute() && from.components().next() != Some(Component::CurDir) {
            return Err(wrong(format!("server `{server}` cannot mount `{source}`: it is no absolute path"))
                .with_hint("begin with `/`, `~/`, or `.` for the folder in which the client starts berth"));
        }
        let (path, stat) = look_at(from).map_err(|error| {
            wrong(format!("server `{server}` cannot mount `{source}`: {error}"))
                .with_hint("name a folder that is there, or take the mount out")
        })?;
        let refused = |why: &str| {
            let real = if from == path { String::new() } else { format!(" (`{}`)", path.display()) };
            wrong(format!("server `{server}` cannot mount `{source}`{real}: {why}"))
        };
        if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::Directory | FileType::RegularFile) {
            return Err(refused("it is neither a folder nor a file"));
        }
        let Some(plain) = path.to_str().filter(|path| !path.contains([',', ':'])) else {
            return Err(refused("its path holds a `,`, a `:` or what is no text"));
        };
        if let Some(why) = share.closed(&path) {
            return Err(refused(&why).with_hint("keep what servers are to work on in a folder of its own"));
        }
        if let Some(apart) = share.unseen(&path) {
            return Err(refused(&apart.why()).with_hint(apart.hint()));
        }
        let is_shared = |path: &Path| shared.iter().any(|share| path.starts_with(share));
        if !is_shared(&path) {
            // Whoever put the link there shall not have it shared.
            if is_shared(from) || share.names(from) {
                return Err(refused("a link leads out of what is shared").with_hint(
                    "look at the links in its path; what they lead to would have to be shared, too",
                ));
            }
            let folder = if path.is_dir() { &path } else { path.parent().unwrap_or(&path) };
            let file = self.expected.display();
            let hint = match share.line_with(folder) {
                Some(line) if self.dind.host.is_none() => {
                    format!("write `{line}` under [dind] in {file}, then type `berth up`")
                }
                Some(line) => format!("write `{line}` under [dind] in {file}"),
                None => "that could not be shared: keep what servers are to work on in a folder of its own"
                    .to_owned(),
            };
            return Err(match share.known_apart() {
                Some(apart) => {
                    let why = format!("it is not shared with the daemon, and {}", apart.why());
                    refused(&why).with_hint(format!("{}, {hint}", apart.hint()))
                }
                None => refused("it is not shared with the daemon").with_hint(hint),
            });
        }
        let device = stat.st_dev;
        let inode = stat.st_ino;
        Ok(Mount {
            source: plain.to_owned(),
            target: entry.target.clone(),
            writable: entry.writable,
            device,
            inode,
        })
    }
}

impl MountEntry {
    /// The variables that its source names.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.source.variables()
    }

    /// `Err` is the name of a variable that is not set.
    fn expand(&self, lookup: Lookup) -> Result<String, String> {
        let source = self.source.expand(lookup).map_err(str::to_owned)?;
        if !self.at_home {
            return Ok(source);
        }
        let home = lookup("HOME").filter(|home| !home.is_empty()).ok_or("HOME")?;
        Ok(home + &source)
    }
}

/// The path without links of what `path` leads to at the moment, and what that is; of one and the same open file.
fn look_at(path: &Path) -> std::io::Result<(PathBuf, Stat)> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))?;
    Ok((real, rustix::fs::fstat(&file)?))
}

#[cfg(test)]
mod tests;
