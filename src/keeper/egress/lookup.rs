//! Where a name really leads to, and whether that is the world. What is found here is what is connected to: nobody asks again.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;

use super::super::resolv_conf::{NAMESERVERS, Resolver};
use super::super::resolve::upstreams::Upstreams;
use super::super::resolve::{message, tcp, udp};
use super::list::Allowed;
use super::reach;

const PORT: u16 = 53;
const A: u16 = 1;
const AAAA: u16 = 28;
const HEADER: usize = 12;
/// Of one kind; nobody tries more.
const MOST: usize = 16;

/// Why there is no way.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Missing {
    /// The nameservers know no address, or say nothing.
    Unknown,
    /// They were not asked: others are in the way.
    Busy,
    /// All that it leads to is somebody's own; one of them, and what it is.
    Closed(IpAddr, &'static str),
}

/// The addresses that the nameservers know for a name, both kinds in turn: where one leads nowhere, the other may.
///
/// They are asked from `own`, where it is given: the resolver answers so many questions of each address at once, and one session's shall not be in
/// another's way.
pub(super) fn ask_all(name: &str, own: Option<Ipv4Addr>) -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = Resolver::parse(&text).nameservers.into_iter().take(NAMESERVERS);
    let upstreams = Upstreams::new(servers.map(|server| SocketAddr::new(server, PORT)).collect());
    let (old, new) = thread::scope(|scope| {
        let asking = thread::Builder::new().spawn_scoped(scope, || ask(name, AAAA, &upstreams, own));
        let old = ask(name, A, &upstreams, own);
        (old, asking.map(|asking| asking.join().unwrap_or_default()).unwrap_or_default())
    });
    alternately(old, new)
}

pub(in super::super) fn alternately(one: Vec<IpAddr>, other: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

/// Those that a server with this list may reach by this port.
pub(in super::super) fn choose(
    found: &[IpAddr],
    allowed: &Allowed,
    port: u16,
) -> Result<Vec<IpAddr>, Missing> {
    let mut closed = Missing::Unknown;
    let mut open = Vec::new();
    for address in found {
        let address = address.to_canonical();
        let kind = reach::kind(address).filter(|_| !allowed.has_address(address, port));
        if let Some(kind) = kind {
            closed = Missing::Closed(address, kind);
        } else if reach::is_closed(address) {
            closed = Missing::Closed(address, "berth's own");
        } else {
            open.push(address);
        }
    }
    if open.is_empty() { Err(closed) } else { Ok(open) }
}

fn ask(name: &str, kind: u16, upstreams: &Upstreams, own: Option<Ipv4Addr>) -> Vec<IpAddr> {
    let Some(question) = question(name, kind) else { return Vec::new() };
    let mut answer = udp::ask_from(own, &question, upstreams);
    // Cut off: all of it comes by the other way.
    if answer.as_ref().is_some_and(|answer| answer.get(2).is_some_and(|byte| byte & 2 != 0)) {
        answer = tcp::ask(&question, upstreams);
    }
    answer.map(|answer| read(&answer, &question, kind)).unwrap_or_default()
}

fn question(name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut number = [0; 2];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut number)).ok()?;
    let mut question = message::question(name, number)?;
    let at = question.len().checked_sub(4)?;
    question[at..at + 2].copy_from_slice(&kind.to_be_bytes());
    Some(question)
}

/// The addresses of this kind in an answer to this very question.
pub(in super::super) fn read(answer: &[u8], question: &[u8], kind: u16) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let echoed = answer.get(HEADER..question.len());
    let is_ours = echoed.is_some_and(|echoed| echoed.eq_ignore_ascii_case(&question[HEADER..]));
    if !is_ours || !message::answers(answer, question) || message::code(answer) != 0 {
        return found;
    }
    let count = u16::from_be_bytes([answer[6], answer[7]]);
    let mut at = question.len();
    for _ in 0..count {
        let Some((data_kind, data, next)) = record(answer, at) else { break };
        if data_kind == kind && found.len() < MOST {
            match *data {
                [a, b, c, d] if kind == A => found.push(Ipv4Addr::new(a, b, c, d).into()),
                _ if kind == AAAA => {
                    found.extend(
                        <[u8; 16]>::try_from(data).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
                    );
                }
                _ => {}
            }
        }
        at = next;
    }
    found
}

/// Of class IN: its kind, its data, and where the next one begins.
fn record(answer: &[u8], mut at: usize) -> Option<(u16, &[u8], usize)> {
    loop {
        match *answer.get(at)? {
            0 => {
                at += 1;
                break;
            }
            // Where the rest of the name stands.
            0xc0.. => {
                at += 2;
                break;
            }
            label => at += 1 + usize::from(label),
        }
    }
    let fixed = answer.get(at..at + 10)?;
    let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    let data = answer.get(at + 10..at + 10 + length)?;
    let kind = if fixed[2..4] == [0, 1] { u16::from_be_bytes([fixed[0], fixed[1]]) } else { 0 };
    Some((kind, data, at + 10 + length))
}
