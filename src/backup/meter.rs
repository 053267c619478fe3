//! What an archive may cost the memory. Whoever made it chooses how long its names are, and how many.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tar::{Archive, Entries, Entry, EntryType};

/// Before an entry's own bytes, the headers that extend it are read whole (bytes).
const HEADERS: u64 = 64 << 10;
/// All names of a volume, and what each entry costs beside its name (bytes).
const NAMES: usize = 512 << 20;
const NAME: usize = 64;

fn too_long(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Gives no more than it may, while it is limited.
#[derive(Debug)]
pub(crate) struct Metered<R> {
    from: R,
    left: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        if let Some(left) = self.left.get() {
            let left = left.checked_sub(length as u64).ok_or_else(|| too_long("its headers are too long"))?;
            self.left.set(Some(left));
        }
        Ok(length)
    }
}

/// An archive whose headers are limited, and what limits them.
#[derive(Debug)]
pub(crate) struct Limit(Rc<Cell<Option<u64>>>);

pub(crate) fn archive<R: Read>(from: R) -> (Archive<Metered<R>>, Limit) {
    let left = Rc::new(Cell::new(None));
    (Archive::new(Metered { from, left: Rc::clone(&left) }), Limit(left))
}

impl Limit {
    /// The next entry. The one before has to be read to its end.
    pub(crate) fn next<'a, R: Read>(
        &self,
        entries: &mut Entries<'a, Metered<R>>,
    ) -> Option<io::Result<Entry<'a, Metered<R>>>> {
        self.0.set(Some(HEADERS));
        let entry = entries.next();
        self.0.set(None);
        entry
    }
}

/// The names that an archive had until now.
#[derive(Debug)]
pub(crate) struct Known {
    names: HashMap<PathBuf, EntryType>,
    room: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self { names: HashMap::new(), room: NAMES }
    }
}

impl Known {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn get(&self, path: &Path) -> Option<EntryType> {
        self.names.get(path).copied()
    }

    /// Whether it is new.
    pub(crate) fn add(&mut self, path: &Path, kind: EntryType) -> io::Result<bool> {
        let room = self.room.checked_sub(path.as_os_str().len() + NAME);
        self.room = room.ok_or_else(|| too_long("it has more files than berth takes of one volume"))?;
        Ok(self.names.insert(path.to_owned(), kind).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_no_more_names_than_there_is_room_for() {
        let mut known = Known { room: 200, ..Known::default() };
        assert!(known.add(Path::new("volume"), EntryType::Directory).unwrap());
        assert!(!known.add(Path::new("volume"), EntryType::Regular).unwrap());
        let error = known.add(Path::new("volume/f"), EntryType::Regular).unwrap_err();
        assert!(error.to_string().contains("more files than berth takes"), "{error}");
    }

    #[test]
    fn headers_are_limited_and_files_are_not() {
        let packed = |name: usize, size: usize| {
            let mut tar = tar::Builder::new(Vec::new());
            for _ in 0..2 {
                let mut header = tar::Header::new_gnu();
                header.set_size(size as u64);
                tar.append_data(&mut header, "n".repeat(name), &vec![0; size][..]).unwrap();
            }
            tar.into_inner().unwrap()
        };
        let read = |bytes: &[u8]| -> io::Result<usize> {
            let (mut archive, limit) = archive(bytes);
            let mut entries = archive.entries()?;
            let mut count = 0;
            while let Some(entry) = limit.next(&mut entries) {
                io::copy(&mut entry?, &mut io::sink())?;
                count += 1;
            }
            Ok(count)
        };
        assert_eq!(read(&packed(4000, 1 << 20)).unwrap(), 2);
        assert!(read(&packed(100_000, 1)).unwrap_err().to_string().contains("headers are too long"));
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions([("comment", &vec![b'x'; 100_000][..])]).unwrap();
        tar.append_data(&mut tar::Header::new_gnu(), "f", io::empty()).unwrap();
        assert!(read(&tar.into_inner().unwrap()).is_err());
    }
}
