//! A process in a leased container, and the stream to its standard input, output and error.
//!
//! The two halves of the stream belong to different tasks; neither blocks the other.

use std::io::{self, Cursor};
use std::iter::once;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, Chain, ReadHalf, WriteHalf};
use tokio_util::codec::{Decoder, FramedRead};

use super::dial::{Endpoint, Stream};
use super::docker::DockerError;
use super::place::Place;
use super::protocol::door::OPTION;
use super::wire::{Request, Wire};

/// The most that is read at once. The decoder sees to it that there is room for so much whenever the last piece has been
/// let go of; the buffer's end would be filled by ever smaller reads.
pub(super) const READ: usize = 64 * 1024;

/// What to run. The environment goes to this process alone, never into the container's own configuration.
#[derive(Debug, Clone)]
pub struct Command {
    /// Where the container has its keeper.
    pub place: Place,
    pub argv: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// The owner's name for itself; an argument of the process, so that the daemon's exec inspection shows it.
    pub session: String,
    /// The server's pipes are handed over (`dock::door`); the keeper waits for the token.
    pub door: bool,
    /// What the keeper sees to first (`Spec::keeper_options`).
    pub options: Vec<String>,
}

/// A started process.
#[derive(Debug)]
pub struct Exec {
    /// The daemon's id of it (`/exec/{id}/json`).
    pub id: String,
    pub input: Input,
    pub output: Output,
}

/// Starts `command` in `container` over `wire`, which becomes its stream.
pub async fn start(wire: Wire, container: &str, command: &Command) -> Result<Exec, DockerError> {
    let mut argv = vec![command.place.program(), "exec".into(), "--session".into()];
    argv.push(command.session.clone());
    if command.door {
        argv.push(OPTION.to_owned());
    }
    argv.extend(command.options.iter().cloned());
    argv.push("--".into());
    argv.extend(command.argv.iter().cloned());
    start_plain(wire, container, &argv, &command.env).await
}

/// The same for a container without a keeper, such as the DinD daemon's own.
pub async fn start_plain(
    mut wire: Wire,
    container: &str,
    argv: &[String],
    env: &[String],
) -> Result<Exec, DockerError> {
    let create = Request::post(
        "prepare the server in",
        container,
        format!("/containers/{container}/exec"),
        Some(json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
            "Tty": false, "Cmd": argv, "Env": env,
        })),
    );
    let created = wire.call(&create).await?;
    let id = created["Id"].as_str().unwrap_or_default().to_owned();
    let start = Request::post(
        "start the server in",
        container,
        format!("/exec/{id}/start"),
        Some(json!({ "Detach": false, "Tty": false })),
    )
    .upgrading();
    wire.call(&start).await?;
    let (stream, unread) = wire.into_stream();
    let (input, output) = halves(stream, unread);
    Ok(Exec { id, input, output })
}

/// What a process of the keeper's program says in `container`, on either of its outputs.
pub(super) async fn ask(
    endpoint: &Endpoint,
    container: &str,
    words: &[&str],
) -> Result<Vec<u8>, DockerError> {
    const MOST: usize = 64 * 1024;
    let mut wire = Wire::connect(endpoint).await?;
    let place = wire.keeper(container).await?;
    let argv: Vec<String> =
        once(place.program()).chain(words.iter().map(|word| (*word).to_owned())).collect();
    let mut exec = start_plain(wire, container, &argv, &[]).await?;
    let mut said = Vec::new();
    while let Some(chunk) = exec.output.next().await {
        let chunk = chunk.map_err(|error| DockerError::broken("ask the keeper of", container, error))?;
        let (Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = chunk;
        said.extend_from_slice(&bytes);
        if said.len() > MOST {
            break;
        }
    }
    Ok(said)
}

/// A process's streams, from the connection that the daemon has made of them.
pub(super) fn halves(stream: Stream, unread: BytesMut) -> (Input, Output) {
    let (reading, writing) = tokio::io::split(stream);
    // What came with the answer is read like the rest: `FramedRead` doesn't decode what it was not the one to read.
    let reading = AsyncReadExt::chain(Cursor::new(unread), reading);
    (writing, FramedRead::with_capacity(reading, Demultiplexer::default(), READ))
}

/// The process's standard input; shutting it down ends the input alone, output goes on.
pub type Input = WriteHalf<Stream>;

/// The process's standard output and error, as they come; ends once the process has closed both.
pub type Output = FramedRead<Chain<Cursor<BytesMut>, ReadHalf<Stream>>, Demultiplexer>;

/// A piece of output, cut anywhere.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    Stdout(Bytes),
    Stderr(Bytes),
}

/// Decodes the Engine API's multiplexed stream: a header of eight bytes (stream, three zeros, length), the payload.
/// Hands out what has come of a payload without waiting for the rest, so it never holds more than one read.
#[derive(Debug, Default)]
pub struct Demultiplexer {
    stderr: bool,
    remaining: usize,
}

impl Decoder for Demultiplexer {
    type Item = Chunk;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Chunk>> {
        while self.remaining == 0 {
            let Some(&[stream, 0, 0, 0, a, b, c, d]) = src.first_chunk::<8>() else {
                if src.len() >= 8 {
                    return Err(io::Error::other("the daemon's stream is not multiplexed"));
                }
                let _ = src.try_reclaim(READ - src.len());
                return Ok(None);
            };
            src.advance(8);
            self.stderr = stream == 2;
            self.remaining = u32::from_be_bytes([a, b, c, d]) as usize;
        }
        if src.is_empty() {
            let _ = src.try_reclaim(READ);
            return Ok(None);
        }
        let payload = src.split_to(self.remaining.min(src.len())).freeze();
        self.remaining -= payload.len();
        Ok(Some(if self.stderr { Chunk::Stderr(payload) } else { Chunk::Stdout(payload) }))
    }

    /// A connection may break in mid-header; what is left then is no output.
    fn decode_eof(&mut self, src: &mut BytesMut) -> io::Result<Option<Chunk>> {
        let chunk = self.decode(src)?;
        if chunk.is_none() {
            src.clear();
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_in_pieces(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (mut demultiplexer, mut buffer) = (Demultiplexer::default(), BytesMut::new());
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(chunk) = demultiplexer.decode(&mut buffer).unwrap() {
                match chunk {
                    Chunk::Stdout(bytes) => out.extend_from_slice(&bytes),
                    Chunk::Stderr(bytes) => err.extend_from_slice(&bytes),
                }
            }
        }
        assert!(buffer.is_empty(), "everything was handed out");
        (out, err)
    }

    #[test]
    fn any_cut_gives_the_same_output() {
        let stream =
            b"\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\x03err\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x06 world";
        for size in 1..=stream.len() {
            assert_eq!(
                decode_in_pieces(stream, size),
                (b"hello world".to_vec(), b"err".to_vec()),
                "cut at {size}"
            );
        }
    }

    #[test]
    fn there_is_always_room_for_a_large_read() {
        let (mut demultiplexer, mut buffer) = (Demultiplexer::default(), BytesMut::with_capacity(READ));
        for _ in 0..READ {
            buffer.extend_from_slice(b"\x01\0\0\0\0\0\0\x03{}\n");
            assert!(demultiplexer.decode(&mut buffer).unwrap().is_some());
            assert_eq!(demultiplexer.decode(&mut buffer).unwrap(), None);
            assert_eq!(buffer.capacity(), READ);
        }
    }

    #[test]
    fn a_stream_without_headers_is_an_error_not_output() {
        let mut buffer = BytesMut::from(&b"plain text from a tty"[..]);
        assert!(Demultiplexer::default().decode(&mut buffer).is_err());
    }
}
