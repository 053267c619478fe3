//! `mounts`: folders and files of this machine in a server's container.
//!
//! An entry is a text until its server starts; then `mount/source.rs` makes a [`Mount`] of it.

mod lent;
mod source;

use std::path::{Component, Path, PathBuf};

use super::error::{ConfigError, Place};
use super::reader::Section;
use crate::values::{Lookup, PathTemplate, Template, Value, ValueError, from_str};

from_str!(MountEntry);

/// A mount of a server's, its source not yet expanded. As a flag the same text: `SOURCE:TARGET[:ro|rw]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    source: PathTemplate,
    /// As it is written; a template where `is_open`.
    pub(super) target: String,
    /// Its target begins with a variable, and is known when its server starts.
    is_open: bool,
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
        let (source, target) = split(rest)?;
        let is_open = target.starts_with("${");
        let target = if is_open {
            Template::parse(target).ok().map(|_| target.to_owned())
        } else {
            target_path(target)
        };
        let source = PathTemplate::parse(source).ok()?;
        Some(Self { source, target: target?, is_open, writable, place: None })
    }
}

/// The source and the target; a variable's default has a colon of its own.
fn split(text: &str) -> Option<(&str, &str)> {
    let at = text.rfind("${").filter(|at| text[*at..].contains('}'));
    let is_inside =
        |colon: usize| at.is_some_and(|at| colon > at && colon < at + text[at..].find('}').unwrap_or(0));
    let colon = text.rmatch_indices(':').map(|(colon, _)| colon).find(|colon| !is_inside(*colon))?;
    Some((&text[..colon], &text[colon + 1..]))
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

/// An absolute path; what begins with `.` lies in the folder in which the client starts berth.
pub(super) fn in_client(text: &str) -> Option<String> {
    let path = Path::new(text);
    if !path.is_absolute() && path.components().next() != Some(Component::CurDir) {
        return None;
    }
    std::path::absolute(path).ok()?.to_str().map(str::to_owned)
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
    /// The variables that it names.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        self.source.variables().map(str::to_owned).chain(
            self.open()
                .into_iter()
                .flat_map(|target| target.variables().map(str::to_owned).collect::<Vec<_>>()),
        )
    }

    fn open(&self) -> Option<Template> {
        Template::parse(&self.target).ok().filter(|_| self.is_open)
    }

    /// Its target, where it is written out.
    pub(super) fn known_target(&self) -> Option<&str> {
        (!self.is_open).then_some(self.target.as_str())
    }

    /// Its target, with the variables put in; `.` is the folder in which the client starts berth. `Err` completes «because …».
    pub(super) fn expand_target(&self, lookup: Lookup) -> Result<String, String> {
        let Some(template) = self.open() else { return Ok(self.target.clone()) };
        let target =
            template.expand(lookup).map_err(|variable| format!("the variable `{variable}` is not set"))?;
        let path = in_client(&target).ok_or("it is not an absolute path")?;
        target_path(&path).ok_or_else(|| format!("`{path}` holds `..`, a `,` or a `:`"))
    }

    /// The same, with a target that is written out.
    pub(super) fn settled(&self, lookup: Lookup) -> Result<Self, String> {
        Ok(Self { target: self.expand_target(lookup)?, is_open: false, ..self.clone() })
    }

    /// `Err` is the name of a variable that is not set.
    pub(super) fn expand(&self, lookup: Lookup) -> Result<String, String> {
        self.source.expand(lookup)
    }
}
