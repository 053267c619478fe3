//! What a session's container is to be, by the daemon's configuration of it, and whether that is what was made.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::copies::Foreign;
use super::open;
use crate::egress::{self, Wanted};
use crate::json::Json;
use crate::needs::{self, Expected};
use crate::protocol::{door, volumes};
use crate::sys::{self, Links};

/// Where the daemon has what is its own: nothing of a person's is mounted from there.
const DAEMONS_OWN: &str = "/var/lib/docker/";

/// A session that is ending leaves its volumes this long after its server's grace; nobody's start waits longer than the most.
const GONE_AFTER: Duration = Duration::from_secs(2);
const MOST_PATIENCE: Duration = Duration::from_secs(10);

/// What a container is to be, as far as others may have a hand in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) root: PathBuf,
    /// The folder of its keeper, and all others that somebody writes to or has given.
    places: Vec<Place>,
    /// Where it has memory of its own.
    memory: Vec<PathBuf>,
    /// The options of its guard, where it has one.
    pub(super) guarded: Vec<OsString>,
    pub(super) network: Wanted,
    /// Whose rights on what is given its user has.
    caller: Option<(u32, u32)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Is to be what the person's berth has looked at.
    Given(Expected),
    /// Is to be the folder in which the session listens for its server's pipes.
    Door(Expected),
    /// Is to be the daemon's own folder, which nobody else can replace.
    Own { path: PathBuf, source: PathBuf },
}

