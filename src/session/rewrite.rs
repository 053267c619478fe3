//! The changes that berth makes in messages: where the configuration asks for them, and in a server's messages that are
//! broken. Pieces of a message are left out or replaced; every other byte stays in its place.
//!
//! Pure. Without such configuration nothing here runs for a message that is none of those.

pub mod context;
pub mod repair;
pub mod roots;
pub mod tools;

use std::ops::Range;

use bytes::Bytes;

use crate::config::Settings;
use crate::rpc::raw::{self, Raw};
use context::ContextRules;
use repair::Repairs;
use roots::RootRules;
use tools::ToolRules;

/// What a session's messages are held to.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub tools: Option<ToolRules>,
    pub roots: Option<RootRules>,
    pub repairs: Option<Repairs>,
    pub contexts: Option<ContextRules>,
}

impl Rules {
    pub fn of(server: &str, settings: &Settings) -> Self {
        Self {
            tools: ToolRules::of(server, settings),
            roots: None,
            repairs: Repairs::of(settings),
            contexts: ContextRules::of(settings),
        }
    }
}

/// What becomes of an element.
enum Fate<'a> {
    Stays,
    Goes,
    /// A part of it is replaced.
    Becomes(Raw<'a>, String),
}

/// A message that is being changed, from its beginning to its end. It is copied once, and only if something changes.
#[derive(Debug)]
pub(in crate::session) struct Edit<'a> {
    text: &'a str,
    changed: Option<Vec<u8>>,
    /// Up to where `changed` has what it needs of `text`.
    done: usize,
}

impl<'a> Edit<'a> {
    pub(in crate::session) fn new(text: &'a str) -> Self {
        Self { text, changed: None, done: 0 }
    }

    /// Puts `with` in the place of `range`, which lies behind all that was replaced before.
    pub(in crate::session) fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        let changed = self.changed.get_or_insert_with(|| Vec::with_capacity(self.text.len()));
        changed.extend_from_slice(&self.text.as_bytes()[self.done..range.start]);
        changed.extend_from_slice(with);
        self.done = range.end;
    }

    /// The same for an array, a part of the text: leaves out elements that `keep` refuses, with a comma each. How many it
    /// were; `None` if it is no array.
    fn retain(&mut self, array: Raw<'a>, mut keep: impl FnMut(Raw<'a>) -> bool) -> Option<usize> {
        self.sift(array, |element| if keep(element) { Fate::Stays } else { Fate::Goes })
    }

    /// Leaves out elements of an array, and replaces parts of others. How many are left out; `None` if it is no array.
    fn sift(&mut self, array: Raw<'a>, mut fate: impl FnMut(Raw<'a>) -> Fate<'a>) -> Option<usize> {
        let text = self.text;
        // From where on elements are left out, if the last one is.
        let mut out_from = None;
        let (mut kept_to, mut last_to, mut left_out) = (None, 0, 0);
        raw::elements(array, |element| {
            let Some(place) = element.place(text) else { return };
            last_to = place.end;
            let fate = fate(element);
            if matches!(fate, Fate::Goes) {
                left_out += 1;
                out_from.get_or_insert(place.start);
                return;
            }
            kept_to = Some(place.end);
            if let Some(from) = out_from.take() {
                self.replace(from..place.start, b"");
            }
            if let Fate::Becomes(part, with) = fate
                && let Some(place) = part.place(text)
            {
                self.replace(place, with.as_bytes());
            }
        })?;
        if let Some(from) = out_from {
            // The comma that goes is the one before.
            self.replace(kept_to.unwrap_or(from)..last_to, b"");
        }
        Some(left_out)
    }

    /// The changed message and `end` behind it; `None` if nothing has changed.
    pub(in crate::session) fn finish(self, end: &[u8]) -> Option<Bytes> {
        let mut changed = self.changed?;
        changed.extend_from_slice(&self.text.as_bytes()[self.done..]);
        changed.extend_from_slice(end);
        Some(changed.into())
    }
}

/// What of an object's members berth and whoever reads it after berth may disagree on.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::session) struct Member<'a> {
    /// The last one of the name.
    pub(in crate::session) value: Option<Raw<'a>>,
    /// There are several, or one whose name some parsers take for this one.
    pub(in crate::session) is_ambiguous: bool,
}

impl<'a> Member<'a> {
    fn text(&self) -> Option<String> {
        self.value.and_then(raw::string).map(String::from)
    }

    /// Nothing of this name, and nothing like it.
    fn is_absent(&self) -> bool {
        self.value.is_none() && !self.is_ambiguous
    }

    fn object(&self) -> Option<Raw<'a>> {
        self.value.filter(|value| value.get().starts_with('{'))
    }
}

