//! One connection of the container: its socket, and what waits for it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

use crate::frames::{self, Account, Broken, Frame, LONGEST};
use crate::sys::net::{Come, Watched, reset};

/// How far berth is with what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    More,
    All,
    /// All, and the socket knows it.
    Told,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// `None` while it is being made.
    socket: Option<TcpStream>,
    account: Account,
    /// For the socket.
    waiting: Vec<u8>,
    /// The socket says no more, and berth knows it.
    said_all: bool,
    heard: Heard,
    is_reset: bool,
}

/// A socket as the loop needs it.
pub(super) fn prepared(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    // What comes is passed on at once, as it came.
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl Connection {
    /// Of a socket that comes later; until then what berth says waits for it.
    pub(super) fn expected() -> Self {
        Self {
            socket: None,
            account: Account::new(),
            waiting: Vec::new(),
            said_all: false,
            heard: Heard::More,
            is_reset: false,
        }
    }

    pub(super) fn begin(&mut self, socket: TcpStream) {
        self.socket = Some(socket);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_reset || (self.said_all && self.heard == Heard::Told)
    }

    /// What to wait for: where berth is to speak first, for a failure alone. `None` while it is being made, and where a socket
    /// with its end told waits for berth to take what it has said: that it is over says nothing of what lies there unread.
    pub(super) fn watched(&self) -> Option<Watched<'_>> {
        let socket = self.socket.as_ref()?;
        let input = !self.said_all && self.account.may_send() > 0;
        let room = !self.waiting.is_empty() || self.heard == Heard::All;
        (input || room || self.heard != Heard::Told).then(|| Watched { file: socket.as_fd(), input, room })
    }

    /// What berth says of it.
    pub(super) fn obey(&mut self, number: u32, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
        match *frame {
            Frame::Data(_) if self.heard != Heard::More => return Err(Broken),
            Frame::Data(data) => {
                self.account.received(data.len())?;
                self.waiting.extend_from_slice(data);
                self.pass_on(number, out);
            }
            Frame::Room(bytes) => self.account.granted(bytes)?,
            Frame::Finish => {
                self.heard = Heard::All;
                self.pass_on(number, out);
            }
            Frame::Reset { .. } => self.abort(),
            Frame::Ready | Frame::Taken { .. } | Frame::Open { .. } => return Err(Broken),
        }
        Ok(())
    }

    /// The socket has something to read, or room, or nothing any more.
    pub(super) fn go_on(&mut self, number: u32, come: Come, out: &mut Vec<u8>) {
        if come.room {
            self.pass_on(number, out);
        }
        if come.input && !self.is_reset {
            self.read(number, out);
        }
        if come.gone && !self.is_reset {
            self.failed(number, &ErrorKind::ConnectionReset.into(), out);
        }
    }

    /// One frame's worth, so that all connections have their turn.
    fn read(&mut self, number: u32, out: &mut Vec<u8>) {
        let Some(mut socket) = self.socket.as_ref() else { return };
        let mut buffer = [0; LONGEST];
        match socket.read(&mut buffer[..self.account.may_send()]) {
            Ok(0) => {
                self.said_all = true;
                frames::encode(out, number, &Frame::Finish);
            }
            Ok(length) => {
                self.account.sent(length);
                frames::encode(out, number, &Frame::Data(&buffer[..length]));
            }
            Err(error) => self.failed(number, &error, out),
        }
    }

    fn pass_on(&mut self, number: u32, out: &mut Vec<u8>) {
        let Some(mut socket) = self.socket.as_ref() else { return };
        while !self.waiting.is_empty() {
            match socket.write(&self.waiting) {
                Ok(written) => {
                    self.waiting.drain(..written);
                    if let Some(bytes) = self.account.passed_on(written) {
                        frames::encode(out, number, &Frame::Room(bytes));
                    }
                }
                Err(error) => return self.failed(number, &error, out),
            }
        }
        if self.heard == Heard::All {
            self.heard = Heard::Told;
            // Where the other end is gone, reading tells.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    fn failed(&mut self, number: u32, error: &io::Error, out: &mut Vec<u8>) {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            return;
        }
        frames::encode(out, number, &Frame::Reset { refused: false });
        self.abort();
    }

    fn abort(&mut self) {
        self.is_reset = true;
        if let Some(socket) = &self.socket {
            // Else the other end would take it for an end in order.
            let _ = reset(socket);
        }
    }
}
