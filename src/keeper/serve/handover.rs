//! How a new exec's stream comes to the helper: `keeper resume` sends its own two ends, and stays until that is over.
//!
//! The helper's socket has no place in the file system, and its name tells nothing of the token. Whoever sends to it must
//! know the token and be the same user. Nothing is kept of a message that is refused, so a server that sends others costs
//! its own session a little time. It takes the socket before its server is started, and nobody else can have it then.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::Duration;

use super::stream::Stream;
use crate::Failure;
use crate::records::resume::{GONE, REFUSED};
use crate::sys;
use crate::sys::descriptors::{is_of_our_user, receive, send};

/// The shortest token and the longest (bytes).
const TOKEN: std::ops::RangeInclusive<usize> = 16..=128;
/// The helper's answer: it has the stream.
const TAKEN: u8 = b'd';
/// For so long a helper that is there may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Where streams are handed over, on the helper's side.
pub(super) struct Handover {
    socket: UnixDatagram,
    token: Vec<u8>,
}

impl Handover {
    pub(super) fn open(token: &[u8]) -> Result<Self, Failure> {
        let socket = UnixDatagram::bind_addr(&address(token)?)?;
        Ok(Self { socket, token: token.to_owned() })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// A stream that is newer than `epoch`, and its own epoch, if one has come.
    pub(super) fn take(&self, epoch: u64) -> Option<(u64, Stream)> {
        let mut bytes = [0; size_of::<u64>() + *TOKEN.end() + 1];
        let (length, files) = receive::<3>(self.socket.as_fd(), &mut bytes).ok()?;
        let (newer, token) = bytes[..length].split_first_chunk()?;
        let newer = u64::from_be_bytes(*newer);
        let [input, output, resume] = files?;
        if !is_same(token, &self.token) || !is_of_our_user(resume.as_fd()) || newer <= epoch {
            return None;
        }
        let mut resume = UnixStream::from(resume);
        resume.set_nonblocking(true).ok()?;
        // Before anything is said on the stream: whoever can't be told is gone.
        resume.write_all(&[TAKEN]).ok()?;
        Some((newer, Stream::new(input, output, Some(resume)).ok()?))
    }
}

/// Hands the own stream to the helper of this token, as its stream of this epoch.
pub(super) fn hand_over(token: &[u8], epoch: u64) -> Result<u8, Failure> {
    // The server is the same user, and could read here what is the session's.
    sys::forbid_dumping()?;
    sys::show_command_line(b"keeper resume");
    let gone = || Failure::new(GONE, "keeper: nobody of this session is here: start it anew");
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(token)?).map_err(|_| gone())?;
    socket.set_write_timeout(Some(ANSWERED_WITHIN))?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let said = [&epoch.to_be_bytes(), token].concat();
    {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        send(socket.as_fd(), &said, [stdin.as_fd(), stdout.as_fd(), theirs.as_fd()]).map_err(|_| gone())?;
    }
    drop((theirs, socket));
    ours.set_read_timeout(Some(ANSWERED_WITHIN))?;
    let mut answer = [0];
    match ours.read_exact(&mut answer) {
        Ok(()) if answer == [TAKEN] => {}
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(gone()),
        _ => {
            return Err(Failure::new(REFUSED, "keeper: a newer stream has this session, or another token"));
        }
    }
    ours.set_read_timeout(None)?;
    // The end of our process is the end of the exec, and so of its stream.
    let mut file = File::from(OwnedFd::from(ours));
    while !matches!(file.read(&mut answer), Ok(0)) {}
    Ok(0)
}

fn address(token: &[u8]) -> Result<SocketAddr, Failure> {
    if !TOKEN.contains(&token.len()) {
        return Err(Failure::usage(format_args!(
            "a token has {} to {} characters",
            TOKEN.start(),
            TOKEN.end()
        )));
    }
    Ok(SocketAddr::from_abstract_name(name(token))?)
}

/// Whoever finds it where the kernel lists its sockets has not found the token.
pub(crate) fn name(token: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(token);
    format!("berth-{:016x}", hasher.finish())
}

/// In a time that tells nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
