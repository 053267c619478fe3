//! `keeper ports`: a session's own stream of TCP connections, within the container.
//!
//! It listens at ports of the container's loopback and hands what is accepted to berth over its standard output. What berth
//! has accepted on the person's machine comes over its standard input, and is joined with a port of the container. Nothing
//! else is reached: which ports these are stands in its command line.
//!
//! One thread waits for all connections at once. Each has bounded buffers (`frames`), so one that nobody reads holds up no
//! other. It ends with its standard input, which berth's session holds.

#[path = "ports/connection.rs"]
mod connection;
#[path = "ports/dial.rs"]
mod dial;
#[path = "ports/instead.rs"]
mod instead;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use super::frames::{self, CONNECTIONS, Frame};
use super::sys::net::{Come, Watched, poll_each};
use super::{Failure, Words, sys};
use connection::Connection;
use dial::Dialler;

/// What is read of standard input at once, and said before it is written (bytes).
const AT_ONCE: usize = 64 << 10;
/// Where the system has no more files for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What it is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// Ports to listen at.
    listen: Vec<u16>,
    /// Ports that berth may reach.
    connect: Vec<u16>,
    /// It takes the place of another one like it, which a cut has left.
    instead: bool,
}

impl Ports {
    pub(super) fn parse<I: Iterator<Item = OsString>>(words: &mut Words<I>) -> Result<Self, Failure> {
        let mut ports = Self::default();
        while let Some(flag) = words.0.next() {
            let list = match flag.to_str() {
                Some("--listen") => &mut ports.listen,
                Some("--connect") => &mut ports.connect,
                Some("--instead") => {
                    ports.instead = true;
                    continue;
                }
                _ => return Err(Failure::usage(format_args!("unexpected `{}`", flag.display()))),
            };
            list.push(words.parsed("a port")?);
        }
        Ok(ports)
    }

    pub(super) fn execute(&self) -> Result<(), Failure> {
        // The server runs as the same user, and could put words into our mouth.
        sys::forbid_dumping()?;
        if self.instead {
            instead::end_others();
        }
        let mut forwarder = Forwarder::new(&self.connect)?;
        for port in &self.listen {
            forwarder.listen(*port);
        }
        frames::encode(&mut forwarder.out, 0, &Frame::Ready);
        forwarder.run()
    }
}

/// What has happened since the last look.
struct Ready {
    input: bool,
    dialled: bool,
    listeners: Vec<usize>,
    connections: Vec<(u32, Come)>,
}

struct Forwarder<'a> {
    allowed: &'a [u16],
    input: File,
    /// As much as has come of the next frame.
    heard: Vec<u8>,
    out: Vec<u8>,
    listeners: Vec<(u16, TcpListener)>,
    connections: BTreeMap<u32, Connection>,
    dialler: Dialler,
    next: u32,
}

impl<'a> Forwarder<'a> {
    fn new(allowed: &'a [u16]) -> io::Result<Self> {
        Ok(Self {
            allowed,
            // std's own reads ahead into a buffer where poll sees nothing.
            input: File::from(io::stdin().as_fd().try_clone_to_owned()?),
            heard: Vec::new(),
            out: Vec::new(),
            listeners: Vec::new(),
            connections: BTreeMap::new(),
            dialler: Dialler::new()?,
            next: 1,
        })
    }

