//! The engine's runtime of session containers: the real one, and a look at each container between its making and its first
//! instruction.
//!
//! The keeper's program runs so in the daemon's container, as root there, and not in a session's. All that a container mounts
//! is in place then, and PID 1 waits to become what it is to run. So an image can lead a mount elsewhere by a link, and a
//! session can put a link in the place of another's folder; but nothing of what comes of that ever runs.
//!
//! Every other request goes to the real runtime as it is.
//!
//! Called `plain` it is the runtime of all other containers, and only sees to it that each has a user namespace of its own.

#[path = "runtime/apart.rs"]
mod apart;
#[path = "runtime/copies.rs"]
mod copies;
#[path = "runtime/plan.rs"]
mod plan;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use apart::Apart;
use copies::Foreign;
pub(super) use plan::Plan;
#[cfg(test)]
pub(super) use plan::{Place, read_only};

use super::guard::Guard;
use super::json::{self, Json};
use super::{Failure, egress, gvisor, protocol, sys};

/// What the program is called for containers that are no session's.
pub(super) const PLAIN_NAME: &str = "plain";

/// crun or runc; the daemon's entry point puts it there.
const REAL: &str = "/berth/oci";

/// Options in front of the request whose value is a word of its own.
const WITH_VALUE: [&str; 6] = ["--root", "--log", "--log-format", "--criu", "--rootless", "--cgroup-manager"];

/// The runtime that does the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Real {
    /// Containers share the daemon's kernel.
    Shared,
    /// Each has a kernel of its own.
    Gvisor,
}

impl Real {
    /// By what the program is called.
    pub(super) fn called(name: &OsStr) -> Option<Self> {
        match Path::new(name).file_name()?.to_str()? {
            "runtime" => Some(Self::Shared),
            "runtime-gvisor" => Some(Self::Gvisor),
            _ => None,
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Shared => Command::new(REAL),
            Self::Gvisor => gvisor::command(),
        }
    }

    /// Whoever does for the container what a kernel of its own cannot, before it is made.
    fn guard(self, plan: &Plan) -> Result<Option<Guard>, String> {
        (self == Self::Gvisor).then(|| Guard::post(&plan.guarded)).transpose()
    }
}

/// Gives the exit code.
pub(super) fn run(real: Real, words: &[OsString]) -> Result<u8, Failure> {
    let Some(create) = Create::parse(words) else {
        if let Some(start) = Start::parse(words) {
            start.close_network(real).map_err(|why| {
                let why = format!("{}{why}", protocol::REFUSED);
                tell(start.log.as_deref(), &why);
                Failure::new(Failure::FAILED, why)
            })?;
        }
        return match (real, request(words)) {
            (Real::Shared, asked) => {
                if let Some(("delete", _, [.., id])) = asked {
                    forget(id);
                }
                Err(as_it_is(words))
            }
            (Real::Gvisor, asked) => {
                let ended = gvisor::run(words);
                // Behind its end: until then it can send by its addresses.
                if let (Some(("delete", _, [.., id])), Ok(0)) = (asked, &ended) {
                    forget(id);
                }
                ended
            }
        };
    };
    let refused = |why: String| {
        let why = format!("{}{why}", protocol::REFUSED);
        tell(create.log.as_deref(), &why);
        Failure::new(Failure::FAILED, why)
    };
    let mut config = create.config().map_err(refused)?;
    let plan = create.plan(&config).map_err(refused)?;
    if real == Real::Gvisor && plan.network.told().is_some() {
        return Err(refused("a list of names cannot be its network under gVisor".to_owned()));
    }
    plan.close_told(&mut config).map_err(refused)?;
    let apart = create.set_apart(real, &mut config, &plan.foreign(), plan.network.told().is_some());
    let apart = apart.map_err(refused)?;
    let guard = real.guard(&plan).map_err(refused)?;
    if real == Real::Gvisor {
        // The gofer keeps them, and in a user namespace they are less than none: root's group may not enter the daemon's folders.
        sys::net::leave_groups()
            .map_err(|error| refused(format!("it cannot leave root's groups: {error}")))?;
    }
    let made = real.command().args(words).status()?;
    drop(apart);
    if !made.success() {
        return Ok(exit_code(made));
    }
    create.check(real, &plan, guard).map(|()| 0).map_err(|why| {
        create.undo(real);
        refused(why)
    })
}

/// What was made for a container goes with it.
fn forget(id: &OsStr) {
    egress::forget(id);
    copies::forget(id);
}

/// The same for a container that is no session's.
pub(super) fn run_plain(words: &[OsString]) -> Result<u8, Failure> {
    let Some(create) = Create::parse(words) else { return Err(as_it_is(words)) };
    let prepared = create
        .config()
        .and_then(|mut config| create.set_apart(Real::Shared, &mut config, &Foreign::default(), false));
    let apart = prepared.map_err(|why| {
        tell(create.log.as_deref(), &why);
        Failure::new(Failure::FAILED, why)
    })?;
    if apart.is_none() {
        return Err(as_it_is(words));
    }
    Ok(exit_code(Command::new(REAL).args(words).status()?))
}

