//! Questions in datagrams: a thread for each open question.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{iter, thread};

use super::slots::Slots;
use super::upstreams::{Current, Upstreams};
use super::{LONGEST_QUESTION, STACK, message};

/// The next server is asked after this time, and the last answers that are late count all the same. Three times this is
/// less than the five seconds after which most clients ask again.
const PATIENCE: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 3;
/// More than servers send in one datagram; a longer answer is asked for by TCP.
const LONGEST_ANSWER: usize = 8192;

/// Ends when the socket breaks.
pub(in super::super) fn serve(socket: UdpSocket, current: &Arc<Current>, slots: &Arc<Slots>) -> io::Error {
    let socket = Arc::new(socket);
    // One byte more than is taken: what was cut off is longer.
    let mut buffer = [0; LONGEST_QUESTION + 1];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return error,
        };
        let question = &buffer[..length];
        if length > LONGEST_QUESTION || !message::is_question(question) {
            continue;
        }
        // Who has too many open loses this one, as on any network; its client asks again.
        let Some(slot) = slots.take(client.ip()) else { continue };
        let (question, upstreams, socket) = (question.to_vec(), current.get(), Arc::clone(&socket));
        let answering = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _slot = slot;
            if let Some(answer) = ask(&question, &upstreams) {
                // Who is gone needs none.
                let _ = socket.send_to(&answer, client);
            }
        });
        // Without a thread it is lost like any datagram.
        drop(answering);
    }
}

/// What says nothing about the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

/// Asks one server after another, and takes the first answer of any that was asked.
pub(in super::super) fn ask(question: &[u8], upstreams: &Upstreams) -> Option<Vec<u8>> {
    ask_from(None, question, upstreams)
}

/// The same from an address of this machine's own, where all servers can be asked from that.
pub(in super::super) fn ask_from(
    own: Option<Ipv4Addr>,
    question: &[u8],
    upstreams: &Upstreams,
) -> Option<Vec<u8>> {
    let outward = own.and_then(|own| Outward::local(own, upstreams)).map_or_else(Outward::open, Ok).ok()?;
    let mut buffer = vec![0; LONGEST_ANSWER];
    let mut refusal = None;
    let mut waiting: VecDeque<SocketAddr> = upstreams.in_order().collect();
    let mut asked = Vec::new();
    for _ in 0..ROUNDS {
        // What cannot be sent goes to a network that this machine is not on.
        let reached = |upstream: &SocketAddr| outward.send(question, *upstream).is_ok();
        let Some(upstream) = iter::from_fn(|| waiting.pop_front()).find(reached) else { break };
        asked.push(upstream);
        // Its turn comes again when the others have had theirs.
        waiting.push_back(upstream);
        let until = Instant::now() + PATIENCE;
        while let Some((answer, from)) = outward.receive(&mut buffer, until) {
            if !asked.contains(&from) || !message::answers(answer, question) {
                continue;
            }
            if !message::is_refusal(answer) {
                upstreams.prefer(from);
                return Some(answer.to_vec());
            }
            refusal = Some(answer.to_vec());
            waiting.retain(|other| *other != from);
            if from == upstream || waiting.is_empty() {
                break;
            }
        }
    }
    refusal.or_else(|| message::failure(question))
}

/// A port of this question's own: with the question's number, it is what a forger has to guess.
struct Outward {
    socket: UdpSocket,
    /// It speaks IPv6, and IPv4 by mapped addresses.
    is_dual: bool,
}

impl Outward {
    fn open() -> io::Result<Self> {
        match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
            Ok(socket) => Ok(Self { socket, is_dual: true }),
            // A kernel without IPv6.
            Err(_) => Ok(Self { socket: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?, is_dual: false }),
        }
    }

    fn local(own: Ipv4Addr, upstreams: &Upstreams) -> Option<Self> {
        let is_near = |server| UdpSocket::bind((own, 0)).and_then(|socket| socket.connect(server)).is_ok();
        let socket = upstreams.in_order().all(is_near).then(|| UdpSocket::bind((own, 0)))?.ok()?;
        Some(Self { socket, is_dual: false })
    }

    fn send(&self, question: &[u8], to: SocketAddr) -> io::Result<()> {
        let address = match to.ip() {
            IpAddr::V4(address) if self.is_dual => IpAddr::V6(address.to_ipv6_mapped()),
            address => address,
        };
        self.socket.send_to(question, SocketAddr::new(address, to.port())).map(drop)
    }

    /// The next datagram; `None` when the time is up.
    fn receive<'a>(&self, buffer: &'a mut [u8], until: Instant) -> Option<(&'a [u8], SocketAddr)> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // No time at all would mean no limit.
            let left = Some(left).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).ok()?;
            match self.socket.recv_from(buffer) {
                // What fills the buffer may have been cut off.
                Ok((length, from)) if length < buffer.len() => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    return Some((&buffer[..length], from));
                }
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(_) => return None,
            }
        }
    }
}