/// The members of these names; `None` if `object` is no object. JSON says nothing of duplicate names, and most parsers take
/// the last; some (Go's `encoding/json`, cJSON) don't care for the case of a name, or for what follows a NUL in it.
pub(in crate::session) fn members<'a, const N: usize>(
    object: Raw<'a>,
    names: [&str; N],
) -> Option<[Member<'a>; N]> {
    let mut found = [Member::default(); N];
    raw::members(object, |key, value| {
        let Some(key) = raw::string(key) else { return };
        for (member, name) in found.iter_mut().zip(names) {
            if *key == *name {
                member.is_ambiguous |= member.value.is_some();
                member.value = Some(value);
            } else if is_like(&key, name) {
                member.is_ambiguous = true;
            }
        }
    })?;
    Some(found)
}

/// Whether some program may take `text` for `name`, which is in lower case.
fn is_like(text: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        // Letters that are an `s` and a `k` in capitals.
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    let text = text.split('\0').next().unwrap_or_default();
    text.chars().map(fold).eq(name.chars())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn retained(text: &str, keep: impl Fn(&str) -> bool) -> (Option<Bytes>, Option<usize>) {
        let mut edit = Edit::new(text);
        let left_out = edit.retain(Raw::parse(text).unwrap(), |element| keep(element.get()));
        (edit.finish(b"\n"), left_out)
    }

    #[test]
    fn what_is_left_out_takes_one_comma_with_it_and_no_other_byte() {
        for (text, expected) in [
            ("[0, 1,2 , 3 ]", "[1,2 , 3 ]\n"),
            ("[ 1, 0,2 , 3 ]", "[ 1, 2 , 3 ]\n"),
            ("[1 ,2 , 0 ]", "[1 ,2 ]\n"),
            ("[1 , 0, 0 ,0]", "[1]\n"),
            ("[ 0, 0 , 1 ]", "[ 1 ]\n"),
            ("[0 ,1, 0 ,0, 2 ,0]", "[1, 2]\n"),
            ("[ 0 , 0 ]", "[  ]\n"),
        ] {
            assert_eq!(retained(text, |element| element != "0").0.unwrap(), expected, "{text}");
        }
        for text in ["[]", "[ ]", "[1, 2 ]"] {
            assert_eq!(retained(text, |element| element != "0"), (None, Some(0)), "{text}");
        }
        assert_eq!(retained("{}", |_| true), (None, None));
    }

    #[test]
    fn names_that_any_parser_may_mix_up_are_ambiguous() {
        let tell = |text: &str| {
            let [method] = members(Raw::parse(text).unwrap(), ["params"]).unwrap();
            (method.value.map(|value| value.get().to_owned()), method.is_ambiguous)
        };
        assert_eq!(tell(r#"{"params":1,"param":2,"arams":3}"#), (Some("1".to_owned()), false));
        assert_eq!(
            tell(r#"{"p\u0061rams":1}"#),
            (Some("1".to_owned()), false),
            "an escape has one meaning only"
        );
        assert_eq!(tell(r#"{"params":1,"p\u0061rams":2}"#), (Some("2".to_owned()), true));
        for other in ["Params", "PARAMS", "paramſ", r"params\u0000x", r"para\u006dS"] {
            assert_eq!(tell(&format!(r#"{{"{other}":1}}"#)), (None, true), "{other}");
        }
        assert!(is_like("TaſK", "task") && is_like("tas\u{212a}", "task") && !is_like("tasks", "task"));
        assert!(members(Raw::parse("[]").unwrap(), ["a"]).is_none());
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_was_kept(
            elements in prop::collection::vec(prop_oneof![Just("0"), Just("{\"a\":[0,0]}"), Just("[[], 0]")], 0..9),
            blanks in prop::collection::vec("[ \t]{0,2}", 30),
        ) {
            let mut blanks = blanks.iter().cycle();
            let mut blank = || blanks.next().unwrap().as_str();
            let spaced: Vec<_> = elements.iter().map(|element| [blank(), element, blank()].concat()).collect();
            let text = ["[", blank(), &spaced.join(","), "]"].concat();
            let kept: Vec<_> = elements.iter().copied().filter(|element| *element != "0").collect();
            let (line, left_out) = retained(&text, |element| element != "0");
            prop_assert_eq!(left_out, Some(elements.len() - kept.len()));
            prop_assert_eq!(line.is_none(), left_out == Some(0));
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let line = line.map_or(text, |line| String::from_utf8(line.to_vec()).unwrap());
            prop_assert_eq!(parse(&line), parse(&["[", &kept.join(","), "]"].concat()));
        }
    }
}
