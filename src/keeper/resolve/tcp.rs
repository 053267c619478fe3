//! Questions on connections: a thread for each connection, one question at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::slots::Slots;
use super::upstreams::{Current, Upstreams};
use super::{LONGEST_QUESTION, STACK, message};

/// However slowly it sends or takes, a connection is over by then.
const LIFE: Duration = Duration::from_secs(20);
const QUESTIONS: usize = 64;
/// For one server: to connect, and then to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// While there is no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends when the socket breaks.
pub(in super::super) fn serve(
    listener: &TcpListener,
    current: &Arc<Current>,
    slots: &Arc<Slots>,
) -> io::Error {
    loop {
        let (connection, client) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {
                continue;
            }
            // All file descriptors are in use (EMFILE and its like have no kind of their own).
            Err(error) if error.raw_os_error().is_some_and(|code| matches!(code, 23 | 24 | 12 | 105)) => {
                thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return error,
        };
        // Closed at once: its client sees that, and asks again.
        let Some(slot) = slots.take(client.ip()) else { continue };
        let current = Arc::clone(current);
        let answering = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _slot = slot;
            // Whatever goes wrong ends this connection alone.
            let _ = converse(&connection, &current);
        });
        drop(answering);
    }
}

fn converse(client: &TcpStream, current: &Current) -> io::Result<()> {
    let until = Instant::now() + LIFE;
    for _ in 0..QUESTIONS {
        let question = receive(client, LONGEST_QUESTION, until)?;
        if !message::is_question(&question) {
            break;
        }
        let Some(answer) = ask(&question, &current.get()) else { break };
        send(client, &answer, until)?;
    }
    Ok(())
}

pub(in super::super) fn ask(question: &[u8], upstreams: &Upstreams) -> Option<Vec<u8>> {
    let mut refusal = None;
    for upstream in upstreams.in_order() {
        match ask_one(question, upstream) {
            Ok(answer) if !message::is_refusal(&answer) => {
                upstreams.prefer(upstream);
                return Some(answer);
            }
            Ok(answer) => refusal = Some(answer),
            Err(_) => {}
        }
    }
    refusal.or_else(|| message::failure(question))
}

fn ask_one(question: &[u8], upstream: SocketAddr) -> io::Result<Vec<u8>> {
    let server = TcpStream::connect_timeout(&upstream, PATIENCE)?;
    let until = Instant::now() + PATIENCE;
    send(&server, question, until)?;
    let answer = receive(&server, usize::from(u16::MAX), until)?;
    if message::answers(&answer, question) { Ok(answer) } else { Err(ErrorKind::InvalidData.into()) }
}

/// A message goes behind two bytes that say how long it is.
fn receive(mut stream: &TcpStream, longest: usize, until: Instant) -> io::Result<Vec<u8>> {
    let mut whole = |bytes: &mut [u8]| {
        let mut filled = 0;
        while filled < bytes.len() {
            stream.set_read_timeout(Some(left(until)?))?;
            match stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let mut length = [0; 2];
    whole(&mut length)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > longest {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    whole(&mut message)?;
    Ok(message)
}

fn send(mut stream: &TcpStream, message: &[u8], until: Instant) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidData)?;
    let bytes = [&length.to_be_bytes()[..], message].concat();
    let mut sent = 0;
    while sent < bytes.len() {
        stream.set_write_timeout(Some(left(until)?))?;
        match stream.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// No time at all would mean no limit.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
