//! The bytes of a connection, in both directions: each has its own thread, its own end and a bounded buffer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::STACK;
use crate::sys;

/// A connection on which nothing has passed for so long, in neither direction, is over. Pools keep theirs for hours; a server
/// that is gone is found by TCP's own questions.
const IDLE: Duration = Duration::from_hours(12);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const BUFFER: usize = 16 << 10;
/// For so long a client may take to read the end of its answer.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// When something passed last, in seconds from the beginning.
#[derive(Debug)]
struct Activity {
    began: Instant,
    last: AtomicU64,
}

impl Activity {
    fn note(&self) {
        self.last.store(self.began.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let last = Duration::from_secs(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last) > IDLE
    }
}

/// Both directions of one connection.
#[derive(Debug)]
pub(in super::super) struct Pump {
    client: TcpStream,
    server: TcpStream,
    activity: Arc<Activity>,
}

impl Pump {
    pub(in super::super) fn new(client: TcpStream, server: TcpStream) -> io::Result<Self> {
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(LOOK_EVERY))?;
            stream.set_write_timeout(Some(IDLE))?;
            // What comes is passed on at once, as it came.
            stream.set_nodelay(true)?;
            sys::net::keep_alive(stream)?;
        }
        let activity = Arc::new(Activity { began: Instant::now(), last: AtomicU64::new(0) });
        Ok(Self { client, server, activity })
    }

    /// The server's side begins to speak; the client's side is the caller's.
    pub(in super::super) fn start(&self) -> io::Result<thread::JoinHandle<()>> {
        let (mut server, mut client) = (self.server.try_clone()?, self.client.try_clone()?);
        let activity = Arc::clone(&self.activity);
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let ended = pass(&mut server, &mut client, u64::MAX, &activity);
            finish(&ended, &server, &client);
        })
    }

    /// Passes on what the client has said already, and then what it says.
    pub(in super::super) fn all(&mut self, said: &[u8]) {
        let ended = self.server.write_all(said);
        let ended = ended.and_then(|()| pass(&mut self.client, &mut self.server, u64::MAX, &self.activity));
        finish(&ended, &self.client, &self.server);
    }

    /// Passes on so much more, and nothing else that the client says.
    pub(in super::super) fn only(&mut self, said: &[u8], more: u64, answering: thread::JoinHandle<()>) {
        let ended = self.server.write_all(said);
        if ended.and_then(|()| pass(&mut self.client, &mut self.server, more, &self.activity)).is_err() {
            self.close();
        }
        self.drain(&answering);
        drop(answering.join());
    }

    /// Takes what else the client says, to no end but to see its own; else the answer could be lost with it.
    fn drain(&mut self, answering: &thread::JoinHandle<()>) {
        let _ = self.client.set_read_timeout(Some(DRAINED_WITHIN));
        let (mut rest, mut since) = ([0; 1024], None);
        loop {
            match self.client.read(&mut rest) {
                // It may still wait for the answer; a server that waits for another request has none to wait for.
                Ok(0) => return drop(self.server.shutdown(Shutdown::Write)),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return self.close(),
            }
            if answering.is_finished() && since.get_or_insert_with(Instant::now).elapsed() > DRAINED_WITHIN {
                return;
            }
        }
    }

    pub(in super::super) fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    pub(in super::super) fn client(&mut self) -> &mut TcpStream {
        &mut self.client
    }
}

/// However the client's side ends, the server's side ends with it.
impl Drop for Pump {
    fn drop(&mut self) {
        self.close();
    }
}

/// Until the end of the one, or as many bytes as there may be.
fn pass(from: &mut TcpStream, to: &mut TcpStream, mut most: u64, activity: &Activity) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while most > 0 {
        let room = usize::try_from(most).unwrap_or(BUFFER).min(BUFFER);
        match from.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(length) => {
                activity.note();
                to.write_all(&buffer[..length])?;
                activity.note();
                most = most.saturating_sub(length as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if activity.is_over() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The end of one direction leaves the other; an error ends both.
fn finish(ended: &io::Result<()>, from: &TcpStream, to: &TcpStream) {
    let how = if ended.is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(how);
    if ended.is_err() {
        let _ = from.shutdown(Shutdown::Both);
    }
}
