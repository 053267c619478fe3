//! What a server with an allow-list may reach: names with their ports, and addresses that count as named. std only: a
//! part of two programs.
//!
//! An entry is `NAME`, `*.NAME`, `ADDRESS` or `ADDRESS/BITS`, each with `:PORT` behind it or not. One without a port
//! means the web: 80 and 443. `*.example.org` means every name below `example.org`, and not that name itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The ports of an entry that names none.
pub(crate) const WEB: [u16; 2] = [80, 443];

/// A name is no longer (RFC 1035), and neither is a label.
const NAME: usize = 253;
const LABEL: usize = 63;

/// A larger part of all addresses is no name for anything.
const FEWEST_BITS: u8 = 8;

/// What an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Name(String),
    /// All below this name.
    Below(String),
    Network(Network),
}

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) target: Target,
    pub(crate) port: Option<u16>,
}

impl Entry {
    /// `None` for what is no entry.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Self::of_network(Network::of(address), None);
        }
        if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            let address: Ipv6Addr = address.parse().ok()?;
            return Self::of_network(Network::of(address.into()), Some(port(rest.strip_prefix(':')?)?));
        }
        if let Some((address, rest)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let (bits, port) = with_port(rest)?;
            return Self::of_network(Network { address, bits: bits.parse().ok()? }, port);
        }
        let (name, port) = with_port(text)?;
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Self::of_network(Network::of(address.into()), port);
        }
        let name = name.to_ascii_lowercase();
        let target = match name.strip_prefix("*.") {
            Some(above) => Target::Below(above.to_owned()),
            None => Target::Name(name.clone()),
        };
        let (Target::Name(plain) | Target::Below(plain)) = &target else { return None };
        (is_name(plain) && plain.contains('.')).then_some(Self { target, port })
    }

    fn of_network(network: Network, port: Option<u16>) -> Option<Self> {
        let most = if network.address.is_ipv4() { 32 } else { 128 };
        let is_own = |own: &Network| own.contains(network.address) || network.contains(own.address);
        let fits = (FEWEST_BITS..=most).contains(&network.bits) && !OWN.iter().any(is_own);
        fits.then_some(Self { target: Target::Network(network), port })
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        let web = if self.port.is_none() { &WEB[..] } else { &[] };
        self.port.into_iter().chain(web.iter().copied())
    }
}

/// Each session's own, whatever a list says: the loopback, and where the names of a list are (`egress/names.rs`).
const OWN: [Network; 3] = [
    Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
    Network { address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), bits: 16 },
    Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
];

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Takes a text apart at its colon.
fn with_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.split_once(':') {
        Some((before, behind)) => Some((before, Some(port(behind)?))),
        None => Some((text, None)),
    }
}

/// Whether it is a host's name (RFC 1123), in lower case; one of another script as `xn--…`. Underscores stand in some.
pub(crate) fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // What ends in a number would be an address to somebody.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= NAME && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number)
}

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u8| {
            let rest = u32::from(width - self.bits.min(width));
            one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(u32::from(own).into(), u32::from(other).into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.into(), other.into(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, self.port) {
            (Target::Name(name), _) => f.write_str(name)?,
            (Target::Below(name), _) => write!(f, "*.{name}")?,
            (Target::Network(Network { address: IpAddr::V6(address), bits: 128 }), Some(_)) => {
                write!(f, "[{address}]")?;
            }
            (Target::Network(network), _) => write!(f, "{network}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_one = *self == Self::of(self.address);
        if is_one { write!(f, "{}", self.address) } else { write!(f, "{}/{}", self.address, self.bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_written_alike() {
        for text in [
            "api.github.com",
            "api.github.com:22",
            "*.example.org:443",
            "xn--bcher-kva.example",
            "a_b.example.org",
            "10.0.0.5",
            "10.0.0.5:5432",
            "10.0.0.0/8",
            "10.0.0.0/8:80",
            "fd00::5",
            "[fd00::5]:80",
            "fd00::/8",
        ] {
            assert_eq!(Entry::parse(text).map(|entry| entry.to_string()).as_deref(), Some(text), "{text}");
        }
        assert_eq!(Entry::parse("API.GitHub.com").unwrap().to_string(), "api.github.com");
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a.*.org",
            "*.*.org",
            "*a.org",
            "a..b",
            ".a.b",
            "a.b.",
            "-a.org",
            "a-.org",
            "a b.org",
            "ä.org",
            "a.org:",
            "a.org:0",
            "a.org:65536",
            "a.org:+1",
            "a.org:1:2",
            "https://a.org",
            "a.org/x",
            "localhost",
            "com",
            "1.2.3",
            "256.1.1.1",
            "a.1",
            "0.0.0.0/0",
            "10.0.0.0/7",
            "10.0.0.0/33",
            "::/0",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]:80",
            "::1",
            "198.18.1.0",
            "198.16.0.0/12",
            "[fd00::5]",
            "10.0.0.5/a",
        ] {
            assert_eq!(Entry::parse(text), None, "{text}");
        }
        let long = format!("{}.org", "a".repeat(64));
        assert_eq!(Entry::parse(&long), None);
    }
}
