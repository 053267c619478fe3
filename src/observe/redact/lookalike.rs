//! Finds the values of keys whose names look like those of credentials, in JSON and in texts that resemble it: cut
//! bodies, log lines, headers, Python's dictionaries, query strings.
//!
//! It follows the separators (`:`, `=`), not a grammar, so broken text before a key cannot hide the key. In valid JSON
//! the quoted name before a `:` is always the key. In doubt it hides more.
use std::ops::Range;

use super::{Hidden, Layer};
use crate::values::{is_secret, looks_secret, may_be_secret};

/// How far before its separator a key may begin (bytes).
const LONGEST_KEY: usize = 256;

/// Longer ones are hidden with the rest of their line (bytes).
const LONGEST_SCALAR: usize = 512;

#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Keys without quotes count too.
    pub(super) free: bool,
    /// The mark of a number or an object takes quotes.
    pub(super) quoted: bool,
    /// Hidden already, in order: a value that begins in one of them is left alone.
    pub(super) known: &'a [Range<usize>],
}

pub(super) fn find(layer: &Layer<'_>, rules: Rules<'_>, hidden: &mut Vec<Hidden>) {
    let text = &*layer.bytes;
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| memchr::memchr2(b':', b'=', rest)) {
        let separator = from + at;
        from = separator + 1;
        let Some(key) = key_before(text, separator).filter(|key| rules.free || key.quoted) else { continue };
        let name = Layer::of(key.name).unescaped();
        let Some(name) = std::str::from_utf8(&name.bytes).ok().filter(|name| may_be_secret(name)) else {
            continue;
        };
        // «pass: 3 of 4», in a report.
        if !key.quoted && text.get(separator) == Some(&b':') && ["pass", "pwd"].contains(&name) {
            continue;
        }
        let Some((start, shape)) = value_after(text, separator, key.quoted) else { continue };
        if !hides(name, text.get(start..).unwrap_or_default(), shape) {
            continue;
        }
        let source = layer.source(start..start).start;
        let before = rules.known.partition_point(|known| known.start <= source);
        if rules.known.get(..before).and_then(<[_]>::last).is_some_and(|known| source < known.end) {
            continue;
        }
        let end = start + length(text.get(start..).unwrap_or_default(), shape);
        if end > start {
            // What stands in a hidden value need not be looked at, and deep nests stay cheap.
            from = end;
            let quoted = rules.quoted && key.quoted && !matches!(shape, Shape::String { .. });
            hidden.push(Hidden { range: layer.source(start..end), quoted });
        }
    }
}

struct Key<'a> {
    name: &'a [u8],
    quoted: bool,
}

fn key_before(text: &[u8], separator: usize) -> Option<Key<'_>> {
    let nearby = text.get(separator.saturating_sub(LONGEST_KEY)..separator)?.trim_ascii_end();
    let (last, before) = nearby.split_last()?;
    if matches!(last, b'"' | b'\'') {
        // `\"` before the end is a part of the name, unless the end itself is so written.
        let escaped = !slashes_before(before).is_multiple_of(2);
        let is_begin = |at: &usize| escaped || slashes_before(&before[..*at]).is_multiple_of(2);
        let begin = memchr::memrchr_iter(*last, before).find(is_begin)?;
        let name = before.get(begin + 1..)?;
        return Some(Key { name, quoted: !escaped });
    }
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let begin = nearby.iter().rposition(|byte| !in_word(byte)).map_or(0, |at| at + 1);
    let (rest, mut name) = nearby.split_at_checked(begin)?;
    if name.eq_ignore_ascii_case(b"key") && rest.last() == Some(&b' ') {
        // «API key: …»; of other words only the last counts, or each sentence about tokens would be one.
        let words = rest.trim_ascii_end();
        let begin = words.iter().rposition(|byte| !in_word(byte)).map_or(0, |at| at + 1);
        name = nearby.get(begin..)?;
    }
    (!name.is_empty()).then_some(Key { name, quoted: false })
}

