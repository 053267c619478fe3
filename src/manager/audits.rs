//! Reads the audit file as it grows, for whoever keeps how far it has come. The file only grows, unless a person moves it away.

use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mcp_berth::history::Lines;
use mcp_berth::observe::audit::{Entry, SCHEMA};
use serde::{Deserialize, Serialize};

/// So many lines are taken at once.
const TOGETHER: usize = 1000;

/// How far the file is read: which file it was, and how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) inode: u64,
    pub(crate) read: u64,
}

/// What stands behind a place.
#[derive(Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) entries: Vec<Entry>,
    /// Where the next ones are.
    pub(crate) place: Place,
    /// There are no more at the moment.
    pub(crate) is_all: bool,
}

/// Some of the lines behind `place`; a file that is another one is read from its beginning. A later berth's lines may mean
/// something else, and are passed over.
///
/// # Errors
/// The file cannot be read any further.
pub(crate) fn read(path: &Path, place: Place) -> io::Result<News> {
    let nothing = || News { entries: Vec::new(), place, is_all: true };
    let Ok(Some(mut file)) = mcp_berth::regular::open(path) else { return Ok(nothing()) };
    let metadata = file.metadata()?;
    let is_same = place.inode == metadata.ino() && place.read <= metadata.len();
    let from = if is_same { place.read } else { 0 };
    if is_same && from == metadata.len() {
        return Ok(nothing());
    }
    file.seek(SeekFrom::Start(from))?;
    let mut lines = Lines::new(BufReader::new(file));
    let mut entries = Vec::new();
    let mut is_all = true;
    while let Some(line) = lines.next_line()? {
        let entry = serde_json::from_slice::<Entry>(line).ok();
        entries.extend(entry.filter(|entry| entry.schema <= SCHEMA));
        if entries.len() == TOGETHER {
            is_all = false;
            break;
        }
    }
    Ok(News { entries, place: Place { inode: metadata.ino(), read: from + lines.passed() }, is_all })
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use mcp_berth::observe::audit::{FILE, append};

    use super::*;

    #[test]
    fn each_line_comes_once() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        let read = |place| super::read(&path, place).unwrap();
        assert_eq!(read(Place::default()), News { entries: vec![], place: Place::default(), is_all: true });
        append(state.path(), &Entry::new("tool refused", "a")).unwrap();
        let News { entries, place, .. } = read(Place::default());
        assert_eq!(entries.len(), 1);
        assert_eq!(read(place).entries, []);
        append(state.path(), &Entry::new("tool refused", "b")).unwrap();
        assert_eq!(read(place).entries[0].detail, "b");
        // Somebody begins the file anew.
        std::fs::rename(&path, state.path().join("old")).unwrap();
        append(state.path(), &Entry::new("tool refused", "c")).unwrap();
        assert_eq!(read(place).entries[0].detail, "c");
    }

    #[test]
    fn a_long_file_comes_in_parts_and_half_a_line_not_at_all() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        let line = "{\"schema\":1,\"time\":\"2026-11-22T10:00:00Z\",\"event\":\"x\"}\n";
        let later = line.replace("\"schema\":1", "\"schema\":9");
        std::fs::write(&path, [&later, &*line.repeat(TOGETHER + 1), &line[..20]].concat()).unwrap();
        let first = read(&path, Place::default()).unwrap();
        assert_eq!((first.entries.len(), first.is_all), (TOGETHER, false));
        let second = read(&path, first.place).unwrap();
        assert_eq!((second.entries.len(), second.is_all), (1, true));
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&line.as_bytes()[20..]).unwrap();
        assert_eq!(read(&path, second.place).unwrap().entries.len(), 1);
    }
}
