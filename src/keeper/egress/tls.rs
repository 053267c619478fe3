//! As much of TLS as tells which name a client asks for (RFC 8446, section 4.1.2; RFC 6066, section 3).

/// The beginning of a connection, as far as it has come.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Hello {
    /// More has to come before anything is known.
    Unfinished,
    /// It names this server; an encrypted name behind it is the server's own matter.
    Named(String),
    Nameless,
    /// It begins like TLS, and is none.
    Broken,
}

/// A record of the handshake, of any version.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
/// No client's is longer, with keys of the largest kind.
const LONGEST: usize = 48 << 10;
const RECORD: usize = 16 << 10;

/// Whether it can only be TLS. One byte is enough: no other protocol begins with it.
pub(in super::super) fn is_tls(bytes: &[u8]) -> bool {
    bytes.first() == Some(&HANDSHAKE)
}

pub(in super::super) fn hello(bytes: &[u8]) -> Hello {
    let mut message = Vec::new();
    let mut rest = bytes;
    // It may be cut into records anywhere.
    loop {
        if let Some(length) = message.first_chunk::<4>().map(|header| length_of(*header)) {
            if message[0] != CLIENT_HELLO || length > LONGEST {
                return Hello::Broken;
            }
            if let Some(body) = message.get(4..4 + length) {
                return read(body).unwrap_or(Hello::Broken);
            }
        }
        let Some(header) = rest.first_chunk::<5>() else { return Hello::Unfinished };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != HANDSHAKE || header[1] != 3 || length == 0 || length > RECORD {
            return Hello::Broken;
        }
        let Some(record) = rest.get(5..5 + length) else { return Hello::Unfinished };
        message.extend_from_slice(record);
        rest = &rest[5 + length..];
    }
}

fn length_of([_, a, b, c]: [u8; 4]) -> usize {
    usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// What stands behind its length of so many bytes.
    fn vector(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.number(bytes)?;
        self.take(length)
    }
}

fn read(body: &[u8]) -> Option<Hello> {
    let mut hello = Reader(body);
    // Its version and its random bytes.
    hello.take(2 + 32)?;
    hello.vector(1)?;
    hello.vector(2)?;
    hello.vector(1)?;
    if hello.0.is_empty() {
        return Some(Hello::Nameless);
    }
    let mut extensions = Reader(hello.vector(2)?);
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let extension = extensions.vector(2)?;
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        // Of two a server could take the other one.
        if found.is_some() {
            return None;
        }
        let mut list = Reader(extension);
        let mut names = Reader(list.vector(2)?);
        let kind = names.number(1)?;
        let name = names.vector(2)?;
        if kind != 0 || !names.0.is_empty() || !list.0.is_empty() {
            return None;
        }
        found = Some(std::str::from_utf8(name).ok()?.to_ascii_lowercase());
    }
    // Behind the extensions nothing stands.
    if !hello.0.is_empty() {
        return None;
    }
    Some(found.map_or(Hello::Nameless, Hello::Named))
}
