//! What a session may reach, made before its first instruction.
//!
//! A server with `network = "egress"` has routes that lead to its own local network nowhere. A server with a list of names
//! has no network but its loopback. There, in the session's own namespace, a forwarder listens: a process of the daemon's
//! container, one for each session, which ends with it. It knows the session by the sockets that are its alone, so that no
//! address can be taken and none be forged. It resolves the names itself and connects from the daemon's own network.
//!
//! Every byte of a session's is hostile: the forwarder is nobody, and all that it holds is bounded.

#[path = "egress/far.rs"]
pub(super) mod far;
#[path = "egress/forward.rs"]
pub(super) mod forward;
#[path = "egress/http.rs"]
pub(super) mod http;
#[path = "egress/list.rs"]
pub(super) mod list;
#[path = "egress/lookup.rs"]
pub(super) mod lookup;
#[path = "egress/names.rs"]
pub(super) mod names;
#[path = "egress/near.rs"]
pub(super) mod near;
#[path = "egress/netlink.rs"]
pub(super) mod netlink;
#[path = "egress/pump.rs"]
mod pump;
#[path = "egress/reach.rs"]
pub(super) mod reach;
#[path = "egress/rules.rs"]
pub(super) mod rules;
#[path = "egress/serve.rs"]
mod serve;
#[path = "egress/tls.rs"]
pub(super) mod tls;
#[path = "egress/told.rs"]
pub(super) mod told;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::allow::{Entry, Network, WEB};
use super::resolve::slots::Slots;
use super::{Failure, Words, sys};
use list::Allowed;
use lookup::Missing;
use names::Names;
use netlink::Route;
use told::Told;

/// For threads that hold their buffers elsewhere.
const STACK: usize = 128 << 10;
/// Connections of one session at once.
const CONNECTIONS: usize = 128;
/// Names that are looked up at once, and how long one waits for that.
const LOOKUPS: usize = 2;
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// How often what was refused is written down.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// While there is no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);
/// What is said when all is in place.
const READY: &str = "ready";
/// What was refused, in the folder that the session has for it.
pub(super) const FILE: &str = "refused";
/// A file for each container that was made and has not started: its first process, and whether all is open to it.
const PENDING: &str = "/run/berth/pending";
const OPEN: &str = "open ";
/// The keeper's program in the daemon's container.
const PROGRAM: &str = "/berth/keeper";

/// What a container's options say of its network.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The local network, too.
    lan: bool,
    allowed: Vec<String>,
    /// The folder in the container in which it is told what was refused.
    told: Option<PathBuf>,
}

