//! The same look by `serde_json`, for comparison: slower, and without code in common with the scanner.
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::*;

/// What the members of one object come to: raw texts, in the order `id`, `method`, `params`, `error`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) raw: [Option<String>; 4],
    pub(super) jsonrpc: bool,
    pub(super) result: bool,
}

/// The objects of a line, in order; `None` for an element that is no object. `Err` for what is no JSON.
pub(super) fn see(line: &[u8]) -> Result<Vec<Option<Seen>>, ()> {
    let text = std::str::from_utf8(line).map_err(|_| ())?;
    let mut json = serde_json::Deserializer::from_str(text);
    let seen = match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => json.deserialize_map(ObjectVisitor).map(|seen| vec![Some(seen)]),
        Some(b'[') => json.deserialize_seq(ArrayVisitor),
        _ => json.deserialize_ignored_any(IgnoredAny).map(|_| vec![None]),
    };
    seen.and_then(|seen| json.end().map(|()| seen)).map_err(|_| ())
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let mut seen = Seen::default();
        while let Some(key) = map.next_key::<&RawValue>()? {
            let key = raw::key(key.get().as_bytes());
            let known = [Key::Id, Key::Method, Key::Params, Key::Error].iter().position(|&of| of == key);
            if let Some(at) = known {
                seen.raw[at] = Some(map.next_value::<&RawValue>()?.get().to_owned());
            } else {
                map.next_value::<IgnoredAny>()?;
                seen.jsonrpc |= key == Key::Jsonrpc;
                seen.result |= key == Key::Result;
            }
        }
        Ok(seen)
    }
}

struct ArrayVisitor;

impl<'de> Visitor<'de> for ArrayVisitor {
    type Value = Vec<Option<Seen>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = seq.next_element::<&RawValue>()? {
            all.push(serde_json::Deserializer::from_str(element.get()).deserialize_map(ObjectVisitor).ok());
        }
        Ok(all)
    }
}
