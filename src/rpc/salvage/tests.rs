use std::collections::HashMap;
use std::slice;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::super::arbitrary::{cut, cuts, json, object};
use super::*;

fn id_of(line: &str) -> Option<String> {
    Salvage::of(line.as_bytes()).id().map(ToString::to_string)
}

#[test]
fn finds_the_id_in_broken_lines() {
    for (line, id) in [
        (r#"{"jsonrpc":"2.0","id":5,"method":"x",}"#, Some("5")),
        (r#"{"a": nope, "id": 7}"#, Some("7")),
        (r#"{"id":3,"method":"to"#, Some("3")),
        ("\u{feff}{\"id\":\"bom\",\"method\":\"x\"}", Some("\"bom\"")),
        (r#"oops: {"id":8}"#, Some("8")),
        (r#"{"a":[1},"id":9}"#, Some("9")),
        (r#"{"a":1 "id":10}"#, Some("10")),
        (r#"{"id" : null , "method":"#, Some("null")),
        (r#"{"a":'it', "id":"\u0061b", nope"#, Some(r#""\u0061b""#)),
        // A number at the cut may go on; one that another follows is none.
        (r#"{"method":"x","id":12"#, None),
        ("{\"method\":\"x\",\"id\":12\r\n", None),
        (r#"{"id":1 2,"method":"x"}"#, None),
        (r#"{"id":12abc,"method":"x"}"#, None),
        (r#"{"id":01,"method":"x"}"#, None),
        (r#"{"id":"never ends"#, None),
        (r#"{"id":,"method":"x"}"#, None),
        (r#"{"id":nul,"method":"x"}"#, None),
    ] {
        assert_eq!(id_of(line).as_deref(), id, "{line}");
    }
}

#[test]
fn takes_no_id_that_is_not_the_messages_own() {
    for line in [
        r#"{"params":{"id":1},"method":"x"}"#,
        r#"{"params":[{"id":1}],"method":"x"}"#,
        r#"{"params":{"a":{"b":[]}, "id":1"#,
        r#"{"a":"\"id\":9","b":"{\"id\":9}"}"#,
        r#"{"a":"\\\",\"id\":9"}"#,
        r#"{"id":{"id":1}}"#,
        r#"{"id":[1]}"#,
        r#"{"id":true}"#,
        r#"{"a":"id","b":5}"#,
        r#"["id",5]"#,
        r#"["id":5,"#,
        r#"[{"id":1,"method":"x"}]"#,
        r#""{\"id\":9}""#,
        r#""{","id":9,"#,
        r#"{"a":1}{"id":2}"#,
        "",
        "no json",
    ] {
        assert_eq!(id_of(line), None, "{line}");
    }
}

fn all(line: &str) -> Vec<(String, Kind)> {
    messages(line.as_bytes()).map(|(id, kind)| (id.to_string(), kind)).collect()
}

#[test]
fn a_batch_gives_its_messages_one_by_one() {
    let batch = r#" [{"jsonrpc":"2.0","id":1,"result":[{"id":7}]} , 5, [{"id":8,"method":"x"}], "{\"id\":9}", nope,
        {"method":"n"},{"id":2,"method":"x","params":{"id":10}},{"level":"info","id":11},{"error":{"id":12},"id":"b"}]"#;
    let (one, two, b) =
        (("1".to_owned(), Kind::Response), ("2".to_owned(), Kind::Request), Kind::ErrorResponse);
    assert_eq!(all(batch), [one.clone(), two, ("\"b\"".to_owned(), b)]);
    assert_eq!(
        all(r#"[{"id":1,"result":{}},{"id":2,"res"#),
        slice::from_ref(&one),
        "what was cut off is not known to be one"
    );
    assert_eq!(all(r#"[{"id":1,"result":{"cut":"o"#), slice::from_ref(&one));
    assert_eq!(all(r#"{"id":1,"result":{}}"#), [one], "a message by itself");
    for line in ["[]", "[", "[[{\"id\":1,\"result\":1}]]", "[INFO] {\"id\":1,\"result\":1}", "[1,2]", ""] {
        assert_eq!(all(line), [], "{line}");
    }
}

#[test]
fn however_many_messages_a_batch_has_little_is_kept_of_it() {
    let mut salvage = Salvage::default();
    salvage.feed(b"[");
    for id in 0..10_000 {
        let message = format!("{{\"id\":\"{id:0>900}\",\"result\":{{}}}},");
        let mut line = message.as_bytes();
        while !line.is_empty() {
            line = &line[salvage.feed(line)..];
        }
        assert!(salvage.take().is_some() && salvage.take().is_none());
    }
    assert!(salvage.token.capacity() <= 2 * LONGEST_ID + 2, "{}", salvage.token.capacity());
}

#[test]
fn an_id_is_bounded() {
    let id = |length: usize| format!("{{\"id\":\"{}\",\"method\":\"x\"}}", "i".repeat(length - 2));
    assert_eq!(id_of(&id(LONGEST_ID)).map(|id| id.len()), Some(LONGEST_ID));
    assert_eq!(id_of(&id(LONGEST_ID + 1)), None);
    let spaced = format!("{{\"id\":5{}}}", " ".repeat(5_000));
    assert_eq!(id_of(&spaced).as_deref(), Some("5"), "blanks behind it don't count");
    let digits = |length: usize| format!("{{\"id\":{},\"method\":\"x\"}}", "1".repeat(length));
    assert_eq!(id_of(&digits(LONGEST_ID)).map(|id| id.len()), Some(LONGEST_ID));
    assert_eq!(id_of(&digits(LONGEST_ID + 1)), None);
    assert_eq!(
        Salvage::of(id(5_000).as_bytes()).kind(),
        Kind::Notification,
        "the keys behind it still count"
    );
}

#[test]
fn keeps_little_of_the_line() {
    for start in [r#"{"id":""#, r#"{"id":1"#, r#"{"id":nope "#, r#"{""#, r#"{"params":{"a":""#] {
        let mut salvage = Salvage::of(start.as_bytes());
        for _ in 0..1_000 {
            salvage.feed(&[b'1'; 1_000]);
            salvage.feed(b"  ");
        }
        assert!(salvage.token.capacity() <= 2 * LONGEST_ID + 2, "{} after {start}", salvage.token.capacity());
    }
}

#[test]
fn ten_million_open_brackets_are_only_counted() {
    let mut line = br#"{"params":"#.to_vec();
    line.resize(10_000_000, b'[');
    line.extend_from_slice(br#"{"id":1"#);
    assert_eq!(Salvage::of(&line).id(), None);
}

#[test]
fn guesses_the_kind_from_the_keys() {
    for (line, kind) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"#, Kind::Request),
        (r#"{"jsonrpc":"2.0","id":1,"params":{"#, Kind::Request),
        (r#"{"jsonrpc":"2.0","method":"x","params":{"#, Kind::Notification),
        (r#"{"id":null,"method":"x","#, Kind::Notification),
        (r#"{"id":1,"result":{"method":"x""#, Kind::Response),
        (r#"{"id":1,"error":{"#, Kind::ErrorResponse),
        (r#"{"id":1,"error":null,"result":"#, Kind::Response),
        (r#"{"id":1,"result":{},"params":{"#, Kind::Response),
        (r#"{"id":1,"other":"method""#, Kind::Other),
    ] {
        assert_eq!(Salvage::of(line.as_bytes()).kind(), kind, "{line}");
    }
}

#[test]
fn seeking_stops_at_the_id() {
    let mut salvage = Salvage::default();
    salvage.seek_id(br#"{"id":1,"method":"x","id":2,"#);
    assert_eq!(salvage.id().map(ToString::to_string).as_deref(), Some("1"));
    assert_eq!(salvage.kind(), Kind::Other);
}

proptest! {
    #[test]
    fn agrees_with_a_parser_on_valid_objects(line in object(), cuts in cuts()) {
        // Of duplicate keys a map keeps the last, too.
        let members: HashMap<String, &RawValue> = serde_json::from_str(&line).unwrap();
        let id = members.get("id").map(|raw| raw.get()).filter(|raw| !raw.starts_with(['{', '[', 't', 'f']));
        let mut salvage = Salvage::default();
        for piece in cut(line.as_bytes(), &cuts) {
            prop_assert_eq!(salvage.feed(piece), piece.len());
        }
        let found = salvage.id().map(ToString::to_string);
        prop_assert_eq!(found.as_deref(), id);
        for (key, name) in [
            (Key::Method, "method"),
            (Key::Params, "params"),
            (Key::Result, "result"),
            (Key::Error, "error"),
        ] {
            prop_assert_eq!(salvage.keys.has(key), members.contains_key(name));
        }
    }

    #[test]
    fn agrees_with_a_parser_on_valid_batches(elements in vec(json(), 0..6), cuts in cuts()) {
        let line = format!("[{}]", elements.join(","));
        let expected = elements.iter().filter(|one| one.trim_start().starts_with('{')).flat_map(|one| all(one));
        let expected: Vec<_> = expected.filter(|(_, kind)| *kind != Kind::Other).collect();
        prop_assert_eq!(&all(&line), &expected);
        prop_assert_eq!(taken(&cut(line.as_bytes(), &cuts), true), messages(line.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn any_cut_of_any_bytes_gives_the_same(
        mut line in prop_oneof![object(), vec(json(), 0..4).prop_map(|all| format!("[{}]", all.join(",")))]
            .prop_map(String::into_bytes),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cuts in cuts(),
    ) {
        for (at, byte) in edits {
            let at = at.index(line.len());
            line[at] = byte;
        }
        let whole: Vec<_> = messages(&line).collect();
        let pieces = cut(&line, &cuts);
        prop_assert_eq!(taken(&pieces, false), whole);
        prop_assert_eq!(taken(&pieces, true), taken(&[&line], true));
    }
}

/// What comes out of a line in pieces, as its reader takes it.
fn taken(pieces: &[&[u8]], seeks_id: bool) -> Vec<(RawId, Kind)> {
    let mut salvage = Salvage::default();
    let mut taken = Vec::new();
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            let read = if seeks_id { salvage.seek_id(piece) } else { salvage.feed(piece) };
            piece = &piece[read..];
            // A message by itself is known at the end, or at its id.
            if salvage.is_batch() {
                taken.extend(salvage.take());
            } else if seeks_id && salvage.id().is_some() {
                return salvage.take().into_iter().collect();
            }
        }
    }
    taken.extend(salvage.take_last());
    taken
}
