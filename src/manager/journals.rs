//! Follows the sessions' journals and the audit file as they grow, and hands each record once to whoever has not had it.
//!
//! A journal is a file that grows, is shortened in its middle (a new file in the old file's place) and is removed one day.
//! Its records are numbered. A [`Sink`] keeps the number of its last record beside what it made of it, in one transaction,
//! so a manager that was killed goes on without a record twice, and a gap in the numbers is what nobody will ever see.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mcp_berth::history::{Lines, Record};
use mcp_berth::observe::audit;
use mcp_berth::observe::journal::{self, FOLDER};
use tokio_util::sync::CancellationToken;

use crate::audits::{self, News, Place};

/// So many records are handed over before the sinks keep them, so that a rebuild's memory is bounded.
const TOGETHER: usize = 10_000;

/// A manager that is to end reads so many more, and leaves the rest to the next one.
const LAST: u64 = 1000;

/// A line is looked at so far for its number (bytes).
const HEAD: usize = 256;

/// A record of a session's journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The journal's: the session's id.
    pub(crate) session: &'a str,
    /// Its number in the session, from 1.
    pub(crate) seq: u64,
    pub(crate) record: &'a Record,
}

/// Who makes something of records, and keeps how far it came.
pub(crate) trait Sink: Send {
    /// The number of the last record of this session that it has; 0: none.
    fn has(&mut self, session: &str) -> anyhow::Result<u64>;

    /// A record that it has not had.
    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()>;

    /// Nobody writes the session's journal any more. It may have said why it ended, or been killed; may be said more than once.
    fn over(&mut self, session: &str) -> anyhow::Result<()>;

    /// Keeps what it made of the records so far, with their numbers.
    fn commit(&mut self) -> anyhow::Result<()>;

    /// Journals are gone, and do not come again: those of the sessions of which `is_gone` holds. A manager's first look says
    /// it of all that went before it.
    fn forget(&mut self, _is_gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        Ok(())
    }

    /// How far it has read the audit file. `None`: it does not.
    fn audited(&mut self) -> anyhow::Result<Option<Place>> {
        Ok(None)
    }

    /// Lines of the audit file that it has not had; they and their place are kept at once.
    fn audit(&mut self, _news: &News) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What is known of a journal.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    inode: u64,
    /// So much of it is read (bytes).
    read: u64,
    /// The number of the last record that was read.
    seq: u64,
    /// It has been told that nobody writes it any more.
    over: bool,
}

/// The journals of a state folder, and its audit file.
#[derive(Debug)]
pub(crate) struct Follower {
    folder: PathBuf,
    audit: PathBuf,
    known: HashMap<String, Known>,
    /// The sinks know which journals there are.
    has_told: bool,
    behind: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Follower {
    pub(crate) fn new(state: &Path) -> Self {
        let (folder, audit) = (state.join(FOLDER), state.join(audit::FILE));
        let (behind, stop) = (Arc::default(), CancellationToken::new());
        Self { folder, audit, known: HashMap::new(), has_told: false, behind, stop }
    }

    /// The same, which leaves the rest of a long history to the next manager once this one is to end.
    pub(crate) fn until(mut self, stop: &CancellationToken) -> Self {
        self.stop = stop.clone();
        self
    }

    /// How much the journals have that was not read yet, as of now (bytes).
    pub(crate) fn behind(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.behind)
    }

    /// Reads what has come since the last look; gives the number of new records. A journal that can't be read is passed over.
    ///
    /// # Errors
    /// A sink's. What was not kept comes again at the next look.
    pub(crate) fn look(&mut self, sinks: &mut [&mut dyn Sink]) -> anyhow::Result<u64> {
        let looked = self.read_all(sinks);
        if looked.is_err() {
            // The sinks know better how far they are.
            self.known.clear();
            self.has_told = false;
        }
        looked
    }

    /// Hands over some of what has come to the audit file; whether that was all.
    ///
    /// # Errors
    /// The file's, or a sink's. What was not kept comes again.
    pub(crate) fn look_at_audit(&self, sinks: &mut [&mut dyn Sink]) -> anyhow::Result<bool> {
        let mut is_all = true;
        for sink in sinks {
            let Some(place) = sink.audited()? else { continue };
            let news = audits::read(&self.audit, place)?;
            is_all &= news.is_all;
            if news.place != place {
                sink.audit(&news)?;
            }
        }
        Ok(is_all)
    }

