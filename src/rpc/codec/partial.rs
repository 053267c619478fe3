//! The start of a line whose end has not come yet.
//!
//! Holds no more than it was given. A large line has memory that is mapped for it alone. Its pages are taken as they
//! are filled, and returned to the system with the line; an allocator might keep them.
use bytes::{Bytes, BytesMut};
use memmap2::{Advice, MmapMut};

/// Lines up to this many bytes are put together in a buffer that is used again and again.
pub(super) const KEEP: usize = 64 * 1024 + (1 << 20);

/// How much a mapping's size grows when a line outgrows it; only lines over 16 times [`KEEP`] do.
const GROWTH: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Partial {
    small: BytesMut,
    /// `small` is empty if it is there.
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    map: MmapMut,
    len: usize,
}

impl Partial {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.large.as_ref().map_or(&self.small, Large::filled)
    }

    /// Adds bytes of a line that will have `most` in all at most.
    pub(super) fn extend(&mut self, bytes: &[u8], most: usize) {
        let len = self.as_slice().len() + bytes.len();
        if len > KEEP && self.large.as_ref().is_none_or(|large| large.map.len() < len) {
            let room = len.saturating_mul(GROWTH).min(most).max(len);
            match Large::new(room, self.as_slice()) {
                Some(larger) => {
                    self.large = Some(larger);
                    self.small.clear();
                }
                // No room for another mapping: the allocator may know better.
                None => {
                    if let Some(large) = self.large.take() {
                        self.small.extend_from_slice(large.filled());
                    }
                }
            }
        }
        if let Some(large) = &mut self.large {
            large.map[large.len..len].copy_from_slice(bytes);
            large.len = len;
            return;
        }
        // Its pages, too, are taken as they are filled. The last line may still be somebody's.
        if self.small.is_empty() && !self.small.try_reclaim(KEEP) {
            self.small = BytesMut::with_capacity(KEEP);
        }
        self.small.extend_from_slice(bytes);
    }

    /// All of it; nothing is left.
    pub(super) fn take(&mut self) -> Bytes {
        match self.large.take() {
            Some(large) => large.into_bytes(),
            None => self.small.split().freeze(),
        }
    }

    /// How much address space it has, used or not.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.small.capacity() + self.large.as_ref().map_or(0, |large| large.map.len())
    }
}

impl Large {
    /// `None` if there is no room in the address space.
    fn new(room: usize, start: &[u8]) -> Option<Self> {
        let mut map = MmapMut::map_anon(room).ok()?;
        // A page fault each 2 MiB, not each 4 KiB; a kernel without huge pages goes without.
        let _ = map.advise(Advice::HugePage);
        map[..start.len()].copy_from_slice(start);
        Some(Self { map, len: start.len() })
    }

    fn filled(&self) -> &[u8] {
        &self.map[..self.len]
    }

    fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.map).slice(..self.len)
    }
}
