//! The keeper: PID 1 of every session container, and berth's other programs inside containers.
//!
//! `hold` keeps the container while its owner holds the lifeline, the other end of its stdin. When the lifeline is let
//! go, by any death, `hold` ends the container in order. `exec` becomes the MCP server, unless `hold` started the
//! server ahead of its session; both hand the server's pipes to the session (`door`). `ping` is the health check of the DinD daemon. `resolve` answers sessions' questions
//! for names there, and `egress` forwards what a session with a list of names may reach. `ports` joins ports of a session's
//! container with ports of the person's loopback. Called `runtime`, it is the
//! daemon's runtime for session containers, and looks at each before it runs; called `runtime-gvisor`, it has gVisor run
//! them, and `guard` stands beside these; `plain` is the runtime of all others. `ids` and `settle` see to the daemon's range
//! of ids before it starts. `content` does within a volume what a restoration needs. `probe` looks at a container's walls from inside for `berth validate`.
//!
//! In a pod a cut stream is no end. `hold-pod` is PID 1 there, and its lifeline a heartbeat. `serve` starts the server and
//! outlives its own stream; `resume` hands it the next one. Both sides number their bytes (`numbered`, `records`).
//!
//! It needs only std, so the build script can make it a small static program that runs in any image. It must never end
//! while the lifeline is held. It must never stay after the lifeline is gone, whatever the server does. It must spend
//! no time while nothing happens. Any doubt (an error of a system call) ends it.

#[path = "keeper/allow.rs"]
mod allow;
#[path = "keeper/content.rs"]
mod content;
#[path = "keeper/door.rs"]
mod door;
#[path = "keeper/egress.rs"]
mod egress;
#[path = "keeper/exec.rs"]
mod exec;
#[path = "keeper/filter.rs"]
mod filter;
#[path = "keeper/frames.rs"]
mod frames;
#[path = "keeper/guard.rs"]
mod guard;
#[path = "keeper/gvisor.rs"]
mod gvisor;
#[path = "keeper/hold.rs"]
mod hold;
#[path = "keeper/ids.rs"]
mod ids;
#[path = "keeper/json.rs"]
mod json;
#[path = "keeper/limits.rs"]
mod limits;
#[path = "keeper/locks.rs"]
mod locks;
#[path = "keeper/modes.rs"]
mod modes;
#[path = "keeper/names.rs"]
mod names;
#[path = "keeper/needs.rs"]
mod needs;
#[path = "keeper/numbered.rs"]
mod numbered;
#[path = "keeper/phase.rs"]
mod phase;
#[path = "keeper/ping.rs"]
mod ping;
#[path = "keeper/pod.rs"]
mod pod;
#[path = "keeper/ports.rs"]
mod ports;
#[path = "keeper/probe.rs"]
mod probe;
#[path = "keeper/protocol.rs"]
mod protocol;
#[path = "keeper/records.rs"]
mod records;
#[path = "keeper/resolv_conf.rs"]
mod resolv_conf;
#[path = "keeper/resolve.rs"]
mod resolve;
#[path = "keeper/runtime.rs"]
mod runtime;
#[path = "keeper/serve.rs"]
mod serve;
#[path = "keeper/server.rs"]
mod server;
#[path = "keeper/settle.rs"]
mod settle;
#[path = "keeper/signals.rs"]
mod signals;
#[path = "keeper/sys.rs"]
mod sys;
#[cfg(test)]
#[path = "keeper/tests.rs"]
mod tests;
#[path = "keeper/within.rs"]
mod within;
#[path = "keeper/words.rs"]
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use needs::Needs;
use runtime::Real;
use words::{Failure, Words};

