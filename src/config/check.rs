//! Rules across settings: whether a server's settings fit together once all layers are applied.

use std::path::Path;

use super::error::{ConfigError, Place};
use super::server::Server;
use super::settings::Settings;
use crate::values::{Isolation, Network, Template, Way, is_secret};

/// Where nothing of a person's may be mounted, nor below.
const CLOSED: [&str; 4] = ["/.berth", "/dev", "/proc", "/sys"];

impl Server {
    /// Whether the settings go together: a server that is started ahead of its session can't have that session's values,
    /// and a secret's value would stand in its container's configuration.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings.check_targets(&self.name)?;
        self.settings.check_volumes(&self.name)?;
        self.settings.check_isolation(&self.name)?;
        self.settings.check_ports(&self.name)?;
        self.settings.check_idle(&self.name)?;
        if !self.settings.prestart {
            return Ok(());
        }
        let wrong = self.settings.env.values().find_map(|entry| {
            let why = match entry.variables().next() {
                Some(variable) => format!("takes `{variable}` from its client's environment"),
                None if entry.secret
                    || entry.literal().is_some_and(|value| is_secret(&entry.name, &value)) =>
                {
                    "is a secret".to_owned()
                }
                None => return None,
            };
            Some((entry, why))
        });
        let Some((entry, why)) = wrong else {
            return self.check_env_files().and_then(|()| self.check_args());
        };
        Err(ConfigError::new(format!(
            "server `{}` cannot be prestarted: its variable `{}` {why}",
            self.name, entry.name
        ))
        .at(entry.place.clone())
        .with_hint("set `prestart = false` for this server; its containers still wait on standby"))
    }

    /// A file's values would stand in the container's configuration, as they were when it was made.
    fn check_env_files(&self) -> Result<(), ConfigError> {
        let Some(file) = self.settings.env_files.first() else { return Ok(()) };
        let message =
            format!("server `{}` cannot be prestarted: it has variables from an `env_file`", self.name);
        Err(ConfigError::new(message)
            .at(file.place.clone())
            .with_hint("set `prestart = false` for this server; its containers still wait on standby"))
    }

    /// Whether a prestarted server's arguments are known before its session.
    fn check_args(&self) -> Result<(), ConfigError> {
        let args = self.args.iter().flatten().filter_map(|arg| Template::parse(arg).ok());
        let mut variables = args.flat_map(|arg| arg.variables().map(str::to_owned).collect::<Vec<_>>());
        let Some(variable) = variables.next() else { return Ok(()) };
        Err(ConfigError::new(format!(
            "server `{}` cannot be prestarted: its arguments take `{variable}` from its client's environment",
            self.name
        ))
        .with_hint("set `prestart = false` for this server; its containers still wait on standby"))
    }
}

impl Settings {
    /// berth's forwarder listens in the daemon's kernel, and a kernel of the server's own has nobody listening in it. Nor does
    /// one hand out its pipes.
    fn check_isolation(&self, server: &str) -> Result<(), ConfigError> {
        if self.isolation != Isolation::Gvisor {
            return Ok(());
        }
        if self.streams == Way::Direct {
            return Err(ConfigError::new(format!(
                "server `{server}` cannot have `streams = \"direct\"` with `isolation = \"gvisor\"`: no pipe leads out of a \
                 kernel of its own"
            ))
            .with_hint("set `streams = \"auto\"` for this server, or `isolation = \"container\"`"));
        }
        if !matches!(self.network, Network::Allow(_)) {
            return Ok(());
        }
        Err(ConfigError::new(format!(
            "server `{server}` cannot have `network = {{ allow = [...] }}` with `isolation = \"gvisor\"`: no forwarder \
             listens in a kernel of its own"
        ))
        .with_hint("choose `network = \"none\"`, or `isolation = \"container\"` with the list"))
    }

    /// What a server remembers is gone with its container.
    fn check_idle(&self, server: &str) -> Result<(), ConfigError> {
        if self.idle.is_none() || self.stateless {
            return Ok(());
        }
        Err(ConfigError::new(format!(
            "server `{server}` cannot have `idle` without `stateless = true`: its next call would find a new server"
        ))
        .with_hint("set `stateless = true` if the server keeps nothing between two calls, or remove `idle`"))
    }

    /// Where something of the person's is mounted.
    pub fn mounted(&self) -> impl Iterator<Item = &str> {
        self.targets().map(|(target, _)| target)
    }

    /// Where something is mounted, and the line that says so.
    fn targets(&self) -> impl Iterator<Item = (&str, Option<&Place>)> {
        let mounts = self.mounts.iter().map(|mount| (mount.target.as_str(), mount.place.as_ref()));
        mounts.chain(self.volumes.iter().map(|volume| (volume.target.as_str(), volume.place.as_ref())))
    }

    /// Whether the places of all that is mounted go together. Below a folder that a server may write, it could have put a
    /// link there that leads to the keeper; and Docker would make a missing one, as root, in the person's own folder.
    fn check_targets(&self, server: &str) -> Result<(), ConfigError> {
        for (n, (target, place)) in self.targets().enumerate() {
            let refused = |why: String| {
                ConfigError::new(format!("server `{server}` cannot have a mount at `{target}`: {why}"))
                    .at(place.cloned())
                    .with_hint("choose another place in the container, such as \"/workspace\"")
            };
            let path = Path::new(target);
            if path == Path::new("/") || CLOSED.iter().any(|closed| path.starts_with(closed)) {
                return Err(refused("the container needs its own files there".to_owned()));
            }
            let tmpfs = self.tmpfs.keys().map(String::as_str).filter(|tmpfs| {
                // One inside of a tmpfs is no fault; that is the container's own.
                Path::new(tmpfs).components().eq(path.components()) || Path::new(tmpfs).starts_with(path)
            });
            let others = self.targets().enumerate().filter(|(other, _)| *other != n);
            // A mount may lie in another (`within.rs`); what has a volume's place is known to nobody.
            let is_mount = |n: usize| n < self.mounts.len();
            let below = others
                .filter(|(other, (outer, _))| {
                    path.starts_with(outer) && !(is_mount(n) && is_mount(*other) && path != Path::new(outer))
                })
                .map(|(_, (outer, _))| outer);
            if let Some(other) = tmpfs.chain(below).next() {
                return Err(refused(if Path::new(other) == path {
                    "something else is mounted there, too".to_owned()
                } else {
                    format!("it overlaps `{other}`")
                }));
            }
        }
        Ok(())
    }

    /// Whether the server can have its volumes.
    fn check_volumes(&self, server: &str) -> Result<(), ConfigError> {
        let Some(first) = self.volumes.first() else { return Ok(()) };
        if self.prestart {
            let exclusive = self.volumes.iter().find(|volume| volume.writable && !volume.concurrent);
            let (first, why) = match exclusive {
                Some(volume) => (volume, "allows one session at a time"),
                None => (first, "is mounted for a session alone"),
            };
            let message =
                format!("server `{server}` cannot be prestarted: its volume `{}` {why}", first.name);
            return Err(ConfigError::new(message)
                .at(first.place.clone())
                .with_hint("set `prestart = false` for this server"));
        }
        for (n, volume) in self.volumes.iter().enumerate() {
            // Not even one that is shared beside one's own: whoever reads the file would take them for the same.
            if self.volumes.iter().skip(n + 1).any(|other| other.name == volume.name) {
                let message = format!("server `{server}` has the volume `{}` twice", volume.name);
                return Err(ConfigError::new(message)
                    .at(volume.place.clone())
                    .with_hint("remove one of them, or give them two names"));
            }
        }
        Ok(())
    }
}
