//! Whom names are asked of, as a `resolv.conf` says it and as berth tells it to the daemon, for both: a part of two programs.
//! std only.
//!
//! What berth tells is the name of a volume: `berth-dns_b441da679_n192.168.1.1_nfd00--1_shome.lan_ondots.2`.
//! `src/dock/resolver.rs` writes it.

use std::fs;
use std::net::IpAddr;

/// As resolvers have it (`MAXNS`).
pub(crate) const NAMESERVERS: usize = 3;

/// What the name of a volume that tells something begins with.
pub(crate) const VOLUME: &str = "berth-dns_";

/// What a `resolv.conf` says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Resolver {
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl Resolver {
    pub(crate) fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    resolver.nameservers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // The last of these lines counts.
                Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
                Some("options") => resolver.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        resolver
    }

    /// What a volume's name says. `None`: it is another volume, or was told on a machine that is not this one, or before
    /// it was started, which `boot` says.
    pub(crate) fn of_volume(name: &str, boot: &str) -> Option<Self> {
        let mut resolver = Self::default();
        let mut parts = name.strip_prefix(VOLUME)?.split('_');
        if parts.next()?.strip_prefix('b') != Some(boot) {
            return None;
        }
        for part in parts {
            // No name of a volume may hold a colon.
            match part.split_at_checked(1)? {
                ("n", address) => resolver.nameservers.push(address.replace('-', ":").parse().ok()?),
                ("s", domain) => resolver.search.push(domain.to_owned()),
                ("o", option) => resolver.options.push(option.replace('.', ":")),
                _ => return None,
            }
        }
        Some(resolver).filter(|resolver| !resolver.nameservers.is_empty())
    }
}

/// This start of this machine: the same in its containers, and on no other. Empty: nothing that was told counts.
pub(crate) fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Eight digits tell one start of one machine from all others.
    boot.chars().take(8).collect()
}
