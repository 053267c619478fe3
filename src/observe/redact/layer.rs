//! A text with its escapes decoded, and the way back to each byte's origin.
//!
//! Decoding never fails: anything but an escape stands for itself, so broken and cut JSON can be read as well.
use std::borrow::Cow;
use std::ops::Range;

pub(super) struct Layer<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Where in the source each byte's spelling begins, and the end of the source; `None` is the source itself.
    map: Option<Vec<usize>>,
}

impl<'a> Layer<'a> {
    pub(super) fn of(source: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(source), map: None }
    }

    /// The bytes of the source that were decoded to `range`.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        self.origin(range.start)..self.origin(range.end)
    }

    fn origin(&self, at: usize) -> usize {
        self.map.as_ref().map_or(at, |map| map.get(at).or(map.last()).copied().unwrap_or(at))
    }

    /// With JSON's escapes decoded, in strings and everywhere else.
    pub(super) fn unescaped(&self) -> Layer<'static> {
        self.decoded(json_escape)
    }

    /// With `%2F` and its like decoded.
    pub(super) fn percent_decoded(&self) -> Layer<'static> {
        self.decoded(|rest| {
            let digits = rest.strip_prefix(b"%")?.get(..2)?;
            Some((Decoded::Byte(u8::try_from(hex(digits)?).ok()?), 3))
        })
    }

    fn decoded(&self, decode: impl Fn(&[u8]) -> Option<(Decoded, usize)>) -> Layer<'static> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut map = Vec::with_capacity(self.bytes.len() + 1);
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (decoded, length) = decode(rest).unwrap_or((Decoded::Byte(rest[0]), 1));
            match decoded {
                Decoded::Byte(byte) => bytes.push(byte),
                Decoded::Char(char) => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            map.resize(bytes.len(), self.origin(at));
            at += length;
        }
        map.push(self.origin(at));
        Layer { bytes: Cow::Owned(bytes), map: Some(map) }
    }
}

enum Decoded {
    Byte(u8),
    Char(char),
}

/// The escape that `text` begins with, and its length.
fn json_escape(text: &[u8]) -> Option<(Decoded, usize)> {
    let byte = match text.strip_prefix(b"\\")?.first()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => return unicode_escape(text),
        itself @ (b'"' | b'\\' | b'/') => *itself,
        _ => return None,
    };
    Some((Decoded::Byte(byte), 2))
}

fn unicode_escape(text: &[u8]) -> Option<(Decoded, usize)> {
    let unit = |at: usize| hex(text.get(at..)?.strip_prefix(b"\\u")?.get(..4)?);
    let high = unit(0)?;
    let pair = unit(6).filter(|low| (0xD800..0xDC00).contains(&high) && (0xDC00..0xE000).contains(low));
    if let Some(low) = pair {
        let char = char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?;
        return Some((Decoded::Char(char), 12));
    }
    Some((Decoded::Char(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)), 6))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}
