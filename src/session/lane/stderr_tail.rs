//! The server's standard error: passed on line by line, with the last lines kept to explain an end.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::observe::Redactor;
use crate::observe::stderr::StderrSink;

/// Longer lines are passed on in pieces.
const LONGEST_LINE: usize = 8 * 1024;

/// What is kept for the explanation.
const KEPT_LINES: usize = 5;
const KEPT_LENGTH: usize = 300;

#[derive(Debug)]
pub(super) struct StderrTail {
    sink: StderrSink,
    partial: BytesMut,
    /// What is in `partial` is not a line's beginning.
    continued: bool,
    /// Whole, for a cut one could end within a secret.
    last: VecDeque<String>,
}

impl StderrTail {
    pub(super) fn new(sink: StderrSink) -> Self {
        Self { sink, partial: BytesMut::new(), continued: false, last: VecDeque::new() }
    }

    /// Takes a piece of output, cut anywhere.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = LONGEST_LINE - self.partial.len();
            let piece = &bytes[..bytes.len().min(room)];
            let newline = memchr::memchr(b'\n', piece);
            let taken = newline.map_or(piece.len(), |at| at + 1);
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if newline.is_some() || self.partial.len() == LONGEST_LINE {
                self.finish();
                self.continued = newline.is_none();
            }
        }
    }

    /// Passes on a last line without a newline.
    pub(super) fn finish(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if line.is_empty() {
            return;
        }
        if !self.continued {
            if self.last.len() == KEPT_LINES {
                self.last.pop_front();
            }
            self.last.push_back(line.clone());
        }
        self.sink.server_line(line);
    }

    /// The beginnings of the last lines in one, without what `redactor` hides.
    pub(super) fn last_lines(&self, redactor: &Redactor) -> String {
        let shown = |line: &String| redactor.text(line).chars().take(KEPT_LENGTH).collect::<String>();
        self.last.iter().map(shown).collect::<Vec<_>>().join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_however_the_output_is_cut() {
        let mut lines: Vec<String> = (0..20).map(|n| format!("line {n}")).collect();
        lines.push("unfinished".to_owned());
        let text = lines.join("\n");
        for size in [1, 3, 7, 1000] {
            let mut tail = StderrTail::new(StderrSink::to(std::io::sink()));
            text.as_bytes().chunks(size).for_each(|piece| tail.push(piece));
            tail.finish();
            assert_eq!(
                tail.last_lines(&Redactor::new([])),
                "line 16 | line 17 | line 18 | line 19 | unfinished"
            );
        }
    }

    #[test]
    fn an_endless_line_is_bounded() {
        let mut tail = StderrTail::new(StderrSink::to(std::io::sink()));
        for _ in 0..1000 {
            tail.push(&[b'x'; 1000]);
        }
        assert!(tail.partial.capacity() <= 2 * LONGEST_LINE);
        assert!(tail.last_lines(&Redactor::new([])).len() <= KEPT_LINES * (KEPT_LENGTH + 3));
    }

    #[test]
    fn no_part_of_a_secret_is_left_where_a_line_is_cut() {
        let redactor = Redactor::new(["correct-horse-battery".to_owned()]);
        for before in [KEPT_LENGTH - 4, LONGEST_LINE - 4] {
            let mut tail = StderrTail::new(StderrSink::to(std::io::sink()));
            tail.push(format!("{}correct-horse-battery\nthe end\n", "x".repeat(before)).as_bytes());
            let said = tail.last_lines(&redactor);
            assert!(said.ends_with(" | the end"), "{said}");
            assert!(!said.contains("corr") && !said.contains("battery"), "{said}");
        }
    }
}