impl Plan {
    pub(crate) fn of(config: &Json) -> Result<Self, String> {
        let args: Vec<&str> = config.at("process").at("args").items().filter_map(Json::text).collect();
        let Some((folder, ["hold", options @ ..])) = args.split_first().and_then(|(program, arguments)| {
            Some((
                program.strip_suffix("/keeper").filter(|folder| folder.starts_with("/.berth-"))?,
                arguments,
            ))
        }) else {
            return Err("it does not begin with berth's keeper".to_owned());
        };
        let until = options.iter().position(|word| *word == "--").unwrap_or(options.len());
        let given = options[..until].windows(2).filter_map(|pair| match *pair {
            ["--mount", mount] => Some(mount),
            // How it can be used stands first.
            ["--within", mount] => Some(mount.split_once(':').map_or(mount, |(_, mount)| mount)),
            _ => None,
        });
        let mut given = given
            .map(|mount| Expected::parse(mount).ok_or_else(|| format!("`{mount}` is no mount")))
            .collect::<Result<Vec<_>, _>>()?;
        let mut guarded: Vec<OsString> = Vec::new();
        let door_at = format!("{folder}/{}", door::FOLDER);
        let values = |option: &'static str| {
            let pairs = options[..until].windows(2);
            pairs.filter(move |pair| pair[0] == option).map(|pair| pair[1])
        };
        guarded.extend(values("--within").flat_map(|within| ["--within", within]).map(OsString::from));
        let (mut places, mut memory, mut has_keeper) = (Vec::new(), Vec::new(), false);
        for mount in config.at("mounts").items() {
            let text = |key| mount.at(key).text().unwrap_or_default();
            let (path, source) = (text("destination"), text("source"));
            let is_bind = text("type") == "bind"
                || mount.at("options").items().any(|option| matches!(option.text(), Some("bind" | "rbind")));
            if !is_bind {
                if text("type") == "tmpfs" && !Path::new(path).starts_with("/dev") {
                    memory.push(path.into());
                }
                continue;
            }
            // `rro` as well, where the daemon knows that the kernel can make those below it read-only, too.
            let is_read_only =
                mount.at("options").items().any(|option| matches!(option.text(), Some("ro" | "rro")));
            let read_only = is_read_only.then(|| ["--read-only", path].map(OsString::from));
            if let Some(at) = given.iter().position(|given| given.path == Path::new(path)) {
                guarded.extend(read_only.into_iter().flatten());
                places.push(Place::Given(given.swap_remove(at)));
            } else if path == door_at {
                // Else whoever can write its folder in the daemon's stead could have a session write there.
                if !is_read_only {
                    return Err("its door is not read-only".to_owned());
                }
                let which = values(door::OPTION).next().map(|which| format!("{which}:{path}"));
                let expected = which.as_deref().and_then(Expected::parse);
                places.push(Place::Door(expected.ok_or("nobody has asked for its door")?));
            } else if !source.starts_with(DAEMONS_OWN) {
                return Err(format!("nobody has asked for what is mounted at `{path}`"));
            } else if source.ends_with("/_data") {
                guarded.extend(read_only.into_iter().flatten());
                has_keeper |= path == folder;
                for lock in [volumes::LOCK, volumes::LOCK_TOGETHER] {
                    if values(lock).any(|target| target == path) {
                        guarded.extend([lock, path, source].map(OsString::from));
                    }
                }
                places.push(Place::Own { path: path.into(), source: source.into() });
            }
            // The rest is what the daemon has written for this container: its names and its memory.
        }
        if let Some(missing) = given.first() {
            return Err(format!("nothing is mounted at `{}`", missing.path.display()));
        }
        if !has_keeper {
            return Err("it has no volume with berth's keeper".to_owned());
        }
        let grace = values("--grace").next().and_then(|grace| grace.parse().ok()).unwrap_or_default();
        let patience = MOST_PATIENCE.min(Duration::from_millis(grace) + GONE_AFTER);
        guarded.extend(["--patience".into(), patience.as_millis().to_string().into()]);
        let root = config.at("root").at("path").text().ok_or("it has no root")?.into();
        let network = Wanted::of(&options[..until]);
        let pair = |caller: &str| {
            let (uid, gid) = caller.split_once(':')?;
            Some((uid.parse().ok()?, gid.parse().ok()?))
        };
        let caller = values("--caller").next();
        let caller = caller.map(|caller| pair(caller).ok_or_else(|| format!("`{caller}` is nobody")));
        let caller = caller.transpose()?;
        Ok(Self { root, places, memory, guarded, network, caller })
    }

    /// The folder in which it is told what its network refuses.
    pub(super) fn told(&self) -> Option<PathBuf> {
        let own = self.places.iter().filter_map(|place| match place {
            Place::Own { path, source } => Some((path.as_path(), source.as_path())),
            Place::Given(_) | Place::Door(_) => None,
        });
        egress::source(own, self.network.told()?)
    }

    /// A session cannot write the folder in which is told what was refused to it.
    pub(super) fn close_told(&self, config: &mut Json) -> Result<(), String> {
        let Some(told) = self.network.told() else { return Ok(()) };
        read_only(config, told).ok_or_else(|| "it has no folder for what is refused".to_owned())
    }

    /// Before anything is mounted: what is missing the real runtime makes, also where a link leads it.
    pub(crate) fn check_image(&self) -> Result<(), String> {
        let root = open(&self.root)?;
        let is_led = |path: &&Path| {
            sys::open_beneath(root.as_fd(), path, Links::Refused).is_err_and(|error| sys::is_link(&error))
        };
        if let Some(path) = self.places.iter().map(Place::path).find(is_led) {
            return Err(led_elsewhere(path));
        }
        // Into folders that only the image has to do with it may lead: `/var/run`.
        let is_apart = |real: PathBuf| {
            let places = self.places.iter().map(|place| relative(place.path()));
            real != Path::new("") && !places.into_iter().any(|place| real.starts_with(place))
        };
        let led = |path: &&PathBuf| !self.real(&root, relative(path)).is_some_and(is_apart);
        self.memory.iter().find(led).map_or(Ok(()), |path| Err(led_elsewhere(path)))
    }

    /// Where in the root `path` leads to; `None` where a link leads to nothing, which the real runtime would make.
    fn real(&self, root: &File, path: &Path) -> Option<PathBuf> {
        let there = path.ancestors().find_map(|above| {
            Some((
                sys::open_beneath(root.as_fd(), above, Links::Inside).ok()?,
                path.strip_prefix(above).ok()?,
            ))
        });
        let (folder, missing) = there?;
        let next = missing.components().next().map(|next| Path::new(next.as_os_str()));
        let is_link = |next| {
            sys::open_beneath(folder.as_fd(), next, Links::Refused).is_err_and(|error| sys::is_link(&error))
        };
        if next.is_some_and(is_link) {
            return None;
        }
        let real = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
        Some(real.strip_prefix(&self.root).ok()?.join(missing))
    }

    /// `root` is the root of the container's first process.
    pub(super) fn check(&self, root: &File) -> Result<(), String> {
        self.check_root(root)?;
        self.places.iter().try_for_each(|place| place.check(root))
    }

    /// Else its keeper might be in a folder that another session writes to.
    pub(crate) fn check_root(&self, root: &File) -> Result<(), String> {
        let expected = fs::metadata(&self.root).map_err(|error| format!("its root: {error}"))?;
        let found = root.metadata().map_err(|error| format!("its root: {error}"))?;
        if identity(&found) != identity(&expected) {
            return Err("something is mounted over its root".to_owned());
        }
        Ok(())
    }

    pub(super) fn foreign(&self) -> Foreign<'_> {
        let mut foreign = Foreign { caller: self.caller, ..Foreign::default() };
        for place in &self.places {
            match place {
                Place::Given(given) => foreign.given.push(given),
                // The keeper's is read by all.
                Place::Own { path, .. } if !path.to_string_lossy().starts_with("/.berth-") => {
                    foreign.volumes.push(path);
                }
                Place::Own { .. } | Place::Door(_) => {}
            }
        }
        foreign
    }

    #[cfg(test)]
    pub(crate) fn guarded(&self) -> &[OsString] {
        &self.guarded
    }

    #[cfg(test)]
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Given(Expected { path, .. })
            | Self::Door(Expected { path, .. })
            | Self::Own { path, .. } => path,
        }
    }

    pub(crate) fn check(&self, root: &File) -> Result<(), String> {
        let (path, expected) = match self {
            Self::Given(given) | Self::Door(given) => (&given.path, (given.device, given.inode)),
            Self::Own { path, source } => {
                let source = fs::symlink_metadata(source);
                (
                    path,
                    identity(
                        &source.map_err(|error| format!("the volume at `{}`: {error}", path.display()))?,
                    ),
                )
            }
        };
        let found = sys::open_beneath(root.as_fd(), path, Links::Refused).and_then(|found| found.metadata());
        match found {
            Ok(found) if identity(&found) == expected => Ok(()),
            Ok(_) => Err(needs::not_as_asked(path)),
            Err(error) if sys::is_link(&error) => Err(led_elsewhere(path)),
            Err(error) => {
                Err(format!("what is mounted at `{}` cannot be looked at: {error}", path.display()))
            }
        }
    }
}

fn led_elsewhere(path: &Path) -> String {
    format!("a link in the image leads elsewhere what is to be mounted at `{}`", path.display())
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn identity(of: &Metadata) -> (u64, u64) {
    (of.dev(), of.ino())
}

/// Makes what is mounted there read-only; `None` where nothing is. Volumes without a name cannot be, by the daemon.
pub(crate) fn read_only(config: &mut Json, path: &Path) -> Option<()> {
    let mut mounts = config.at_mut("mounts")?.items_mut();
    let mount = mounts.find(|mount| mount.at("destination").text().map(Path::new) == Some(path))?;
    let Json::List(options) = mount.at_mut("options")? else { return None };
    options.push(Json::Text("ro".to_owned()));
    Some(())
}