impl Wanted {
    /// Takes an option with its value, if it is one of ours.
    pub(super) fn takes<I>(&mut self, flag: &str, words: &mut Words<I>) -> Result<bool, Failure>
    where
        I: Iterator<Item = OsString>,
    {
        match flag {
            "--lan" => self.lan = true,
            "--allow" => self.allowed.push(words.text("a name that is allowed")?),
            "--told" => self.told = Some(words.next("a folder")?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The same, of options that are texts.
    pub(super) fn of(options: &[&str]) -> Self {
        let mut wanted = Self { lan: options.contains(&"--lan"), ..Self::default() };
        for pair in options.windows(2) {
            match *pair {
                ["--allow", entry] => wanted.allowed.push(entry.to_owned()),
                ["--told", folder] => wanted.told = Some(folder.into()),
                _ => {}
            }
        }
        wanted
    }

    pub(super) fn told(&self) -> Option<&Path> {
        self.told.as_deref()
    }

    /// Begins with it, for a container that was made. `told` is the folder as the daemon has it.
    pub(super) fn begin(&self, pid: u32, id: &OsStr, told: Option<&Path>) -> Result<(), String> {
        if !self.allowed.is_empty() {
            self.start_forwarder(pid, told)?;
        }
        // Routes are set when all interfaces are there, for the engine makes none that a route is in the way of.
        let closed = format!("{}{pid}", if self.lan { OPEN } else { "" });
        fs::create_dir_all(PENDING)
            .and_then(|()| fs::write(Path::new(PENDING).join(id), closed))
            .map_err(|error| format!("what its network is to be cannot be written down: {error}"))
    }

    fn start_forwarder(&self, pid: u32, told: Option<&Path>) -> Result<(), String> {
        let mut forwarder = Command::new(PROGRAM);
        forwarder.arg("egress").arg(pid.to_string()).arg(told.unwrap_or(Path::new("-"))).args(&self.allowed);
        // Of its own: whoever waits for our output would wait for its end, and no signal is meant for both.
        forwarder.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        forwarder.env_clear().current_dir("/").process_group(0);
        let started = forwarder.spawn().and_then(|mut forwarder| {
            let output = forwarder.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line)?;
            Ok(line.trim_end().to_owned())
        });
        let said = started.map_err(|error| format!("its forwarder cannot be started: {error}"))?;
        if said == READY { Ok(()) } else { Err(format!("its forwarder has not started: {said}")) }
    }
}

/// Closes the local network to a container that is about to start, unless it may reach it; from outside of it, if no route of
/// its namespace binds it.
pub(super) fn close(id: &OsStr, from_outside: bool) -> Result<(), String> {
    let pending = Path::new(PENDING).join(id);
    let failed = |error: io::Error| format!("the local network cannot be closed to it: {error}");
    let text = fs::read_to_string(&pending).map_err(failed)?;
    fs::remove_file(&pending).map_err(failed)?;
    let (is_open, pid) = text.strip_prefix(OPEN).map_or((false, &*text), |pid| (true, pid));
    let pid: u32 = pid.parse().map_err(|_| failed(ErrorKind::InvalidData.into()))?;
    if is_open {
        return rules::clear(pid).map_err(failed);
    }
    // Where there is only the loopback, nothing leads anywhere.
    let interfaces = fs::read_to_string(format!("/proc/{pid}/net/dev")).map_err(failed)?;
    if interfaces.lines().filter_map(|line| line.split_once(':')).all(|(name, _)| name.trim() == "lo") {
        return Ok(());
    }
    if from_outside {
        return rules::close(pid, id).map_err(failed);
    }
    let closed = || netlink::set(&reach::LAN.map(|(network, _)| (Route::Prohibited, network)));
    namespace(pid).and_then(|namespace| netlink::inside(namespace, closed)).map_err(failed)
}

/// A container is removed.
pub(super) fn forget(id: &OsStr) {
    // Mostly it has started, and nothing is there.
    let _ = fs::remove_file(Path::new(PENDING).join(id));
    rules::forget(id);
}

fn namespace(pid: u32) -> io::Result<File> {
    File::open(format!("/proc/{pid}/ns/net"))
}

/// What a forwarder is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Forwarder {
    pid: u32,
    told: Option<PathBuf>,
    allowed: Allowed,
}

/// What all connections of a session share.
#[derive(Debug)]
struct Session {
    allowed: Allowed,
    names: Names,
    told: Told,
    way: Way,
}

/// How a connection gets out.
#[derive(Debug)]
enum Way {
    Direct {
        lookups: Arc<Slots>,
        /// For whom they are counted.
        whose: IpAddr,
        /// Whom the resolver takes it for: a loopback address of its own.
        asker: Option<Ipv4Addr>,
    },
    /// By another forwarder, which has the last word.
    Through(SocketAddr),
}

/// Of the session whose first process that is: 127.64.0.0/10 has room for all process ids.
fn asker(pid: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f40_0000 | pid & 0x3f_ffff)
}

impl Session {
    /// Where a name leads to. The nameservers are asked for a few names of a session's at once.
    fn addresses(
        &self,
        (lookups, whose): (&Arc<Slots>, IpAddr),
        asker: Option<Ipv4Addr>,
        (name, port): (&str, u16),
    ) -> Result<Vec<IpAddr>, Missing> {
        let until = Instant::now() + ASKED_WITHIN;
        let _slot = loop {
            match lookups.take(whose) {
                Some(slot) => break slot,
                None if Instant::now() < until => thread::sleep(PAUSE),
                None => return Err(Missing::Busy),
            }
        };
        lookup::choose(&lookup::ask_all(name, asker), &self.allowed, port)
    }
}

impl Forwarder {
    pub(super) fn parse(words: &mut Words<impl Iterator<Item = OsString>>) -> Result<Self, Failure> {
        let pid = words.parsed("a process id")?;
        let folder = words.next("the folder in which is told what was refused")?;
        let told = Some(PathBuf::from(folder)).filter(|folder| folder != Path::new("-"));
        Ok(Self { pid, told, allowed: entries(words)? })
    }

    /// Ends with the container.
    pub(super) fn execute(self) -> Result<(), Failure> {
        sys::net::close_inherited();
        let mut output = io::stdout();
        let started = self.start();
        let said = started.as_ref().map_or_else(ToString::to_string, |_| READY.to_owned());
        let _ = writeln!(output, "{said}").and_then(|()| output.flush());
        let process = started?;
        sys::net::wait_for(process.as_fd())?;
        Ok(())
    }