    fn read_all(&mut self, sinks: &mut [&mut dyn Sink]) -> anyhow::Result<u64> {
        // Of a folder that cannot be read nothing is known, and nothing has gone.
        let Some(journals) = self.journals() else { return Ok(0) };
        let before = self.known.len();
        self.known.retain(|session, _| journals.contains_key(session));
        let has_lost = self.known.len() < before || !std::mem::replace(&mut self.has_told, true);
        let unread = |session: &String, (inode, length): (u64, u64)| match self.known.get(session) {
            Some(known) if known.inode == inode => length.saturating_sub(known.read),
            _ => length,
        };
        let mut behind: u64 = journals.iter().map(|(session, file)| unread(session, *file)).sum();
        self.behind.store(behind, Ordering::Relaxed);
        let (mut records, mut uncommitted) = (0, 0);
        if has_lost {
            let is_missing = |path: PathBuf| {
                path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            };
            let folder = &self.folder;
            let is_gone = |session: &str| {
                !journals.contains_key(session) && is_missing(folder.join(format!("{session}.jsonl")))
            };
            sinks.iter_mut().try_for_each(|sink| sink.forget(&is_gone))?;
            uncommitted = 1;
        }
        for (session, (inode, length)) in journals {
            if self.stop.is_cancelled() && records >= LAST {
                break;
            }
            let mut known = self.known.get(&session).copied().unwrap_or_default();
            let path = self.folder.join(format!("{session}.jsonl"));
            let is_new = known.inode != inode || length < known.read;
            // Before the rest is read: who ends now has written all of it at the next look.
            let is_over = !known.over && !journal::is_live(&path);
            if is_new || length > known.read {
                if is_new {
                    known = Known { inode, seq: known.seq, ..Known::default() };
                }
                let Ok(Some(file)) = mcp_berth::regular::open(&path) else { continue };
                // The name may be another file's by now: the next look will see that.
                if file.metadata().map(|metadata| metadata.ino()).ok() != Some(inode) {
                    continue;
                }
                let before = known.read;
                let new = read(&session, file, &mut known, sinks)?;
                behind = behind.saturating_sub(known.read - before);
                self.behind.store(behind, Ordering::Relaxed);
                (records, uncommitted) = (records + new, uncommitted + new);
            }
            if is_over {
                for sink in &mut *sinks {
                    sink.over(&session)?;
                }
                (known.over, uncommitted) = (true, uncommitted + 1);
            }
            self.known.insert(session, known);
            if uncommitted >= TOGETHER as u64 {
                commit(sinks)?;
                uncommitted = 0;
            }
        }
        if uncommitted > 0 {
            commit(sinks)?;
        }
        Ok(records)
    }

    /// The sessions that have one, with its inode and its length.
    fn journals(&self) -> Option<BTreeMap<String, (u64, u64)>> {
        let entries = std::fs::read_dir(&self.folder).ok()?;
        let journals = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            let session = name.to_str()?.strip_suffix(".jsonl")?.to_owned();
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((session, (metadata.ino(), metadata.len())))
        });
        Some(journals.collect())
    }
}

fn commit(sinks: &mut [&mut dyn Sink]) -> anyhow::Result<()> {
    sinks.iter_mut().try_for_each(|sink| sink.commit())
}

/// Hands the records behind `known.read` over; gives their number.
fn read(
    session: &str,
    mut file: File,
    known: &mut Known,
    sinks: &mut [&mut dyn Sink],
) -> anyhow::Result<u64> {
    let has: Vec<u64> = sinks.iter_mut().map(|sink| sink.has(session)).collect::<Result<_, _>>()?;
    let least = has.iter().copied().min().unwrap_or(u64::MAX);
    if file.seek(SeekFrom::Start(known.read)).is_err() {
        return Ok(0);
    }
    let from = known.read;
    // A journal of a berth that did not number them begins at 1 whenever it is read from its beginning.
    let mut unnumbered = if from == 0 { 0 } else { known.seq };
    let mut lines = Lines::new(BufReader::with_capacity(64 << 10, file));
    let mut records = 0;
    while let Some(line) = next(&mut lines) {
        let seq = numbered(line);
        if seq.is_some_and(|seq| seq <= least) {
            unnumbered = seq.unwrap_or(unnumbered);
            continue;
        }
        // What was shortened says how much; the numbers say it already.
        let Some(record) = Record::parse(line).filter(|record| record.kind != "dropped") else { continue };
        let seq = record.seq.unwrap_or(unnumbered + 1);
        unnumbered = seq;
        let mut is_new = false;
        for (sink, has) in sinks.iter_mut().zip(&has) {
            if seq > *has {
                sink.take(Line { session, seq, record: &record })?;
                is_new = true;
            }
        }
        records += u64::from(is_new);
    }
    known.read = from + lines.passed();
    known.seq = unnumbered;
    Ok(records)
}

/// A file that can't be read any further has no more lines now.
fn next<R: io::BufRead>(lines: &mut Lines<R>) -> Option<&[u8]> {
    lines.next_line().ok().flatten()
}

/// The number in a line, where it stands where berth writes it: before anybody's text.
fn numbered(line: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"seq\":";
    let head = &line[..HEAD.min(line.len())];
    let at = memchr::memmem::find(head, NAME)? + NAME.len();
    let digits = head[at..].split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
