//! One connection of a session's: who it is for, whether that is allowed, and whether it says the same of itself.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::http::{self, Opening};
use super::lookup::Missing;
use super::pump::Pump;
use super::tls::{self, Hello};
use super::{Session, Way, near, reach};
use crate::allow::WEB;

/// Where the forwarder is an HTTP proxy, at its own address.
pub(in super::super) const PROXY: u16 = 3128;

/// From the beginning of a connection to the end of its first message.
const OPENED_WITHIN: Duration = Duration::from_secs(15);
/// In so many pieces; each has all of it looked at again.
const PIECES: usize = 64;
/// For one address.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// Nobody waits for more addresses than these.
const TRIED: usize = 4;

/// Whom a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// Why a connection is not made.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: String,
    /// What would allow it.
    pub(super) entry: Option<String>,
}

impl Refused {
    pub(super) fn because(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), entry: None }
    }
}

pub(super) enum Trouble {
    Refused(Refused),
    /// Nothing to be told: somebody has left, or is not there.
    Over,
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Self {
        Self::Over
    }
}

/// Serves one connection to its end.
pub(super) fn serve(mut client: TcpStream, session: &Session) {
    let Ok(SocketAddr::V4(to)) = client.local_addr().map(canonical) else { return };
    if *to.ip() == session.names.own && to.port() == PROXY {
        return proxy(client, session);
    }
    let host = match session.names.name_at(*to.ip()) {
        Some(name) => Host::Name(name),
        None if session.allowed.names_address(IpAddr::V4(*to.ip())) => Host::Address(IpAddr::V4(*to.ip())),
        // Of its own loopback, where nobody is.
        None => return,
    };
    if let Err(Trouble::Refused(refused)) = connection(&mut client, &host, to.port(), Vec::new(), session) {
        tell(session, &host, to.port(), &refused);
    }
}

pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn tell(session: &Session, host: &Host, port: u16, refused: &Refused) {
    session.told.tell(&format!("{host}:{port}"), &refused.why, refused.entry.as_deref());
}

pub(super) fn check(host: &Host, port: u16, session: &Session) -> Result<(), Refused> {
    let (is_known, is_allowed) = match host {
        Host::Name(name) => (session.allowed.knows(name), session.allowed.has(name, port)),
        Host::Address(address) => {
            (session.allowed.names_address(*address), session.allowed.has_address(*address, port))
        }
    };
    if is_allowed {
        return Ok(());
    }
    let why = if is_known { "not with this port in `allow`" } else { "not in `allow`" };
    let entry = entry(host, port, WEB.contains(&port) && !is_known);
    Err(Refused { why: why.to_owned(), entry: Some(entry) })
}

/// What would stand in the list for it; without a port it is the web's.
fn entry(host: &Host, port: u16, is_web: bool) -> String {
    let entry = match host {
        Host::Address(address @ IpAddr::V6(_)) => format!("[{address}]"),
        host => host.to_string(),
    };
    if is_web { entry } else { format!("{entry}:{port}") }
}

/// What is left of the time until then; none at all would mean no limit.
pub(super) fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// What a client says first, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Said {
    bytes: Vec<u8>,
    pieces: usize,
}

impl From<Vec<u8>> for Said {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pieces: 0 }
    }
}

/// Reads on; false at the end.
fn more(client: &mut TcpStream, said: &mut Said, until: Option<Instant>) -> io::Result<bool> {
    let mut piece = [0; 4096];
    said.pieces += 1;
    if said.pieces > PIECES {
        return Err(ErrorKind::InvalidData.into());
    }
    loop {
        if let Some(until) = until {
            client.set_read_timeout(Some(left(until)?))?;
        }
        match client.read(&mut piece) {
            Ok(length) => {
                said.bytes.extend_from_slice(&piece[..length]);
                return Ok(length > 0);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // One that listens first, and says something later.
            Err(error)
                if until.is_none() && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            }
            Err(error) => return Err(error),
        }
    }
}

/// What a connection begins with.
pub(super) enum Begun {
    /// All of it may pass.
    Stream,
    Request(Box<http::Request>),
}

