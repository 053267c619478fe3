//! The contents of one write to the client: the lines of one piece of output that may pass.
//!
//! Lines that are adjacent in the piece are written from there, without a copy. Does no I/O.

use std::ops::Range;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::observe::Returning;

/// Lines that are there at once are written at once, up to about so many bytes.
pub const BURST: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Burst {
    /// What stands before `run`: lines from elsewhere, and what stood before those. Used again and again.
    copied: BytesMut,
    piece: Bytes,
    /// Of `piece`.
    run: Range<usize>,
    /// The calls whose answers are among the lines.
    pub(super) returning: Returning,
}

impl Burst {
    /// From now on lines may come out of `piece`, which came at that time. Nothing may be waiting to be written.
    pub(super) fn begin(&mut self, piece: &Bytes, came: Option<Instant>) {
        debug_assert_eq!(self.len(), 0);
        self.piece = piece.clone();
        self.returning.at = came;
    }

    /// Lets go of the piece, so that who reads the stream has its buffer back.
    pub(super) fn end(&mut self) {
        self.clear();
        self.piece = Bytes::new();
    }

    pub(super) fn add(&mut self, line: &Bytes) {
        if let Some(start) = self.place(line) {
            if start != self.run.end {
                self.copy_run();
                self.run = start..start;
            }
            self.run.end += line.len();
        } else {
            self.copy_run();
            self.copied.extend_from_slice(line);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.copied.len() + self.run.len()
    }

    /// What is written now, in this order.
    pub(super) fn parts(&mut self) -> [&[u8]; 2] {
        self.returning.leave();
        [&self.copied, &self.piece[self.run.clone()]]
    }

    /// All that was added is written.
    pub(super) fn clear(&mut self) {
        self.copied.clear();
        self.run = 0..0;
        self.returning.done();
    }

    fn copy_run(&mut self) {
        self.copied.extend_from_slice(&self.piece[self.run.clone()]);
        self.run = 0..0;
    }

    /// Where in the piece a line lies that was cut from it.
    fn place(&self, line: &Bytes) -> Option<usize> {
        let start = line.as_ptr().addr().checked_sub(self.piece.as_ptr().addr())?;
        (start + line.len() <= self.piece.len()).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece() -> Bytes {
        Bytes::from_static(b"one\ntwo\nthree\nfour\n")
    }

    #[test]
    fn neighbours_are_written_from_where_they_lie() {
        let (piece, mut burst) = (piece(), Burst::default());
        burst.begin(&piece, None);
        burst.add(&piece.slice(4..8));
        burst.add(&piece.slice(8..14));
        assert_eq!(burst.parts(), [&b""[..], b"two\nthree\n"]);
        assert_eq!(burst.parts()[1].as_ptr(), piece[4..].as_ptr());
        assert_eq!(burst.len(), 10);
    }

    #[test]
    fn the_order_stays_whatever_stands_between() {
        let (piece, mut burst) = (piece(), Burst::default());
        burst.begin(&piece, None);
        burst.add(&Bytes::from_static(b"zero\n"));
        burst.add(&piece.slice(..4));
        assert_eq!(burst.parts(), [&b"zero\n"[..], b"one\n"]);
        // «two» is no message.
        burst.add(&piece.slice(8..14));
        burst.add(&Bytes::from_static(b"ours\n"));
        burst.add(&piece.slice(14..));
        assert_eq!(burst.parts().concat(), b"zero\none\nthree\nours\nfour\n");
        assert_eq!(burst.len(), 25);
        burst.clear();
        assert_eq!((burst.len(), burst.parts().concat()), (0, Vec::new()));
        burst.add(&piece.slice(4..8));
        assert_eq!(burst.parts().concat(), b"two\n", "what follows a full write");
    }

    #[test]
    fn a_piece_is_let_go() {
        let piece = Bytes::from(vec![b'\n'; 10]);
        let mut burst = Burst::default();
        burst.begin(&piece, None);
        burst.add(&piece.slice(..5));
        burst.end();
        assert!(piece.is_unique());
        assert_eq!(burst.len(), 0);
    }
}
