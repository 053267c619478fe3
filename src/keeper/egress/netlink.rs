//! Routes of a network namespace and rules in front of them, as the kernel wants to be told (rtnetlink(7)).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::thread;

use super::super::allow::Network;
use super::super::sys::net::{Routes, enter_network};

const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
/// A request with an answer.
const ACKNOWLEDGED: u16 = 0x1 | 0x4;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
/// For a route that is new or takes the place of another.
const FLAGS: u16 = ACKNOWLEDGED | CREATE | 0x100;
const HEADER: usize = 16;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const PROTO_STATIC: u8 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FR_ACT_TO_TBL: u8 = 1;
/// Behind the namespace's own addresses, and before all routes.
const PRIORITY: u32 = 100;
/// Nobody else's in the daemon's container.
const TABLE_OWN: u8 = 117;
const TABLE_LOCAL: u8 = 255;
const TABLE_MAIN: u8 = 254;
const SCOPE_HOST: u8 = 254;
const SCOPE_UNIVERSE: u8 = 0;
/// The loopback is the first interface of every namespace.
const LOOPBACK: u32 = 1;

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Route {
    /// They are for this namespace itself, and whoever listens there.
    Local,
    /// Whoever sends them is told that it is not permitted.
    Prohibited,
    /// The same for those alone whose packets have a [`Rule`].
    ProhibitedToSome,
}

/// Does `work` in a thread that is in the network namespace of a process.
pub(in super::super) fn inside<T: Send + 'static>(
    namespace: File,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let inside = thread::Builder::new().spawn(move || {
        enter_network(&namespace)?;
        work()
    })?;
    inside.join().unwrap_or_else(|_| Err(ErrorKind::Other.into()))
}

/// Sets these routes in the namespace of this thread.
pub(in super::super) fn set(routes: &[(Route, Network)]) -> io::Result<()> {
    let kernel = Routes::open()?;
    for (number, (route, network)) in (1..).zip(routes) {
        match ask(&kernel, &message(number, *route, *network), number) {
            Ok(()) => {}
            // A namespace without IPv6 has no routes of it, and no packets.
            Err(_) if network.address.is_ipv6() && !has_ipv6()? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What becomes of a rule for the packets of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Rule {
    /// They have the routes of [`Route::ProhibitedToSome`] before all others.
    Add,
    Remove,
}

/// Adds or removes such a rule in the namespace of this thread. One that is there already, or is gone already, is as good.
pub(in super::super) fn rule(rule: Rule, of: IpAddr) -> io::Result<()> {
    let done = ask(&Routes::open()?, &rule_message(1, rule, of), 1);
    done.or_else(|error| match (rule, error.kind()) {
        (Rule::Add, ErrorKind::AlreadyExists) | (Rule::Remove, ErrorKind::NotFound) => Ok(()),
        _ => Err(error),
    })
}

fn ask(kernel: &Routes, message: &[u8], number: u32) -> io::Result<()> {
    let mut buffer = [0; 4096];
    kernel.send(message)?;
    answer(kernel.receive(&mut buffer)?, number)
}

/// Whether an address other than the loopback's could be reached from.
fn has_ipv6() -> io::Result<bool> {
    let addresses = match std::fs::read_to_string("/proc/thread-self/net/if_inet6") {
        Ok(addresses) => addresses,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(addresses.lines().any(|line| !line.ends_with(" lo")))
}

pub(in super::super) fn message(number: u32, route: Route, network: Network) -> Vec<u8> {
    let (family, address) = octets(network.address);
    let (table, scope, kind) = match route {
        Route::Local => (TABLE_LOCAL, SCOPE_HOST, 2),
        Route::Prohibited => (TABLE_MAIN, SCOPE_UNIVERSE, 8),
        Route::ProhibitedToSome => (TABLE_OWN, SCOPE_UNIVERSE, 8),
    };
    // `rtmsg`: source and type of service are none.
    let mut body = vec![family, network.bits, 0, 0, table, PROTO_STATIC, scope, kind, 0, 0, 0, 0];
    attribute(&mut body, RTA_DST, &address);
    if route == Route::Local {
        attribute(&mut body, RTA_OIF, &LOOPBACK.to_ne_bytes());
    }
    message_of(RTM_NEWROUTE, FLAGS, number, &body)
}

pub(in super::super) fn rule_message(number: u32, rule: Rule, of: IpAddr) -> Vec<u8> {
    let (family, address) = octets(of);
    let bits = u8::try_from(8 * address.len()).unwrap_or(u8::MAX);
    // `fib_rule_hdr`: no destination, no type of service.
    let mut body = vec![family, 0, bits, 0, TABLE_OWN, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0];
    attribute(&mut body, FRA_SRC, &address);
    attribute(&mut body, FRA_PRIORITY, &PRIORITY.to_ne_bytes());
    let (kind, flags) = match rule {
        Rule::Add => (RTM_NEWRULE, ACKNOWLEDGED | CREATE | EXCLUSIVE),
        Rule::Remove => (RTM_DELRULE, ACKNOWLEDGED),
    };
    message_of(kind, flags, number, &body)
}

fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

fn message_of(kind: u16, flags: u16, number: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend_from_slice(value);
}

/// What the kernel says to a message.
pub(in super::super) fn answer(bytes: &[u8], number: u32) -> io::Result<()> {
    let field = |at: usize| bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    let kind = bytes.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    let is_answer = kind == Some(NLMSG_ERROR) && field(8).map(u32::from_ne_bytes) == Some(number);
    match field(HEADER).map(i32::from_ne_bytes) {
        Some(0) if is_answer => Ok(()),
        Some(error @ i32::MIN..0) if is_answer => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}
