//! The list of a session: what it allows.

use std::net::IpAddr;

use crate::allow::{Entry, Network, Target, WEB};

/// The whole list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Allowed(pub(in super::super) Vec<Entry>);

impl Allowed {
    /// Whether a name stands there, with whatever port.
    pub(in super::super) fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|entry| is_of(entry, name))
    }

    pub(in super::super) fn has(&self, name: &str, port: u16) -> bool {
        self.0.iter().any(|entry| is_of(entry, name) && has_port(entry, port))
    }

    pub(in super::super) fn has_address(&self, address: IpAddr, port: u16) -> bool {
        let is_there = |entry: &Entry| network(entry).is_some_and(|network| network.contains(address));
        self.0.iter().any(|entry| is_there(entry) && has_port(entry, port))
    }

    /// Whether a name may lead to an address that is otherwise refused.
    pub(in super::super) fn names_address(&self, address: IpAddr) -> bool {
        self.networks().any(|network| network.contains(address))
    }

    pub(in super::super) fn networks(&self) -> impl Iterator<Item = Network> {
        self.0.iter().filter_map(network)
    }

    /// The names that are there without a `*`.
    pub(in super::super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|entry| match &entry.target {
            Target::Name(name) => Some(name.as_str()),
            Target::Below(_) | Target::Network(_) => None,
        })
    }

    /// Each once, in order.
    pub(in super::super) fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.0.iter().flat_map(Entry::ports).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

fn has_port(entry: &Entry, port: u16) -> bool {
    entry.port.map_or(WEB.contains(&port), |own| own == port)
}

fn is_of(entry: &Entry, name: &str) -> bool {
    match &entry.target {
        Target::Name(own) => own == name,
        Target::Below(above) => {
            name.strip_suffix(above).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
        }
        Target::Network(_) => false,
    }
}

fn network(entry: &Entry) -> Option<Network> {
    match entry.target {
        Target::Network(network) => Some(network),
        Target::Name(_) | Target::Below(_) => None,
    }
}
