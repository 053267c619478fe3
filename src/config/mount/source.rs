//! Resolves a server's `mounts` when it starts.
//!
//! berth opens a source once, and the kernel's view of the open file decides: its path without links must lie in a
//! shared folder. Device and inode go to the keeper, which compares them with the mount that the daemon made
//! (`keeper/needs.rs`). The comparison matters because a server that may write to a folder can replace anything below
//! it with a link.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::{Mount, MountEntry};
use crate::config::Config;
use crate::config::error::ConfigError;
use crate::config::server::Server;
use crate::config::share::Shares;
use crate::values::Lookup;

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
            wrong(format!("server `{server}` needs the variable `{variable}` for a mount, but it is not set"))
                .with_hint(format!(
                    "set it for the client that starts berth (Codex passes what its `env_vars` names), \
                     or write `${{{variable}:-default}}`"
                ))
        })?;
        let from = Path::new(&source);
        if !from.is_absolute() && from.components().next() != Some(Component::CurDir) {
            return Err(wrong(format!(
                "server `{server}` cannot mount `{source}`: it is not an absolute path"
            ))
            .with_hint("begin with `/`, `~/`, or `.` for the folder in which the client starts berth"));
        }
        let (path, stat) = look_at(from).map_err(|error| {
            wrong(format!("server `{server}` cannot mount `{source}`: {error}"))
                .with_hint("name a folder that exists, or remove the mount")
        })?;
        let refused = |why: &str| {
            let real = if from == path { String::new() } else { format!(" (`{}`)", path.display()) };
            wrong(format!("server `{server}` cannot mount `{source}`{real}: {why}"))
        };
        if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::Directory | FileType::RegularFile) {
            return Err(refused("it is neither a folder nor a file"));
        }
        let Some(plain) = path.to_str().filter(|path| !path.contains([',', ':'])) else {
            return Err(refused("its path holds a `,`, a `:` or a byte that is not UTF-8"));
        };
        if let Some(why) = share.closed(&path) {
            return Err(refused(&why).with_hint("keep the servers' files in a folder of their own"));
        }
        if let Some(apart) = share.unseen(&path) {
            return Err(refused(&apart.why()).with_hint(apart.hint()));
        }
        let is_shared = |path: &Path| shared.iter().any(|share| path.starts_with(share));
        if !is_shared(&path) {
            // Whoever put the link there shall not have it shared.
            if is_shared(from) || share.names(from) {
                return Err(refused("a link leads out of the shared folders")
                    .with_hint("check the links in its path; their targets must be shared, too"));
            }
            let home = lookup("HOME").map(PathBuf::from);
            let folder = share.narrowest(&path, home.as_deref());
            let file = self.expected.display();
            let hint = match share.line_with(&folder) {
                Some(line) if self.dind.host.is_none() => {
                    format!("write `{line}` under [dind] in {file}, then type `berth up`")
                }
                Some(line) => format!("write `{line}` under [dind] in {file}"),
                None => "berth cannot share that folder: keep the servers' files in a folder of their own"
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
            target: entry.expand_target(lookup).map_err(|why| {
                wrong(format!("server `{server}` cannot have a mount at `{}`: {why}", entry.target))
            })?,
            writable: entry.writable,
            device,
            inode,
            within: false,
        })
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
