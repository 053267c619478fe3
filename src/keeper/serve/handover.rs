//! How a new exec's stream comes to the helper: `keeper resume` sends its own two ends, and stays until that is over.
//!
//! The helper's socket has no place in the file system, and its name tells nothing of the secret. Whoever sends to it must
//! know the secret and be the same user. The secret comes over the exec's input, and stands in no command line and in no
//! audit log. It is one for the helper's life: nobody hears it who does not hear the stream behind it as well, so another
//! one for each stream would keep nothing more, and might be lost with a cut.
//!
//! Nothing is kept of a message that is refused, so a server that sends others costs its own session a little time. The
//! socket is bound before the server is started. But the server is the same user, and may kill the helper and bind the name
//! itself. It has its own session's streams then, and what it says of itself there it could say as well by its output and
//! its end. berth believes no more of a helper than that.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use super::stream::Stream;
use crate::Failure;
use crate::records::SECRET;
use crate::records::resume::{GONE, REFUSED};
use crate::sys::descriptors::{is_of_our_user, receive, send};
use crate::sys::{self, Wanted};

pub(crate) type Secret = [u8; SECRET];

/// The helper's answers: it has the stream, or its server has no use for one any more.
const TAKEN: u8 = b'd';
const TOO_LATE: u8 = b'l';
/// For so long a helper that is there may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// For so long the secret may take to come: its stream may be cut with nobody telling of it.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// Where streams are handed over, on the helper's side.
pub(super) struct Handover {
    socket: UnixDatagram,
    secret: Secret,
}

impl Handover {
    pub(super) fn open(secret: Secret) -> io::Result<Self> {
        Ok(Self { socket: UnixDatagram::bind_addr(&address(&secret)?)?, secret })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// A stream that is newer than `epoch`, and its own epoch, if one has come and is not `too_late`.
    pub(super) fn take(&self, epoch: u64, too_late: bool) -> Option<(u64, Stream)> {
        let mut bytes = [0; size_of::<u64>() + SECRET + 1];
        let (length, files) = receive::<3>(self.socket.as_fd(), &mut bytes).ok()?;
        let (newer, secret) = bytes[..length].split_first_chunk()?;
        let newer = u64::from_be_bytes(*newer);
        let [input, output, resume] = files?;
        if !is_same(secret, &self.secret) || !is_of_our_user(resume.as_fd()) || newer <= epoch {
            return None;
        }
        let mut resume = UnixStream::from(resume);
        resume.set_nonblocking(true).ok()?;
        // Before anything is said on the stream: whoever can't be told is gone.
        resume.write_all(&[if too_late { TOO_LATE } else { TAKEN }]).ok()?;
        if too_late { None } else { Some((newer, Stream::new(input, output, Some(resume)).ok()?)) }
    }
}

/// The first bytes of a stream's input, and no more: what follows is for whoever is to have the stream.
pub(super) fn secret() -> Result<Secret, Failure> {
    // A duplicate, because std's own stdin reads ahead.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let until = Instant::now() + TOLD_WITHIN;
    let (mut secret, mut had) = ([0; SECRET], 0);
    while had < SECRET {
        let left = until.saturating_duration_since(Instant::now());
        let [has_come] = sys::poll([Some((input.as_fd(), Wanted::Input))], Some(left))?;
        let count = if has_come { input.read(&mut secret[had..])? } else { 0 };
        if count == 0 {
            return Err(Failure::new(Failure::SYSTEM, "keeper: the secret of this session has not come"));
        }
        had += count;
    }
    Ok(secret)
}

/// Hands the own stream to the helper of its secret, as its stream of this epoch.
pub(super) fn hand_over(epoch: u64) -> Result<u8, Failure> {
    // The server is the same user, and could read here what is the session's.
    sys::forbid_dumping()?;
    let secret = secret()?;
    let gone = || Failure::new(GONE, "keeper: nobody of this session is here: start it anew");
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(&secret)?).map_err(|_| gone())?;
    socket.set_write_timeout(Some(ANSWERED_WITHIN))?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let said = [&epoch.to_be_bytes()[..], &secret].concat();
    // PID 1 sends SIGTERM to all while the server's last words are under way, and they are on our stream.
    sys::block_signals()?;
    {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        send(socket.as_fd(), &said, [stdin.as_fd(), stdout.as_fd(), theirs.as_fd()]).map_err(|_| gone())?;
    }
    drop((theirs, socket));
    ours.set_read_timeout(Some(ANSWERED_WITHIN))?;
    let mut answer = [0];
    match ours.read_exact(&mut answer) {
        Ok(()) if answer == [TAKEN] => {}
        Ok(()) if answer == [TOO_LATE] => {
            return Err(Failure::new(GONE, "keeper: nobody came for too long, and the server was ended"));
        }
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(gone()),
        _ => {
            return Err(Failure::new(REFUSED, "keeper: a newer stream has this session, or another secret"));
        }
    }
    ours.set_read_timeout(None)?;
    // The end of our process is the end of the exec, and so of its stream.
    let mut file = File::from(OwnedFd::from(ours));
    while !matches!(file.read(&mut answer), Ok(0)) {}
    Ok(0)
}

fn address(secret: &Secret) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name(secret))
}

/// Whoever finds it where the kernel lists its sockets has not found the secret, which is four times as long.
pub(crate) fn name(secret: &Secret) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(secret);
    format!("berth-{:016x}", hasher.finish())
}

/// In a time that tells nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
