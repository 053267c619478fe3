//! gVisor as the daemon's runtime: a container gets a kernel of its own, which is a process of the daemon's container.
//!
//! The container's first process exists in that kernel alone. Its files come from a second process, the *gofer*: what the
//! container mounts is mounted in the gofer's own list of mounts, below the gofer's root, before the kernel asks for any
//! of it. So the gofer's root is looked at in the place of the first process's (`runtime.rs`).

use std::ffi::{CStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::json::{self, Json};
use super::runtime::{exit_code, read, request, value};
use super::{Failure, sys};

/// The daemon's entry point puts it there.
const REAL: &str = "/berth/gvisor";

const FLAGS: [&str; 3] = [
    // The only way that needs neither a processor's help for virtual machines nor ptrace.
    "--platform=systrap",
    // The container's network is gVisor's own. It takes the addresses of the interfaces that the daemon has made.
    "--network=sandbox",
    // No socket of the daemon's container or of another session's.
    "--host-uds=none",
];

/// gVisor of before August 2024 takes a network for the machine's own where it finds `core/rmem_default` in here, and refuses
/// it. Linux has the file in every network since version 6.9. Nothing in here matters to gVisor else. It has to be this
/// folder: those below it are others in each network, and what is mounted over one hides no other's.
const NETWORK_SETTINGS: &CStr = c"/proc/sys/net";

pub(super) fn command() -> Command {
    let mut command = Command::new(REAL);
    command.args(FLAGS);
    command
}

/// Every request but `create`; gives the exit code.
pub(super) fn run(words: &[OsString]) -> Result<u8, Failure> {
    match request(words) {
        Some(("start", ..)) => sys::hide(NETWORK_SETTINGS)?,
        Some(("kill", options, of)) => return kill(words, options, of),
        Some(("delete", ..)) => return Ok(exit_code(command().args(words).status()?)),
        _ => {}
    }
    Err(command().args(words).exec().into())
}

/// gVisor signals no container that was created and not started, nor one whose kernel has ended. The daemon takes that for a
/// failure and gives up: kernel, gofer and shim of a failed start would stay. So who is to be killed is killed here then.
fn kill(words: &[OsString], options: &[OsString], of: &[OsString]) -> Result<u8, Failure> {
    let done = command().args(words).status()?;
    if let [.., id, signal] = of
        && !done.success()
        && (signal == "9" || signal == "KILL" || signal == "SIGKILL")
        && let Some(root) = value(options, "--root")
        && end(&root, id).is_ok()
    {
        return Ok(0);
    }
    Ok(exit_code(done))
}

pub(super) fn end(root: &Path, id: &OsString) -> Result<(), String> {
    let state = state(root, id)?;
    let pid = state.at("sandbox").at("pid").as_number().ok_or("it has no kernel")?;
    let Ok(kernel) = sys::net::process(pid) else { return Ok(()) };
    // Somebody else's by now, unless it names the container.
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if line.split(|byte| *byte == 0).any(|word| word == id.as_bytes()) {
        sys::kill_process(&kernel);
    }
    Ok(())
}

/// What gVisor knows of the container `id`; `root` is where it keeps that.
fn state(root: &Path, id: &OsString) -> Result<Json, String> {
    let id = id.to_string_lossy();
    let state = read(&root.join(format!("{id}_sandbox:{id}.state")))?;
    json::read(&state).ok_or_else(|| "what gVisor knows of it is no JSON".to_owned())
}

/// The process that gives the container `id` its files.
pub(super) fn gofer(root: &Path, id: &OsString) -> Result<u32, String> {
    let gofer = state(root, id)?.at("goferPid").as_number();
    gofer.filter(|pid| *pid > 0).ok_or_else(|| "it has no gofer".to_owned())
}

/// The root that the gofer gives away.
pub(super) fn root_of(gofer: u32) -> std::io::Result<File> {
    sys::open_folder(Path::new(&format!("/proc/{gofer}/root")))
}
