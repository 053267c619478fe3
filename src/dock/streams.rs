//! A server's standard streams, whichever way they come: all by the daemon, or its input and output by the ends of its
//! own pipes and only its standard error by the daemon.
//!
//! The pipes stay as large as they were made, 64 KiB. Four and sixteen times as much moved results of 1 and 15 MiB no faster
//! (a server makes them slower than a pipe takes them); and the kernel gives one user's pipes 64 MiB in all before it makes
//! new ones small (`pipe-user-pages-soft`), which 200 sessions then use two fifths of.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::OptionFuture;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::docker::DockerError;
use super::door::{self, Ends, Listening};
use super::exec::{self, Chunk, READ};
use super::keeper;

/// What a server wrote to its standard error before it closed its output comes by a longer way; so does its end. One that goes
/// on without an output can't be told from a slow daemon any sooner.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// A process that has the output of a server that is gone has as long as the daemon would give it.
const CHILDREN_WITHIN: Duration = Duration::from_secs(2);

/// A word of the keeper's is no longer.
const WORD: usize = 1024;

/// What a server that runs already may say on its standard error meanwhile.
const MOST_UNREAD: usize = 1 << 20;

/// A server's standard input. Shutting it down ends the input alone; output goes on.
#[derive(Debug)]
pub enum Input {
    Daemon(exec::Input),
    /// `None` once it is shut down.
    Pipe(Option<pipe::Sender>),
}

impl AsyncWrite for Input {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Daemon(input) => Pin::new(input).poll_write(cx, buf),
            Self::Pipe(Some(pipe)) => Pin::new(pipe).poll_write(cx, buf),
            Self::Pipe(None) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Daemon(input) => Pin::new(input).poll_flush(cx),
            Self::Pipe(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Daemon(input) => Pin::new(input).poll_shutdown(cx),
            // There is no other way to tell a pipe's reader.
            Self::Pipe(pipe) => {
                drop(pipe.take());
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// What a server says.
#[derive(Debug)]
pub struct Output {
    /// What came while it was not yet known which way the rest would come.
    unread: VecDeque<Chunk>,
    daemon: exec::Output,
    pipe: Option<Pipe>,
}

/// The server's output, by a pipe of its own.
#[derive(Debug)]
struct Pipe {
    /// `None` once it is at its end.
    receiver: Option<pipe::Receiver>,
    buffer: BytesMut,
    /// The daemon's stream is at its end: the server, or who had its standard error last, is gone.
    is_over: bool,
    /// When nothing more is waited for.
    until: Option<Instant>,
}

impl Output {
    /// The next piece; `None` when nothing more can come. Cancel safe.
    pub async fn next(&mut self) -> Option<io::Result<Chunk>> {
        if let Some(chunk) = self.unread.pop_front() {
            return Some(Ok(chunk));
        }
        let Some(pipe) = &mut self.pipe else { return self.daemon.next().await };
        loop {
            if pipe.receiver.is_none() && pipe.is_over
                || pipe.until.is_some_and(|until| until <= Instant::now())
            {
                return None;
            }
            let until = OptionFuture::from(pipe.until.map(tokio::time::sleep_until));
            tokio::select! {
                read = read(&mut pipe.receiver, &mut pipe.buffer) => match read {
                    Ok(0) => {
                        pipe.receiver = None;
                        pipe.until = Some(Instant::now() + LAST_WORDS_WITHIN);
                    }
                    Ok(_) => return Some(Ok(Chunk::Stdout(pipe.buffer.split().freeze()))),
                    Err(error) => {
                        pipe.receiver = None;
                        return Some(Err(error));
                    }
                },
                chunk = self.daemon.next(), if !pipe.is_over => match chunk {
                    Some(Ok(Chunk::Stderr(bytes))) => return Some(Ok(Chunk::Stderr(bytes))),
                    // A word of the keeper's that nobody waits for.
                    Some(Ok(Chunk::Stdout(_))) => {}
                    Some(Err(error)) => {
                        pipe.is_over = true;
                        return Some(Err(error));
                    }
                    None => {
                        pipe.is_over = true;
                        if pipe.receiver.is_some() {
                            // Whoever reads is to find out whether the server has ended with it.
                            return Some(Ok(Chunk::Stderr(Bytes::new())));
                        }
                    }
                },
                Some(()) = until => return None,
            }
        }
    }

    /// Whether the daemon's stream is at its end and the pipe is not: the server has closed its standard error, or it has ended
    /// and a process that it has started goes on with its output. No more, once that is [to end soon](Self::end_soon).
    pub fn is_beside_the_stream(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.receiver.is_some() && pipe.is_over && pipe.until.is_none())
    }

    /// The server is gone: what others say in its place is heard for a moment, as it would be through the daemon.
    pub fn end_soon(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            pipe.until = Some(Instant::now() + CHILDREN_WITHIN);
        }
    }

    /// Whether the server has closed its output and goes on, as far as is known.
    pub fn is_closed_early(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.receiver.is_none() && !pipe.is_over)
    }
}

