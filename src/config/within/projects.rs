//! The git repositories below a folder.

use std::fs;
use std::path::{Path, PathBuf};

/// How many folders are looked through. Some milliseconds for a thousand.
const FOLDERS: usize = 20_000;
/// How many repositories there may be. Each has a mount of its own for each of its protected names.
pub(super) const PROJECTS: usize = 200;
/// How deep they are looked for.
const DEPTH: usize = 3;
/// What tools fill by themselves.
const FILLED: [&str; 2] = ["node_modules", "target"];

/// Why the search ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany(pub(super) &'static str);

/// The repositories below `root`, and not itself; nor those in folders that `is_left_out` names.
///
/// # Errors
///
/// [`TooMany`] where not all of them can be found. A server could make folders until its neighbours are passed over.
pub(super) fn below(root: &Path, is_left_out: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, TooMany> {
    let mut projects = Vec::new();
    let mut folders = vec![root.to_owned()];
    let mut seen = 0;
    for depth in 0..=DEPTH {
        let mut next = Vec::new();
        for folder in folders {
            seen += 1;
            if seen > FOLDERS {
                return Err(TooMany("folders"));
            }
            let mut is_project = false;
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                is_project |= name == ".git";
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if depth < DEPTH
                    && is_folder
                    && name.to_str().is_some_and(|name| !FILLED.contains(&name) && !is_left_out(name))
                {
                    next.push(entry.path());
                }
            }
            if depth > 0 && is_project {
                projects.push(folder);
            }
            if projects.len() > PROJECTS {
                return Err(TooMany("git repositories"));
            }
        }
        folders = next;
    }
    Ok(projects)
}
