//! Connections to the container's own ports, made aside: a listener that accepts nothing must hold up no other connection.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::frames::CONNECTIONS;

/// On a machine's own loopback a listener with room answers at once.
const WITHIN: Duration = Duration::from_secs(5);
const STACK: usize = 64 << 10;
/// Nothing is sent there: it only tells by which of its addresses the container would go out.
const OUTSIDE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

type Made = (u32, io::Result<TcpStream>);

/// Makes connections, each in a thread of its own that ends with it.
#[derive(Debug)]
pub(super) struct Dialler {
    sender: Sender<Made>,
    made: Receiver<Made>,
    /// Written to when one is made.
    bell: UnixStream,
    heard: UnixStream,
    /// Begun, and not come to anything yet; each has a thread.
    dials: usize,
}

impl Dialler {
    pub(super) fn new() -> io::Result<Self> {
        let (bell, heard) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        // A full bell rings already.
        bell.set_nonblocking(true)?;
        let (sender, made) = channel();
        Ok(Self { sender, made, bell, heard, dials: 0 })
    }

    /// Begins; the number comes back with what came of it.
    pub(super) fn dial(&mut self, number: u32, port: u16) {
        self.dials += 1;
        let (sender, bell) = (self.sender.clone(), self.bell.try_clone());
        let ring = move |made| {
            // Whoever does not listen any more has ended.
            let _ = sender.send((number, made));
            if let Ok(mut bell) = bell {
                let _ = bell.write(&[0]);
            }
        };
        let dialling = thread::Builder::new().stack_size(STACK).spawn(move || ring(connect(port)));
        if let Err(error) = dialling {
            let _ = self.sender.send((number, Err(error)));
            let _ = (&self.bell).write(&[0]);
        }
    }

    /// The next one that has come to something.
    pub(super) fn made(&mut self) -> Option<Made> {
        let mut rung = [0; CONNECTIONS];
        let _ = (&self.heard).read(&mut rung);
        let made = self.made.try_recv().ok()?;
        self.dials -= 1;
        Some(made)
    }

    pub(super) fn dials(&self) -> usize {
        self.dials
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

/// Where a server listens: at the loopback's address of either kind, or at the container's own alone.
fn connect(port: u16) -> io::Result<TcpStream> {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    let mut failed = io::ErrorKind::ConnectionRefused.into();
    for address in loopback.into_iter().chain(own()) {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// The container's address, if it has a network.
fn own() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(OUTSIDE).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
