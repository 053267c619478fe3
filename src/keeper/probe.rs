//! Looks at the walls of a container from inside. Each answer is one line of JSON on stdout.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, hint, process, thread};

use super::json::{or_null, quoted};
use super::limits::limits;
use super::names::names;
use super::{Failure, Words, sys};

/// In the first line of its log.
const GVISOR: &[u8] = b"gVisor";

const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Limits,
    Kernel,
    Processes,
    Connect(SocketAddr),
    Listen { port: u16, time: Duration },
    Allocate { bytes: usize },
    Fork { count: usize },
    Addresses,
    Write { path: OsString, text: OsString },
    Read(OsString),
    Sleep(Duration),
    Drain { pause: Duration },
    Names(String),
}

impl Probe {
    pub(super) fn parse(words: &mut Words<impl Iterator<Item = OsString>>) -> Result<Self, Failure> {
        Ok(match words.text("a probe")?.as_str() {
            "limits" => Self::Limits,
            "kernel" => Self::Kernel,
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
            "drain" => {
                words.exactly("--pause")?;
                Self::Drain { pause: words.milliseconds("--pause")? }
            }
            "names" => Self::Names(words.text("a name")?),
            other => return Err(Failure::usage(format_args!("unknown probe `{other}`"))),
        })
    }

    pub(super) fn execute(self) -> Result<(), Failure> {
        // What a server reads out of it, or writes into it, would be its own word.
        sys::forbid_dumping()?;
        Ok(match self {
            Self::Limits => print(limits()?),
            Self::Kernel => print(kernel()?),
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
            Self::Drain { pause } => drain(pause),
            Self::Names(name) => print(names(&name)?),
        }?)
    }
}

fn print(line: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Which kernel serves this process. A container without capabilities may read the log of its own kernel only.
fn kernel() -> io::Result<String> {
    let version = fs::read_to_string("/proc/version")?;
    let log = sys::kernel_log().unwrap_or_default();
    let says_gvisor = log.windows(GVISOR.len()).any(|words| words == GVISOR);
    Ok(format!("{{\"version\":{},\"says_gvisor\":{says_gvisor}}}", quoted(version.trim_end())))
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

/// Reads standard input to its end, and says only a while after it how much there was.
fn drain(pause: Duration) -> io::Result<()> {
    let bytes = io::copy(&mut io::stdin(), &mut io::sink())?;
    thread::sleep(pause);
    print(format_args!("{{\"drained\":{bytes}}}"))
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