/// Whether what the client says first fits whom it is for; `None`: not yet known.
fn judge(said: &[u8], host: &Host, port: u16) -> Result<Option<Begun>, Refused> {
    if said.is_empty() {
        return Ok(None);
    }
    if tls::is_tls(said) {
        return match (tls::hello(said), host) {
            (Hello::Unfinished, _) => Ok(None),
            (Hello::Named(named), Host::Name(name)) if named == *name => Ok(Some(Begun::Stream)),
            (Hello::Named(_) | Hello::Nameless, Host::Address(_)) => Ok(Some(Begun::Stream)),
            (Hello::Named(named), _) => Err(Refused::because(format_args!("its TLS names `{named}`"))),
            (Hello::Nameless, _) => Err(Refused::because("its TLS names no server")),
            (Hello::Broken, _) => Err(Refused::because("its TLS is malformed")),
        };
    }
    match http::opening(said) {
        Opening::Unfinished => Ok(None),
        Opening::Request(request) if request.method == "CONNECT" => {
            Err(Refused::because("it is a request to a proxy"))
        }
        Opening::Request(request) => {
            // An IPv6 address stands in brackets there.
            let named = request.host.trim_matches(['[', ']']);
            let is_same = named == host.to_string() && request.port.is_none_or(|named| named == port);
            if is_same {
                Ok(Some(Begun::Request(request)))
            } else {
                Err(Refused::because(format_args!("its HTTP names `{}`", request.host)))
            }
        }
        Opening::Broken(why) => Err(Refused::because(format_args!("HTTP: {why}"))),
        Opening::Other if WEB.contains(&port) => Err(Refused::because("it is neither TLS nor HTTP")),
        Opening::Other => Ok(Some(Begun::Stream)),
    }
}

/// The connection's whole life. `said`: what the client has said of it already.
fn connection(
    client: &mut TcpStream,
    host: &Host,
    port: u16,
    said: Vec<u8>,
    session: &Session,
) -> Result<(), Trouble> {
    check(host, port, session)?;
    let mut said = Said::from(said);
    // On the web's ports the client speaks first, and nobody is asked before it has said whom it wants.
    let begun = first_words(client, &mut said, host, port)?;
    let server = connect(host, port, session)?;
    carry(client, server, (begun, said), host, port)
}

/// What a client of the web says first; `None`: on this port the server may speak first.
pub(super) fn first_words(
    client: &mut TcpStream,
    said: &mut Said,
    host: &Host,
    port: u16,
) -> Result<Option<Begun>, Trouble> {
    let mut begun = None;
    if WEB.contains(&port) {
        let until = Instant::now() + OPENED_WITHIN;
        while begun.is_none() {
            begun = judge(&said.bytes, host, port)?;
            if begun.is_none() && !more(client, said, Some(until))? {
                return Err(Trouble::Over);
            }
        }
    }
    Ok(begun)
}

/// Both directions, to their end.
pub(super) fn carry(
    client: &TcpStream,
    server: TcpStream,
    (begun, mut said): (Option<Begun>, Said),
    host: &Host,
    port: u16,
) -> Result<(), Trouble> {
    let mut pump = Pump::new(client.try_clone()?, server)?;
    let answering = pump.start()?;
    let begun = match begun.map_or_else(|| listen(pump.client(), &mut said, host, port), Ok) {
        Ok(begun) => begun,
        Err(trouble) => {
            // Else the other thread would go on with what nobody counts any more.
            pump.close();
            drop(answering.join());
            return Err(trouble);
        }
    };
    if let Begun::Request(request) = begun {
        let mut first = request.rewritten;
        let body = &said.bytes[request.head..];
        let taken = usize::try_from(request.length).unwrap_or(usize::MAX).min(body.len());
        first.extend_from_slice(&body[..taken]);
        pump.only(&first, request.length - taken as u64, answering);
    } else {
        pump.all(&said.bytes);
        drop(answering.join());
    }
    Ok(())
}

