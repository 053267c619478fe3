//! Hides pieces of a JSON text so that it stays JSON: inside of a string, a scalar as a whole, or a container as a whole.
use std::ops::Range;

use super::lookalike::container_end;
use super::{Hidden, MARK};

/// Whether a text is JSON, as a whole.
pub(super) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A text that [`is_valid`], without what is `hidden` in it; that is in the order of its beginning.
pub(super) fn shown(text: &str, hidden: &[Hidden]) -> String {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    for Hidden { range, .. } in hidden.iter().filter(|hidden| !hidden.range.is_empty()) {
        match pieces.last_mut() {
            // What overlaps has one mark; what only follows has its own.
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => pieces.push(range.clone()),
        }
    }
    let values = hidden.iter().filter(|hidden| hidden.quoted).map(|hidden| hidden.range.start).collect();
    let mut walk = Walk { text, pieces, values, shown: String::with_capacity(text.len()) };
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        at = match byte {
            b'"' => walk.string(at),
            b'{' | b'[' if walk.values.binary_search(&at).is_ok() => {
                walk.mark_quoted();
                container_end(text.as_bytes(), at)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => walk.scalar(at),
            _ => {
                walk.shown.push(char::from(*byte));
                at + 1
            }
        };
    }
    walk.shown
}

struct Walk<'a> {
    text: &'a str,
    /// In order, without overlaps.
    pieces: Vec<Range<usize>>,
    /// Where the hidden values of keys begin, in order.
    values: Vec<usize>,
    shown: String,
}

impl Walk<'_> {
    fn mark_quoted(&mut self) {
        self.shown.extend(["\"", MARK, "\""]);
    }

    /// The first piece that has a part in `at..end`.
    fn piece(&self, at: usize, end: usize) -> Option<usize> {
        let n = self.pieces.partition_point(|piece| piece.end <= at);
        self.pieces.get(n).is_some_and(|piece| piece.start < end).then_some(n)
    }

    /// A number or a word. All of it goes with a part of it.
    fn scalar(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let length = rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        if self.piece(at, at + length).is_some() {
            self.mark_quoted();
        } else {
            self.shown += &rest[..length];
        }
        at + length
    }

    /// A string, its quotes included.
    fn string(&mut self, begin: usize) -> usize {
        let bytes = self.text.as_bytes();
        self.shown.push('"');
        let mut at = begin + 1;
        let mut last = None;
        while let Some(&byte) = bytes.get(at).filter(|byte| **byte != b'"') {
            // An escape, or a character, is shown whole or not at all.
            let length = match (byte, bytes.get(at + 1)) {
                (b'\\', Some(b'u')) => 6,
                (b'\\', _) => 2,
                _ => self.text[at..].chars().next().map_or(1, char::len_utf8),
            };
            let found = self.piece(at, at + length);
            match found {
                Some(_) if found != last => self.shown += MARK,
                Some(_) => {}
                None => self.shown += &self.text[at..at + length],
            }
            last = found;
            at += length;
        }
        self.shown.push('"');
        at + 1
    }
}
