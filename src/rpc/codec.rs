//! Cuts a byte stream into lines: one frame a message, terminator kept as it came.
//!
//! A line over the limit is an item like any other, not the end of the stream: the rest of it is thrown away as
//! it comes while [`Salvage`] looks for its id, and the next line goes through. Memory is bounded by the limit
//! and one read, time is linear in the bytes however they are cut.
use std::{fmt, io};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use thiserror::Error;
use tokio_util::codec::Decoder;

use super::envelope::Kind;
use super::request_id::RawId;
use super::salvage::Salvage;

/// What an empty buffer starts with; tokio-util's own value.
const READ: usize = 8 * 1024;
/// A buffer that has grown over this is given back when little is left in it.
const KEEP: usize = 64 * 1024;

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
    /// No newline in this many bytes at the start of the buffer.
    scanned: usize,
    overlong: Option<Overlong>,
    /// The largest that the present buffer has been; what is left of its capacity doesn't tell.
    grown: usize,
}

#[derive(Debug)]
enum Overlong {
    Searching(Salvage),
    Reported,
}

type Item = Result<Frame, FrameError>;

impl FrameCodec {
    /// Messages of up to `max_bytes` pass, their terminator not counted.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, scanned: 0, overlong: None, grown: 0 }
    }

    fn next(&mut self, buffer: &mut BytesMut) -> Option<Item> {
        self.grown = self.grown.max(buffer.capacity());
        loop {
            let newline = memchr(b'\n', &buffer[self.scanned..]).map(|at| self.scanned + at);
            if self.overlong.is_some() {
                let end = newline.map_or(buffer.len(), |at| at + 1);
                let item = self.discard(&buffer[..end], newline.is_some());
                buffer.advance(end);
                self.give_back(buffer);
                if item.is_some() || newline.is_none() {
                    return item;
                }
                continue;
            }
            let Some(newline) = newline else {
                if self.is_too_long(buffer) {
                    self.start_overlong(buffer);
                    continue;
                }
                self.scanned = buffer.len();
                self.grow(buffer);
                return None;
            };
            let line = &buffer[..=newline];
            if line.len() - terminator(line) > self.max_bytes {
                self.start_overlong(buffer);
                continue;
            }
            self.scanned = 0;
            if line.trim_ascii_start().is_empty() {
                buffer.advance(newline + 1);
                continue;
            }
            let wire = buffer.split_to(newline + 1).freeze();
            self.give_back(buffer);
            return Some(Ok(Frame { wire }));
        }
    }

    /// Whether the start of a line can't become a message within the limit any more. A `\r` at its end may yet
    /// belong to the terminator.
    fn is_too_long(&self, start: &[u8]) -> bool {
        start.len() - usize::from(start.ends_with(b"\r")) > self.max_bytes
    }

    /// Looks at just as much as the limit lets through and one byte, so that the item is the same however the line
    /// was cut into reads.
    fn start_overlong(&mut self, buffer: &mut BytesMut) {
        self.overlong = Some(Overlong::Searching(Salvage::of(&buffer[..=self.max_bytes])));
        buffer.advance(self.max_bytes + 1);
        self.scanned = 0;
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

    /// Makes room for the rest of a line. By doubling, so that time stays linear, but never beyond what the
    /// longest line and one read need; `reserve` would not stop there.
    fn grow(&mut self, buffer: &mut BytesMut) {
        let len = buffer.len();
        if len < READ || len < buffer.capacity() {
            return;
        }
        let most = self.max_bytes.saturating_add(READ);
        let mut larger = BytesMut::with_capacity(len.saturating_mul(2).min(most));
        larger.extend_from_slice(buffer);
        *buffer = larger;
        self.grown = buffer.capacity();
    }

    /// Leaves a large buffer to the frames that were cut from it, and takes what little is behind them along.
    fn give_back(&mut self, buffer: &mut BytesMut) {
        if self.grown > KEEP && buffer.len() <= READ {
            let mut fresh = BytesMut::with_capacity(2 * READ);
            fresh.extend_from_slice(buffer);
            *buffer = fresh;
            self.grown = buffer.capacity();
        }
    }
}

impl Decoder for FrameCodec {
    type Item = Item;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Item>> {
        Ok(self.next(buffer))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Item>> {
        if let Some(item) = self.next(buffer) {
            return Ok(Some(item));
        }
        self.scanned = 0;
        match self.overlong.take() {
            Some(Overlong::Searching(salvage)) => return Ok(Some(Err(too_long(self.max_bytes, &salvage)))),
            Some(Overlong::Reported) => return Ok(None),
            None => {}
        }
        let wire = buffer.split().freeze();
        // The end of the stream is no terminator: a `\r` before it is the message's.
        Ok(if wire.len() > self.max_bytes {
            Some(Err(too_long(self.max_bytes, &Salvage::of(&wire))))
        } else if wire.trim_ascii_start().is_empty() {
            None
        } else {
            Some(Ok(Frame { wire }))
        })
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