fn slashes_before(text: &[u8]) -> usize {
    text.iter().rev().take_while(|byte| **byte == b'\\').count()
}

/// Whether the value that `rest` begins with is a secret. A long one is judged by its name.
fn hides(name: &str, rest: &[u8], shape: Shape) -> bool {
    let near = rest.get(..=LONGEST_SCALAR).unwrap_or(rest);
    let length = if matches!(shape, Shape::Container) { near.len() } else { length(near, shape) };
    if matches!(shape, Shape::Container) || length > LONGEST_SCALAR {
        return looks_secret(name);
    }
    let value = Layer::of(&near[..length]).unescaped();
    is_secret(name, &String::from_utf8_lossy(&value.bytes))
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The inside of a string.
    String {
        quote: u8,
    },
    Container,
    Bare {
        key_quoted: bool,
        whole_line: bool,
    },
}

/// Where the value begins.
fn value_after(text: &[u8], separator: usize, key_quoted: bool) -> Option<(usize, Shape)> {
    let colon = text.get(separator) == Some(&b':');
    let mut start = separator + 1;
    match text.get(start) {
        // A path, as in `Token::new`.
        Some(b':') if colon => return None,
        Some(b'=' | b'>') => start += 1,
        _ => {}
    }
    // JSON may have line ends here, other text ends with the line.
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t') || key_quoted && matches!(byte, b'\n' | b'\r');
    start += text.get(start..)?.iter().take_while(is_space).count();
    Some(match *text.get(start)? {
        quote @ (b'"' | b'\'') => (start + 1, Shape::String { quote }),
        b'{' | b'[' if key_quoted => (start, Shape::Container),
        _ => (start, Shape::Bare { key_quoted, whole_line: colon }),
    })
}

fn length(rest: &[u8], shape: Shape) -> usize {
    match shape {
        Shape::String { quote } => string_length(rest, quote),
        Shape::Container => container_length(rest),
        Shape::Bare { key_quoted, whole_line } => {
            let scalar = if key_quoted { scalar_length(rest) } else { None };
            scalar.unwrap_or_else(|| free_length(rest, whole_line))
        }
    }
}

/// Of a number, `true`, `false` or `null`, if it is one.
fn scalar_length(text: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']');
    let end = text.iter().take(LONGEST_SCALAR).position(ends);
    let end = end.or((text.len() <= LONGEST_SCALAR).then_some(text.len()))?;
    let scalar = text.get(..end)?.trim_ascii_end();
    serde_json::from_slice::<serde::de::IgnoredAny>(scalar).is_ok().then_some(scalar.len())
}

/// Up to the closing quote, which an even number of backslashes may precede.
fn string_length(text: &[u8], quote: u8) -> usize {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let closes = *byte == quote && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    end.unwrap_or(text.len())
}

/// Where the container that begins at `at` ends.
pub(super) fn container_end(text: &[u8], at: usize) -> usize {
    at + container_length(text.get(at..).unwrap_or_default())
}

/// Up to the bracket that closes the first one.
fn container_length(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at += string_length(text.get(at..).unwrap_or_default(), b'"') + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Of a value without quotes: a header's goes on to the end of its line or of the string it is in; a variable's is
/// one word.
fn free_length(text: &[u8], whole_line: bool) -> usize {
    let ends = |byte: &u8| match byte {
        b'\n' | b'\r' | b'"' => true,
        b'\'' | b'`' | b'&' | b';' | b',' | b')' | b']' | b'}' => !whole_line,
        byte => !whole_line && byte.is_ascii_whitespace(),
    };
    let length = text.iter().position(ends).unwrap_or(text.len());
    // A backslash before the quote belongs to the quote.
    let closed = text.get(length) == Some(&b'"');
    if closed { length - slashes_before(&text[..length]) } else { length }
}
