//! The lines of a file that may still grow, each of bounded length.
use std::io::{self, BufRead};

/// Longer lines are passed over (bytes): a body of 64 KiB, each byte as `\u0000`, and the rest of its record.
pub const LONGEST: usize = 1 << 20;

#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// The line was handed out, or is too long to be.
    stale: bool,
    too_long: bool,
    /// Lines that were too long.
    skipped: u64,
    /// Of the lines that are behind, their ends included (bytes).
    passed: u64,
    /// Of the line that is being read (bytes).
    begun: u64,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), stale: false, too_long: false, skipped: 0, passed: 0, begun: 0 }
    }

    /// How many lines were too long.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How long all lines are that came so far, with those that were too long (bytes).
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// The next whole line, without its end. `None` where there is none yet: a later call may find one.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        if std::mem::take(&mut self.stale) {
            self.line.clear();
        }
        loop {
            let read = match self.input.fill_buf() {
                Ok([]) => return Ok(None),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = memchr::memchr(b'\n', read);
            let piece = &read[..end.unwrap_or(read.len())];
            self.too_long |= self.line.len() + piece.len() > LONGEST;
            if self.too_long {
                self.line.clear();
            } else {
                self.line.extend_from_slice(piece);
            }
            let taken = piece.len() + usize::from(end.is_some());
            self.input.consume(taken);
            self.begun += taken as u64;
            if end.is_none() {
                continue;
            }
            self.passed += std::mem::take(&mut self.begun);
            if std::mem::take(&mut self.too_long) {
                self.skipped += 1;
                continue;
            }
            self.stale = true;
            return Ok(Some(&self.line));
        }
    }

    /// What stands behind the last line's end, if anything; for the end of a file.
    pub fn rest(&mut self) -> Option<&[u8]> {
        if std::mem::take(&mut self.too_long) {
            self.skipped += 1;
            return None;
        }
        if self.stale || self.line.is_empty() {
            return None;
        }
        self.stale = true;
        Some(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor, Read};

    fn all<R: BufRead>(lines: &mut Lines<R>) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        found
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        for size in [1, 2, 5, 100] {
            let mut lines = Lines::new(BufReader::with_capacity(size, Cursor::new("one\n\ntwo\nhalf")));
            assert_eq!(all(&mut lines), ["one", "", "two"]);
            assert_eq!(lines.passed(), 9, "the line that is not whole is still to come");
            assert_eq!(lines.rest(), Some(b"half".as_slice()));
            assert_eq!(lines.rest(), None);
        }
    }

    #[test]
    fn a_line_that_is_being_written_is_whole_when_it_has_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grows");
        std::fs::write(&path, "one\nha").unwrap();
        let mut lines = Lines::new(BufReader::new(std::fs::File::open(&path).unwrap()));
        assert_eq!(all(&mut lines), ["one"]);
        assert_eq!(all(&mut lines), [""; 0]);
        std::fs::write(&path, "one\nhalf\ntwo\n").unwrap();
        assert_eq!(all(&mut lines), ["half", "two"]);
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn an_endless_line_is_counted_and_takes_no_memory() {
        let endless = io::repeat(b'x').take(64 << 20).chain(Cursor::new("\nshort\n"));
        let mut lines = Lines::new(BufReader::new(endless));
        assert_eq!(all(&mut lines), ["short"]);
        assert_eq!(lines.skipped(), 1);
        assert!(lines.line.capacity() <= 2 * LONGEST, "{}", lines.line.capacity());
    }
}