    fn listen(&mut self, port: u16) {
        let bind = |address: IpAddr| {
            let listener = TcpListener::bind((address, port))?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>(listener)
        };
        match bind(Ipv4Addr::LOCALHOST.into()) {
            Ok(listener) => self.listeners.push((port, listener)),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default().unsigned_abs();
                return frames::encode(&mut self.out, 0, &Frame::Taken { port, errno });
            }
        }
        // A container without IPv6 has no such address, and needs none.
        if let Ok(listener) = bind(Ipv6Addr::LOCALHOST.into()) {
            self.listeners.push((port, listener));
        }
    }

    /// Until berth has left.
    fn run(mut self) -> Result<(), Failure> {
        loop {
            self.say()?;
            let ready = self.wait()?;
            if ready.input && !self.hear()? {
                return Ok(());
            }
            if ready.dialled {
                self.dialled();
            }
            for (number, come) in ready.connections {
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.go_on(number, come, &mut self.out);
                    if connection.is_over() {
                        self.connections.remove(&number);
                    }
                }
                if self.out.len() >= AT_ONCE {
                    self.say()?;
                }
            }
            for at in ready.listeners {
                self.accept(at);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.connections.len() < CONNECTIONS
    }

    /// berth reads whatever comes, at once: that is never waited for by what berth says.
    fn say(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&self.out)?;
            stdout.flush()?;
            self.out.clear();
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Ready> {
        let has_room = self.has_room();
        let listeners = self.listeners.iter().filter(|_| has_room).map(|(_, listener)| listener.as_fd());
        let connections: Vec<_> = self
            .connections
            .iter()
            .filter_map(|(number, connection)| Some((*number, connection.watched()?)))
            .collect();
        let mut watched = vec![only(self.input.as_fd()), only(self.dialler.as_fd())];
        watched.extend(listeners.map(only));
        let first = watched.len();
        watched.extend(connections.iter().map(|(_, watched)| *watched));
        let found = loop {
            match poll_each(&watched) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                found => break found?,
            }
        };
        let connections = connections.iter().zip(&found[first..]);
        Ok(Ready {
            input: found[0].input,
            dialled: found[1].input,
            listeners: (2..first).filter(|at| found[*at].input).map(|at| at - 2).collect(),
            connections: connections
                .filter(|(_, come)| come.is_any())
                .map(|((number, _), come)| (*number, *come))
                .collect(),
        })
    }

    /// Whether berth is still there.
    fn hear(&mut self) -> Result<bool, Failure> {
        let from = self.heard.len();
        self.heard.resize(from + AT_ONCE, 0);
        let read = self.input.read(&mut self.heard[from..]);
        self.heard.truncate(from + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            return Ok(false);
        }
        let heard = std::mem::take(&mut self.heard);
        let mut at = 0;
        while let Some((length, number, frame)) = frames::decode(&heard[at..]).map_err(|_| broken())? {
            self.obey(number, &frame)?;
            at += length;
        }
        self.heard = heard;
        self.heard.drain(..at);
        Ok(true)
    }

    fn obey(&mut self, number: u32, frame: &Frame<'_>) -> Result<(), Failure> {
        if let Frame::Open { port } = *frame {
            let is_allowed = self.allowed.contains(&port);
            // Those that berth has given up are being dialled all the same.
            if !is_allowed || !self.has_room() || self.dialler.dials() >= CONNECTIONS {
                frames::encode(&mut self.out, number, &Frame::Reset { refused: !is_allowed });
            } else {
                self.connections.insert(number, Connection::expected());
                self.dialler.dial(number, port);
            }
            return Ok(());
        }
        // It may have ended here, while that was under way.
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        connection.obey(number, frame, &mut self.out).map_err(|_| broken())?;
        if connection.is_over() {
            self.connections.remove(&number);
        }
        Ok(())
    }

    /// Takes what the dialler has connected, or hasn't.
    fn dialled(&mut self) {
        while let Some((number, made)) = self.dialler.made() {
            // berth may have given it up.
            let Some(connection) = self.connections.get_mut(&number) else { continue };
            if let Ok(socket) = made.and_then(connection::prepared) {
                connection.begin(socket);
            } else {
                frames::encode(&mut self.out, number, &Frame::Reset { refused: true });
                self.connections.remove(&number);
            }
        }
    }

    fn accept(&mut self, at: usize) {
        // Another listener may have had the last place. Who waits keeps waiting.
        let Some((port, listener)) = self.listeners.get(at).filter(|_| self.has_room()) else { return };
        match listener.accept() {
            Ok((socket, _)) => {
                let Ok(socket) = connection::prepared(socket) else { return };
                let number = self.next;
                // Berth's own numbers are the even ones.
                self.next = self.next.wrapping_add(2);
                let mut connection = Connection::expected();
                connection.begin(socket);
                self.connections.insert(number, connection);
                frames::encode(&mut self.out, number, &Frame::Open { port: *port });
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) => {}
            // It would be told again at once.
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn only(file: BorrowedFd<'_>) -> Watched<'_> {
    Watched { file, input: true, room: false }
}

fn broken() -> Failure {
    Failure::new(Failure::SOFTWARE, "keeper: berth and its forwarder of ports do not understand each other")
}
