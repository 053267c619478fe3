//! Follows the sessions' journals as they grow, and hands each record once to whoever has not had it.
//!
//! A journal is a file that grows, is shortened in its middle (a new file in the old file's place) and is removed one day.
//! Its records are numbered. A [`Sink`] keeps the number of its last record beside what it made of it, in one transaction,
//! so a manager that was killed goes on without a record twice, and a gap in the numbers is what nobody will ever see.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mcp_berth::history::{Lines, Record};
use mcp_berth::observe::journal::{self, FOLDER};
use tokio_util::sync::CancellationToken;

/// So many records are handed over before the sinks keep them, so that a rebuild's memory is bounded.
const TOGETHER: usize = 10_000;

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

/// The journals of a state folder.
#[derive(Debug)]
pub(crate) struct Follower {
    folder: PathBuf,
    known: HashMap<String, Known>,
    behind: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Follower {
    pub(crate) fn new(state: &Path) -> Self {
        let (behind, stop) = (Arc::default(), CancellationToken::new());
        Self { folder: state.join(FOLDER), known: HashMap::new(), behind, stop }
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
        }
        looked
    }

    fn read_all(&mut self, sinks: &mut [&mut dyn Sink]) -> anyhow::Result<u64> {
        let journals = self.journals();
        self.known.retain(|session, _| journals.contains_key(session));
        let unread = |session: &String, (inode, length): (u64, u64)| match self.known.get(session) {
            Some(known) if known.inode == inode => length.saturating_sub(known.read),
            _ => length,
        };
        let mut behind: u64 = journals.iter().map(|(session, file)| unread(session, *file)).sum();
        self.behind.store(behind, Ordering::Relaxed);
        let (mut records, mut uncommitted) = (0, 0);
        for (session, (inode, length)) in journals {
            if self.stop.is_cancelled() {
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
    fn journals(&self) -> BTreeMap<String, (u64, u64)> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return BTreeMap::new() };
        let journals = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            let session = name.to_str()?.strip_suffix(".jsonl")?.to_owned();
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((session, (metadata.ino(), metadata.len())))
        });
        journals.collect()
    }
}

