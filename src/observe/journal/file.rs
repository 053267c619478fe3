//! The file of one session's history: made with its first record, locked while the session lives, bounded.
//!
//! A file that would grow beyond its bound keeps its beginning and its newest part, and what is between them but for the
//! requests, which are many. A record counts the missing ones. The shortened file is a new file in the old file's place. So a reader always has a whole file, and so
//! does a kill at any moment.
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::observe::queue::write_all;

/// A file is no longer (bytes).
pub(super) const LONGEST: usize = 1 << 20;
/// What is kept of one that would be: of its beginning, which has the start, and of its end.
const KEPT_BEGINNING: usize = 128 << 10;
const KEPT_END: usize = 384 << 10;
/// And of what is between, without requests, the newest.
const KEPT_BETWEEN: usize = 128 << 10;

/// What a file is called that is to take another one's place.
pub(super) const NEW: &str = "jsonl.new";

const LOCK_TRIES: usize = 20;

#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    file: Option<File>,
    length: usize,
    /// The last write may have left a part of a line.
    torn: bool,
    failed: bool,
}

impl JournalFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0, torn: false, failed: false }
    }

    /// Whole lines, each with its newline. Gives how many records of them are not in the file.
    pub(super) fn append(&mut self, lines: &[u8]) -> u64 {
        let mut written = 0;
        let Err(error) = self.try_append(lines, &mut written) else { return 0 };
        // Once, for what is said goes into the history again.
        if !std::mem::replace(&mut self.failed, true) {
            tracing::info!("no history of this session in `{}`: {error}", self.path.display());
        }
        lost(lines, written)
    }

    fn try_append(&mut self, lines: &[u8], written: &mut usize) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(create(&self.path)?);
        }
        if self.length + lines.len() > LONGEST {
            self.shorten()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        // A line that was cut off by a full disk is not to swallow the next one.
        if self.torn {
            write_all(file, b"\n")?;
            self.length += 1;
        }
        self.torn = true;
        let mut counted = Counted { file, written };
        let result = write_all(&mut counted, lines);
        self.length += *written;
        self.torn = result.is_err();
        result
    }

    fn shorten(&mut self) -> io::Result<()> {
        let text = std::fs::read(&self.path)?;
        let kept = shortened(&text);
        let path = self.path.with_extension(NEW);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let made = create(&path).and_then(|mut file| {
            file.write_all(&kept)?;
            std::fs::rename(&path, &self.path)?;
            Ok(file)
        });
        match made {
            Ok(file) => (self.file, self.length, self.torn) = (Some(file), kept.len(), false),
            Err(error) => {
                _ = std::fs::remove_file(&path);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A file, and how much of what it was given is in it (bytes).
struct Counted<'a> {
    file: &'a mut File,
    written: &'a mut usize,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        *self.written += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A new file, or the old one's end; locked.
fn create(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let file = match (open(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            open()?
        }
        (opened, _) => opened?,
    };
    // Who looks whether the session lives holds it for a moment; without a lock the session only seems to be dead.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            Ok(()) | Err(TryLockError::Error(_)) => break,
        }
    }
    Ok(file)
}

/// The beginning and the end, whole lines, with what is missing between them.
fn shortened(text: &[u8]) -> Vec<u8> {
    let beginning = memchr::memrchr(b'\n', &text[..KEPT_BEGINNING.min(text.len())]).map_or(0, |at| at + 1);
    let from = text.len().saturating_sub(KEPT_END).max(beginning);
    let end = memchr::memchr(b'\n', &text[from..]).map_or(text.len(), |at| from + at + 1);
    let mut between: Vec<&[u8]> = Vec::new();
    let (mut missing, mut size) = (0, 0);
    for line in text[beginning..end].split_inclusive(|byte| *byte == b'\n').rev() {
        if size + line.len() > KEPT_BETWEEN || is_counted(line) {
            missing += records(line.strip_suffix(b"\n").unwrap_or(line));
        } else {
            size += line.len();
            between.push(line);
        }
    }
    between.reverse();
    let time = format!("{:.6}", jiff::Timestamp::now());
    let missing = json!({ "time": time, "kind": "dropped", "count": missing });
    [&text[..beginning], format!("{missing}\n").as_bytes(), &between.concat(), &text[end..]].concat()
}

/// Whether a line is only counted where there is no room: a request, or the count of earlier ones.
fn is_counted(line: &[u8]) -> bool {
    let kind = |kind: &[u8]| memchr::memmem::find(line, kind).is_some();
    kind(b"\"kind\":\"call\"") || kind(b"\"kind\":\"dropped\"")
}

/// How many records of these lines are not in a file that has so much of them (bytes).
pub(super) fn lost(lines: &[u8], written: usize) -> u64 {
    let whole = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |at| at + 1);
    lines[whole..].split(|byte| *byte == b'\n').map(records).sum()
}

/// How many records a line stands for.
fn records(line: &[u8]) -> u64 {
    if line.is_empty() {
        return 0;
    }
    let record: Value = serde_json::from_slice(line).unwrap_or_default();
    if record["kind"] == "dropped" { record["count"].as_u64().unwrap_or(1) } else { 1 }
}