/// The beginning of a connection whose server may speak first.
fn listen(client: &mut TcpStream, said: &mut Said, host: &Host, port: u16) -> Result<Begun, Trouble> {
    loop {
        if let Some(begun) = judge(&said.bytes, host, port)? {
            return Ok(begun);
        }
        if said.pieces >= PIECES {
            return Err(Refused::because("it begins in too many pieces").into());
        }
        if !more(client, said, None)? {
            // It only listens; a beginning without an end may pass to no web server.
            return if said.bytes.is_empty() { Ok(Begun::Stream) } else { Err(Trouble::Over) };
        }
    }
}

/// To the first address that answers, of those that were looked at.
pub(super) fn connect(host: &Host, port: u16, session: &Session) -> Result<TcpStream, Trouble> {
    let (lookups, asker) = match &session.way {
        Way::Direct { lookups, whose, asker } => ((lookups, *whose), *asker),
        Way::Through(forwarder) => return near::through(*forwarder, host, port),
    };
    let addresses = match host {
        Host::Name(name) => {
            session.addresses(lookups, asker, (name, port)).map_err(|missing| match missing {
                Missing::Unknown => Refused::because("no nameserver knows its address").into(),
                Missing::Busy => Refused::because("too many names are looked up at once").into(),
                Missing::Closed(address, kind) => Trouble::Refused(Refused {
                    why: format!("its address {address} is {kind}"),
                    entry: (kind != "berth's own" && !reach::is_closed(address))
                        .then(|| entry(&Host::Address(address), port, WEB.contains(&port))),
                }),
            })?
        }
        Host::Address(address) if reach::is_closed(*address) => {
            return Err(Refused::because("it is berth's own").into());
        }
        Host::Address(address) => vec![*address],
    };
    let mut connections = addresses.into_iter().take(TRIED).filter_map(|address| {
        TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECTED_WITHIN).ok()
    });
    connections.next().ok_or_else(|| Refused::because("it does not answer").into())
}

/// What a proxy says that has done what it was asked for.
pub(super) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// What a proxy says otherwise.
pub(super) fn answer(client: &mut TcpStream, status: &str, text: &str) {
    let body = format!("berth: {text}\n");
    let head = "Content-Type: text/plain\r\nConnection: close";
    let _ = write!(client, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// Whom a client of a proxy asks for, and what it has said behind that. `None`: it was told that this is not how to ask.
pub(super) fn asked_for(client: &mut TcpStream) -> Option<(Host, u16, Vec<u8>)> {
    let until = Instant::now() + OPENED_WITHIN;
    let mut said = Said::default();
    let request = loop {
        match http::opening(&said.bytes) {
            Opening::Request(request) => break request,
            Opening::Unfinished if matches!(more(client, &mut said, Some(until)), Ok(true)) => {}
            Opening::Unfinished => return None,
            Opening::Broken(_) | Opening::Other => {
                answer(client, "400 Bad Request", "the request is malformed");
                return None;
            }
        }
    };
    let target = (request.method == "CONNECT").then(|| http::authority(&request.target)).flatten();
    let Some((name, Some(port))) = target else {
        answer(client, "405 Method Not Allowed", "this proxy knows CONNECT alone");
        return None;
    };
    let host = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => Host::Address(address.to_canonical()),
        Err(_) => Host::Name(name),
    };
    Some((host, port, said.bytes.split_off(request.head)))
}

/// A client that asks the forwarder itself, by HTTP's CONNECT.
fn proxy(mut client: TcpStream, session: &Session) {
    let Some((host, port, said)) = asked_for(&mut client) else { return };
    if let Err(refused) = check(&host, port, session) {
        tell(session, &host, port, &refused);
        let text = format!("`{host}:{port}` is {}", refused.why);
        return answer(&mut client, "403 Forbidden", &text);
    }
    if client.write_all(ESTABLISHED).is_err() {
        return;
    }
    if let Err(Trouble::Refused(refused)) = connection(&mut client, &host, port, said, session) {
        tell(session, &host, port, &refused);
    }
}
