//! The keeper: PID 1 of every session container, and what berth runs inside of one.
//!
//! `hold` keeps the container for as long as its owner holds the lifeline, the other end of its stdin, and
//! ends it in order when that is let go, by whatever death. `exec` becomes the MCP server. `ping` is the
//! health check of the DinD daemon; `probe` looks at a container's walls from inside for `berth validate`.
//!
//! It is one file with nothing but std, so that the build script can make a small static program of it that
//! runs in any image. It must never end while the lifeline is held, never stay once that is gone whatever the
//! server does, and never spend time while nothing happens. Any doubt (an error of a system call) ends it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fmt};

fn main() -> ExitCode {
    match Subcommand::parse(env::args_os().skip(1)).and_then(Subcommand::execute) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to be told when this cannot be written.
            let _ = writeln!(io::stderr(), "berth: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// One line for a person, and the exit code, as in sysexits where the shell has no own meaning for it.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    const FAILED: u8 = 1;
    const USAGE: u8 = 64;
    const SOFTWARE: u8 = 70;
    const SYSTEM: u8 = 71;
    const CANNOT_EXECUTE: u8 = 126;
    const NOT_FOUND: u8 = 127;

    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    fn usage(message: impl fmt::Display) -> Self {
        Self::new(Self::USAGE, format_args!("keeper: {message}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Self::SYSTEM, format_args!("keeper: {error}"))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Subcommand {
    Hold { claim_within: Duration, grace: Duration },
    Exec { program: OsString, arguments: Vec<OsString> },
    Ping { socket: OsString },
    Probe(probe::Probe),
}

impl Subcommand {
    fn parse(words: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut words = Words(words);
        let subcommand = match words.text("a subcommand")?.as_str() {
            "hold" => {
                let (mut claim_within, mut grace) = (None, None);
                while let Some(flag) = words.0.next() {
                    match flag.to_str() {
                        Some("--claim-within") => claim_within = Some(words.milliseconds("--claim-within")?),
                        Some("--grace") => grace = Some(words.milliseconds("--grace")?),
                        _ => return Err(Failure::usage(format_args!("unexpected `{}`", flag.display()))),
                    }
                }
                Self::Hold {
                    claim_within: claim_within
                        .ok_or_else(|| Failure::usage("`--claim-within` is missing"))?,
                    grace: grace.ok_or_else(|| Failure::usage("`--grace` is missing"))?,
                }
            }
            "exec" => {
                // The id is there to be read by whoever inspects the exec; nothing in here needs it.
                words.exactly("--session")?;
                words.next("a session id")?;
                words.exactly("--")?;
                Self::Exec { program: words.next("a command")?, arguments: words.0.by_ref().collect() }
            }
            "ping" => Self::Ping { socket: words.next("a socket")? },
            "probe" => Self::Probe(probe::Probe::parse(&mut words)?),
            other => return Err(Failure::usage(format_args!("unknown subcommand `{other}`"))),
        };
        match words.0.next() {
            None => Ok(subcommand),
            Some(word) => Err(Failure::usage(format_args!("unexpected `{}`", word.display()))),
        }
    }

    fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Hold { claim_within, grace } => hold::hold(claim_within, grace),
            Self::Exec { program, arguments } => Err(exec::exec(&program, &arguments)),
            Self::Ping { socket } => ping::ping(socket),
            Self::Probe(probe) => probe.execute(),
        }
    }
}

/// The command line, word by word; what is missing or malformed is named.
struct Words<I>(I);

impl<I: Iterator<Item = OsString>> Words<I> {
    fn next(&mut self, what: &str) -> Result<OsString, Failure> {
        self.0.next().ok_or_else(|| Failure::usage(format_args!("{what} is missing")))
    }

    fn text(&mut self, what: &str) -> Result<String, Failure> {
        self.next(what)?
            .into_string()
            .map_err(|word| Failure::usage(format_args!("`{}` is not {what}", word.display())))
    }

    fn parsed<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Failure> {
        let word = self.text(what)?;
        word.parse().map_err(|_| Failure::usage(format_args!("`{word}` is not {what}")))
    }

    /// 32 bits of milliseconds are 49 days, and no sum of such times and the clock overflows.
    fn milliseconds(&mut self, flag: &str) -> Result<Duration, Failure> {
        let milliseconds: u32 = self.parsed(&format!("a time in milliseconds for `{flag}`"))?;
        Ok(Duration::from_millis(milliseconds.into()))
    }

    fn exactly(&mut self, expected: &str) -> Result<(), Failure> {
        match self.0.next() {
            Some(word) if word == expected => Ok(()),
            Some(word) => {
                Err(Failure::usage(format_args!("expected `{expected}`, found `{}`", word.display())))
            }
            None => Err(Failure::usage(format_args!("`{expected}` is missing"))),
        }
    }
}

/// PID 1: the lease of the container.
mod hold {
    use super::{Failure, sys};
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};
    use std::{process, thread};

    /// How often the end of the other processes is looked for while the container is being stopped: they are
    /// not our children, so that no signal tells.
    const LOOK_EVERY: Duration = Duration::from_millis(10);

    /// What has happened to the lease. Nothing is the commonest.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Event {
        Nothing,
        Claimed,
        /// The owner asks for the end: a byte `t`, or SIGTERM or SIGINT from the daemon.
        StopAsked,
        /// The lifeline is at its end: the owner is dead or has left.
        OwnerGone,
        TimeUp,
    }

    /// Where the lease stands, and until when.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Phase {
        Unclaimed(Instant),
        Claimed,
        /// The server's stdin ended together with the lifeline; now it may end by itself.
        Draining(Instant),
        /// Everybody has had SIGTERM.
        Stopping(Instant),
        Over,
    }

    impl Phase {
        /// What follows. An orderly end takes `grace` at most, half of it before SIGTERM and half after.
        pub(super) fn next(self, event: Event, now: Instant, grace: Duration) -> Self {
            match (self, event) {
                (Self::Unclaimed(_), Event::Claimed) => Self::Claimed,
                (Self::Unclaimed(_) | Self::Claimed, Event::OwnerGone) => Self::Draining(now + grace / 2),
                // Nobody closed the stdin of a server in an unclaimed container: no use to wait for it.
                (Self::Unclaimed(_) | Self::Draining(_), Event::TimeUp)
                | (Self::Unclaimed(_) | Self::Claimed | Self::Draining(_), Event::StopAsked) => {
                    Self::Stopping(now + grace / 2)
                }
                (Self::Stopping(_), Event::TimeUp) => Self::Over,
                (phase, _) => phase,
            }
        }

        fn deadline(self) -> Option<Instant> {
            match self {
                Self::Unclaimed(until) | Self::Draining(until) | Self::Stopping(until) => Some(until),
                Self::Claimed | Self::Over => None,
            }
        }

        fn is_ending(self) -> bool {
            matches!(self, Self::Draining(_) | Self::Stopping(_))
        }
    }

    pub(super) fn hold(claim_within: Duration, grace: Duration) -> Result<(), Failure> {
        // The server runs as the same user and is not trusted. Were we dumpable, it could open
        // /proc/1/fd/0 for writing, and the lifeline would never end; or trace us. So this comes first.
        sys::forbid_dumping()?;
        // Elsewhere than at the root of a pid namespace «all others» are the user's whole machine.
        if process::id() != 1 {
            return Err(Failure::new(Failure::SOFTWARE, "keeper: `hold` runs as PID 1 of a container only"));
        }
        sys::disown_children();
        let mut lines = Lines::open()?;
        let mut phase = Phase::Unclaimed(Instant::now() + claim_within);
        while phase != Phase::Over {
            if phase.is_ending() && !sys::signal_others(sys::NO_SIGNAL) {
                break;
            }
            let event = lines.wait(phase);
            let before = phase;
            let now = Instant::now();
            phase = phase.next(event, now, grace);
            if phase.deadline().is_some_and(|until| until <= now) {
                phase = phase.next(Event::TimeUp, now, grace);
            }
            if matches!(phase, Phase::Stopping(_)) && !matches!(before, Phase::Stopping(_)) {
                sys::signal_others(sys::SIGTERM);
            }
        }
        // Whoever is left gets SIGKILL from the kernel when PID 1 ends. It forbids new processes first, so
        // that nobody can fork away from it, as they could from a kill(-1, SIGKILL) of ours.
        Ok(())
    }

    /// The two ways in which the keeper hears of anything.
    struct Lines {
        lifeline: Option<File>,
        signals: File,
    }

    impl Lines {
        fn open() -> io::Result<Self> {
            // A duplicate, because std's own stdin reads ahead into a buffer where poll sees nothing.
            let lifeline = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            Ok(Self { lifeline: Some(lifeline), signals: sys::stop_signals()? })
        }

        fn wait(&mut self, phase: Phase) -> Event {
            let mut timeout = phase.deadline().map(|until| until.saturating_duration_since(Instant::now()));
            if phase.is_ending() {
                timeout = timeout.map(|left| left.min(LOOK_EVERY));
            }
            let lifeline = self.lifeline.as_ref().map(AsFd::as_fd);
            match sys::poll([lifeline, Some(self.signals.as_fd())], timeout) {
                Ok([_, true]) => {
                    // Taken, so that it does not wake us again; both signals mean the same.
                    let _ = self.signals.read(&mut [0; sys::SIGNAL_RECORD]);
                    Event::StopAsked
                }
                Ok([true, false]) => self.read(),
                Ok([false, false]) => Event::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Event::Nothing,
                Err(_) => {
                    // The same user may lower our limits with prlimit(2), below what poll needs: then we are
                    // blind, and end. The sleep keeps the way there from spinning.
                    thread::sleep(LOOK_EVERY);
                    Event::OwnerGone
                }
            }
        }

        fn read(&mut self) -> Event {
            let mut bytes = [0; 64];
            match self.lifeline.as_ref().map_or(Ok(0), |mut lifeline| lifeline.read(&mut bytes)) {
                Ok(1..) => meaning(&bytes),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) =>
                {
                    Event::Nothing
                }
                Ok(0) | Err(_) => {
                    self.lifeline = None;
                    Event::OwnerGone
                }
            }
        }
    }

    /// `c` claims, `t` asks for the end; anything else means nothing.
    pub(super) fn meaning(bytes: &[u8]) -> Event {
        if bytes.contains(&b't') {
            Event::StopAsked
        } else if bytes.contains(&b'c') {
            Event::Claimed
        } else {
            Event::Nothing
        }
    }
}

