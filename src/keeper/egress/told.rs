//! What was refused, for the person: a file with a line for each, in the order in which they came.
//!
//! `COUNT⇥WHAT⇥WHY⇥ENTRY`; the entry is what would allow it, `-` where none does. Everything in it is from a hostile side: the
//! number of lines and their length are bounded, and no byte moves a terminal's cursor.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// More kinds of refusals are only counted.
const LINES: usize = 48;
/// Of each part of a line.
const LENGTH: usize = 300;

#[derive(Debug)]
pub(in super::super) struct Told {
    file: Option<File>,
    /// The list, where each kind of refusal is said on standard error the first time.
    aloud: Option<Vec<String>>,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    known: Vec<Line>,
    /// Those that have no line.
    others: u64,
    /// Packets that no route was there for.
    unrouted: u64,
    changed: bool,
}

#[derive(Debug)]
struct Line {
    count: u64,
    what: String,
    why: String,
    entry: Option<String>,
}

impl Told {
    pub(in super::super) fn new(file: Option<File>) -> Self {
        Self { file, aloud: None, lines: Mutex::default() }
    }

    /// In a pod nobody reads a file of the container's: the server's standard error is read.
    pub(in super::super) fn aloud(list: Vec<String>) -> Self {
        Self { file: None, aloud: Some(list), lines: Mutex::default() }
    }

    pub(in super::super) fn tell(&self, what: &str, why: &str, entry: Option<&str>) {
        self.count(1, what, why, entry);
    }

    /// So many times; none for what only goes with another attempt.
    pub(in super::super) fn count(&self, times: u64, what: &str, why: &str, entry: Option<&str>) {
        let (what, why) = (shown(what), shown(why));
        let mut book = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        book.changed = true;
        if let Some(line) = book.known.iter_mut().find(|line| line.what == what && line.why == why) {
            line.count += times;
        } else if book.known.len() < LINES {
            let said = self.aloud.as_ref().map(|list| line(list, &what, &why, entry));
            book.known.push(Line { count: times, what, why, entry: entry.map(shown) });
            drop(book);
            if let Some(said) = said {
                let _ = writeln!(io::stderr(), "{said}");
            }
            // At once, for the session may end with it; there are not many of these.
            self.write();
        } else {
            book.others += times;
        }
    }

    /// So many attempts have met no route in all.
    pub(in super::super) fn unrouted(&self, count: u64) {
        let mut book = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        book.changed |= book.unrouted != count;
        book.unrouted = count;
    }

    pub(in super::super) fn text(&self) -> Option<String> {
        let mut book = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut book.changed) {
            return None;
        }
        let mut text = String::new();
        let mut put = |count: u64, what: &str, why: &str, entry: Option<&str>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{count}\t{what}\t{why}\t{}", entry.unwrap_or("-"));
        };
        for line in &book.known {
            put(line.count.max(1), &line.what, &line.why, line.entry.as_deref());
        }
        if book.unrouted > 0 {
            put(book.unrouted, "addresses without a name", "only names lead out", None);
        }
        if book.others > 0 {
            put(book.others, "others", "too many to be told", None);
        }
        Some(text)
    }

    /// Writes what is new.
    pub(in super::super) fn write(&self) {
        let (Some(file), Some(text)) = (&self.file, self.text()) else { return };
        // In one piece, and never shorter than it was but for what it counts; whoever reads takes whole lines.
        if file.write_all_at(text.as_bytes(), 0).is_ok() {
            let _ = file.set_len(text.len() as u64);
        }
    }
}

/// In words for a person, with the line that allows it.
pub(in super::super) fn line(list: &[String], what: &str, why: &str, entry: Option<&str>) -> String {
    let line = format!("berth: refused: {what} ({why})");
    let Some(entry) = entry.map(shown) else { return line };
    let all: Vec<String> = list.iter().chain([&entry]).map(|entry| format!("\"{entry}\"")).collect();
    format!("{line}; to allow it: network = {{ allow = [{}] }}", all.join(", "))
}

fn shown(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(LENGTH).map(fit).collect()
}
