//! The engine's runtime of session containers: the real one, and a look at each container between its making and its first
//! instruction.
//!
//! The keeper's program runs so in the daemon's container, as root there, and not in a session's. All that a container mounts
//! is in place then, and PID 1 waits to become what it is to run. So an image can lead a mount elsewhere by a link, and a
//! session can put a link in the place of another's folder; but nothing of what comes of that ever runs.
//!
//! Every other request goes to the real runtime as it is.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::egress::{self, Wanted};
use super::json::{self, Json};
use super::needs::{self, Expected};
use super::sys::Links;
use super::{Failure, protocol, sys};

/// What the program is called then.
pub(super) const NAME: &str = "runtime";

/// The real one; the daemon's entry point puts it there.
const REAL: &str = "/berth/oci";

/// Where the daemon has what is its own: nothing of a person's is mounted from there.
const DAEMONS_OWN: &str = "/var/lib/docker/";

/// Options in front of the request whose value is a word of its own.
const WITH_VALUE: [&str; 6] = ["--root", "--log", "--log-format", "--criu", "--rootless", "--cgroup-manager"];

/// Gives the exit code.
pub(super) fn run(words: &[OsString]) -> Result<u8, Failure> {
    let Some(create) = Create::parse(words) else {
        if let Some(start) = Start::parse(words) {
            start.close_network().map_err(|why| {
                let why = format!("{}{why}", protocol::REFUSED);
                tell(start.log.as_deref(), &why);
                Failure::new(Failure::FAILED, why)
            })?;
        }
        return Err(Command::new(REAL).args(words).exec().into());
    };
    let refused = |why: String| {
        let why = format!("{}{why}", protocol::REFUSED);
        tell(create.log.as_deref(), &why);
        Failure::new(Failure::FAILED, why)
    };
    let plan = create.plan().map_err(refused)?;
    let made = Command::new(REAL).args(words).status()?;
    if !made.success() {
        return Ok(made.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Failure::FAILED));
    }
    create.check(&plan).map(|()| 0).map_err(|why| {
        create.undo();
        refused(why)
    })
}

/// The request to make a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Create {
    /// What stands in front of it.
    options: Vec<OsString>,
    log: Option<PathBuf>,
    bundle: PathBuf,
    pid_file: PathBuf,
    id: OsString,
}

impl Create {
    /// `None` for other requests.
    pub(super) fn parse(words: &[OsString]) -> Option<Self> {
        let (options, name, request) = split(words)?;
        (name == "create").then_some(())?;
        Some(Self {
            options: options.to_vec(),
            log: value(options, "--log"),
            bundle: value(request, "--bundle")?,
            pid_file: value(request, "--pid-file")?,
            id: request.last()?.clone(),
        })
    }

    /// What is to be made, if the image is fit for it.
    fn plan(&self) -> Result<Plan, String> {
        let file = self.bundle.join("config.json");
        let config = read(&file)?;
        let mut plan = Plan::of(&json::read(&config).ok_or("its configuration is no JSON")?)?;
        plan.root = self.bundle.join(&plan.root);
        plan.check_image()?;
        if let Some(told) = plan.network.told() {
            let changed = read_only(&config, told).ok_or("it has no folder for what is refused")?;
            fs::write(&file, changed)
                .map_err(|error| format!("its configuration cannot be written: {error}"))?;
        }
        Ok(plan)
    }

    /// Whether that is what was made.
    fn check(&self, plan: &Plan) -> Result<(), String> {
        let pid: u32 = read(&self.pid_file)?.trim().parse().map_err(|_| "it has no process")?;
        plan.check(&open(&PathBuf::from(format!("/proc/{pid}/root")))?)?;
        plan.network.begin(pid, &self.id, plan.told().as_deref())
    }

    /// Nobody else will: who is told that a container wasn't made doesn't remove it.
    fn undo(&self) {
        let mut remove = Command::new(REAL);
        remove.args(&self.options).args(["delete", "--force"]).arg(&self.id);
        // Where it fails, its process still never goes on.
        let _ = remove.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The request to have a container's first process go on. Its network is whole by then; some engines make it only after the
/// container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    log: Option<PathBuf>,
    id: OsString,
}

impl Start {
    /// `None` for other requests.
    pub(super) fn parse(words: &[OsString]) -> Option<Self> {
        let (options, name, request) = split(words)?;
        (name == "start").then_some(())?;
        Some(Self { log: value(options, "--log"), id: request.last()?.clone() })
    }

