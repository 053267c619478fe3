//! A mount that an entry asks for, before it is known whether another holds it.

use std::path::{Path, PathBuf};

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