/// Becoming the server.
mod exec {
    use super::Failure;
    use std::ffi::{OsStr, OsString};
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// Returns only when it failed. `CommandExt::exec` gives SIGPIPE, which Rust's runtime ignores, its
    /// default back, so that the server starts as from a shell.
    pub(super) fn exec(program: &OsStr, arguments: &[OsString]) -> Failure {
        let error = Command::new(program).args(arguments).exec();
        let code = match error.kind() {
            io::ErrorKind::NotFound => Failure::NOT_FOUND,
            _ => Failure::CANNOT_EXECUTE,
        };
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        Failure::new(code, format_args!("cannot run `{}`: {reason}", program.display()))
    }
}

/// The health check of a daemon, where no curl is.
mod ping {
    use super::Failure;
    use std::ffi::{OsStr, OsString};
    use std::io::{self, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// Covers the connecting too: a daemon that accepts nobody blocks it once its backlog is full.
    const PATIENCE: Duration = Duration::from_secs(3);

    pub(super) fn ping(socket: OsString) -> Result<(), Failure> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let name = socket.display().to_string();
        thread::spawn(move || sender.send(status_line(&socket)));
        let reason = match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(line)) if is_ok(&line) => return Ok(()),
            Ok(Ok(line)) => format!("it answered `{}`", line.trim_end()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer in {} s", PATIENCE.as_secs()),
        };
        Err(Failure::new(Failure::FAILED, format_args!("no healthy daemon at `{name}`: {reason}")))
    }

    fn status_line(socket: &OsStr) -> io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(1024).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
    }

    pub(super) fn is_ok(status_line: &str) -> bool {
        let mut words = status_line.split(' ');
        words.next().is_some_and(|version| version.starts_with("HTTP/1.")) && words.next() == Some("200")
    }
}

/// Looks at the walls of a container from inside. Each answer is one line of JSON on stdout.
mod probe {
    use super::{Failure, Words};
    use std::ffi::{OsStr, OsString};
    use std::fmt::{self, Write as _};
    use std::fs::{self, File};
    use std::io::{self, Read, Write};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;
    use std::{env, hint, process, thread};

