//! Cuts a byte stream into lines: one frame a message, with its terminator unchanged.
//!
//! A line over the limit is an item as any other, and does not end the stream; a batch over the limit is an item for each
//! of its messages that has an id. The rest of the line is thrown away as it comes, while [`Salvage`](super::Salvage) looks for ids; then
//! the next line passes. The limit and one read bound the memory. Time is linear in the bytes, however they are cut. A
//! line that comes in one piece is never copied; any other line is copied once.
use std::ops::Deref;
use std::{fmt, io};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;
use tokio_util::codec::Decoder;

use super::envelope::Kind;
use super::request_id::RawId;
use overlong::Overlong;
use partial::Partial;

mod overlong;
mod partial;

/// What there is room for when a buffer of the caller's is read into; tokio-util's own value.
const READ: usize = 8 * 1024;

/// One line, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    wire: Bytes,
}

impl Frame {
    /// `wire` must be one line, with its terminator or without.
    pub fn new(wire: Bytes) -> Self {
        Self { wire }
    }

    /// The line with its terminator, `\n` or `\r\n`, exactly as it came.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    pub fn into_wire(self) -> Bytes {
        self.wire
    }

    /// The line without its terminator.
    pub fn message(&self) -> &[u8] {
        &self.wire[..self.wire.len() - terminator(&self.wire)]
    }

    /// False for the last line of a stream that ended without a newline.
    pub fn is_terminated(&self) -> bool {
        self.wire.ends_with(b"\n")
    }
}

impl fmt::Debug for Frame {
    /// The length only: bodies stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("bytes", &self.wire.len()).finish_non_exhaustive()
    }
}

/// Why a line is no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// `id` if the line, or the message in it, has one and it was found; `kind` as far as it had been seen by then (see
    /// [`Salvage::kind`](super::Salvage::kind)); `limit` in bytes, without the terminator.
    #[error("line longer than {limit} bytes")]
    TooLong { limit: usize, id: Option<RawId>, kind: Kind },
}

/// The decoder. Its items are `Result`s because tokio-util ends a stream after a decoder's error; it has none.
#[derive(Debug)]
pub struct FrameCodec {
    max_bytes: usize,
    /// What has come of a line that has no end yet.
    partial: Partial,
    overlong: Option<Overlong>,
}

type Item = Result<Frame, FrameError>;

/// A piece of the stream, cut anywhere.
trait Piece: Buf + Deref<Target = [u8]> {
    fn cut(&mut self, len: usize) -> Bytes;
}

impl Piece for Bytes {
    fn cut(&mut self, len: usize) -> Bytes {
        self.split_to(len)
    }
}

impl Piece for BytesMut {
    fn cut(&mut self, len: usize) -> Bytes {
        self.split_to(len).freeze()
    }
}

impl FrameCodec {
    /// Messages of up to `max_bytes` pass, their terminator not counted.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, partial: Partial::default(), overlong: None }
    }

    /// The next item of the stream, whose next bytes are `piece`; `None` when those are used up.
    pub fn next(&mut self, piece: &mut Bytes) -> Option<Item> {
        self.next_in(piece)
    }

    /// The last items of a stream that has ended, one by one.
    pub fn last(&mut self) -> Option<Item> {
        if self.overlong.is_none() {
            let wire = self.partial.take();
            // The end of the stream is no terminator: a `\r` before it is the message's.
            if wire.len() <= self.max_bytes {
                return (!wire.trim_ascii_start().is_empty()).then_some(Ok(Frame { wire }));
            }
            self.overlong = Some(Overlong::new(wire));
        }
        let overlong = self.overlong.as_mut()?;
        overlong.end();
        let item = overlong.next(self.max_bytes);
        if item.is_none() {
            self.overlong = None;
        }
        item.map(Err)
    }

    fn next_in(&mut self, piece: &mut impl Piece) -> Option<Item> {
        loop {
            if let Some(overlong) = &mut self.overlong {
                if let Some(item) = overlong.next(self.max_bytes) {
                    return Some(Err(item));
                }
                if overlong.has_ended() {
                    self.overlong = None;
                }
            }
            if piece.is_empty() {
                return None;
            }
            let newline = memchr(b'\n', piece);
            let end = newline.map_or(piece.len(), |at| at + 1);
            if let Some(overlong) = &mut self.overlong {
                overlong.extend(piece.cut(end), newline.is_some());
                continue;
            }
            if self.is_too_long(&piece[..end]) {
                self.start_overlong(piece);
                continue;
            }
            let wire = if newline.is_some() && self.partial.as_slice().is_empty() {
                piece.cut(end)
            } else {
                // A terminator of two bytes at most.
                self.partial.extend(&piece[..end], self.max_bytes.saturating_add(2));
                piece.advance(end);
                if newline.is_none() {
                    continue;
                }
                self.partial.take()
            };
            if !wire.trim_ascii_start().is_empty() {
                return Some(Ok(Frame { wire }));
            }
        }
    }

    /// Whether the line that goes on with `part` is no message within the limit, or can't become one any more. A `\r` at
    /// its end may yet belong to the terminator.
    fn is_too_long(&self, part: &[u8]) -> bool {
        let line = self.partial.as_slice();
        let ended = usize::from(part.ends_with(b"\n"));
        let before = part.len().checked_sub(ended + 1).map(|at| part[at]).or(line.last().copied());
        line.len() + part.len() - ended - usize::from(before == Some(b'\r')) > self.max_bytes
    }

    /// Takes just as much as the limit lets through and one byte, so that the item is the same however the line was cut
    /// into reads.
    fn start_overlong(&mut self, piece: &mut impl Piece) {
        let rest = self.max_bytes + 1 - self.partial.as_slice().len();
        let beginning = if self.partial.as_slice().is_empty() {
            piece.cut(rest)
        } else {
            self.partial.extend(&piece[..rest], self.max_bytes + 1);
            piece.advance(rest);
            self.partial.take()
        };
        self.overlong = Some(Overlong::new(beginning));
    }
}

impl Decoder for FrameCodec {
    type Item = Item;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Item>> {
        let item = self.next_in(buffer);
        if item.is_none() {
            // Or the buffer's end would be filled by ever smaller reads.
            let _ = buffer.try_reclaim(READ);
        }
        Ok(item)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Item>> {
        Ok(self.next_in(buffer).or_else(|| self.last()))
    }
}

/// How many bytes of terminator a line ends with.
fn terminator(line: &[u8]) -> usize {
    if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) }
}

#[cfg(test)]
mod tests;
