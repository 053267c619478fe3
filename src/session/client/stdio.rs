//! Our standard input and output, without a thread between them and the pumps.
//!
//! Clients give us pipes (Codex, shells) or Unix sockets (Claude Code); both can be polled. A file or a terminal
//! cannot, and goes through tokio's blocking threads. A pipe is opened anew through `/proc/self/fd`: making the
//! original non-blocking would affect every process that shares it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::pipe::fcntl_setpipe_size;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// What a pipe holds as it was made.
const PIPE: usize = 64 * 1024;

/// What it holds once a message has been larger: the client is woken up a fourth as often. The kernel gives one person's
/// pipes 64 MiB in all before it makes new ones small, and there may be hundreds of sessions.
const LARGE_PIPE: usize = 256 * 1024;

const ASK_EVERY: Duration = Duration::from_millis(250);

/// Standard input.
#[derive(Debug)]
pub enum Input {
    Pipe(pipe::Receiver),
    Socket(UnixStream),
    Other(tokio::io::Stdin),
}

/// Standard output.
#[derive(Debug)]
pub enum Output {
    Pipe(OutputPipe),
    Socket(UnixStream),
    Other(tokio::io::Stdout),
}

/// A pipe that is made larger for the first message that it can't hold.
#[derive(Debug)]
pub struct OutputPipe {
    sender: pipe::Sender,
    is_large: bool,
}

impl OutputPipe {
    fn new(sender: pipe::Sender) -> Self {
        Self { sender, is_large: false }
    }

    fn sender_for(&mut self, bytes: usize) -> Pin<&mut pipe::Sender> {
        if bytes > PIPE && !self.is_large {
            self.is_large = true;
            // It fails where the person has used up what pipes may have; then it stays as it is.
            if let Err(error) = fcntl_setpipe_size(&self.sender, LARGE_PIPE) {
                tracing::debug!("cannot make the client's pipe larger: {error}");
            }
        }
        Pin::new(&mut self.sender)
    }
}

/// Standard input, to read; must be called in a runtime.
pub fn input() -> Input {
    let stdin = std::io::stdin();
    match kind(&stdin) {
        FileType::Fifo => pipe::OpenOptions::new().open_receiver("/proc/self/fd/0").map(Input::Pipe),
        FileType::Socket => socket(&stdin).map(Input::Socket),
        _ => Ok(Input::Other(tokio::io::stdin())),
    }
    .unwrap_or_else(|error| {
        tracing::debug!("standard input goes through a thread: {error}");
        Input::Other(tokio::io::stdin())
    })
}

/// Standard output, to write; must be called in a runtime.
pub fn output() -> Output {
    let stdout = std::io::stdout();
    match kind(&stdout) {
        FileType::Fifo => {
            pipe::OpenOptions::new().open_sender("/proc/self/fd/1").map(OutputPipe::new).map(Output::Pipe)
        }
        FileType::Socket => socket(&stdout).map(Output::Socket),
        _ => Ok(Output::Other(tokio::io::stdout())),
    }
    .unwrap_or_else(|error| {
        tracing::debug!("standard output goes through a thread: {error}");
        Output::Other(tokio::io::stdout())
    })
}

fn kind(fd: &impl AsFd) -> FileType {
    fstat(fd).map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

fn is_same(one: &impl AsFd, other: &impl AsFd) -> bool {
    let place = |fd: &dyn AsFd| fstat(fd.as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    place(one) == place(other)
}

/// A socket can't be opened anew. Our end of it is nobody else's, but for a standard error that is the same socket; who
/// writes there must reckon with `EAGAIN`.
fn socket(fd: &impl AsFd) -> io::Result<UnixStream> {
    let fd: OwnedFd = fd.as_fd().try_clone_to_owned()?;
    let stream = std::os::unix::net::UnixStream::from(fd);
    // Fails for a socket of another family, which then goes through a thread.
    stream.local_addr()?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Tells when nobody reads our standard output any more. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Option<Arc<OwnedFd>>);

impl Hangup {
    /// Watches standard output.
    pub fn of_output() -> Self {
        Self(std::io::stdout().as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

    /// Resolves soon after the reader has gone; never for what can't tell, such as a file. Cancel safe.
    pub async fn wait(&self) {
        let Some(fd) = &self.0 else { return std::future::pending().await };
        loop {
            // Asked now and then: only a writer that is held up cares, and epoll would wake us at each byte read.
            let mut watched = [PollFd::new(&**fd, PollFlags::empty())];
            let asked = poll(&mut watched, Some(&Timespec::default()));
            if asked.is_ok() && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                return;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

impl AsyncRead for Input {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Other(stdin) => Pin::new(stdin).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Pipe(pipe) => pipe.sender_for(buf.len()).poll_write(cx, buf),
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Other(stdout) => Pin::new(stdout).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(&mut pipe.sender).poll_write_vectored(cx, bufs),
            Self::Socket(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Other(stdout) => Pin::new(stdout).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.sender.is_write_vectored(),
            Self::Socket(socket) => socket.is_write_vectored(),
            Self::Other(stdout) => stdout.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(&mut pipe.sender).poll_flush(cx),
            Self::Socket(socket) => Pin::new(socket).poll_flush(cx),
            Self::Other(stdout) => Pin::new(stdout).poll_flush(cx),
        }
    }

    /// The reader sees the end of it once this is dropped: then nothing of ours is standard output any more.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(_) => {}
            // It may be our standard input as well. Last words may still have to pass it.
            Self::Socket(_) if is_same(&std::io::stdout(), &std::io::stderr()) => {}
            Self::Socket(socket) => std::task::ready!(Pin::new(socket).poll_shutdown(cx))?,
            Self::Other(stdout) => std::task::ready!(Pin::new(stdout).poll_shutdown(cx))?,
        }
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        Poll::Ready(rustix::stdio::dup2_stdout(nowhere).map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::fcntl_getpipe_size;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_pipe_is_made_larger_for_the_first_message_that_it_cannot_hold() {
        let (sender, mut receiver) = pipe::pipe().unwrap();
        let mut output = Output::Pipe(OutputPipe::new(sender));
        output.write_all(b"{}\n").await.unwrap();
        assert_eq!(fcntl_getpipe_size(&receiver).unwrap(), PIPE);
        let message = vec![b'x'; 1 << 20];
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            receiver.read_to_end(&mut read).await.unwrap();
            (fcntl_getpipe_size(&receiver).unwrap(), read)
        });
        output.write_all(&message).await.unwrap();
        drop(output);
        let (size, read) = reading.await.unwrap();
        assert_eq!(size, LARGE_PIPE);
        assert!(read[..3] == *b"{}\n" && read[3..] == message, "every byte, in order");
    }
}
