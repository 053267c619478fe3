//! Which of the client's folders the server has, and what it calls them.

use std::path::Path;

use super::RootsMapping;
use crate::config::Mount;

/// What the folders that the client knows are called in the container. It may know the one that it works in by a link.
pub fn mappings(mounts: &[Mount], project: Option<&Path>) -> Vec<RootsMapping> {
    let mapping =
        |mount: &Mount| RootsMapping { host: (&mount.source).into(), container: (&mount.target).into() };
    let mut mappings: Vec<_> = mounts.iter().map(mapping).collect();
    if let Some(project) = project
        && let Ok(real) = project.canonicalize()
        && real != project
    {
        let innermost = mounts
            .iter()
            .filter(|mount| real.starts_with(&mount.source))
            .max_by_key(|mount| mount.source.len());
        let inside =
            |mount: &Mount| Some(Path::new(&mount.target).join(real.strip_prefix(&mount.source).ok()?));
        let container = innermost.and_then(inside);
        mappings.extend(container.map(|container| RootsMapping { host: project.to_owned(), container }));
    }
    mappings
}