    const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum Probe {
        Limits,
        Processes,
        Connect(SocketAddr),
        Listen { port: u16, time: Duration },
        Allocate { bytes: usize },
        Fork { count: usize },
        Addresses,
        Write { path: OsString, text: OsString },
        Read(OsString),
        Sleep(Duration),
    }

    impl Probe {
        pub(super) fn parse(words: &mut Words<impl Iterator<Item = OsString>>) -> Result<Self, Failure> {
            Ok(match words.text("a probe")?.as_str() {
                "limits" => Self::Limits,
                "processes" => Self::Processes,
                "connect" => {
                    let address: IpAddr = words.parsed("an IP address")?;
                    Self::Connect(SocketAddr::new(address, words.parsed("a port")?))
                }
                "listen" => {
                    let port = words.parsed("a port")?;
                    words.exactly("--for")?;
                    Self::Listen { port, time: words.milliseconds("--for")? }
                }
                "allocate" => Self::Allocate { bytes: words.parsed("a number of bytes")? },
                "fork" => Self::Fork { count: words.parsed("a number of processes")? },
                "addresses" => Self::Addresses,
                "write" => Self::Write { path: words.next("a path")?, text: words.next("a text")? },
                "read" => Self::Read(words.next("a path")?),
                "sleep" => Self::Sleep(words.milliseconds("sleep")?),
                other => return Err(Failure::usage(format_args!("unknown probe `{other}`"))),
            })
        }

        pub(super) fn execute(self) -> Result<(), Failure> {
            Ok(match self {
                Self::Limits => print(limits()?),
                Self::Processes => print(processes()?),
                Self::Connect(address) => print(connect(address)),
                Self::Listen { port, time } => listen(port, time),
                Self::Allocate { bytes } => print(allocate(bytes)),
                Self::Fork { count } => print(fork(count)?),
                Self::Addresses => print(addresses()?),
                Self::Write { path, text } => print(write(&path, &text)),
                Self::Read(path) => print(read(&path)),
                Self::Sleep(time) => {
                    thread::sleep(time);
                    Ok(())
                }
            }?)
        }
    }

    fn print(line: impl fmt::Display) -> io::Result<()> {
        writeln!(io::stdout(), "{line}")
    }

    fn limits() -> io::Result<String> {
        let status = fs::read_to_string("/proc/self/status")?;
        let number = |name| or_null(field(&status, name).and_then(|value| value.parse::<u64>().ok()));
        let uid = field(&status, "Uid").and_then(|ids| ids.split_whitespace().next()?.parse::<u32>().ok());
        let Limits { memory_bytes, pids, cpus } = Limits::read(Path::new("/sys/fs/cgroup"));
        let own_folder = env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
        Ok(format!(
            "{{\"uid\":{},\"cap_eff\":{},\"cap_bnd\":{},\"no_new_privs\":{},\"seccomp\":{},\"memory_bytes\":{},\
             \"pids\":{},\"cpus\":{},\"root_writable\":{},\"keeper_writable\":{}}}",
            or_null(uid),
            or_null(field(&status, "CapEff").map(quoted)),
            or_null(field(&status, "CapBnd").map(quoted)),
            field(&status, "NoNewPrivs") == Some("1"),
            number("Seccomp"),
            or_null(memory_bytes),
            or_null(pids),
            or_null(cpus),
            is_writable(Path::new("/")),
            is_writable(&own_folder),
        ))
    }

    /// A value of `/proc/PID/status`.
    pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
        status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    /// The limits of the control group; `None` where there is none.
    #[derive(Debug, PartialEq)]
    pub(super) struct Limits {
        pub(super) memory_bytes: Option<u64>,
        pub(super) pids: Option<u64>,
        pub(super) cpus: Option<f64>,
    }

    impl Limits {
        /// Version 2 has one folder; version 1 has one a controller, whose names vary between systems.
        pub(super) fn read(cgroup: &Path) -> Self {
            let first = |names: &[&str]| {
                names.iter().find_map(|name| {
                    fs::read_to_string(cgroup.join(name)).ok().map(|text| text.trim().to_owned())
                })
            };
            let number = |names: &[&str]| first(names)?.parse::<u64>().ok();
            // Version 1 says «no limit» by the largest number of whole pages.
            let memory_bytes = number(&["memory.max", "memory/memory.limit_in_bytes"]);
            let quota = first(&["cpu.max"]).or_else(|| {
                let quota = first(&["cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us"])?;
                let period = first(&["cpu/cpu.cfs_period_us", "cpu,cpuacct/cpu.cfs_period_us"])?;
                Some(format!("{quota} {period}"))
            });
            Self {
                memory_bytes: memory_bytes.filter(|bytes| *bytes < 1 << 62),
                pids: number(&["pids.max", "pids/pids.max"]),
                cpus: quota.as_deref().and_then(cpus),
            }
        }
    }

    /// `max 100000` and `-1 100000` are no limit.
    pub(super) fn cpus(quota: &str) -> Option<f64> {
        let (quota, period) = quota.split_once(' ')?;
        let (quota, period) = (quota.parse::<u32>().ok()?, period.parse::<u32>().ok()?);
        (period > 0).then(|| f64::from(quota) / f64::from(period))
    }

    fn is_writable(folder: &Path) -> bool {
        let path = folder.join(format!(".berth-probe-{}", process::id()));
        File::create_new(&path).is_ok_and(|_| fs::remove_file(&path).is_ok())
    }

    fn processes() -> io::Result<String> {
        let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut pids: Vec<u32> = names.filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        let entries = pids.iter().filter_map(|pid| {
            // One that ended in between is no longer visible.
            let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some(format!("{{\"pid\":{pid},\"cmdline\":{}}}", quoted(&command_line(&words))))
        });
        Ok(format!("{{\"processes\":[{}]}}", entries.collect::<Vec<_>>().join(",")))
    }

    /// `/proc/PID/cmdline` ends each word with a NUL byte.
    pub(super) fn command_line(words: &[u8]) -> String {
        String::from_utf8_lossy(words.strip_suffix(b"\0").unwrap_or(words)).replace('\0', " ")
    }

