//! `share` in `[dind]`: the folders of this machine that the daemon sees, each at its own path.
//!
//! A share is only a text when the file is read; [`Shares::canonical`] then asks the file system. Only `berth up` and
//! servers with mounts need the folders, and only they ask.

use std::path::{Component, Path, PathBuf};

use super::Home;
use super::error::{ConfigError, Place};
use super::reader::{Item, Section};
use crate::values::Value;

/// Folders of the home that are not shared for one file's sake.
const POWERFUL: [&str; 6] = [".claude", ".codex", ".config", ".cursor", ".gnupg", ".ssh"];

/// What the daemon's own container lives on; a share may not lie there, nor hide any of it.
const DAEMONS_OWN: [&str; 17] = [
    "/berth",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/run",
];

/// A folder that is shared, as the file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    written: String,
    /// With the person's own folder for `~`.
    path: PathBuf,
    place: Place,
}

/// The folders that are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    listed: Vec<Share>,
    /// What no server may ever see: berth's own files, and the daemon's and the engine's where the file names them.
    closed: Vec<Closed>,
    apart: Option<Apart>,
}

/// What was found out about an engine that does not have this machine's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// Its address.
    pub engine: String,
    /// The shared folders that it does not have, or has others in the place of.
    pub unseen: Vec<PathBuf>,
    /// Berth runs in a container of the engine's.
    pub contained: bool,
}

impl Apart {
    /// What is in the way of a folder that servers are to have.
    pub(super) fn why(&self) -> String {
        let whose = if self.contained {
            "the files of the container that berth runs in"
        } else {
            "this machine's files"
        };
        format!("the engine at `{}` does not see {whose}", self.engine)
    }

