//! Hands the ends of a server's pipes to its session: through the container's door, a socket of the session's that is
//! mounted below the keeper's folder for as long as the start takes. Bytes then need neither the daemon nor PID 1.
//!
//! The session listens before the keeper is told to come, takes one connection, and answers with one byte once it has
//! the ends. Without that byte the server keeps the streams that it would have had, so whoever decides is the session
//! alone: its death or its doubt closes the connection.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use super::protocol::door::OPTION;
use super::protocol::door::{FOLDER, SOCKET, TAKEN, TOKEN};
use super::sys::descriptors;

/// A session waits for 3 s, and then closes its door; this must be longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(6);

/// Where the door of the keeper's container is. `program` is what the keeper was called by.
pub(super) fn socket(program: &Path) -> PathBuf {
    program.with_file_name(FOLDER).join(SOCKET)
}

/// Gives the session the writing end of a server's input and the reading end of its output. Fails with the reason, in one
/// line; then nobody has them.
pub(super) fn hand_over(
    socket: &Path,
    token: &[u8],
    input: impl AsFd,
    output: impl AsFd,
) -> Result<(), String> {
    let failed = |what: &str, error: &io::Error| {
        let error = error.to_string();
        format!("{what}: {}", error.split(" (os error").next().unwrap_or_default())
    };
    let mut session =
        UnixStream::connect(socket).map_err(|error| failed("cannot connect to its door", &error))?;
    let answered = session.set_read_timeout(Some(ANSWERED_WITHIN)).and_then(|()| {
        descriptors::send(session.as_fd(), token, [input.as_fd(), output.as_fd()])?;
        let mut answer = [0];
        session.read_exact(&mut answer)?;
        Ok(answer)
    });
    match answered {
        Ok([TAKEN]) => Ok(()),
        Ok(_) => Err("its session does not take the pipes".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("its session does not take the pipes".to_owned())
        }
        Err(error) => Err(failed("its session does not take the pipes", &error)),
    }
}

/// Tells the session, in the first line of the stream that it has instead, why the pipes were not handed over.
pub(super) fn tell(why: &str) -> io::Result<()> {
    let line: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Reads the token: a line of the owner's, byte by byte, for what follows is the server's.
pub(super) fn token(mut from: impl Read) -> io::Result<Vec<u8>> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        from.read_exact(&mut byte)?;
        if byte == *b"\n" || line.len() > TOKEN {
            return Ok(line);
        }
        line.push(byte[0]);
    }
}
