//! Whether names are answered: one question to each nameserver of this container. The contents of an answer do not
//! matter; a missing or unusable answer does.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use super::json::{or_null, quoted};
use super::resolv_conf::Resolver;
use super::resolve::message;

/// More than a forwarder takes to find out that nobody answers.
const PATIENCE: Duration = Duration::from_secs(6);
const PORT: u16 = 53;
/// Of what a server may send in one datagram to whoever has not asked for more (RFC 1035).
const LONGEST: usize = 512;

pub(super) fn names(name: &str) -> io::Result<String> {
    let resolver = Resolver::parse(&fs::read_to_string("/etc/resolv.conf")?);
    let number = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
    let question = message::question(name, [number.to_le_bytes()[1], number.to_le_bytes()[2]])
        .ok_or(ErrorKind::InvalidInput)?;
    let asked = resolver.nameservers.iter().map(|server| {
        let began = Instant::now();
        let (code, error) = match ask(&question, SocketAddr::new(*server, PORT)) {
            Ok(code) => (Some(code), None),
            Err(error) => (None, Some(quoted(&error.to_string()))),
        };
        format!(
            "{{\"server\":{},\"code\":{},\"error\":{},\"ms\":{}}}",
            quoted(&server.to_string()),
            or_null(code),
            or_null(error),
            began.elapsed().as_millis()
        )
    });
    Ok(format!("{{\"asked\":[{}]}}", asked.collect::<Vec<_>>().join(",")))
}

/// Gives the answer's code.
pub(super) fn ask(question: &[u8], server: SocketAddr) -> io::Result<u8> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(question)?;
    let until = Instant::now() + PATIENCE;
    let mut answer = [0; LONGEST];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("no answer in {} s", PATIENCE.as_secs()),
            ));
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut answer) {
            Ok(length) if message::answers(&answer[..length], question) => return Ok(message::code(&answer)),
            Ok(_) => {}
            // The time is up.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}
