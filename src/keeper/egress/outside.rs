//! The local network closed to a container whose network is gVisor's own, from outside of it.
//!
//! gVisor takes the addresses of the container's interfaces and sends by the interfaces themselves: routes of the namespace
//! bind it no more. So the daemon's container, which forwards its packets, has a rule for each of its addresses. The rule is in
//! front of all routes but those to the daemon's own addresses, which its walls see to.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::netlink::{self, Route, Rule};
use super::reach;

/// A file for each container with such rules: its addresses.
const CLOSED: &str = "/run/berth/closed";

/// Closes it, for a container whose network is whole.
pub(super) fn close(pid: u32, id: &OsStr) -> io::Result<()> {
    let in_namespace = |file: &str| match fs::read_to_string(format!("/proc/{pid}/net/{file}")) {
        Ok(text) => Ok(text),
        // There is no IPv6 in this kernel.
        Err(error) if error.kind() == ErrorKind::NotFound && file == "if_inet6" => Ok(String::new()),
        Err(error) => Err(error),
    };
    let addresses = addresses(&in_namespace("fib_trie")?, &in_namespace("if_inet6")?);
    if addresses.is_empty() {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    netlink::set(&reach::LAN.map(|(network, _)| (Route::ProhibitedToSome, network)))?;
    // What has to be removed is known before it is there.
    fs::create_dir_all(CLOSED)?;
    let lines: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    fs::write(Path::new(CLOSED).join(id), lines.join("\n"))?;
    addresses.into_iter().try_for_each(|address| netlink::rule(Rule::Add, address))
}

/// Its addresses are somebody else's soon.
pub(super) fn forget(id: &OsStr) {
    let file = Path::new(CLOSED).join(id);
    let Ok(text) = fs::read_to_string(&file) else { return };
    let addresses = text.lines().filter_map(|line| line.parse().ok());
    let removed: io::Result<()> = addresses.into_iter().try_for_each(|of| netlink::rule(Rule::Remove, of));
    // Else the next `delete` of it tries again.
    if removed.is_ok() {
        let _ = fs::remove_file(file);
    }
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
