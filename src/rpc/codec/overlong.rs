//! A line that is too long to be kept: what of it is still to be looked at, and what was found.
//!
//! Keeps no more than it was given last. It never keeps what it has found: each message is an item at once.
use bytes::{Buf, Bytes};

use super::super::envelope::Kind;
use super::super::request_id::RawId;
use super::super::salvage::Salvage;
use super::FrameError;

#[derive(Debug)]
pub(super) struct Overlong {
    salvage: Salvage,
    /// What has come of the line and was not looked at yet.
    ahead: Bytes,
    /// `ahead` is of the line's beginning, all of which is looked at, whatever is found there.
    at_beginning: bool,
    was_reported: bool,
    has_ended: bool,
}

impl Overlong {
    pub(super) fn new(beginning: Bytes) -> Self {
        Self {
            salvage: Salvage::default(),
            ahead: beginning,
            at_beginning: true,
            was_reported: false,
            has_ended: false,
        }
    }

    /// The line goes on; all that came before was looked at.
    pub(super) fn extend(&mut self, part: Bytes, is_last: bool) {
        self.ahead = part;
        self.at_beginning = false;
        self.has_ended = is_last;
    }

    /// There is no more of it.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The next message with an id in what has come; where the line has none, the line itself at its end. `None` when all
    /// of what has come was looked at.
    pub(super) fn next(&mut self, limit: usize) -> Option<FrameError> {
        while !self.ahead.is_empty() {
            if self.was_reported && !self.salvage.is_batch() {
                break;
            }
            let read = if self.at_beginning {
                self.salvage.feed(&self.ahead)
            } else {
                self.salvage.seek_id(&self.ahead)
            };
            self.ahead.advance(read);
            if let Some(message) = self.salvage.take() {
                return Some(self.report(limit, message));
            }
        }
        // Who reads the stream has its buffer back.
        self.ahead = Bytes::new();
        if !self.has_ended {
            return None;
        }
        match self.salvage.take_last() {
            Some(message) => Some(self.report(limit, message)),
            None if self.was_reported => None,
            None => {
                self.was_reported = true;
                let kind = if self.salvage.is_batch() { Kind::Other } else { self.salvage.kind() };
                Some(FrameError::TooLong { limit, id: None, kind })
            }
        }
    }

    fn report(&mut self, limit: usize, (id, kind): (RawId, Kind)) -> FrameError {
        self.was_reported = true;
        FrameError::TooLong { limit, id: Some(id), kind }
    }
}
