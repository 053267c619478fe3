//! Which addresses are the world's, and which are somebody's own network.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use super::super::allow::Network;

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Network {
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
}

const fn v6(first: u16, second: u16, bits: u8) -> Network {
    Network { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), bits }
}

/// The local network and the cloud's metadata: closed to a server whose network is `egress`.
///
/// Not 198.18.0.0/15, though nobody's by RFC 2544: proxies on laptops give all names addresses of it.
pub(in super::super) const LAN: [(Network, &str); 13] = [
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 168, 0, 0, 16), "private"),
    // Providers' own, and those of VPNs that are laid over others.
    (v4(100, 64, 0, 0, 10), "shared"),
    // Metadata of most clouds among them.
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(192, 0, 0, 0, 24), "metadata"),
    (v4(168, 63, 129, 16, 32), "metadata"),
    (v4(0, 0, 0, 0, 8), "unspecified"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
    // `fd00:ec2::254` among them.
    (v6(0xfc00, 0, 7), "private"),
    (v6(0xfe80, 0, 10), "link-local"),
    (v6(0xfec0, 0, 10), "private"),
];

/// What is never anybody else's.
const SELF: [(Network, &str); 4] = [
    (v4(127, 0, 0, 0, 8), "loopback"),
    // The loopback and the addresses with an IPv4 address at their end.
    (v6(0, 0, 96), "loopback"),
    (v6(0xff00, 0, 8), "multicast"),
    // Teredo: what it leads to cannot be told.
    (v6(0x2001, 0, 32), "tunnelled"),
];

/// A kernel without IPv6.
const EAFNOSUPPORT: i32 = 97;

/// Why an address is not the world's; `None` for those that are.
pub(in super::super) fn kind(address: IpAddr) -> Option<&'static str> {
    let address = meant(address);
    let known = LAN.iter().chain(&SELF).find(|(network, _)| network.contains(address));
    known.map(|(_, kind)| *kind)
}

/// Whether nobody may reach it by a forwarder, whoever names it.
pub(in super::super) fn is_closed(address: IpAddr) -> bool {
    let address = meant(address);
    SELF.iter().any(|(network, _)| network.contains(address)) || address.is_unspecified() || is_ours(address)
}

/// The IPv4 address that an IPv6 address stands for, if it does: mapped, by 6to4, or by NAT64.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let segments = v6.segments();
    let [.., before, last] = segments;
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => v4(before, last),
        [0x2002, high, low, ..] => v4(high, low),
        // NAT64 of somebody's own: local by its nature.
        [0x64, 0xff9b, 1, ..] => IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)),
        _ => address,
    }
}

/// Whether it is an address of the daemon's container, or of a session.
fn is_ours(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // No packet is sent: the kernel only chooses the way.
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    match from {
        Ok(from) if from.ip() == address => return true,
        Ok(_) => {}
        // No way leads there at all.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable
            ) || error.raw_os_error() == Some(EAFNOSUPPORT) => {}
        // Nobody can tell.
        Err(_) => return true,
    }
    let IpAddr::V4(address) = address else { return false };
    fs::read_to_string("/proc/net/route").map_or(true, |table| leads_inward(&table, address))
}

/// Whether the best of these routes (`proc_net(5)`) leaves by an interface that is no way out of the container.
pub(in super::super) fn leads_inward(table: &str, address: Ipv4Addr) -> bool {
    // In the order of the machine's memory, as the first bytes of an address are the first there.
    let number =
        |column: Option<&str>| Some(u32::from_be_bytes(u32::from_str_radix(column?, 16).ok()?.to_ne_bytes()));
    let rows = table.lines().skip(1).filter_map(|row| {
        let mut columns = row.split_whitespace();
        let interface = columns.next()?;
        let network = number(columns.next())?;
        let mask = number(columns.nth(5))?;
        (u32::from(address) & mask == network).then_some((mask, interface))
    });
    rows.max_by_key(|(mask, _)| *mask).is_some_and(|(_, interface)| !interface.starts_with("eth"))
}
