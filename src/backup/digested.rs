//! Bytes that are counted into a digest while they pass, in either direction.

use std::io::{self, Read, Write};

use mcp_berth::human::hex;
use sha2::{Digest, Sha256};

pub(crate) struct Digested<T> {
    inner: T,
    digest: Sha256,
    size: u64,
}

impl<T> Digested<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, digest: Sha256::new(), size: 0 }
    }

    /// What it was made of, how many bytes passed, and their SHA-256.
    pub(crate) fn end(self) -> (T, u64, String) {
        (self.inner, self.size, hex(&self.digest.finalize()))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.count(&into[..length]);
        Ok(length)
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.count(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