    fn close_network(&self) -> Result<(), String> {
        egress::close(&self.id)
    }
}

/// What stands in front of a request, the request, and what is behind it.
fn split(words: &[OsString]) -> Option<(&[OsString], &OsString, &[OsString])> {
    let mut at = 0;
    while words.get(at)?.to_str()?.starts_with('-') {
        at += if WITH_VALUE.iter().any(|option| words[at] == *option) { 2 } else { 1 };
    }
    let (options, request) = words.split_at(at);
    let (name, request) = request.split_first()?;
    Some((options, name, request))
}

fn value(words: &[OsString], option: &str) -> Option<PathBuf> {
    let at = words.iter().position(|word| word == option)?;
    words.get(at + 1).map(PathBuf::from)
}

/// Where the daemon reads why it failed.
fn tell(log: Option<&Path>, why: &str) {
    let line = format!("{{\"level\":\"error\",\"msg\":{}}}\n", json::quoted(why));
    let log = log.map(|log| OpenOptions::new().append(true).create(true).mode(0o600).open(log));
    if let Some(Ok(mut log)) = log {
        // It is on standard error, too.
        let _ = log.write_all(line.as_bytes());
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("`{}` cannot be read: {error}", file.display()))
}

/// The configuration with what is mounted there made read-only: volumes without a name cannot be, by the daemon.
pub(super) fn read_only(config: &str, path: &Path) -> Option<String> {
    const OPTIONS: &str = "\"options\":[";
    let destination = format!("\"destination\":{}", json::quoted(path.to_str()?));
    let mount = config.find(&destination)? + destination.len();
    // Of this mount: the next one begins behind its end.
    let length = config[mount..].find('}')?;
    let options = mount + config[mount..mount + length].find(OPTIONS)? + OPTIONS.len();
    let end = options + config[options..mount + length].find(']')?;
    let comma = if end > options { "," } else { "" };
    Some(format!("{}{comma}\"ro\"{}", &config[..end], &config[end..]))
}

fn open(folder: &Path) -> Result<File, String> {
    sys::open_folder(folder).map_err(|error| format!("`{}` cannot be opened: {error}", folder.display()))
}

/// What a container is to be, as far as others may have a hand in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    root: PathBuf,
    /// The folder of its keeper, and all others that somebody writes to or has given.
    places: Vec<Place>,
    /// Where it has memory of its own.
    memory: Vec<PathBuf>,
    network: Wanted,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Is to be what the person's berth has looked at.
    Given(Expected),
    /// Is to be the daemon's own folder, which nobody else can replace.
    Own { path: PathBuf, source: PathBuf },
}

impl Plan {
    pub(super) fn of(config: &Json) -> Result<Self, String> {
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
            if let Some(at) = given.iter().position(|given| given.path == Path::new(path)) {
                places.push(Place::Given(given.swap_remove(at)));
            } else if !source.starts_with(DAEMONS_OWN) {
                return Err(format!("nobody has asked for what is mounted at `{path}`"));
            } else if source.ends_with("/_data") {
                has_keeper |= path == folder;
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
        let root = config.at("root").at("path").text().ok_or("it has no root")?.into();
        let network = Wanted::of(&options[..until]);
        Ok(Self { root, places, memory, network })
    }

    /// The folder in which it is told what its network refuses.
    fn told(&self) -> Option<PathBuf> {
        let own = self.places.iter().filter_map(|place| match place {
            Place::Own { path, source } => Some((path.as_path(), source.as_path())),
            Place::Given(_) => None,
        });
        egress::source(own, self.network.told()?)
    }

    /// Before anything is mounted: what is missing the real runtime makes, also where a link leads it.
    pub(super) fn check_image(&self) -> Result<(), String> {
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
    fn check(&self, root: &File) -> Result<(), String> {
        self.check_root(root)?;
        self.places.iter().try_for_each(|place| place.check(root))
    }

    /// Else its keeper might be in a folder that another session writes to.
    pub(super) fn check_root(&self, root: &File) -> Result<(), String> {
        let expected = fs::metadata(&self.root).map_err(|error| format!("its root: {error}"))?;
        let found = root.metadata().map_err(|error| format!("its root: {error}"))?;
        if identity(&found) != identity(&expected) {
            return Err("something is mounted over its root".to_owned());
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Given(Expected { path, .. }) | Self::Own { path, .. } => path,
        }
    }

    pub(super) fn check(&self, root: &File) -> Result<(), String> {
        let (path, expected) = match self {
            Self::Given(given) => (&given.path, (given.device, given.inode)),
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
