//! What a server's container can reach: all, the world, some names, or nothing.

use std::collections::BTreeSet;
use std::fmt;

use super::allow;
use super::value::{Value, ValueError, from_str};

from_str!(Network, AllowedName);

/// What a container can reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// The world outside; no other session, and not the host's local network.
    #[default]
    Egress,
    /// The local network, too.
    Lan,
    /// These names alone.
    Allow(Vec<AllowedName>),
    /// Nothing.
    None,
}

/// A name, or an address, that a server may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedName(allow::Entry);

/// No list is longer.
const ENTRIES: usize = 64;

/// Each port is a socket of its own in each session.
const PORTS: usize = 16;

/// Where a list's forwarder listens whatever the list says (`keeper/egress.rs`).
const FORWARDED: [u16; 3] = [80, 443, 3128];

/// How a list stands in one text.
const ALLOW: &str = "allow=";

impl Network {
    /// Of a list; the error says what is wrong with it.
    pub fn allow(entries: Vec<AllowedName>) -> Result<Self, String> {
        let ports: BTreeSet<u16> = entries.iter().flat_map(|entry| entry.0.ports()).collect();
        if entries.is_empty() {
            return Err("`allow` is empty".to_owned());
        }
        if entries.len() > ENTRIES {
            return Err(format!("`allow` has {} entries, and {ENTRIES} are the most", entries.len()));
        }
        if ports.len() > PORTS {
            return Err(format!("`allow` has {} ports, and {PORTS} are the most", ports.len()));
        }
        Ok(Self::Allow(entries))
    }

    /// The ports at which a list's forwarder listens in the container; none without a list.
    pub fn forwarded(&self) -> BTreeSet<u16> {
        let Self::Allow(entries) = self else { return BTreeSet::new() };
        entries.iter().flat_map(|entry| entry.0.ports()).chain(FORWARDED).collect()
    }

    /// Whether a container has a network of the daemon's.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Egress | Self::Lan)
    }
}

impl Value for Network {
    const EXPECTED: &'static str = "\"egress\", \"lan\", \"none\" or { allow = [\"api.example.org\"] }";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "egress" => Some(Self::Egress),
            "lan" => Some(Self::Lan),
            "none" => Some(Self::None),
            _ => {
                let entries = text.strip_prefix(ALLOW)?.split(',').map(AllowedName::from_text);
                Self::allow(entries.collect::<Option<_>>()?).ok()
            }
        }
    }
}

impl Value for AllowedName {
    const EXPECTED: &'static str = "a name such as \"api.example.org\", \"*.example.org\" or \"10.0.0.5\", with a port behind it or not (\"api.example.org:443\")";

    fn from_text(text: &str) -> Option<Self> {
        allow::Entry::parse(text).map(Self)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Egress => f.write_str("egress"),
            Self::Lan => f.write_str("lan"),
            Self::None => f.write_str("none"),
            Self::Allow(entries) => {
                let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
                write!(f, "{ALLOW}{}", entries.join(","))
            }
        }
    }
}

impl fmt::Display for AllowedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_and_what_it_means_are_the_same_in_both_directions() {
        for text in ["egress", "lan", "none", "allow=a.org", "allow=*.a.org:443,10.0.0.5"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for wrong in ["", "None", "host", "allow=", "allow=a", "allow=a.org,", "allow"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_has_bounds() {
        let of = |texts: Vec<String>| {
            Network::allow(texts.iter().map(|text| text.parse().unwrap()).collect()).err().unwrap_or_default()
        };
        assert_eq!(of(Vec::new()), "`allow` is empty");
        let many = |count: u16, port: u16| (0..count).map(|n| format!("a{n}.org:{}", 1 + n * port)).collect();
        assert_eq!(of(many(64, 0)), "");
        assert_eq!(of(many(65, 0)), "`allow` has 65 entries, and 64 are the most");
        assert_eq!(of(many(17, 1)), "`allow` has 17 ports, and 16 are the most");
    }
}
