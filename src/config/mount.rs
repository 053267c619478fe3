//! `mounts`: folders and files of this machine in a server's container.
//!
//! An entry is a text until its server starts; then `mount/source.rs` makes a [`Mount`] of it.

mod source;

use std::path::{Path, PathBuf};

use super::error::{ConfigError, Place};
use super::reader::Section;
use crate::values::{Lookup, PathTemplate, Value, ValueError, from_str};

from_str!(MountEntry);

/// A mount of a server's, its source not yet expanded. As a flag the same text: `SOURCE:TARGET[:ro|rw]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    source: PathTemplate,
    pub(super) target: String,
    pub(super) writable: bool,
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
        let source = PathTemplate::parse(source).ok()?;
        Some(Self { source, target, writable, place: None })
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

pub(super) fn read_mounts(
    section: &mut Section,
    key: &'static str,
) -> Result<Option<Vec<MountEntry>>, ConfigError> {
    let Some(item) = section.take_item(key) else { return Ok(None) };
    let mut mounts: Vec<MountEntry> = item.list()?;
    for mount in &mut mounts {
        mount.place = Some(item.place());
    }
    Ok(Some(mounts))
}

/// A folder or a file of this machine in a server's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On this machine and in the daemon; no part of it is a link.
    pub source: String,
    /// In the container.
    pub target: String,
    pub writable: bool,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// It lies in another mount.
    pub(super) within: bool,
}

impl Mount {
    /// The keeper's option for one that lies in another.
    pub const WITHIN: &str = "--within";

    /// Of a device and an inode.
    #[cfg(test)]
    pub(crate) fn new(source: &str, target: &str, writable: bool, (device, inode): (u64, u64)) -> Self {
        Self { source: source.to_owned(), target: target.to_owned(), writable, device, inode, within: false }
    }

    /// What the keeper compares with what it finds: `--mount DEVICE:INODE:TARGET`, or `--within ro:…` for one that lies in another.
    pub fn option(&self) -> [String; 2] {
        let identity = format!("{}:{}:{}", self.device, self.inode, self.target);
        if !self.within {
            return ["--mount".to_owned(), identity];
        }
        let mode = if self.writable { "rw" } else { "ro" };
        [Self::WITHIN.to_owned(), format!("{mode}:{identity}")]
    }
}

impl MountEntry {
    /// The variables that its source names.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.source.variables()
    }

    /// `Err` is the name of a variable that is not set.
    pub(super) fn expand(&self, lookup: Lookup) -> Result<String, String> {
        self.source.expand(lookup)
    }
}