    /// Gives the container's first process, to be waited for.
    fn start(self) -> io::Result<File> {
        let Self { pid, told, allowed } = self;
        let process = sys::net::process(pid)?;
        let namespace = namespace(pid)?;
        let told = told.map(|folder| {
            let new = OpenOptions::new().write(true).create_new(true).mode(0o644).open(folder.join(FILE));
            new.map_err(|error| io::Error::new(error.kind(), format!("cannot write in its folder: {error}")))
        });
        let statistics = File::open(format!("/proc/{pid}/net/snmp"))?;
        let ports = ports(&allowed);
        let local = [Network { address: IpAddr::V4(names::OWN), bits: 16 }];
        let local: Vec<Network> = local.into_iter().chain(allowed.networks()).collect();
        let (questions, listeners) = netlink::inside(namespace, move || open(&local, &ports))?;
        let (names, told) = (Names::new(allowed.clone(), names::OWN), Told::new(told.transpose()?));
        let way = Way::Direct {
            lookups: Slots::new(LOOKUPS, LOOKUPS),
            whose: Ipv4Addr::LOCALHOST.into(),
            asker: Some(asker(pid)),
        };
        let session = Session { allowed, names, told, way };
        // Where memory is short it goes before the daemon does.
        let _ = fs::write("/proc/self/oom_score_adj", "500");
        // Whatever a session has it do, the daemon is first.
        sys::net::give_way()?;
        // From here on nothing is needed that only root may do, and no thread is there that would keep it.
        sys::net::become_nobody()?;
        sys::forbid_dumping()?;
        let session = Arc::new(session);
        serve::serve(&session, questions, listeners)?;
        serve::spawn(Box::new(move || {
            loop {
                session.told.unrouted(unrouted(&statistics));
                session.told.write();
                thread::sleep(WRITE_EVERY);
            }
        }))?;
        Ok(process)
    }
}

/// The list, which is the rest of the words.
fn entries(words: &mut Words<impl Iterator<Item = OsString>>) -> Result<Allowed, Failure> {
    let entry = |word: OsString| {
        let word = word.to_string_lossy();
        Entry::parse(&word).ok_or_else(|| Failure::usage(format_args!("`{word}` cannot be allowed")))
    };
    words.0.by_ref().map(entry).collect::<Result<_, _>>().map(Allowed)
}

/// Where a list's forwarder listens.
fn ports(allowed: &Allowed) -> Vec<u16> {
    let mut ports = allowed.ports();
    ports.extend(WEB.into_iter().chain([forward::PROXY]).filter(|port| !allowed.ports().contains(port)));
    ports
}

/// In the session's namespace: the addresses of names, and sockets at them.
fn open(local: &[Network], ports: &[u16]) -> io::Result<(UdpSocket, Vec<TcpListener>)> {
    // Those of IPv6 are only where names may lead to: inside there is none.
    let local = local.iter().filter(|network| network.address.is_ipv4());
    netlink::set(&local.map(|network| (Route::Local, masked(*network))).collect::<Vec<_>>())?;
    let questions = UdpSocket::bind((names::OWN, 53))?;
    let listeners = ports.iter().map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)));
    Ok((questions, listeners.collect::<io::Result<_>>()?))
}

/// The kernel wants no bits behind those that count.
fn masked(network: Network) -> Network {
    let IpAddr::V4(address) = network.address else { return network };
    let mask = u32::MAX.checked_shl(32 - u32::from(network.bits)).unwrap_or(0);
    Network { address: Ipv4Addr::from(u32::from(address) & mask).into(), ..network }
}

/// How many packets met no route: `OutNoRoutes` in `/proc/net/snmp`.
fn unrouted(statistics: &File) -> u64 {
    use std::os::unix::fs::FileExt;
    let mut text = [0; 2048];
    let length = statistics.read_at(&mut text, 0).unwrap_or_default();
    count(&String::from_utf8_lossy(&text[..length])).unwrap_or_default()
}

pub(super) fn count(statistics: &str) -> Option<u64> {
    let mut lines = statistics.lines().filter_map(|line| line.strip_prefix("Ip:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == "OutNoRoutes")?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// The folder, as the daemon has it, of what a container mounts there.
pub(super) fn source<'a>(mounts: impl Iterator<Item = (&'a Path, &'a Path)>, told: &Path) -> Option<PathBuf> {
    let mut mounts = mounts.filter(|(path, _)| *path == told);
    mounts.next().and_then(|(_, source)| fs::canonicalize(source).ok())
}