/// The sessions that have a journal in a state folder; `None`: it can't be looked at.
pub(crate) fn names(state: &Path) -> Option<HashSet<String>> {
    let entries = std::fs::read_dir(state.join(FOLDER)).ok()?.flatten();
    let name =
        |entry: std::fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".jsonl")?.to_owned());
    Some(entries.filter_map(name).collect())
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
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    /// What it has been given, and what of that it has kept.
    #[derive(Debug, Default)]
    struct Kept {
        has: HashMap<String, u64>,
        taken: Vec<(String, u64, String)>,
        over: Vec<String>,
        commits: usize,
        fails: bool,
    }

    impl Sink for Kept {
        fn has(&mut self, session: &str) -> anyhow::Result<u64> {
            Ok(self.has.get(session).copied().unwrap_or(0))
        }

        fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
            anyhow::ensure!(!self.fails, "full");
            assert!(self.has.get(line.session).is_none_or(|has| line.seq > *has), "twice: {line:?}");
            self.has.insert(line.session.to_owned(), line.seq);
            self.taken.push((line.session.to_owned(), line.seq, line.record.kind.clone()));
            Ok(())
        }

        fn over(&mut self, session: &str) -> anyhow::Result<()> {
            self.over.push(session.to_owned());
            Ok(())
        }

        fn commit(&mut self) -> anyhow::Result<()> {
            self.commits += 1;
            Ok(())
        }
    }

    fn line(seq: u64, kind: &str) -> String {
        format!("{{\"time\":\"2026-11-22T10:00:00Z\",\"session\":\"a\",\"kind\":\"{kind}\",\"seq\":{seq}}}\n")
    }

    fn path(state: &Path, session: &str) -> PathBuf {
        state.join(FOLDER).join(format!("{session}.jsonl"))
    }

    fn append(state: &Path, session: &str, text: &str) {
        std::fs::create_dir_all(state.join(FOLDER)).unwrap();
        let path = path(state, session);
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn numbers(kept: &Kept) -> Vec<u64> {
        kept.taken.iter().map(|(_, seq, _)| *seq).collect()
    }

    #[test]
    fn each_record_comes_once_however_the_file_grows() {
        let state = tempfile::tempdir().unwrap();
        let (mut follower, mut kept) = (Follower::new(state.path()), Kept::default());
        assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 0, "there is no folder yet");
        let third = line(3, "call");
        let (half, rest) = third.split_at(20);
        append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "up"), half.to_owned()].concat());
        assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 2);
        assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 0);
        append(state.path(), "aaaaaaaaaaaa", &format!("{rest}no record\n{}", line(4, "end")));
        assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 2);
        assert_eq!(numbers(&kept), [1, 2, 3, 4]);
        assert_eq!(kept.over, ["aaaaaaaaaaaa"], "nobody has locked it, and that is said once");
    }

    #[test]
    fn a_manager_that_comes_again_goes_on_where_its_sinks_are() {
        let state = tempfile::tempdir().unwrap();
        append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "call"), line(3, "call")].concat());
        let mut index = Kept::default();
        let mut counters = Kept { has: HashMap::from([("aaaaaaaaaaaa".to_owned(), 2)]), ..Kept::default() };
        let looked = Follower::new(state.path()).look(&mut [&mut index, &mut counters]).unwrap();
        assert_eq!((looked, numbers(&index), numbers(&counters)), (3, vec![1, 2, 3], vec![3]));
    }

    #[test]
    fn a_shortened_journal_goes_on_and_shows_what_is_missing_by_its_numbers() {
        let state = tempfile::tempdir().unwrap();
        let (mut follower, mut kept) = (Follower::new(state.path()), Kept::default());
        append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "call"), line(3, "call")].concat());
        follower.look(&mut [&mut kept]).unwrap();
        let dropped = "{\"time\":\"2026-11-22T10:00:00Z\",\"kind\":\"dropped\",\"count\":4}\n";
        let shortened = [&line(1, "start"), dropped, &line(6, "call"), &line(7, "call")].concat();
        let new = state.path().join("new");
        std::fs::write(&new, shortened).unwrap();
        std::fs::rename(new, path(state.path(), "aaaaaaaaaaaa")).unwrap();
        follower.look(&mut [&mut kept]).unwrap();
        assert_eq!(numbers(&kept), [1, 2, 3, 6, 7]);
    }

    #[test]
    fn a_journal_of_an_older_berth_is_counted() {
        let state = tempfile::tempdir().unwrap();
        let old = |kind: &str| format!("{{\"time\":\"2026-11-22T10:00:00Z\",\"kind\":\"{kind}\"}}\n");
        append(state.path(), "aaaaaaaaaaaa", &[old("start"), old("up")].concat());
        let (mut follower, mut kept) = (Follower::new(state.path()), Kept::default());
        follower.look(&mut [&mut kept]).unwrap();
        append(state.path(), "aaaaaaaaaaaa", &old("end"));
        follower.look(&mut [&mut kept]).unwrap();
        assert_eq!(numbers(&kept), [1, 2, 3]);
        // Another manager's sinks have them all.
        assert_eq!(Follower::new(state.path()).look(&mut [&mut kept]).unwrap(), 0);
    }

    #[test]
    fn what_a_sink_could_not_take_comes_again() {
        let state = tempfile::tempdir().unwrap();
        append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "up")].concat());
        let (mut follower, mut kept) = (Follower::new(state.path()), Kept { fails: true, ..Kept::default() });
        assert!(follower.look(&mut [&mut kept]).is_err());
        kept.fails = false;
        assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 2);
    }

    #[test]
    fn a_number_is_found_where_berth_writes_it() {
        assert_eq!(numbered(line(17, "call").as_bytes()), Some(17));
        assert_eq!(numbered(b"{\"seq\":x}"), None);
        assert_eq!(numbered(&[&[b' '; 300], &b"\"seq\":1"[..]].concat()), None);
    }
}