    /// What mends it.
    pub(super) fn hint(&self) -> &'static str {
        if self.contained {
            "mount the folder into this container at its path on the engine's machine"
        } else {
            "keep the servers' files in a folder that the engine's machine has, too"
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Closed {
    path: PathBuf,
    what: &'static str,
}

/// An element of the list.
struct Written(String);

impl Value for Written {
    const EXPECTED: &'static str = "a folder such as \"~/src\" or \"/srv/work\"";

    fn from_text(text: &str) -> Option<Self> {
        let path = text.strip_prefix('~').unwrap_or(text);
        // A comma or a colon would be read as a separator somewhere on the way.
        let fits = (path.starts_with('/') || text == "~") && !text.contains(['\0', ',', ':']);
        let plain = || Path::new(text).components().all(|part| part != Component::ParentDir);
        (fits && plain()).then(|| Self(text.to_owned()))
    }
}

impl Shares {
    /// `certs` are those for the `host` of the section, `sockets` the daemon's and the engine's addresses.
    pub(super) fn read(
        section: &mut Section,
        file: &Path,
        home: &Home,
        certs: Option<&Path>,
        sockets: [Option<&str>; 2],
    ) -> Result<Self, ConfigError> {
        let mut shares = Vec::new();
        if let Some(item) = section.take_item("share") {
            for Written(written) in item.list()? {
                let path = expand(&written, home, &item)?;
                shares.push(Share { written, path, place: item.place() });
            }
        }
        let closed = [
            (home.certs.as_path(), "the key of berth's daemon"),
            (&home.state, "berth's own state"),
            (home.config_file.parent().unwrap_or(&home.config_file), "berth's configuration"),
            // Whoever can write it can have anything at the next start.
            (file, "this configuration"),
        ];
        let mut closed = closed.map(|(path, what)| Closed { path: path.to_owned(), what }).to_vec();
        closed.extend(certs.map(|certs| Closed { path: certs.to_owned(), what: "the key of the daemon" }));
        let mut shares = Self { listed: shares, closed, apart: None };
        for (address, what) in sockets.into_iter().zip(["the daemon's socket", "the engine's socket"]) {
            shares.close(address.unwrap_or_default(), what);
        }
        for share in &shares.listed {
            shares.check(share, &share.path, Path::to_owned)?;
        }
        Ok(shares)
    }

    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The same, with the engine's socket out of reach.
    pub(super) fn without_socket(mut self, engine: &str) -> Self {
        self.close(engine, "the engine's socket");
        self
    }

    fn close(&mut self, address: &str, what: &'static str) {
        if let Some(socket) = address.strip_prefix("unix://") {
            self.closed.push(Closed { path: socket.into(), what });
        }
    }

    /// The same, with what was found out about the engine.
    #[must_use]
    pub fn apart(self, apart: Apart) -> Self {
        Self { apart: Some(apart), ..self }
    }

    /// What was found out about an engine that may not have what isn't shared yet either.
    pub(super) fn known_apart(&self) -> Option<&Apart> {
        self.apart.as_ref()
    }

    /// The same, if it has another folder, or none, where `path` is.
    pub(super) fn unseen(&self, path: &Path) -> Option<&Apart> {
        self.known_apart().filter(|apart| apart.unseen.iter().any(|folder| path.starts_with(folder)))
    }

    /// An error at the share that is `folder`, which the engine does not have.
    pub fn unseen_error(&self, folder: &Path, apart: &Apart) -> Option<ConfigError> {
        let is_it = |share: &&Share| self.resolve(share).is_ok_and(|path| path == folder);
        let share = self.listed.iter().find(is_it)?;
        let message = format!("`{}` in `share` cannot be shared: {}", share.written, apart.why());
        let error = ConfigError::new(message).at(Some(share.place.clone()));
        Some(error.with_hint(format!("{}, or remove it", apart.hint())))
    }

    /// What of berth's, the daemon's or the engine's is at, in or above `path`, which has no links.
    pub(super) fn closed(&self, path: &Path) -> Option<String> {
        self.closed_at(path, real)
    }

    /// An error at the first share's line, if there is one.
    pub(super) fn error(&self, message: String) -> Option<ConfigError> {
        let first = self.listed.first()?;
        Some(ConfigError::new(message).at(Some(first.place.clone())))
    }

    /// The folders as the kernel knows them, the outermost alone where one holds another; in the paths' order.
    pub fn canonical(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let mut folders =
            self.listed.iter().map(|share| self.resolve(share)).collect::<Result<Vec<_>, _>>()?;
        folders.sort();
        // Sorted component by component: what a folder holds follows it.
        folders.dedup_by(|inner, outer| inner.starts_with(outer));
        Ok(folders)
    }

    /// The same, without those that are not there at the moment: a server that doesn't need one starts all the same.
    pub(super) fn present(&self) -> Vec<PathBuf> {
        self.listed.iter().filter_map(|share| self.resolve(share).ok()).collect()
    }

    /// Whether `path` lies in a share by its name alone.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.listed.iter().any(|share| path.starts_with(&share.path))
    }

    /// The narrowest that has to be shared for `path`. Of a file that is its folder, unless that is the home, holds it, or has
    /// a hand in what runs on this machine; what is not there is a file if it has an ending.
    pub(super) fn narrowest(&self, path: &Path, home: Option<&Path>) -> PathBuf {
        let is_file = path.is_file() || (!path.exists() && path.extension().is_some());
        let is_powerful =
            |folder: &Path| home.is_some_and(|home| POWERFUL.iter().any(|name| *folder == home.join(name)));
        let holds_home = |folder: &Path| home.is_some_and(|home| home.starts_with(folder));
        let above = path.parent().filter(|above| {
            is_file && !is_powerful(above) && !holds_home(above) && self.obstacle_of(above).is_none()
        });
        above.unwrap_or(path).to_owned()
    }

    /// Why a folder cannot be shared, where it cannot.
    pub(super) fn obstacle_of(&self, folder: &Path) -> Option<String> {
        self.obstacle(folder, Path::to_owned)
    }

    /// The line that shares `folder`, too; `None` for what can't be shared.
    pub(super) fn line_with(&self, folder: &Path) -> Option<String> {
        if self.obstacle(folder, Path::to_owned).is_some() {
            return None;
        }
        let written = self.listed.iter().map(|share| share.written.as_str());
        let folder = folder.to_string_lossy();
        let all: Vec<String> = written.chain([folder.as_ref()]).map(|share| format!("{share:?}")).collect();
        Some(format!("share = [{}]", all.join(", ")))
    }

    /// What `share` would name with these folders, too: none that lies in another.
    pub(super) fn written_with(&self, folders: &[PathBuf]) -> Vec<String> {
        let mut all: Vec<String> = self.listed.iter().map(|share| share.written.clone()).collect();
        for folder in folders {
            let is_inner = folders.iter().any(|outer| folder != outer && folder.starts_with(outer));
            let text = folder.to_string_lossy().into_owned();
            if !is_inner && !all.contains(&text) {
                all.push(text);
            }
        }
        all
    }

    fn resolve(&self, share: &Share) -> Result<PathBuf, ConfigError> {
        let found = std::fs::canonicalize(&share.path).and_then(|path| {
            // A file alone, where its folder holds more than anybody is to have.
            if path.is_dir() || path.is_file() {
                Ok(path)
            } else {
                Err(std::io::ErrorKind::NotADirectory.into())
            }
        });
        let path = found.map_err(|error| {
            let message = format!("`{}` in `share` cannot be used: {error}", share.written);
            ConfigError::new(message)
                .at(Some(share.place.clone()))
                .with_hint("name a folder or a file that exists, or remove it")
        })?;
        // They may be links themselves.
        self.check(share, &path, real)?;
        Ok(path)
    }

    /// Whether the daemon may have `path`: what `share` says, or what that is a link to.
    fn check(&self, share: &Share, path: &Path, real: impl Fn(&Path) -> PathBuf) -> Result<(), ConfigError> {
        let Some(why) = self.obstacle(path, real) else { return Ok(()) };
        let link = if path == share.path { String::new() } else { format!(" (`{}`)", path.display()) };
        let message = format!("`{}`{link} in `share` cannot be shared: {why}", share.written);
        Err(ConfigError::new(message)
            .at(Some(share.place.clone()))
            .with_hint("name the servers' working folders, such as \"~/src\""))
    }

    /// Why the daemon may not have `path`, if so.
    pub(super) fn obstacle(&self, path: &Path, real: impl Fn(&Path) -> PathBuf) -> Option<String> {
        let overlaps = |other: &Path| path.starts_with(other) || other.starts_with(path);
        if let Some(own) = DAEMONS_OWN.into_iter().find(|own| overlaps(Path::new(own))) {
            return Some(format!("the daemon's container has its own `{own}`"));
        }
        self.closed_at(path, real)
    }

    fn closed_at(&self, path: &Path, real: impl Fn(&Path) -> PathBuf) -> Option<String> {
        let overlaps = |other: PathBuf| path.starts_with(&other) || other.starts_with(path);
        let closed = self.closed.iter().find(|closed| overlaps(real(&closed.path)))?;
        Some(format!("{} is there, at `{}`", closed.what, closed.path.display()))
    }
}

/// Without links, where it is there.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn expand(written: &str, home: &Home, item: &Item) -> Result<PathBuf, ConfigError> {
    let Some(rest) = written.strip_prefix('~') else { return Ok(written.into()) };
    let user = home.user().ok_or_else(|| {
        item.error(format!("`{written}` in `share` needs HOME, which is not set"))
            .with_hint("write the whole path")
    })?;
    Ok(user.join(rest.trim_start_matches('/')))
}

#[cfg(test)]
mod tests;
