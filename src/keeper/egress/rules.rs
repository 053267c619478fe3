//! The local network closed to a container whose network is gVisor's own, from outside of it.
//!
//! gVisor takes the addresses of the container's interfaces and sends by the interfaces themselves: routes of the namespace
//! bind it no more. So the daemon's container, which forwards its packets, has a rule for each of its addresses. The rule is in
//! front of all routes but those to the daemon's own addresses, which its walls see to.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::netlink::{self, Route, Rule};
use super::reach;

/// A file for each container with such rules: its addresses. Who changes them has this folder locked.
const CLOSED: &str = "/run/berth/closed";

/// Closes it, for a container whose network is whole.
pub(super) fn close(pid: u32, id: &OsStr) -> io::Result<()> {
    let addresses = of(pid)?;
    if addresses.is_empty() {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    fs::create_dir_all(CLOSED)?;
    let _locked = lock()?;
    netlink::set(&reach::LAN.map(|(network, _)| (Route::ProhibitedToSome, network)))?;
    // They are this container's now, whatever became of one that had them before.
    disown(&addresses)?;
    // What has to be removed is known before it is there.
    let lines: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    fs::write(Path::new(CLOSED).join(id), lines.join("\n"))?;
    addresses.into_iter().try_for_each(|address| netlink::rule(Rule::Add, address))
}

/// Removes what a container has left behind whose addresses this one has, which may reach all.
pub(super) fn clear(pid: u32) -> io::Result<()> {
    // Mostly nobody has such rules, and nobody waits for a look at addresses.
    let is_empty = fs::read_dir(CLOSED).map_or(true, |mut files| files.next().is_none());
    if is_empty {
        return Ok(());
    }
    let addresses = of(pid)?;
    let _locked = lock()?;
    disown(&addresses)?;
    addresses.into_iter().try_for_each(|address| netlink::rule(Rule::Remove, address))
}

/// Its addresses are somebody else's soon.
pub(super) fn forget(id: &OsStr) {
    let file = Path::new(CLOSED).join(id);
    // Most containers have none.
    if !file.exists() {
        return;
    }
    let forgotten = lock().and_then(|_locked| {
        // Without those that somebody else has by now.
        read(&file)?.into_iter().try_for_each(|address| netlink::rule(Rule::Remove, address))?;
        fs::remove_file(&file)
    });
    // Else whoever has the addresses next sees to it.
    let _ = forgotten;
}

fn lock() -> io::Result<File> {
    let folder = File::open(CLOSED)?;
    folder.lock()?;
    Ok(folder)
}

/// Takes these addresses out of all files.
fn disown(addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
    for entry in fs::read_dir(CLOSED)? {
        let file = entry?.path();
        let before = read(&file)?;
        let after: Vec<String> = before.difference(addresses).map(ToString::to_string).collect();
        if after.len() < before.len() {
            fs::write(&file, after.join("\n"))?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> io::Result<BTreeSet<IpAddr>> {
    Ok(fs::read_to_string(file)?.lines().filter_map(|line| line.parse().ok()).collect())
}

/// The addresses in the namespace of a process.
fn of(pid: u32) -> io::Result<BTreeSet<IpAddr>> {
    let in_namespace = |file: &str| match fs::read_to_string(format!("/proc/{pid}/net/{file}")) {
        Ok(text) => Ok(text),
        // There is no IPv6 in this kernel.
        Err(error) if error.kind() == ErrorKind::NotFound && file == "if_inet6" => Ok(String::new()),
        Err(error) => Err(error),
    };
    Ok(addresses(&in_namespace("fib_trie")?, &in_namespace("if_inet6")?))
}

/// All that a namespace has, by `/proc/net/fib_trie` and `/proc/net/if_inet6`, but for those of the loopback.
pub(in super::super) fn addresses(routes: &str, ipv6: &str) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    let mut last = None;
    for line in routes.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(last.filter(|address| !address.is_loopback()).map(IpAddr::V4));
        }
    }
    let lines = ipv6.lines().filter(|line| !line.ends_with(" lo"));
    let ipv6 = lines.filter_map(|line| u128::from_str_radix(line.get(..32)?, 16).ok()).map(Ipv6Addr::from);
    addresses.extend(ipv6.map(IpAddr::V6));
    addresses
}
