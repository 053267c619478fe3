//! A mount that an entry asks for, before it is known whether another holds it; and what is said of paths that have none.

use std::path::{Path, PathBuf};

use super::super::fit;
use crate::clients::Machine;

/// What is to be mounted at its own place.
#[derive(Debug)]
pub(super) struct Wish {
    /// As a template.
    pub source: String,
    pub path: PathBuf,
    pub writable: bool,
    /// Whose it is: a flag, a variable, or the arguments.
    pub whose: String,
    /// What a person has to do first.
    pub step: Option<String>,
}

/// The folder of a file, and its source.
pub(super) fn above(path: &Path, source: &str) -> Option<(PathBuf, String)> {
    let folder = path.parent().filter(|folder| *folder != Path::new("/"))?;
    Some((folder.to_owned(), source.rsplit_once('/')?.0.to_owned()))
}

/// `--flag`, or the arguments.
pub(super) fn quoted(whose: &str) -> String {
    if whose.contains(' ') { whose.to_owned() } else { format!("`{whose}`") }
}

/// `--flag` names, or the arguments name.
pub(super) fn naming(whose: &str) -> String {
    format!("{} {}", quoted(whose), if whose.contains(' ') { "name" } else { "names" })
}

/// What is said of a place where a container has something of its own.
pub(super) fn containers_own(
    text: &str,
    path: &Path,
    is_path: bool,
    machine: &Machine<'_>,
) -> Option<String> {
    if ["/tmp", "/var/tmp"].iter().any(|own| path == Path::new(own)) {
        return Some(format!(
            "`{text}` is the container's own: it begins empty, and ends with the session; for files that stay, name a folder of \
             yours"
        ));
    }
    let is_said = machine.has(path) && !fit::is_every_containers(path) && (is_path || path != Path::new("/"));
    is_said.then(|| {
        if path.starts_with("/dev") {
            return format!(
                "`{text}` is a device of this machine, and berth gives no server a device; leave the entry as it is where it needs \
                 that"
            );
        }
        format!(
            "`{text}` is the container's own, not this machine's; what the server needs of it goes into a folder of yours"
        )
    })
}
