//! The server's standard error: passed on line by line. What it said last is kept to explain an end, and of its beginning what
//! looks like a reason.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::failure::cause;
use crate::observe::Redactor;
use crate::observe::stderr::StderrSink;

/// Longer lines are passed on in pieces.
const LONGEST_LINE: usize = 8 * 1024;

/// What is kept for the explanation.
const KEPT_LINES: usize = 12;
const KEPT_LENGTH: usize = 300;
/// So many of these are told.
const TOLD: usize = 5;
/// Of the beginning, so many lines are looked at, and so many of those that look like a reason are kept.
const BEGINNING: usize = 200;
const REASONS: usize = 3;

#[derive(Debug)]
pub(super) struct StderrTail {
    sink: StderrSink,
    partial: BytesMut,
    /// What is in `partial` is not a line's beginning.
    continued: bool,
    /// Whole, for a cut one could end within a secret.
    last: VecDeque<String>,
    /// Of the first lines, each with its number.
    reasons: Vec<(usize, String)>,
    lines: usize,
}

impl StderrTail {
    pub(super) fn new(sink: StderrSink) -> Self {
        Self {
            sink,
            partial: BytesMut::new(),
            continued: false,
            last: VecDeque::new(),
            reasons: Vec::new(),
            lines: 0,
        }
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
            self.lines += 1;
            if self.lines <= BEGINNING && self.reasons.len() < REASONS && cause::is_telling(&line) {
                self.reasons.push((self.lines, line.clone()));
            }
        }
        self.sink.server_line(line);
    }

    /// The beginnings of its lines that explain an end, in one, without what `redactor` hides: the last ones, and before them
    /// the first reasons of one that ended `at_once`.
    pub(super) fn words(&self, at_once: bool, redactor: &Redactor) -> String {
        let shown =
            |line: &str| redactor.text(line).trim_start().chars().take(KEPT_LENGTH).collect::<String>();
        self.chosen(at_once).into_iter().map(|(_, line)| shown(line)).collect::<Vec<_>>().join(" | ")
    }

    /// What mends the cause that it names, if that is well known.
    pub(super) fn next(&self, at_once: bool) -> Option<&'static str> {
        let reasons = self.reasons.iter().filter(|_| at_once).map(|(_, line)| line);
        // Stacks are left out of the words, and may have it all the same.
        reasons.chain(&self.last).find_map(|line| cause::next(line))
    }

    fn chosen(&self, at_once: bool) -> Vec<(usize, &str)> {
        let first = self.lines + 1 - self.last.len();
        let last = self.last.iter().enumerate().map(|(at, line)| (first + at, line.as_str()));
        let says = last.clone().filter(|(_, line)| !cause::is_noise(line));
        let mut last: Vec<_> = if says.clone().next().is_some() { says.collect() } else { last.collect() };
        last.drain(..last.len().saturating_sub(TOLD));
        let mut reasons: Vec<_> =
            self.reasons.iter().filter(|_| at_once).map(|(at, line)| (*at, line.as_str())).collect();
        reasons.retain(|(at, _)| last.first().is_none_or(|(first, _)| at < first));
        // What is told is no longer for that.
        let room = last.len().min(TOLD.saturating_sub(reasons.len()).max(2));
        last.drain(..last.len() - room);
        reasons.extend(last);
        reasons
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
                tail.words(true, &Redactor::new([])),
                "line 16 | line 17 | line 18 | line 19 | unfinished"
            );
        }
    }

    #[test]
    fn the_reason_at_the_beginning_is_told_of_one_that_ends_at_once() {
        let mut tail = StderrTail::new(StderrSink::to(std::io::sink()));
        let stack = "    at Module._compile (node:internal/modules/cjs/loader:1554:14)\n".repeat(20);
        let said = format!(
            "npm warn deprecated x\nstarting\nError: Cannot find module '/app/x.js'\n{stack}  code: 'MODULE_NOT_FOUND',\n\
             Node.js v22.1.0\nbye\n"
        );
        tail.push(said.as_bytes());
        let none = Redactor::new([]);
        assert_eq!(
            tail.words(true, &none),
            "Error: Cannot find module '/app/x.js' | code: 'MODULE_NOT_FOUND', | bye"
        );
        assert_eq!(
            tail.words(false, &none),
            "code: 'MODULE_NOT_FOUND', | bye",
            "what was said hours ago is no reason"
        );
        assert!(tail.next(true).unwrap().contains("that file is not in its container"));
        let mut git = StderrTail::new(StderrSink::to(std::io::sink()));
        git.push(format!("Error: spawn git ENOENT\n{stack}").as_bytes());
        assert!(git.next(true).unwrap().contains("`git`"));
        assert_eq!(git.next(false), None);
    }

    #[test]
    fn where_all_is_noise_the_last_of_it_is_told() {
        let mut tail = StderrTail::new(StderrSink::to(std::io::sink()));
        tail.push(b"npm warn a\nnpm warn b\n");
        assert_eq!(tail.words(true, &Redactor::new([])), "npm warn a | npm warn b");
    }

    #[test]
    fn an_endless_line_is_bounded() {
        let mut tail = StderrTail::new(StderrSink::to(std::io::sink()));
        for _ in 0..1000 {
            tail.push(&[b'x'; 1000]);
        }
        assert!(tail.partial.capacity() <= 2 * LONGEST_LINE);
        assert!(tail.words(true, &Redactor::new([])).len() <= KEPT_LINES * (KEPT_LENGTH + 3));
    }

    #[test]
    fn no_part_of_a_secret_is_left_where_a_line_is_cut() {
        let redactor = Redactor::new(["correct-horse-battery".to_owned()]);
        for before in [KEPT_LENGTH - 4, LONGEST_LINE - 4] {
            let mut tail = StderrTail::new(StderrSink::to(std::io::sink()));
            tail.push(format!("{}correct-horse-battery\nthe end\n", "x".repeat(before)).as_bytes());
            let said = tail.words(true, &redactor);
            assert!(said.ends_with(" | the end"), "{said}");
            assert!(!said.contains("corr") && !said.contains("battery"), "{said}");
        }
    }
}