/// Only gives an error: else the real runtime is in our place.
fn as_it_is(words: &[OsString]) -> Failure {
    Command::new(REAL).args(words).exec().into()
}

/// The real one's exit code.
pub(super) fn exit_code(ended: ExitStatus) -> u8 {
    ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(Failure::FAILED)
}

/// The value of an option.
pub(super) fn value(words: &[OsString], option: &str) -> Option<PathBuf> {
    let at = words.iter().position(|word| word == option)?;
    words.get(at + 1).map(PathBuf::from)
}

/// A request: its name, what stands in front of it, and what follows.
pub(super) fn request(words: &[OsString]) -> Option<(&str, &[OsString], &[OsString])> {
    let mut at = 0;
    while words.get(at)?.to_str()?.starts_with('-') {
        at += if WITH_VALUE.iter().any(|option| words[at] == *option) { 2 } else { 1 };
    }
    let (options, request) = words.split_at(at);
    let (name, request) = request.split_first()?;
    Some((name.to_str()?, options, request))
}

/// The request to make a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Create {
    /// What stands in front of it.
    options: Vec<OsString>,
    /// Where the real one keeps what it knows.
    root: Option<PathBuf>,
    log: Option<PathBuf>,
    bundle: PathBuf,
    pid_file: PathBuf,
    id: OsString,
}

impl Create {
    /// `None` for other requests.
    pub(super) fn parse(words: &[OsString]) -> Option<Self> {
        let (name, options, request) = request(words)?;
        (name == "create").then_some(())?;
        Some(Self {
            options: options.to_vec(),
            root: value(options, "--root"),
            log: value(options, "--log"),
            bundle: value(request, "--bundle")?,
            pid_file: value(request, "--pid-file")?,
            id: request.last()?.clone(),
        })
    }

    fn config(&self) -> Result<Json, String> {
        json::read(&read(&self.file())?).ok_or_else(|| "its configuration is no JSON".to_owned())
    }

    fn file(&self) -> PathBuf {
        self.bundle.join("config.json")
    }

    /// Before the real runtime reads the configuration. What comes has to live until that has made the container.
    /// Writes the configuration where that, or somebody before, has changed it.
    fn set_apart(
        &self,
        real: Real,
        config: &mut Json,
        foreign: &Foreign<'_>,
        is_changed: bool,
    ) -> Result<Option<Apart>, String> {
        let apart = apart::prepare(real, config, &self.id, foreign)?;
        if is_changed || apart.is_some() {
            let file = self.file();
            fs::write(&file, config.to_string())
                .map_err(|error| format!("`{}` cannot be written: {error}", file.display()))?;
        }
        Ok(apart)
    }

    /// What is to be made, if the image is fit for it.
    fn plan(&self, config: &Json) -> Result<Plan, String> {
        let mut plan = Plan::of(config)?;
        plan.root = self.bundle.join(&plan.root);
        plan.check_image()?;
        Ok(plan)
    }

    /// Whether that is what was made.
    fn check(&self, real: Real, plan: &Plan, guard: Option<Guard>) -> Result<(), String> {
        let pid: u32 = read(&self.pid_file)?.trim().parse().map_err(|_| "it has no process")?;
        let looked_at = match real {
            Real::Shared => pid,
            Real::Gvisor => {
                gvisor::gofer(self.root.as_deref().ok_or("nobody says where it is known")?, &self.id)?
            }
        };
        plan.check(&open(&PathBuf::from(format!("/proc/{looked_at}/root")))?)?;
        guard.map_or(Ok(()), |guard| guard.begin(pid, looked_at))?;
        plan.network.begin(pid, &self.id, plan.told().as_deref())
    }

    /// Nobody else will: who is told that a container wasn't made doesn't remove it.
    fn undo(&self, real: Real) {
        let mut remove = real.command();
        remove.args(&self.options).args(["delete", "--force"]).arg(&self.id);
        // Where it fails, its process still never goes on.
        let removed = remove.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let (Real::Gvisor, Some(root)) = (real, &self.root)
            && !removed.is_ok_and(|removed| removed.success())
        {
            // That is more than a process that waits.
            let _ = gvisor::end(root, &self.id);
        }
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
        let (name, options, request) = request(words)?;
        (name == "start").then_some(())?;
        Some(Self { log: value(options, "--log"), id: request.last()?.clone() })
    }

    fn close_network(&self, real: Real) -> Result<(), String> {
        egress::close(&self.id, real == Real::Gvisor)
    }
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

pub(super) fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("`{}` cannot be read: {error}", file.display()))
}

fn open(folder: &Path) -> Result<File, String> {
    sys::open_folder(folder).map_err(|error| format!("`{}` cannot be opened: {error}", folder.display()))
}
