//! The audit file's lines, each once. It only grows, unless a person moves it away.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mcp_berth::history::Lines;
use mcp_berth::observe::audit::{Entry, FILE};
use serde::{Deserialize, Serialize};

/// So many lines are read at a look.
const TOGETHER: usize = 10_000;

/// How far the file is read (bytes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    inode: u64,
    read: u64,
}

/// What has come since; the file's new place. A file that cannot be read has nothing new.
pub(super) fn read(state: &Path, place: Place) -> (Vec<Entry>, Place) {
    let path = state.join(FILE);
    let Some((mut file, metadata)) = mcp_berth::regular::open(&path)
        .ok()
        .flatten()
        .and_then(|file: File| file.metadata().ok().map(|metadata| (file, metadata)))
    else {
        return (Vec::new(), place);
    };
    let is_same = place.inode == metadata.ino() && place.read <= metadata.len();
    let from = if is_same { place.read } else { 0 };
    if file.seek(SeekFrom::Start(from)).is_err() {
        return (Vec::new(), place);
    }
    let mut lines = Lines::new(BufReader::new(file));
    let mut entries = Vec::new();
    while let Some(line) = lines.next_line().ok().flatten() {
        entries.extend(serde_json::from_slice::<Entry>(line));
        if entries.len() == TOGETHER {
            break;
        }
    }
    (entries, Place { inode: metadata.ino(), read: from + lines.passed() })
}

#[cfg(test)]
mod tests {
    use mcp_berth::observe::audit::append;

    use super::*;

    #[test]
    fn each_line_comes_once() {
        let state = tempfile::tempdir().unwrap();
        let read = |place| super::read(state.path(), place);
        assert_eq!(read(Place::default()).0, []);
        append(state.path(), &Entry::new("tool refused", "a")).unwrap();
        let (entries, place) = read(Place::default());
        assert_eq!(entries.len(), 1);
        assert_eq!(read(place).0, []);
        append(state.path(), &Entry::new("tool refused", "b")).unwrap();
        assert_eq!(read(place).0[0].detail, "b");
        // Somebody begins the file anew.
        std::fs::rename(state.path().join(FILE), state.path().join("old")).unwrap();
        append(state.path(), &Entry::new("tool refused", "c")).unwrap();
        assert_eq!(read(place).0[0].detail, "c");
    }
}
