//! Walks over JSON text: whether it is JSON, and where its members stand. Builds nothing.
//!
//! Accepts exactly what `serde_json` accepts as an `IgnoredAny` (the tests check this): numbers of any size, any
//! nesting without recursion, lone surrogate escapes. It allocates nothing up to 64 levels, and a bit a level beyond.
//! Of broken text it says only that it is broken: `serde_json` says why.
/// The eight bytes of a word, all the same.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Strings longer than this are skipped by blocks.
const SHORT: usize = 32;

/// A place in a text. Each method reads one thing there and stands behind it then; `None`: that was not there, and the
/// text is no JSON.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is no blank.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.at = blank(self.text.as_bytes(), self.at);
        self.text.as_bytes().get(self.at).copied()
    }

    /// Nothing but blanks up to the end.
    pub(super) fn end(mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// An object; `member` gets each key, its quotes included, and must read the value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let bytes = self.text.as_bytes();
            let start = blank(bytes, self.at);
            self.at = string(bytes, start)?;
            let key = bytes.get(start..self.at)?;
            self.expect(b':')?;
            member(self, key)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// An array; `element` must read each element.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            element(self)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Any value, as it stands.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.value()?;
        self.text.get(start..self.at)
    }

    /// Any value.
    pub(super) fn value(&mut self) -> Option<()> {
        self.at = value(self.text.as_bytes(), self.at)?;
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
}

// From here on, each takes a place and gives the one behind what it has read there.

fn value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut open = Open::default();
    loop {
        at = blank(bytes, at);
        match *bytes.get(at)? {
            b'"' => at = string(bytes, at)?,
            b'{' => {
                at = blank(bytes, at + 1);
                if *bytes.get(at)? != b'}' {
                    open.push(true);
                    at = key(bytes, at)?;
                    continue;
                }
                at += 1;
            }
            b'[' => {
                at = blank(bytes, at + 1);
                if *bytes.get(at)? != b']' {
                    open.push(false);
                    continue;
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => at = number(bytes, at)?,
            b't' => at = literal(bytes, at, b"true")?,
            b'f' => at = literal(bytes, at, b"false")?,
            b'n' => at = literal(bytes, at, b"null")?,
            _ => return None,
        }
        // A value has ended, and whatever ends with it.
        loop {
            let Some(in_object) = open.innermost() else { return Some(at) };
            at = blank(bytes, at);
            let mark = *bytes.get(at)?;
            at += 1;
            if mark == b',' {
                if in_object {
                    at = key(bytes, blank(bytes, at))?;
                }
                break;
            }
            if mark != if in_object { b'}' } else { b']' } {
                return None;
            }
            open.pop();
        }
    }
}

#[inline]
fn blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at)
        && byte <= b' '
        && matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
    {
        at += 1;
    }
    at
}

/// A key and its colon.
#[inline]
fn key(bytes: &[u8], at: usize) -> Option<usize> {
    let at = blank(bytes, string(bytes, at)?);
    (*bytes.get(at)? == b':').then_some(at + 1)
}

#[inline]
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    // Most strings are keys: a word holds them, and nothing is special in them.
    if let Some(word) = bytes.get(at + 1..).and_then(<[u8]>::first_chunk::<8>) {
        let special = specials(u64::from_le_bytes(*word));
        let end = at + 1 + special.trailing_zeros() as usize / 8;
        if special != 0 && bytes.get(end) == Some(&b'"') {
            return Some(end + 1);
        }
    }
    long_string(bytes, at + 1)
}

/// From anywhere in a string to behind its closing quote.
#[inline(never)]
fn long_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain(bytes.get(at..)?);
        match bytes.get(at..)? {
            [b'"', ..] => return Some(at + 1),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => at += 2,
            [b'\\', b'u', code @ ..] if code.first_chunk::<4>()?.iter().all(u8::is_ascii_hexdigit) => at += 6,
            // A control character, or no escape.
            _ => return None,
        }
    }
}

fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Some(at)
}

/// At least one.
#[inline]
fn digits(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    (at > start).then_some(at)
}

#[inline]
fn literal(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(word).then_some(at + word.len())
}

/// How many bytes there are before the first that means something in a string, or must not be there.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += word.len();
        if at == SHORT {
            at += plain_blocks(&bytes[at..]);
        }
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

/// How many bytes there are in blocks without any of these. By words: berth is compiled for size, and vector instructions
/// are not made then.
fn plain_blocks(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<32>()
        && let [a, b, c, d] = block.as_chunks::<8>().0
        && specials(u64::from_le_bytes(*a))
            | specials(u64::from_le_bytes(*b))
            | specials(u64::from_le_bytes(*c))
            | specials(u64::from_le_bytes(*d))
            == 0
    {
        at += block.len();
    }
    at
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | ..b' ')
}

/// The highest bit of each special byte, so zero if there is none; only the lowest of these bits is sure, for a borrow may set those above it.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call for each word would cost more than what it does")]
fn specials(word: u64) -> u64 {
    // A byte without its highest bit gets it by the subtraction if it was less.
    let quotes = (word ^ all(b'"')).wrapping_sub(all(1));
    let backslashes = (word ^ all(b'\\')).wrapping_sub(all(1));
    let controls = word.wrapping_sub(all(b' '));
    (quotes | backslashes | controls) & !word & all(0x80)
}

/// The containers that are open: a bit each, set for an object.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost ones, up to 64.
    word: u64,
    outer: Vec<u64>,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.word);
        }
        self.word = self.word << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.word >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.word = self.outer.pop().unwrap_or_default();
        }
    }

    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.word & 1 == 1)
    }
}

#[cfg(test)]
mod tests;
