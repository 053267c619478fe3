//! The nameservers to ask: those that berth has told the daemon, else those that the engine gave the daemon's
//! container.
//!
//! berth's message is the name of a volume (`keeper/resolv_conf.rs`): the daemon makes a volume in one step, and the
//! keeper sees it without asking.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::say;
use crate::resolv_conf::{NAMESERVERS, Resolver, boot};

/// As resolvers have it (`MAXDNSRCH`).
const SEARCHED: usize = 6;
const PORT: u16 = 53;
/// A folder that was changed so short a time ago may change again without having a newer time.
const UNSURE: Duration = Duration::from_secs(3);
/// How long a server that answered in the place of another one is asked before it.
const PREFERRED_FOR: Duration = Duration::from_secs(30);
/// The file's own.
const LONGEST: u64 = 64 << 10;

/// The servers, and which of them answered last.
#[derive(Debug, Default)]
pub(in super::super) struct Upstreams {
    servers: Vec<SocketAddr>,
    /// Which one is asked first, and since when.
    preferred: Mutex<Option<(usize, Instant)>>,
}

impl Upstreams {
    pub(in super::super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, preferred: Mutex::default() }
    }

    /// All of them, the one that answered last first: one that is dead costs each question its time otherwise. After a while
    /// they are in their own order again, for the first may know names that no other knows.
    pub(in super::super) fn in_order(&self) -> impl Iterator<Item = SocketAddr> {
        let preferred = *self.preferred.lock().unwrap_or_else(PoisonError::into_inner);
        let first =
            preferred.filter(|(_, since)| since.elapsed() < PREFERRED_FOR).map_or(0, |(first, _)| first);
        self.servers.iter().cycle().skip(first).take(self.servers.len()).copied()
    }

    pub(in super::super) fn prefer(&self, server: SocketAddr) {
        let Some(answered) = self.servers.iter().position(|other| *other == server) else { return };
        let mut preferred = self.preferred.lock().unwrap_or_else(PoisonError::into_inner);
        // Its time is not made longer by its answers.
        if preferred.is_none_or(|(first, since)| first != answered || since.elapsed() >= PREFERRED_FOR) {
            *preferred = Some((answered, Instant::now()));
        }
    }
}

/// The upstreams of now. A question keeps those that it began with.
#[derive(Debug)]
pub(in super::super) struct Current(Mutex<Arc<Upstreams>>);

impl Current {
    pub(in super::super) fn new(upstreams: Upstreams) -> Self {
        Self(Mutex::new(Arc::new(upstreams)))
    }

    pub(super) fn get(&self) -> Arc<Upstreams> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, upstreams: Upstreams) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(upstreams);
    }
}

/// Where it is written whom to ask, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sources {
    /// Our own address, which we must not ask.
    pub(super) own: Ipv4Addr,
    pub(super) volumes: PathBuf,
    /// The container's `resolv.conf` as the engine made it.
    pub(super) given: PathBuf,
    /// The file that the daemon reads, and copies into containers.
    pub(super) written: PathBuf,
}

impl Resolver {
    fn servers(&self, own: Ipv4Addr) -> Vec<SocketAddr> {
        let others = self.nameservers.iter().filter(|address| **address != own);
        others.take(NAMESERVERS).map(|address| SocketAddr::new(*address, PORT)).collect()
    }

    /// The file by which all others ask us, who ask these.
    pub(in super::super) fn text(&self, own: Ipv4Addr) -> String {
        let mut text =
            format!("# Of berth: these are asked in turn: {}\nnameserver {own}\n", list(&self.nameservers));
        for (key, words, most) in [("search", &self.search, SEARCHED), ("options", &self.options, usize::MAX)]
        {
            if !words.is_empty() {
                let words: Vec<&str> = words.iter().take(most).map(String::as_str).collect();
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{key} {}", words.join(" "));
            }
        }
        text
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl Sources {
    /// The newest of what was told. Whoever tells something new removes what is old, but may be cut off before.
    fn told(&self, boot: &str) -> Option<Resolver> {
        let entries = fs::read_dir(&self.volumes).ok()?.flatten();
        let told = entries.filter_map(|entry| {
            let resolver = Resolver::of_volume(entry.file_name().to_str()?, boot)?;
            Some((entry.metadata().ok()?.modified().ok()?, resolver))
        });
        told.max_by_key(|(made, _)| *made).map(|(_, resolver)| resolver)
    }
}

/// What was seen last.
#[derive(Debug)]
pub(super) struct Watch {
    boot: String,
    /// When the folder had changed at the last look.
    looked_at: Option<SystemTime>,
    seen: Option<Resolver>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { boot: boot(), looked_at: None, seen: None }
    }

    /// Takes up what has changed. Costs one system call where nothing has.
    pub(super) fn look(&mut self, sources: &Sources, current: &Current) {
        let changed = fs::metadata(&sources.volumes).and_then(|folder| folder.modified()).ok();
        let is_settled = changed.is_some_and(|at| at.elapsed().is_ok_and(|since| since > UNSURE));
        if self.seen.is_some() && changed == self.looked_at && is_settled {
            return;
        }
        self.looked_at = changed;
        let told = (!self.boot.is_empty()).then(|| sources.told(&self.boot)).flatten();
        let whose = if told.is_some() { "this machine's" } else { "the engine's" };
        let resolver = told.unwrap_or_else(|| Resolver::parse(&read(&sources.given).unwrap_or_default()));
        if self.seen.as_ref() == Some(&resolver) {
            return;
        }
        say(format_args!("names are asked of {} ({whose})", list(&resolver.nameservers)));
        current.set(Upstreams::new(resolver.servers(sources.own)));
        if let Err(error) = rewrite(&sources.written, &resolver.text(sources.own)) {
            say(format_args!("cannot write `{}`: {error}", sources.written.display()));
        }
        self.seen = Some(resolver);
    }
}

fn read(path: &Path) -> io::Result<String> {
    io::read_to_string(io::Read::take(File::open(path)?, LONGEST))
}

/// In place, for the engine has mounted the file; who reads it meanwhile never finds it empty.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}
