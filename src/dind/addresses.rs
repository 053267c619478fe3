//! Chooses the network of the daemon's bridge: one to which neither this machine nor the engine has a route. Traffic of
//! sessions to such a route would end at the bridge. Reads this machine's routes; the choice is pure.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::Dind;
use crate::dock::docker::{DockerError, Engine};
use crate::values::AddressPool;

/// The network of a daemon's bridge that berth has chosen; kept for as long as nobody else has it.
pub const LABEL_BIP: &str = "io.mcp-berth.bip";

/// Room for 4,093 containers each, in networks that are little used: apart from the first that engines give their own
/// bridges (172.17.0.0/16), from the default networks of clouds (172.31.0.0/16, 10.0.0.0/16) and of home routers.
const CANDIDATES: [[u8; 4]; 9] = [
    [172, 30, 240, 1],
    [172, 28, 240, 1],
    [172, 26, 240, 1],
    [172, 24, 240, 1],
    [172, 22, 240, 1],
    [192, 168, 208, 1],
    [192, 168, 144, 1],
    [10, 213, 240, 1],
    [10, 87, 240, 1],
];
const PREFIX: u8 = 20;

/// The same configuration with the bridge's network settled. `labels` are those of the container that is there.
pub(super) async fn settle(
    dind: &Dind,
    engine: &Engine,
    labels: Option<&HashMap<String, String>>,
) -> Result<Dind, DockerError> {
    let mut settled = dind.clone();
    if settled.bip.is_none() {
        settled.bip = choose(kept(labels), &taken(engine).await?);
    }
    Ok(settled)
}

/// The same, by the container's own word.
pub(crate) fn settled(dind: &Dind, labels: &HashMap<String, String>) -> Dind {
    Dind { bip: dind.bip.or_else(|| kept(Some(labels))), ..dind.clone() }
}

fn kept(labels: Option<&HashMap<String, String>>) -> Option<Ipv4Net> {
    labels?.get(LABEL_BIP)?.parse().ok()
}

/// Whether a network has nothing in common with those of the daemon.
pub(super) fn is_apart(dind: &Dind, subnets: &[Ipv4Net]) -> bool {
    let own = own(dind);
    subnets.iter().all(|subnet| is_free(*subnet, &own))
}

/// A network in which the daemon and the container that berth is in can meet; none where all are taken.
pub(super) async fn meeting(dind: &Dind, engine: &Engine) -> Result<Option<Ipv4Net>, DockerError> {
    Ok(apart(&[taken(engine).await?, own(dind)].concat()))
}

fn apart(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    candidates().find(|candidate| is_free(*candidate, taken)).map(|candidate| candidate.trunc())
}

/// The networks of the daemon itself.
fn own(dind: &Dind) -> Vec<Ipv4Net> {
    dind.bip.into_iter().chain(dind.address_pools.iter().map(AddressPool::base)).collect()
}

/// The networks of the engine, and those that this machine has a route to.
async fn taken(engine: &Engine) -> Result<Vec<Ipv4Net>, DockerError> {
    let mut taken = engine.subnets().await?;
    taken.extend(routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default()));
    Ok(taken)
}

/// The first that overlaps nothing. Where all are taken it is the former one, or the first: without an address of its own
/// the bridge would overlap as well, and nobody could be asked for names there.
fn choose(kept: Option<Ipv4Net>, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let mut candidates = kept.into_iter().chain(candidates());
    candidates.clone().find(|candidate| is_free(*candidate, taken)).or_else(|| candidates.next())
}

fn candidates() -> impl Iterator<Item = Ipv4Net> + Clone {
    CANDIDATES.iter().filter_map(|address| Ipv4Net::new((*address).into(), PREFIX).ok())
}

fn is_free(candidate: Ipv4Net, taken: &[Ipv4Net]) -> bool {
    !taken.iter().any(|other| candidate.contains(&other.network()) || other.contains(&candidate.network()))
}

/// The networks of `/proc/net/route` (`proc_net(5)`); the default route is none.
fn routes(table: &str) -> Vec<Ipv4Net> {
    // In the order of the machine's memory, as the first bytes of an address are the first there.
    let address =
        |column: Option<&str>| Some(Ipv4Addr::from(u32::from_str_radix(column?, 16).ok()?.to_ne_bytes()));
    let rows = table.lines().skip(1).filter_map(|row| {
        let mut columns = row.split_whitespace();
        Some((address(columns.nth(1))?, address(columns.nth(5))?))
    });
    rows.filter_map(|(network, mask)| Ipv4Net::with_netmask(network, mask).ok())
        // Halves of everything are a default route by another name, as VPNs have it.
        .filter(|network| network.prefix_len() > 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Value;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_taken_is_left_to_others_and_what_was_chosen_is_kept() {
        let first = net("172.30.240.1/20");
        assert_eq!(choose(None, &[]), Some(first));
        assert_eq!(choose(None, &[net("172.17.0.0/16"), net("10.0.0.0/8")]), Some(first));
        let second = Some(net("172.28.240.1/20"));
        for taken in ["172.30.0.0/16", "172.30.240.0/24", "172.30.255.7/32", "172.30.240.1/20"] {
            assert_eq!(choose(None, &[net(taken)]), second, "{taken}");
        }
        assert_eq!(choose(second, &[]), second, "the first is free again, and no reason to end sessions");
        assert_eq!(choose(second, &[net("172.28.0.0/16")]), Some(first));
        // Where all are taken, one that is in use stays, and the bridge has an address in any case.
        let all = [net("172.16.0.0/12"), net("192.168.0.0/16"), net("10.0.0.0/8")];
        assert_eq!((choose(None, &all), choose(second, &all)), (Some(first), second));
    }

    #[test]
    fn the_daemon_is_met_apart_from_its_own_networks_and_from_the_engines() {
        let dind = Dind { bip: Some(net("172.30.240.1/20")), ..Dind::default() };
        assert!(!is_apart(&dind, &[net("172.30.0.0/16")]), "the bridge is in it");
        assert!(!is_apart(&dind, &[net("10.0.0.0/24"), net("172.30.241.0/24")]), "it is in the bridge's");
        assert!(is_apart(&dind, &[net("172.18.0.0/16")]) && is_apart(&dind, &[]));
        let met = |dind: &Dind, taken: &[Ipv4Net]| apart(&[taken.to_vec(), own(dind)].concat());
        assert_eq!(met(&dind, &[]), Some(net("172.28.240.0/20")), "the bridge of the daemon is the first");
        assert_eq!(met(&dind, &[net("172.28.0.0/16")]), Some(net("172.26.240.0/20")));
        let pools = AddressPool::from_text("172.16.0.0/12:24").into_iter().collect();
        let pooled = Dind { address_pools: pools, ..dind.clone() };
        assert!(!is_apart(&pooled, &[net("172.18.0.0/16")]));
        assert_eq!(met(&pooled, &[]), Some(net("192.168.208.0/20")));
        let all = ["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"].map(net);
        assert_eq!(met(&dind, &all), None, "the engine chooses");
    }

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
                     tun0\t00F01EAC\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0\nrubbish\n";
        assert_eq!(routes(table), [net("172.17.0.0/16"), net("172.30.240.0/20")]);
    }
}
