//! Machines of the local network in a text. A server reaches none of them with `network = "egress"`, which holds by default.

use std::net::{IpAddr, Ipv4Addr};

use super::address::mentions;
use super::known::default_of_scheme;

/// Endings of names that only a local network knows.
const ENDINGS: [&str; 4] = [".local", ".lan", ".home.arpa", ".ts.net"];

/// Whether `text` names such a machine, and if so, whether by a name that no container finds. `is_host`: by its own name
/// it is a host. `own` are names of this machine.
pub(super) fn names(text: &str, is_host: bool, own: &[String]) -> Option<bool> {
    let mut found: Option<bool> = None;
    let mut look = |host: &str, may_be_short: bool| {
        if !mentions(host, own).is_empty() {
            return;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_known = ENDINGS.iter().any(|ending| host.ends_with(ending));
        if is_known || is_private(&host) || (may_be_short && is_short(&host)) {
            found = Some(found.unwrap_or_default() || host.rsplit('.').next() == Some("local"));
        }
    };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let scheme = before.rsplit(|c| !is_of_scheme(c)).next().unwrap_or_default();
        let end = after.find(['/', '?', '#', ' ', '"', '\'', '\\', '}', ')']).unwrap_or(after.len());
        let place = &after[..end];
        let hosts = place.rsplit_once('@').map_or(place, |(_, hosts)| hosts);
        hosts.split(',').for_each(|host| look(without_port(host), default_of_scheme(scheme).is_some()));
        rest = &after[end..];
    }
    if text.contains("://") {
        return found;
    }
    if is_host {
        text.split(',').for_each(|host| look(without_port(host.trim()), true));
    }
    for word in text.split([' ', ';', '(', ')', '@', '=', ',', '"', '\'']) {
        let host = without_port(word);
        if is_private(host) {
            look(host, false);
        }
    }
    found
}

fn without_port(place: &str) -> &str {
    if let Some(inside) = place.strip_prefix('[') {
        return inside.split(']').next().unwrap_or(inside);
    }
    // Several of them are those of an address itself, and `file:./x.db` is none.
    place.split_once(':').filter(|(_, port)| !port.contains([':', '/', '.'])).map_or(place, |(host, _)| host)
}

/// As `"egress"` closes them.
fn is_private(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            let is_shared = address.octets()[0] == 100 && (64..128).contains(&address.octets()[1]);
            address.is_private() || is_shared || (address.is_link_local() && address != METADATA)
        }
        Ok(IpAddr::V6(address)) => (address.segments()[0] & 0xfe00) == 0xfc00,
        Err(_) => false,
    }
}

/// Nobody's machine: `"lan"` is no advice for it.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A name without a dot, such as `nas`.
fn is_short(host: &str) -> bool {
    host.starts_with(|c: char| c.is_ascii_alphabetic())
        && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}