fn main() -> ExitCode {
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let done = match Real::called(&name) {
        Some(real) => runtime::run(real, &words.collect::<Vec<_>>()),
        None if Path::new(&name).file_name() == Some(runtime::PLAIN_NAME.as_ref()) => {
            runtime::run_plain(&words.collect::<Vec<_>>())
        }
        None => Subcommand::parse(words).and_then(Subcommand::execute),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // Nobody is left to be told when this cannot be written.
            let _ = writeln!(io::stderr(), "berth: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// What PID 1 is told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hold {
    claim_within: Duration,
    grace: Duration,
    needs: Needs,
    /// Of no account in here: the runtime has seen to it.
    network: egress::Wanted,
    /// Folders of which one keeper at a time has each.
    locks: Vec<(locks::Mode, PathBuf)>,
    /// The server's pipes are handed to its session.
    door: bool,
    /// A server to start ahead of its session; empty for none.
    command: Vec<OsString>,
}

#[derive(Debug, PartialEq, Eq)]
enum Subcommand {
    Hold(Hold),
    Content(content::Content),
    HoldPod(pod::Pod),
    Egress(egress::Forwarder),
    Far(egress::far::Far),
    Near(egress::near::Near),
    Exec { needs: Needs, door: bool, program: OsString, arguments: Vec<OsString> },
    Guard(guard::Options),
    Ids(ids::Range),
    Install { place: PathBuf },
    Ping { socket: OsString },
    Ports(ports::Ports),
    Settle(settle::Settle),
    Probe(probe::Probe),
    Resolve(resolve::Resolve),
    Resume { epoch: u64 },
    Serve,
}

impl Subcommand {
    fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut words = Words(words);
        let subcommand = match words.text("a subcommand")?.as_str() {
            "hold" => {
                let (mut claim_within, mut grace, mut command) = (None, None, Vec::new());
                let (mut needs, mut network, mut locks, mut door) =
                    (Needs::default(), egress::Wanted::default(), Vec::new(), false);
                while let Some(flag) = words.0.next() {
                    if let Some(mode) = flag.to_str().and_then(locks::Mode::of) {
                        locks.push((mode, words.next("a folder")?.into()));
                        continue;
                    }
                    match flag.to_str() {
                        Some(flag)
                            if needs.takes(flag, &mut words)? || network.takes(flag, &mut words)? => {}
                        // What stands there is of no account: it is room for what is shown.
                        Some("--room") => drop(words.next("room")?),
                        // The daemon's runtime has seen to it.
                        Some("--caller") => drop(words.next("a user and a group")?),
                        Some(door::OPTION) => {
                            // Which folder it is, the daemon's runtime has seen.
                            words.next("a folder's device and inode")?;
                            door = true;
                        }
                        Some("--claim-within") => claim_within = Some(words.milliseconds("--claim-within")?),
                        Some("--grace") => grace = Some(words.milliseconds("--grace")?),
                        Some("--") => {
                            command.push(words.next("a command")?);
                            command.extend(words.0.by_ref());
                        }
                        _ => return Err(Failure::usage(format_args!("unexpected `{}`", flag.display()))),
                    }
                }
                let missing = |flag| move || Failure::usage(format_args!("`{flag}` is missing"));
                Self::Hold(Hold {
                    claim_within: claim_within.ok_or_else(missing("--claim-within"))?,
                    grace: grace.ok_or_else(missing("--grace"))?,
                    needs,
                    network,
                    locks,
                    door,
                    command,
                })
            }
            protocol::content::NAME => Self::Content(content::Content::parse(&mut words)?),
            "hold-pod" => Self::HoldPod(pod::Pod::parse(&mut words)?),
            "egress" => Self::Egress(egress::Forwarder::parse(&mut words)?),
            egress::far::NAME => Self::Far(egress::far::Far::parse(&mut words)?),
            egress::near::NAME => Self::Near(egress::near::Near::parse(&mut words)?),
            "exec" => {
                // The id is there to be read by whoever inspects the exec; nothing in here needs it.
                words.exactly("--session")?;
                words.next("a session id")?;
                let mut needs = Needs::default();
                let mut word = words.0.next();
                let door = word.as_ref().is_some_and(|word| word == door::OPTION);
                if door {
                    word = words.0.next();
                }
                while let Some(flag) = &word
                    && needs.takes(&flag.to_string_lossy(), &mut words)?
                {
                    word = words.0.next();
                }
                Words(word.into_iter()).exactly("--")?;
                Self::Exec {
                    needs,
                    door,
                    program: words.next("a command")?,
                    arguments: words.0.by_ref().collect(),
                }
            }
            guard::NAME => Self::Guard(guard::Options::parse(&mut words)?),
            "ids" => Self::Ids(range(&mut words)?),
            "settle" => Self::Settle(settle::Settle::parse(&mut words)?),
            "install" => Self::Install { place: words.next("a place")?.into() },
            "ping" => Self::Ping { socket: words.next("a socket")? },
            "ports" => Self::Ports(ports::Ports::parse(&mut words)?),
            "probe" => Self::Probe(probe::Probe::parse(&mut words)?),
            "resolve" => Self::Resolve(resolve::Resolve::parse(&mut words)?),
            "resume" => Self::Resume { epoch: words.parsed("an epoch")? },
            "serve" => Self::Serve,
            other => return Err(Failure::usage(format_args!("unknown subcommand `{other}`"))),
        };
        match words.0.next() {
            None => Ok(subcommand),
            Some(word) => Err(Failure::usage(format_args!("unexpected `{}`", word.display()))),
        }
    }

    /// Gives the exit code.
    fn execute(self) -> Result<u8, Failure> {
        match self {
            Self::Hold(options) => hold::hold(&options),
            Self::Content(content) => content.execute().map(|()| 0),
            Self::HoldPod(pod) => Ok(pod.hold()),
            Self::Egress(forwarder) => forwarder.execute().map(|()| 0),
            Self::Far(forwarder) => forwarder.execute().map(|()| 0),
            Self::Near(forwarder) => forwarder.execute().map(|()| 0),
            Self::Exec { needs, door, program, arguments } => {
                Err(exec::exec(&needs, door, &program, &arguments))
            }
            Self::Guard(options) => guard::guard(&options).map(|()| 0),
            Self::Ids(range) => ids::check(range).map(|()| 0),
            Self::Ports(ports) => ports.execute().map(|()| 0),
            Self::Settle(settle) => settle.execute().map(|()| 0),
            Self::Install { place } => install(&place).map(|()| 0),
            Self::Ping { socket } => ping::ping(socket).map(|()| 0),
            Self::Probe(probe) => probe.execute().map(|()| 0),
            Self::Resolve(resolve) => resolve.execute().map(|()| 0),
            Self::Resume { epoch } => serve::resume(epoch),
            Self::Serve => serve::serve(),
        }
    }
}

/// Puts this program where a pod's other containers find it.
fn install(place: &Path) -> Result<(), Failure> {
    fs::copy("/proc/self/exe", place)?;
    Ok(fs::set_permissions(place, fs::Permissions::from_mode(0o555))?)
}

fn range(words: &mut Words<impl Iterator<Item = OsString>>) -> Result<ids::Range, Failure> {
    const WHAT: &str = "a range such as `100000:65536`";
    let word = words.text(WHAT)?;
    ids::Range::parse(&word).ok_or_else(|| Failure::usage(format_args!("`{word}` is not {WHAT}")))
}
