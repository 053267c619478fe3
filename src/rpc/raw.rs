//! Reads single members and strings out of raw JSON text without building a tree.
//!
//! Nothing here recurses over its input. A lone surrogate escape (`"\ud800"`) is never an error: JSON's grammar allows
//! it, though Rust's strings do not.
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, Visitor};

use super::scan::Scanner;

/// One JSON value as it stands in a message, without the blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// `json` must be one value.
    pub(super) fn new(json: &'a str) -> Self {
        Self(json)
    }

    /// `None` if `text` is no JSON.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut scanner = Scanner::new(text);
        let raw = scanner.text().map(Raw::new)?;
        scanner.end().map(|()| raw)
    }

    /// The text.
    pub fn get(self) -> &'a str {
        self.0
    }

    /// Where in `text` this stands, if it was cut from it.
    pub fn place(self, text: &str) -> Option<Range<usize>> {
        let start = self.0.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        let end = start + self.0.len();
        (end <= text.len()).then_some(start..end)
    }
}

/// The top-level keys that berth looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    Other,
}

/// The longest spelling of such a key: seven letters, each as `\u006a`, and two quotes.
pub(super) const LONGEST_KEY: usize = 7 * 6 + 2;

/// Which key a raw JSON string (quotes included) spells.
pub(super) fn key(raw: &[u8]) -> Key {
    let plain = match inner(raw) {
        Some(inner) if !inner.contains(&b'\\') => Cow::Borrowed(inner),
        Some(_) if raw.len() <= LONGEST_KEY => unescape(raw).unwrap_or_default(),
        _ => return Key::Other,
    };
    match plain.as_ref() {
        b"jsonrpc" => Key::Jsonrpc,
        b"id" => Key::Id,
        b"method" => Key::Method,
        b"params" => Key::Params,
        b"result" => Key::Result,
        b"error" => Key::Error,
        _ => Key::Other,
    }
}

/// The text of a raw JSON string (quotes included), borrowed when it has no escapes; a lone surrogate becomes
/// U+FFFD. `None` if it is no string.
pub fn string(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let text = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    Some(Cow::Owned(String::from_utf8_lossy(&unescape(raw.get().as_bytes())?).into_owned()))
}

/// The value of the last member named `name`, as JSON parsers choose among duplicates. `None` if there is none or
/// `object` is no object.
pub fn member<'a>(object: Raw<'a>, name: &str) -> Option<Raw<'a>> {
    let mut found = None;
    Scanner::new(object.get()).object(|scanner, key| {
        if unescape(key).as_deref() == Some(name.as_bytes()) {
            found = Some(scanner.text().map(Raw::new)?);
            Some(())
        } else {
            scanner.value()
        }
    })?;
    found
}

/// Hands out each member of an object in its order, duplicates too: the key (a JSON string) and the value. `None` if
/// `object` is no object.
pub fn members<'a>(object: Raw<'a>, mut each: impl FnMut(Raw<'a>, Raw<'a>)) -> Option<()> {
    Scanner::new(object.get()).object(|scanner, key| {
        let key = Raw::new(std::str::from_utf8(key).ok()?);
        each(key, scanner.text().map(Raw::new)?);
        Some(())
    })
}

/// Hands out each element of an array in its order. `None` if `array` is no array.
pub fn elements<'a>(array: Raw<'a>, mut each: impl FnMut(Raw<'a>)) -> Option<()> {
    Scanner::new(array.get()).array(|scanner| {
        each(scanner.text().map(Raw::new)?);
        Some(())
    })
}

/// The bytes of a raw JSON string (quotes included): UTF-8, but for lone surrogates, which keep three bytes each
/// so that different ones stay different.
pub(super) fn unescape(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let text = inner(raw)?;
    if !text.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    serde_json::Deserializer::from_slice(raw).deserialize_bytes(BytesVisitor).ok().map(Cow::Owned)
}

fn inner(raw: &[u8]) -> Option<&[u8]> {
    raw.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Raw<'_> {
        Raw::parse(json).unwrap()
    }

    #[test]
    fn a_key_is_known_however_it_is_spelt() {
        assert_eq!(key(br#""id""#), Key::Id);
        assert_eq!(key(br#""\u0069d""#), Key::Id);
        assert_eq!(key(br#""\u006A\u0073\u006f\u006e\u0072\u0070\u0063""#), Key::Jsonrpc);
        assert_eq!(key(br#""ID""#), Key::Other);
        assert_eq!(key(br#""i\u0064\u0000""#), Key::Other);
        assert_eq!(key(br#""\ud800""#), Key::Other);
    }

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(string(raw(r#""tools/call""#)), Some(Cow::Borrowed("tools/call"))));
        assert_eq!(string(raw(r#""tools\/call""#)).as_deref(), Some("tools/call"));
        assert_eq!(string(raw(r#""a\ud83d\ude00b""#)).as_deref(), Some("a😀b"));
        assert!(string(raw(r#""a\ud800b""#)).unwrap().contains('\u{FFFD}'));
        assert_eq!(string(raw("17")), None);
    }

    #[test]
    fn members_and_elements_come_in_their_order_and_know_their_place() {
        let object = raw(r#"{"a": [1, {"b":2} ,3],"a" : {}}"#);
        let mut seen = Vec::new();
        members(object, |key, value| seen.push((key.get(), value))).unwrap();
        assert_eq!(
            seen.iter().map(|(key, value)| (*key, value.get())).collect::<Vec<_>>(),
            [(r#""a""#, r#"[1, {"b":2} ,3]"#), (r#""a""#, "{}"),]
        );
        let mut places = Vec::new();
        elements(seen[0].1, |element| places.push(element.place(object.get()).unwrap())).unwrap();
        let texts: Vec<_> = places.into_iter().map(|place| &object.get()[place]).collect();
        assert_eq!(texts, ["1", r#"{"b":2}"#, "3"]);
        assert_eq!(raw("17").place(object.get()), None);
        assert!(members(raw("[]"), |_, _| ()).is_none() && elements(raw("{}"), |_| ()).is_none());
    }

    #[test]
    fn the_last_of_duplicate_members_counts() {
        let object = raw(r#"{"a":1,"\ud800":0,"b":{"a":2},"\u0061":[3]}"#);
        assert_eq!(member(object, "a").map(Raw::get), Some("[3]"));
        assert_eq!(member(object, "c").map(Raw::get), None);
        assert_eq!(member(raw("[1]"), "a").map(Raw::get), None);
    }
}
