//! The one line of `share` that all imported servers need together.

use std::path::{Path, PathBuf};

use crate::config::{Config, Server, edit};
use crate::values::Lookup;

/// What the mounts of the imported servers need.
#[derive(Debug, Default)]
pub(super) struct Needed {
    folders: Vec<PathBuf>,
}

impl Needed {
    /// Adds what a server needs; gives what is to be said of it alone.
    pub(super) fn add(&mut self, config: &Config, server: &Server, lookup: Lookup) -> Vec<String> {
        let unshared = config.unshared(server, lookup);
        let notes = unshared.iter().filter_map(|unshared| {
            let why = unshared.obstacle.as_ref()?;
            Some(format!(
                "before it can start: `{}` cannot be shared with the daemon: {why}; keep what it mounts in a folder of its own, \
                 such as `~/mcp`, and correct `mounts`",
                unshared.folder.display()
            ))
        });
        let mut notes: Vec<String> = notes.collect();
        notes.sort();
        notes.dedup();
        // What is wrong with a mount beside that.
        if unshared.is_empty()
            && let Err(error) = config.mounts(server, lookup)
        {
            notes.push(format!("before it can start: {error}"));
        }
        self.folders.extend(unshared.into_iter().filter(|one| one.obstacle.is_none()).map(|one| one.folder));
        notes
    }

    /// Writes the line into the configuration's text, if it is to be written; gives what is to be said. `is_up`: the daemon
    /// has taken over what is written.
    pub(super) fn settle(
        self,
        config: &Config,
        text: &mut String,
        file: &Path,
        write: bool,
        is_up: bool,
    ) -> Result<Option<String>, String> {
        if self.folders.is_empty() {
            return Ok(None);
        }
        let shares = config.shares_with(&self.folders);
        let file = file.display();
        let then = if config.dind.host.is_none() && !(write && is_up) {
            "; then type `berth up`, which takes it over"
        } else {
            ""
        };
        if write {
            *text = edit::with_share(text, &shares)?;
            return Ok(Some(format!("`share` under [dind] in {file} holds what these servers mount{then}")));
        }
        let line: Vec<String> = shares.iter().map(|share| format!("{share:?}")).collect();
        Ok(Some(format!(
            "before these servers can start, share what they mount: write `share = [{}]` under [dind] in {file} (`berth import \
             --share` writes it){then}",
            line.join(", ")
        )))
    }
}