    fn connect(address: SocketAddr) -> String {
        match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
            Ok(_) => "{\"connected\":true,\"error\":null}".to_owned(),
            Err(error) => format!("{{\"connected\":false,\"error\":{}}}", quoted(&error.to_string())),
        }
    }

    fn listen(port: u16, time: Duration) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
        print(format_args!("{{\"listening\":{}}}", listener.local_addr()?.port()))?;
        // Ends with the process: accepting has no timeout of its own.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let peer = stream.and_then(|stream| stream.peer_addr());
                let line = match peer {
                    Ok(peer) => format!("{{\"accepted\":{}}}", quoted(&peer.to_string())),
                    Err(error) => format!("{{\"error\":{}}}", quoted(&error.to_string())),
                };
                if print(line).is_err() {
                    break;
                }
            }
        });
        // A byte on stdin ends it before its time; the end of stdin says nothing.
        thread::spawn(|| {
            if let Ok(1..) = io::stdin().read(&mut [0]) {
                process::exit(0);
            }
        });
        thread::sleep(time);
        Ok(())
    }

    /// Each page is written to, so that it is really there. Past the limit the kernel ends us before the answer.
    fn allocate(bytes: usize) -> String {
        let mut memory: Vec<u8> = Vec::new();
        if let Err(error) = memory.try_reserve_exact(bytes) {
            return format!("{{\"allocated\":0,\"error\":{}}}", quoted(&error.to_string()));
        }
        memory.resize(bytes, 1);
        format!("{{\"allocated\":{},\"error\":null}}", hint::black_box(&memory).len())
    }

    /// Up to `count` processes at once; all are gone again when it returns.
    fn fork(count: usize) -> io::Result<String> {
        let keeper = env::current_exe()?;
        let sleeper = || {
            let mut command = Command::new(&keeper);
            command.args(["probe", "sleep", "60000"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let mut children: Vec<Child> = Vec::new();
        let mut failure = None;
        while children.len() < count && failure.is_none() {
            match sleeper() {
                Ok(child) => children.push(child),
                Err(error) => failure = Some(quoted(&error.to_string())),
            }
        }
        for child in &mut children {
            // A child that is gone already needs no signal, and is reaped all the same.
            let _ = child.kill();
            child.wait()?;
        }
        Ok(format!("{{\"started\":{},\"error\":{}}}", children.len(), or_null(failure)))
    }

    fn addresses() -> io::Result<String> {
        let found = local_addresses(&fs::read_to_string("/proc/net/fib_trie")?);
        let quoted: Vec<String> = found.iter().map(|address| quoted(&address.to_string())).collect();
        Ok(format!("{{\"addresses\":[{}]}}", quoted.join(",")))
    }

    /// The machine's own IPv4 addresses without loopback, from the kernel's routing trie: a leaf is a line
    /// `|-- ADDRESS`, and what it is stands in the lines after it. Each leaf comes in two tables.
    pub(super) fn local_addresses(fib_trie: &str) -> Vec<Ipv4Addr> {
        let mut found = Vec::new();
        let mut leaf: Option<Ipv4Addr> = None;
        for line in fib_trie.lines().map(str::trim) {
            if let Some(address) = line.strip_prefix("|-- ") {
                leaf = address.parse().ok();
            } else if line.starts_with("/32 host LOCAL") {
                found.extend(leaf.filter(|address| !address.is_loopback()));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn write(path: &OsStr, text: &OsStr) -> String {
        let error = fs::write(path, text.as_encoded_bytes()).err().map(|error| quoted(&error.to_string()));
        format!("{{\"written\":{},\"error\":{}}}", error.is_none(), or_null(error))
    }

    /// What is there and cannot be read, such as a socket, is found all the same. At most 64 KiB are read.
    fn read(path: &OsStr) -> String {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(64 << 10).read_to_end(&mut bytes));
        let text = read.is_ok().then(|| quoted(&String::from_utf8_lossy(&bytes)));
        let found = fs::symlink_metadata(path).is_ok();
        let error = read.err().map(|error| quoted(&error.to_string()));
        format!("{{\"found\":{found},\"text\":{},\"error\":{}}}", or_null(text), or_null(error))
    }

    fn or_null(value: Option<impl fmt::Display>) -> String {
        value.map_or_else(|| "null".to_owned(), |value| value.to_string())
    }

    /// A JSON string.
    pub(super) fn quoted(text: &str) -> String {
        let mut json = String::from("\"");
        for character in text.chars() {
            match character {
                '"' | '\\' => json.extend(['\\', character]),
                '\0'..' ' => {
                    // Writing to a string cannot fail.
                    let _ = write!(json, "\\u{:04x}", u32::from(character));
                }
                _ => json.push(character),
            }
        }
        json.push('"');
        json
    }
}

/// The few calls that std does not have.
mod sys {
    #![allow(unsafe_code, reason = "PID 1 needs these system calls, and has no other crate to ask for them")]

    use std::ffi::{c_int, c_short, c_ulong};
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use std::ptr;
    use std::time::Duration;

    pub(super) const NO_SIGNAL: c_int = 0;
    const SIGINT: c_int = 2;
    pub(super) const SIGTERM: c_int = 15;
    /// So on every Linux but MIPS, Alpha, PA-RISC and SPARC, like the next two.
    const SIGCHLD: c_int = 17;
    const SIG_SETMASK: c_int = 2;
    const SFD_CLOEXEC: c_int = 0o2_000_000;
    const SIG_IGN: usize = 1;
    const PR_SET_DUMPABLE: c_int = 4;
    const ESRCH: c_int = 3;
    const POLLIN: c_short = 1;
    /// The size of `signalfd_siginfo`: a read takes whole ones only.
    pub(super) const SIGNAL_RECORD: usize = 128;

    /// `sigset_t`: 1024 bits, in glibc as in musl.
    #[repr(C)]
    struct SignalSet([c_ulong; 128 / size_of::<c_ulong>()]);

    #[repr(C)]
    struct PollFd {
        fd: RawFd,
        events: c_short,
        revents: c_short,
    }

    unsafe extern "C" {
        // SAFETY: neither takes a pointer, except a handler that is only ever `SIG_IGN`.
        safe fn kill(pid: c_int, signal: c_int) -> c_int;
        safe fn signal(signal: c_int, handler: usize) -> usize;
        fn prctl(option: c_int, ...) -> c_int;
        #[link_name = "poll"]
        fn poll_files(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
        fn sigfillset(set: *mut SignalSet) -> c_int;
        fn sigemptyset(set: *mut SignalSet) -> c_int;
        fn sigaddset(set: *mut SignalSet, signal: c_int) -> c_int;
        fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
        fn signalfd(fd: c_int, set: *const SignalSet, flags: c_int) -> c_int;
    }

    fn checked(result: c_int) -> io::Result<c_int> {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    /// Closes `/proc/self/fd` and tracing to other processes of the same user.
    pub(super) fn forbid_dumping() -> io::Result<()> {
        // SAFETY: this option takes one number and no pointer.
        checked(unsafe { prctl(PR_SET_DUMPABLE, c_ulong::from(0u8)) }).map(drop)
    }

    /// Has the kernel reap all our children, adopted ones too, the moment they end: no zombie, no wake-up.
    pub(super) fn disown_children() {
        signal(SIGCHLD, SIG_IGN);
    }

    /// Sends to all processes of the pid namespace but ourselves. Says whether there is any, also where none of
    /// them may be signalled.
    pub(super) fn signal_others(signal: c_int) -> bool {
        kill(-1, signal) == 0 || io::Error::last_os_error().raw_os_error() != Some(ESRCH)
    }

    /// Blocks every signal for good, so that none can interrupt or end us, and gives a file from which SIGTERM
    /// and SIGINT are read: there is no handler, and no race with the poll.
    pub(super) fn stop_signals() -> io::Result<File> {
        let mut set = SignalSet([0; _]);
        // SAFETY: the set is a whole `sigset_t` that outlives the calls; none keeps the pointer. The file
        // descriptor is new and nobody else's.
        unsafe {
            checked(sigfillset(&raw mut set))?;
            checked(sigprocmask(SIG_SETMASK, &raw const set, ptr::null_mut()))?;
            checked(sigemptyset(&raw mut set))?;
            checked(sigaddset(&raw mut set, SIGTERM))?;
            checked(sigaddset(&raw mut set, SIGINT))?;
            Ok(File::from(OwnedFd::from_raw_fd(checked(signalfd(-1, &raw const set, SFD_CLOEXEC))?)))
        }
    }

    /// Waits until a file can be read or is at its end, or the time is up; for ever without one. Which of them
    /// it is comes back.
    pub(super) fn poll<const N: usize>(
        files: [Option<BorrowedFd<'_>>; N],
        timeout: Option<Duration>,
    ) -> io::Result<[bool; N]> {
        // A negative number is skipped by the kernel.
        let mut fds = files.map(|file| PollFd {
            fd: file.map_or(-1, |file| file.as_raw_fd()),
            events: POLLIN,
            revents: 0,
        });
        // Rounded up: a wait that ends a little early would come again, and again.
        let milliseconds =
            timeout.map_or(-1, |time| time.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(c_int::MAX));
        // SAFETY: the array is as long as is said, and the call does not keep the pointer.
        checked(unsafe { poll_files(fds.as_mut_ptr(), N as c_ulong, milliseconds) })?;
        Ok(fds.map(|fd| fd.revents != 0))
    }
}

/// The program that the build script made, as it goes into containers. `hold` runs in pid namespaces only.
#[cfg(test)]
mod tests {
    use super::hold::{Event, Phase, meaning};
    use super::probe::{Limits, Probe, command_line, cpus, field, local_addresses, quoted};
    use super::{Failure, Subcommand, ping};
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::net::UnixListener;
    use std::process::{Child, Command, Output, Stdio};
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};
    use std::{fs, thread};

    const KEEPER: &str = concat!(env!("OUT_DIR"), "/keeper");
    const MINUTE: u32 = 60_000;
    /// What must happen at once has this long on a busy machine; what it must not wait for takes a minute.
    const AT_ONCE: Duration = Duration::from_secs(20);

    fn parse(line: &str) -> Result<Subcommand, Failure> {
        Subcommand::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn command_lines_are_read() {
        let hold = |claim, grace| Subcommand::Hold {
            claim_within: Duration::from_millis(claim),
            grace: Duration::from_millis(grace),
        };
        assert_eq!(parse("hold --claim-within 5 --grace 7"), Ok(hold(5, 7)));
        assert_eq!(parse("hold --grace 7 --claim-within 4294967295"), Ok(hold(4_294_967_295, 7)));
        // What follows the command is the command's, dashes and all.
        let exec = Subcommand::Exec { program: "npx".into(), arguments: vec!["--".into(), "-y".into()] };
        assert_eq!(parse("exec --session s1 -- npx -- -y"), Ok(exec));
        assert_eq!(parse("ping /s"), Ok(Subcommand::Ping { socket: "/s".into() }));
        let listen = Probe::Listen { port: 80, time: Duration::from_millis(9) };
        assert_eq!(parse("probe listen 80 --for 9"), Ok(Subcommand::Probe(listen)));
    }

    #[test]
    fn bad_usage_is_named_and_exits_64() {
        for (line, message) in [
            ("", "a subcommand is missing"),
            ("keep", "unknown subcommand `keep`"),
            ("hold --grace 1", "`--claim-within` is missing"),
            ("hold --claim-within 1 --grace", "a time in milliseconds for `--grace` is missing"),
            ("hold --claim-within -1", "`-1` is not a time in milliseconds for `--claim-within`"),
            (
                "hold --claim-within 4294967296",
                "`4294967296` is not a time in milliseconds for `--claim-within`",
            ),
            ("hold --forever", "unexpected `--forever`"),
            ("exec npx", "expected `--session`, found `npx`"),
            ("exec --session s npx", "expected `--`, found `npx`"),
            ("exec --session s --", "a command is missing"),
            ("ping", "a socket is missing"),
            ("ping /s /t", "unexpected `/t`"),
            ("probe", "a probe is missing"),
            ("probe moon", "unknown probe `moon`"),
            ("probe connect example.org 80", "`example.org` is not an IP address"),
            ("probe listen 80", "`--for` is missing"),
        ] {
            assert_eq!(parse(line), Err(Failure::usage(message)), "{line}");
        }
        let output = keeper(&["hold", "--forever"]);
        assert_eq!(output.status.code(), Some(64));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "berth: keeper: unexpected `--forever`\n");
    }

    #[test]
    fn every_phase_knows_what_follows() {
        let (now, grace) = (Instant::now(), Duration::from_secs(8));
        let half = now + grace / 2;
        let follows = |phase: Phase, event| phase.next(event, now, grace);
        assert_eq!(follows(Phase::Unclaimed(now), Event::Claimed), Phase::Claimed);
        assert_eq!(follows(Phase::Unclaimed(now), Event::TimeUp), Phase::Stopping(half));
        assert_eq!(follows(Phase::Draining(now), Event::TimeUp), Phase::Stopping(half));
        assert_eq!(follows(Phase::Stopping(now), Event::TimeUp), Phase::Over);
        for phase in [Phase::Unclaimed(now), Phase::Claimed] {
            assert_eq!(follows(phase, Event::OwnerGone), Phase::Draining(half));
        }
        for phase in [Phase::Unclaimed(now), Phase::Claimed, Phase::Draining(now)] {
            assert_eq!(follows(phase, Event::StopAsked), Phase::Stopping(half));
        }
        // An end that has begun is neither put off nor taken back.
        for event in [Event::Nothing, Event::Claimed, Event::StopAsked, Event::OwnerGone] {
            assert_eq!(follows(Phase::Stopping(now), event), Phase::Stopping(now));
        }
        for event in [Event::Nothing, Event::Claimed, Event::OwnerGone] {
            assert_eq!(follows(Phase::Draining(now), event), Phase::Draining(now));
        }
    }

    #[test]
    fn only_two_bytes_mean_anything() {
        assert_eq!(meaning(b"c"), Event::Claimed);
        assert_eq!(meaning(b"ct"), Event::StopAsked);
        let others: Vec<u8> = (0..=u8::MAX).filter(|byte| !b"ct".contains(byte)).collect();
        assert_eq!(meaning(&others), Event::Nothing);
    }

    #[test]
    fn what_proc_says_is_read() {
        let status = "Name:\tkeeper\nUid:\t7\t8\t8\t8\nNoNewPrivs:\t1\nNoNewPrivsToo:\t0\n";
        assert_eq!(field(status, "NoNewPrivs"), Some("1"));
        assert_eq!(field(status, "Uid"), Some("7\t8\t8\t8"));
        assert_eq!(field(status, "Seccomp"), None);
        assert_eq!(command_line(b"npx\0-y\0a b\0"), "npx -y a b");
        assert_eq!(command_line(b""), "");
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n\
                    \x20       /32 host LOCAL\n     |-- 172.17.0.2\n        /32 host LOCAL\n     |-- 172.17.255.255\n\
                    \x20       /32 link BROADCAST\nLocal:\n     |-- 172.17.0.2\n        /32 host LOCAL\n";
        assert_eq!(local_addresses(trie), [Ipv4Addr::new(172, 17, 0, 2)]);
    }

    #[test]
    fn limits_are_read_from_both_versions_of_control_groups() {
        let limits = |files: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = root.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let Limits { memory_bytes, pids, cpus } = Limits::read(root.path());
            (memory_bytes, pids, cpus)
        };
        let two = [("memory.max", "536870912\n"), ("pids.max", "256\n"), ("cpu.max", "50000 100000\n")];
        assert_eq!(limits(&two), (Some(536_870_912), Some(256), Some(0.5)));
        let open = [("memory.max", "max\n"), ("pids.max", "max\n"), ("cpu.max", "max 100000\n")];
        assert_eq!(limits(&open), (None, None, None));
        let one = [
            ("memory/memory.limit_in_bytes", "1048576\n"),
            ("pids/pids.max", "64\n"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "150000\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(limits(&one), (Some(1_048_576), Some(64), Some(1.5)));
        assert_eq!(limits(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")]), (None, None, None));
        assert_eq!((cpus("-1 100000"), cpus("5 0")), (None, None));
    }

    #[test]
    fn strings_are_quoted_as_json() {
        let all: String = ('\0'..='\u{2ff}').chain("\"\\/😀\u{2028}".chars()).collect();
        assert_eq!(serde_json::from_str::<String>(&quoted(&all)).unwrap(), all);
    }

    fn keeper(arguments: &[&str]) -> Output {
        // A folder of PATH that cannot be searched would turn «not found» into «permission denied».
        let path = ("PATH", "/usr/bin:/bin");
        Command::new(KEEPER).args(arguments).envs([path]).stdin(Stdio::null()).output().unwrap()
    }

    fn exec(command: &[&str]) -> Output {
        keeper(&[&["exec", "--session", "s1", "--"], command].concat())
    }

    #[test]
    fn exec_becomes_the_command_with_signals_as_from_a_shell() {
        let output = exec(&["sh", "-c", "echo \"$1\"; exit 3", "sh", "a b"]);
        assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"a b\n"[..]));
        let masks = ["grep", "-E", "^Sig(Ign|Blk):", "/proc/self/status"];
        let stdout = String::from_utf8(exec(&masks).stdout).unwrap();
        let plain = Command::new(masks[0]).args(&masks[1..]).output().unwrap();
        assert_eq!(stdout, String::from_utf8(plain.stdout).unwrap());
        let ignored = u64::from_str_radix(field(&stdout, "SigIgn").unwrap(), 16).unwrap();
        assert_eq!(ignored & 1 << 12, 0, "SIGPIPE");
    }

    #[test]
    fn a_command_that_cannot_run_is_named() {
        let output = exec(&["no-such-command"]);
        let line = "berth: cannot run `no-such-command`: No such file or directory\n";
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(127), line));
        let output = exec(&["/etc"]);
        let line = "berth: cannot run `/etc`: Permission denied\n";
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(126), line));
    }

    /// Answers one connection with `answer` and returns what `ping` makes of it.
    fn ping_answered(answer: Option<&'static str>) -> Result<(), Failure> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("daemon.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            match answer {
                Some(answer) => {
                    let mut request = String::new();
                    BufReader::new(&stream).read_line(&mut request).unwrap();
                    assert_eq!(request, "GET /_ping HTTP/1.0\r\n");
                    stream.write_all(answer.as_bytes()).unwrap();
                }
                None => thread::sleep(Duration::from_secs(5)),
            }
        });
        let result = ping::ping(socket.into());
        if answer.is_some() {
            daemon.join().unwrap();
        }
        result.map_err(|failure| Failure {
            message: failure.message.split("`: ").last().unwrap_or_default().to_owned(),
            ..failure
        })
    }

    #[test]
    fn ping_succeeds_on_status_200_only() {
        assert_eq!(ping_answered(Some("HTTP/1.0 200 OK\r\nServer: Docker\r\n\r\nOK")), Ok(()));
        let error = ping_answered(Some("HTTP/1.0 500 Internal Server Error\r\n\r\n")).unwrap_err();
        assert_eq!(error, Failure::new(1, "it answered `HTTP/1.0 500 Internal Server Error`"));
        assert_eq!(ping_answered(None), Err(Failure::new(1, "no answer in 3 s")));
        let output = keeper(&["ping", "/no/such.sock"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&output.stderr)
                .starts_with("berth: no healthy daemon at `/no/such.sock`: No")
        );
        assert!(!ping::is_ok("HTTP/1.1 2000 OK") && !ping::is_ok("200") && !ping::is_ok("SSH-2.0 200"));
    }

    fn probe(arguments: &[&str]) -> Value {
        let output = keeper(&[&["probe"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout.lines().count(), 1, "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[test]
    fn probes_answer_in_json() {
        let limits = probe(&["limits"]);
        assert_eq!(limits["uid"], fs::metadata("/proc/self").unwrap().uid());
        assert_eq!(limits["cap_eff"].as_str().unwrap().len(), 16);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(limits["cap_bnd"].as_str(), field(&status, "CapBnd"));
        assert_eq!(limits["keeper_writable"], true, "the build's own folder");
        assert!(limits["no_new_privs"].is_boolean() && limits["root_writable"].is_boolean());

        let processes = probe(&["processes"]);
        let own = |entry: &&Value| entry["cmdline"] == format!("{KEEPER} probe processes");
        assert!(processes["processes"].as_array().unwrap().iter().any(|entry| own(&entry)));
        assert!(probe(&["addresses"])["addresses"].is_array());
        assert_eq!(probe(&["allocate", "3000000"]), json!({"allocated": 3_000_000, "error": null}));
        assert_eq!(probe(&["allocate", "18446744073709551615"])["allocated"], 0);
        assert_eq!(probe(&["fork", "3"]), json!({"started": 3, "error": null}));

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let refused = json!({"connected": false, "error": "Connection refused (os error 111)"});
        assert_eq!(probe(&["connect", "127.0.0.1", &port]), refused);
    }

    #[test]
    fn probes_write_and_read_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(probe(&["write", &path("a"), "x \"y\""]), json!({"written": true, "error": null}));
        assert_eq!(probe(&["read", &path("a")]), json!({"found": true, "text": "x \"y\"", "error": null}));
        let nowhere = path("none/a");
        assert_eq!(probe(&["write", &nowhere, ""])["written"], false);
        let absent = json!({"found": false, "text": null, "error": "No such file or directory (os error 2)"});
        assert_eq!(probe(&["read", &nowhere]), absent);
        let _socket = UnixListener::bind(path("s")).unwrap();
        assert_eq!(probe(&["read", &path("s")])["found"], true, "though it cannot be opened");
    }

    #[test]
    fn a_listening_probe_tells_of_each_connection_and_ends() {
        let mut child = Command::new(KEEPER)
            .args(["probe", "listen", "0", "--for", "1500"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let port = lines.next().unwrap()["listening"].to_string();
        assert_eq!(probe(&["connect", "127.0.0.1", &port]), json!({"connected": true, "error": null}));
        assert!(lines.next().unwrap()["accepted"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(lines.next(), None);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_listening_probe_ends_before_its_time_when_it_is_told_to() {
        let began = Instant::now();
        let mut command = Command::new(KEEPER);
        command.args(["probe", "listen", "0", "--for", "60000"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"q").unwrap();
        assert!(child.wait().unwrap().success());
        assert!(began.elapsed() < AT_ONCE);
    }

    /// `unshare` into a pid namespace, with the rights of root or those of a user namespace.
    fn unshare() -> Command {
        // A broken keeper may never end; the time limit is what lets such a test fail.
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "45", "unshare"]);
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command
    }

    static NAMESPACES: LazyLock<bool> =
        LazyLock::new(|| unshare().arg("true").output().is_ok_and(|output| output.status.success()));

    /// A keeper as PID 1, among processes that a shell started before it became the keeper.
    struct Berth {
        child: Child,
        started: Instant,
    }

    impl Berth {
        fn hold(claim_within: u32, grace: u32, company: &str) -> Self {
            assert!(
                *NAMESPACES,
                "the keeper's tests need `unshare --pid`: run them as root or allow user namespaces"
            );
            let child = unshare()
                // A server has no capability, and the keeper has none either.
                .args(["setpriv", "--bounding-set=-all", "--inh-caps=-all", "sh", "-c"])
                .arg(format!("{company}\nexec \"$@\""))
                .args(["sh", KEEPER, "hold", "--claim-within", &claim_within.to_string()])
                .args(["--grace", &grace.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            Self { child, started: Instant::now() }
        }

        fn send(mut self, bytes: &[u8]) -> Self {
            self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
            self
        }

        fn let_go(mut self) -> Self {
            drop(self.child.stdin.take());
            self
        }

        /// Reads one line of the company's output.
        fn line(&mut self) -> String {
            let (mut line, mut byte) = (Vec::new(), [0]);
            while self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte != *b"\n" {
                line.push(byte[0]);
            }
            String::from_utf8(line).unwrap()
        }

        /// Waits for the end, while stdin stays open unless it was let go. Returns what was printed, and the time.
        fn end(mut self) -> (String, Duration) {
            let stdin = self.child.stdin.take();
            let mut printed = String::new();
            // All others are dead before PID 1 is, so that this is at its end together with the keeper.
            self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
            let status = self.child.wait().unwrap();
            drop(stdin);
            assert!(status.success(), "{status}");
            (printed, self.started.elapsed())
        }
    }

    impl Drop for Berth {
        fn drop(&mut self) {
            if let Some(mut stdin) = self.child.stdin.take() {
                let _ = stdin.write_all(b"t");
            }
            let _ = self.child.wait();
        }
    }

    /// Prints `term` at SIGTERM and ends.
    const OBEDIENT: &str =
        "(trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.05; done) 2>/dev/null &";
    /// Ends by SIGKILL alone.
    const STUBBORN: &str = "(trap '' TERM; echo ready; exec sleep 60) &";

    #[test]
    fn unclaimed_ends_when_its_time_is_up() {
        let (_, time) = Berth::hold(500, MINUTE, "").end();
        assert!(time >= Duration::from_millis(500) && time < AT_ONCE, "{time:?}");
        // What is no claim changes nothing, and a server started in advance is not waited for.
        let (printed, time) = Berth::hold(500, MINUTE, OBEDIENT).send(b"x\n\0C").end();
        assert!(time >= Duration::from_millis(500) && time < AT_ONCE, "{time:?}");
        assert_eq!(printed, "ready\nterm\n");
    }

    #[test]
    fn claimed_stays_until_it_is_let_go() {
        let mut berth = Berth::hold(200, MINUTE, "").send(b"c");
        thread::sleep(Duration::from_secs(1));
        assert!(berth.child.try_wait().unwrap().is_none());
        let (_, time) = berth.let_go().end();
        assert!(time < AT_ONCE, "nobody else was there: {time:?}");
    }

    #[test]
    fn a_claim_and_the_end_in_one_go_are_an_end() {
        let (_, time) = Berth::hold(MINUTE, MINUTE, "").send(b"c").let_go().end();
        assert!(time < AT_ONCE, "{time:?}");
    }

    #[test]
    fn a_server_that_ends_at_eof_is_not_signalled() {
        let folder = tempfile::tempdir().unwrap();
        let stdin = folder.path().join("stdin");
        assert!(Command::new("mkfifo").arg(&stdin).status().unwrap().success());
        let server = format!(
            "(trap 'echo term; exit' TERM; exec <{}; echo ready; while read -r _; do :; done; sleep 0.3; echo late) &",
            stdin.display()
        );
        let mut berth = Berth::hold(MINUTE, MINUTE, &server).send(b"c");
        let to_server = fs::OpenOptions::new().write(true).open(&stdin).unwrap();
        assert_eq!(berth.line(), "ready");
        let berth = berth.let_go();
        drop(to_server);
        let (printed, time) = berth.end();
        assert_eq!(printed, "late\n");
        assert!(time < AT_ONCE, "{time:?}");
    }

    #[test]
    fn a_server_that_ignores_eof_gets_sigterm_after_half_the_grace() {
        let (printed, time) = Berth::hold(MINUTE, 2000, OBEDIENT).send(b"c").let_go().end();
        assert_eq!(printed, "ready\nterm\n");
        assert!(time >= Duration::from_secs(1), "{time:?}");
    }

    #[test]
    fn a_server_that_ignores_sigterm_too_is_gone_after_the_grace() {
        let (_, time) = Berth::hold(MINUTE, 2000, STUBBORN).send(b"c").let_go().end();
        assert!(time >= Duration::from_secs(2) && time < AT_ONCE, "{time:?}");
    }

    #[test]
    fn stop_on_request_waits_for_no_eof() {
        let mut berth = Berth::hold(MINUTE, MINUTE, OBEDIENT).send(b"c");
        assert_eq!(berth.line(), "ready");
        let (printed, time) = berth.send(b"t").end();
        assert_eq!(printed, "term\n");
        assert!(time < AT_ONCE, "{time:?}");
        let mut berth = Berth::hold(MINUTE, 2000, STUBBORN).send(b"c");
        assert_eq!(berth.line(), "ready");
        let (_, time) = berth.send(b"t").end();
        assert!(time >= Duration::from_secs(1) && time < AT_ONCE, "{time:?}");
    }

    #[test]
    fn sigterm_and_sigint_are_requests_to_stop() {
        for signal in ["TERM", "INT"] {
            let company = format!("{OBEDIENT}\n(sleep 0.5; kill -{signal} 1) &");
            let (printed, time) = Berth::hold(MINUTE, MINUTE, &company).send(b"c").end();
            assert_eq!(printed, "ready\nterm\n");
            assert!(time < AT_ONCE, "{time:?}");
        }
    }

    #[test]
    fn other_signals_and_idling_do_nothing() {
        let company = "(sleep 0.5; for signal in HUP PIPE USR1 ALRM QUIT STOP; do kill -$signal 1; done
            switches() { grep ^voluntary /proc/1/status; }
            before=$(switches); sleep 1; [ \"$before\" = \"$(switches)\" ] && echo idle || echo busy; sleep 60) &";
        let mut berth = Berth::hold(MINUTE, MINUTE, company).send(b"c");
        assert_eq!(berth.line(), "idle");
        assert!(berth.child.try_wait().unwrap().is_none());
    }

    #[test]
    fn orphans_leave_no_zombies() {
        // The first two are PID 1's own children; the third is adopted.
        let company = "sleep 0.3 & sleep 0.4 & (sleep 0.5 &)
            (sleep 1.5; cat /proc/[0-9]*/stat | grep -c ' Z '; echo $(ls -d /proc/[0-9]*); sleep 60) &";
        let mut berth = Berth::hold(MINUTE, MINUTE, company).send(b"c");
        assert_eq!(berth.line(), "0");
    }

    #[test]
    fn the_lifeline_is_closed_to_the_same_user() {
        let company =
            "(sleep 0.5; readlink /proc/1/fd/0 || echo denied; readlink /proc/self/fd/0; sleep 60) &";
        let mut berth = Berth::hold(MINUTE, MINUTE, company).send(b"c");
        assert_eq!(berth.line(), "denied");
        assert_eq!(berth.line(), "/dev/null", "a process can read its own");
    }

    #[test]
    fn a_keeper_that_can_no_longer_poll_ends() {
        let company = "(sleep 0.5; prlimit --pid 1 --nofile=1:1; echo lowered; exec sleep 60) &";
        let mut berth = Berth::hold(MINUTE, 2000, company);
        assert_eq!(berth.line(), "lowered");
        // The poll that goes on does not notice; the next one fails.
        let (_, time) = berth.send(b"c").end();
        assert!(time < AT_ONCE, "{time:?}");
    }

    #[test]
    fn hold_refuses_to_be_anything_but_pid_1() {
        assert!(
            *NAMESPACES,
            "the keeper's tests need `unshare --pid`: run them as root or allow user namespaces"
        );
        // In a namespace all the same: a keeper that does not refuse signals everybody it can see.
        let script = "\"$0\" hold --claim-within 100 --grace 100; echo $?";
        let output = unshare().args(["sh", "-c", script, KEEPER]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "70\n");
        let line = "berth: keeper: `hold` runs as PID 1 of a container only\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), line);
    }

    #[test]
    fn the_program_runs_without_being_readable() {
        // As in a volume of mode 0111: the kernel then keeps a user's processes out from the very first moment.
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("keeper");
        fs::copy(KEEPER, &copy).unwrap();
        fs::set_permissions(&copy, PermissionsExt::from_mode(0o111)).unwrap();
        let output = Command::new(&copy).args(["probe", "fork", "1"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"started\":1,\"error\":null}\n");
    }
}