/// Reads once; never without a pipe. Cancel safe.
async fn read(pipe: &mut Option<pipe::Receiver>, buffer: &mut BytesMut) -> io::Result<usize> {
    let Some(pipe) = pipe else { return std::future::pending().await };
    // The last piece has been let go of, or still waits for the rest of its line.
    if buffer.capacity() < READ && !buffer.try_reclaim(READ) {
        buffer.reserve(READ);
    }
    pipe.read_buf(buffer).await
}

/// Why a server's pipes were not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    #[error("{0}")]
    Refused(String),
    /// Its end will be told as any other.
    #[error("its keeper has ended without a word")]
    KeeperEnded,
}

/// A server's streams, and which way they are.
#[derive(Debug)]
pub struct Streams {
    pub input: Input,
    pub output: Output,
    /// The daemon's own stream to the process's first input, where the server has another.
    pub beside: Option<exec::Input>,
    /// Why they come by the daemon, where they were to come directly.
    pub why_not: Option<WhyNot>,
}

impl Streams {
    /// Those of the daemon.
    pub fn of_daemon(input: exec::Input, output: exec::Output) -> Self {
        let output = Output { unread: VecDeque::new(), daemon: output, pipe: None };
        Self { input: Input::Daemon(input), output, beside: None, why_not: None }
    }

    pub fn is_direct(&self) -> bool {
        self.output.pipe.is_some()
    }

    /// Asks the keeper behind the daemon's stream for the server's pipes: `opening` in front of the token. Where that comes to
    /// nothing, the stream itself is the server's; for a server that ran before, it is nobody's. A keeper that says neither is
    /// waited for as long as the caller waits.
    pub async fn through(
        listening: Listening,
        opening: &[u8],
        container: &str,
        mut input: exec::Input,
        output: exec::Output,
    ) -> Result<Self, DockerError> {
        let broken = |error| DockerError::broken("ask for the server's pipes in", container, error);
        let line = [opening, listening.token().as_bytes()].concat();
        keeper::say(&mut input, &line).await.map_err(broken)?;
        let mut word = Word { output, unread: VecDeque::new(), bytes: 0, line: BytesMut::new() };
        let (ends, told) = tokio::select! {
            biased;
            ends = tokio::time::timeout(door::WITHIN, listening.take(container)) => {
                let ends = ends.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                (ends.map_err(|error| Some(error.to_string())), None)
            }
            told = word.hear() => {
                let told = told.map_err(broken)?;
                (Err(told.clone()), Some(told))
            }
        };
        let why = match ends {
            Ok(Ends { input: sender, output: receiver }) => {
                let pipe = Pipe {
                    receiver: Some(receiver),
                    buffer: BytesMut::with_capacity(READ),
                    is_over: false,
                    until: None,
                };
                let output = Output { unread: word.unread, daemon: word.output, pipe: Some(pipe) };
                let sender = Input::Pipe(Some(sender));
                return Ok(Self { input: sender, output, beside: Some(input), why_not: None });
            }
            Err(why) => why.map_or(WhyNot::KeeperEnded, WhyNot::Refused),
        };
        // Nothing of the server's can come before the keeper's word.
        let told = match told {
            Some(told) => told,
            None => word.hear().await.map_err(broken)?,
        };
        tracing::debug!("the keeper of `{container}` says: {told:?}");
        let rest = word.line.split().freeze();
        if !rest.is_empty() {
            word.unread.push_back(Chunk::Stdout(rest));
        }
        let output = Output { unread: word.unread, daemon: word.output, pipe: None };
        Ok(Self { input: Input::Daemon(input), output, beside: None, why_not: Some(why) })
    }
}

/// What the keeper says instead of handing the pipes over: the stream's first line. What stands on the other stream
/// meanwhile is kept.
struct Word {
    output: exec::Output,
    unread: VecDeque<Chunk>,
    /// As many are in there.
    bytes: usize,
    line: BytesMut,
}

impl Word {
    /// Waits for it; `None` where the keeper has ended without one. Cancel safe.
    async fn hear(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(said) = self.heard() {
                return Ok(Some(said));
            }
            match self.output.next().await {
                Some(Ok(Chunk::Stdout(bytes))) => self.line.extend_from_slice(&bytes),
                Some(Ok(Chunk::Stderr(bytes))) => {
                    self.bytes += bytes.len();
                    self.unread.push_back(Chunk::Stderr(bytes));
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(None),
            }
            if self.bytes > MOST_UNREAD || self.line.len() > WORD && !self.line.contains(&b'\n') {
                return Err(io::Error::other("the keeper's word has no end"));
            }
        }
    }

    fn heard(&mut self) -> Option<String> {
        let end = self.line.iter().position(|byte| *byte == b'\n')?;
        let line = self.line.split_to(end + 1);
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests;
