use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::IgnoredAny;

use super::super::arbitrary::json;
use super::*;

fn takes(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().and_then(|()| scanner.end()).is_some()
}

/// What decides.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Text with all that makes a string end, go on or break, at any distance from where words and blocks begin.
fn string() -> impl Strategy<Value = String> {
    let part = select(
        &[
            "\"", "\\\"", "\\", "\\\\", "\\u00e", "\\uD800", "\\u12g4", "\\x", "\u{1f}", "\u{7f}", "é",
            "\u{fffd}", "\t",
        ][..],
    );
    let filler = (0..70usize).prop_map(|length| "x".repeat(length));
    let part = prop_oneof![1 => part.prop_map(str::to_owned), 3 => filler];
    vec(part, 0..6).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

/// Pieces of JSON in any order, most of them in the wrong one.
fn soup() -> impl Strategy<Value = String> {
    let word = select(
        &[
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"\"", " ", "\n", "0", "-", "1", ".", "e", "E+", "12",
            "true", "false", "null", "nul", "\\", "\"", "\u{c}", "\u{a0}",
        ][..],
    );
    vec(word, 0..12).prop_map(|words| words.concat())
}

#[test]
fn containers_close_as_they_were_opened_at_any_depth() {
    for depth in [1, 63, 64, 65, 127, 128, 129, 1000] {
        // Objects and arrays in an order that doesn't repeat with the words of the nesting.
        let open: Vec<bool> = (0..depth).map(|level| level % 3 == 0 || level % 7 == 0).collect();
        let start: String = open.iter().map(|&object| if object { "{\"a\":" } else { "[" }).collect();
        let ends: Vec<char> = open.iter().rev().map(|&object| if object { '}' } else { ']' }).collect();
        let end: String = ends.iter().collect();
        assert!(takes(&format!("{start}1{end}")), "{depth}");
        assert!(!takes(&format!("{start}1{}", &end[1..])), "{depth}: one is left open");
        assert!(!takes(&format!("{start}1{end}]")), "{depth}: one too many");
        for wrong in [0, depth / 2, depth - 1] {
            let mut ends = ends.clone();
            ends[wrong] = if ends[wrong] == '}' { ']' } else { '}' };
            let end: String = ends.into_iter().collect();
            assert!(!takes(&format!("{start}1{end}")), "{depth}: the other kind closes level {wrong}");
        }
    }
}

#[test]
fn a_special_byte_is_found_wherever_it_stands() {
    for length in 0..150 {
        for special in [b'"', b'\\', 0, 0x1f] {
            let mut bytes = vec![b'x'; length];
            assert_eq!(plain(&bytes), length);
            for at in 0..length {
                bytes[at] = special;
                assert_eq!(plain(&bytes), at, "{special} at {at} of {length}");
                bytes[at] = [b'x', b' ', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']'][at % 9];
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn takes_what_serde_json_takes(text in prop_oneof![string(), soup(), json()]) {
        prop_assert_eq!(takes(&text), is_json(&text), "{}", text);
    }

    #[test]
    fn refuses_what_serde_json_refuses(text in json(), edits in vec((any::<Index>(), 0..128u8), 1..3)) {
        let mut bytes = text.into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert_eq!(takes(text), is_json(text), "{}", text);
        }
    }

    #[test]
    fn every_start_of_a_text_is_judged_as_serde_json_does(text in json()) {
        for (at, _) in text.char_indices() {
            prop_assert_eq!(takes(&text[..at]), is_json(&text[..at]), "{}", &text[..at]);
        }
    }
}
