//! Cuts a byte stream into lines: one frame a message, with its terminator unchanged.
//!
//! A line over the limit is an item as any other, and does not end the stream. The rest of it is thrown away as it
//! comes, while [`Salvage`] looks for its id; then the next line passes. The limit and one read bound the memory. Time
//! is linear in the bytes, however they are cut. A line that comes in one piece is never copied; any other line is
//! copied once.
use std::ops::Deref;
use std::{fmt, io};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;
use tokio_util::codec::Decoder;

use super::envelope::Kind;
use super::request_id::RawId;
use super::salvage::Salvage;
use partial::Partial;

mod partial;

/// What there is room for when a buffer of the caller's is read into; tokio-util's own value.
const READ: usize = 8 * 1024;

/// One line, byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    wire: Bytes,
}

impl Frame {
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
    /// `id` if the line has one and it was found, `kind` as far as the line had been seen by then (see
    /// [`Salvage::kind`]); `limit` in bytes, without the terminator.
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

#[derive(Debug)]
enum Overlong {
    Searching(Salvage),
    Reported,
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

    /// The last item of a stream that has ended.
    pub fn last(&mut self) -> Option<Item> {
        match self.overlong.take() {
            Some(Overlong::Searching(salvage)) => return Some(Err(too_long(self.max_bytes, &salvage))),
            Some(Overlong::Reported) => return None,
            None => {}
        }
        let wire = self.partial.take();
        // The end of the stream is no terminator: a `\r` before it is the message's.
        if wire.len() > self.max_bytes {
            Some(Err(too_long(self.max_bytes, &Salvage::of(&wire))))
        } else if wire.trim_ascii_start().is_empty() {
            None
        } else {
            Some(Ok(Frame { wire }))
        }
    }

    fn next_in(&mut self, piece: &mut impl Piece) -> Option<Item> {
        while !piece.is_empty() {
            let newline = memchr(b'\n', piece);
            let end = newline.map_or(piece.len(), |at| at + 1);
            if self.overlong.is_some() {
                let item = self.discard(&piece[..end], newline.is_some());
                piece.advance(end);
                if item.is_some() {
                    return item;
                }
                continue;
            }
            if self.is_too_long(&piece[..end]) {
                self.start_overlong(piece);
                if let Some(item) = self.discard(&[], false) {
                    return Some(item);
                }
                continue;
            }
            let wire = if newline.is_some() && self.partial.as_slice().is_empty() {
                piece.cut(end)
            } else {
                // A terminator of two bytes at most.
                self.partial.extend(&piece[..end], self.max_bytes.saturating_add(2));
                piece.advance(end);
                newline?;
                self.partial.take()
            };
            if !wire.trim_ascii_start().is_empty() {
                return Some(Ok(Frame { wire }));
            }
        }
        None
    }

    /// Whether the line that goes on with `part` is no message within the limit, or can't become one any more. A `\r` at
    /// its end may yet belong to the terminator.
    fn is_too_long(&self, part: &[u8]) -> bool {
        let line = self.partial.as_slice();
        let ended = usize::from(part.ends_with(b"\n"));
        let before = part.len().checked_sub(ended + 1).map(|at| part[at]).or(line.last().copied());
        line.len() + part.len() - ended - usize::from(before == Some(b'\r')) > self.max_bytes
    }

    /// Looks at just as much as the limit lets through and one byte, so that the item is the same however the line
    /// was cut into reads.
    fn start_overlong(&mut self, piece: &mut impl Piece) {
        let rest = self.max_bytes + 1 - self.partial.as_slice().len();
        let mut salvage = Salvage::default();
        salvage.feed(self.partial.as_slice());
        salvage.feed(&piece[..rest]);
        self.overlong = Some(Overlong::Searching(salvage));
        self.partial.clear();
        piece.advance(rest);
    }

    fn discard(&mut self, part: &[u8], ended: bool) -> Option<Item> {
        let mut item = None;
        if let Some(Overlong::Searching(salvage)) = &mut self.overlong {
            salvage.seek_id(part);
            if ended || salvage.id().is_some() {
                item = Some(Err(too_long(self.max_bytes, salvage)));
                self.overlong = Some(Overlong::Reported);
            }
        }
        if ended {
            self.overlong = None;
        }
        item
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

fn too_long(limit: usize, salvage: &Salvage) -> FrameError {
    FrameError::TooLong { limit, id: salvage.id().cloned(), kind: salvage.kind() }
}

/// How many bytes of terminator a line ends with.
fn terminator(line: &[u8]) -> usize {
    if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) }
}

#[cfg(test)]
mod tests;
