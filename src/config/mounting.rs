//! What a server's `mounts` lead to when it starts.
//!
//! A source is opened once, and what the kernel says of the open file decides: its path without links has to lie in a shared
//! folder. Its device and inode go with it, so that the keeper knows what the daemon mounts in the end for the same thing or
//! another (`keeper/needs.rs`): a server that may write in a folder can put a link in the place of anything below it.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::Config;
use super::error::ConfigError;
use super::mount::{Mount, MountEntry};
use super::server::Server;
use super::share::Shares;
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

/// The path without links of what `path` leads to at the moment, and what that is; of one and the same open file.
fn look_at(path: &Path) -> std::io::Result<(PathBuf, Stat)> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))?;
    Ok((real, rustix::fs::fstat(&file)?))
}

#[cfg(test)]
mod tests;
