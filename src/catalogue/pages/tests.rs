use serde_json::{Value, json};

use super::*;

fn page(pages: &mut Pages, result: &Value) -> Step {
    let text = result.to_string();
    pages.page(Raw::parse(&text).unwrap())
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn names(followed: &Followed) -> Vec<String> {
    let name =
        |item: &Bytes| Kind::Tools.name(Raw::parse(std::str::from_utf8(item).unwrap()).unwrap()).unwrap();
    followed.list.items.iter().map(name).collect()
}

fn left_out(kind: Kind, items: &Value) -> Vec<String> {
    let mut pages = Pages::new(kind);
    assert_eq!(page(&mut pages, &json!({ kind.member(): items })), Step::Done);
    let followed = pages.finish();
    assert_eq!((followed.cut, &followed.list.left_out), (None, &followed.left_out));
    followed.left_out.iter().map(LeftOut::to_string).collect()
}

#[test]
fn all_pages_are_asked_for_with_the_servers_own_cursors() {
    let mut pages = Pages::new(Kind::Tools);
    assert_eq!(pages.next_request(), Some(None));
    let first = r#"{"tools":[ {"inputSchema":{"type":"object"},"name":"b\u0061", "x":1e400} ],"nextCursor":"\u0032"}"#;
    assert_eq!(pages.page(Raw::parse(first).unwrap()), Step::Ask);
    assert_eq!(pages.next_request(), Some(Some(r#""\u0032""#)));
    assert_eq!(page(&mut pages, &json!({ "tools": [], "nextCursor": "3" })), Step::Ask);
    assert_eq!(page(&mut pages, &json!({ "tools": [tool("a")], "nextCursor": null })), Step::Done);
    assert_eq!(pages.next_request(), None);
    let followed = pages.finish();
    assert_eq!(names(&followed), ["ba", "a"]);
    assert_eq!(followed.list.items[0], r#"{"inputSchema":{"type":"object"},"name":"b\u0061", "x":1e400}"#);
    assert_eq!(followed.list.pages, 2, "one had nothing");
    assert_eq!((followed.left_out, followed.cut), (vec![], None));
}

#[test]
fn a_server_that_goes_in_a_circle_is_left() {
    let mut pages = Pages::new(Kind::Tools);
    assert_eq!(page(&mut pages, &json!({ "tools": [tool("a")], "nextCursor": "1" })), Step::Ask);
    assert_eq!(page(&mut pages, &json!({ "tools": [tool("b")], "nextCursor": "1" })), Step::Done);
    let followed = pages.finish();
    assert_eq!((names(&followed), followed.cut), (vec!["a".into(), "b".into()], Some(Cut::RepeatedCursor)));

    let mut pages = Pages::new(Kind::Tools);
    for (cursor, step) in [("1", Step::Ask), ("2", Step::Done)] {
        assert_eq!(page(&mut pages, &json!({ "tools": [tool("a")], "nextCursor": cursor })), step);
    }
    assert_eq!(pages.finish().cut, Some(Cut::RepeatedPage));
}

#[test]
fn the_empty_cursor_is_a_cursor_and_to_some_servers_the_end() {
    let mut pages = Pages::new(Kind::Tools);
    assert_eq!(page(&mut pages, &json!({ "tools": [tool("a")], "nextCursor": "" })), Step::Ask);
    assert_eq!(pages.next_request(), Some(Some("\"\"")));
    assert_eq!(page(&mut pages, &json!({ "tools": [tool("a")], "nextCursor": "" })), Step::Done);
    let followed = pages.finish();
    assert_eq!(followed.list.pages, 1, "it was the first one again");
    assert_eq!((names(&followed), followed.left_out, followed.cut), (vec!["a".to_owned()], vec![], None));
}

#[test]
fn neither_pages_nor_bytes_are_endless() {
    let mut pages = Pages::new(Kind::Resources);
    for number in 1..MOST_PAGES {
        let next = number.to_string();
        assert_eq!(page(&mut pages, &json!({ "resources": [], "nextCursor": next })), Step::Ask);
    }
    assert_eq!(page(&mut pages, &json!({ "resources": [], "nextCursor": "x" })), Step::Done);
    assert_eq!(pages.finish().cut, Some(Cut::TooManyPages));

    let mut pages = Pages::new(Kind::Tools);
    let long = " ".repeat(MOST_BYTES / 2);
    let result = |name: &str| format!(r#"{{"tools":[{}],{long}"nextCursor":"{name}"}}"#, tool(name));
    assert_eq!(pages.page(Raw::parse(&result("a")).unwrap()), Step::Ask);
    assert_eq!(pages.page(Raw::parse(&result("b")).unwrap()), Step::Done);
    let followed = pages.finish();
    assert_eq!((names(&followed), followed.cut), (vec!["a".to_owned()], Some(Cut::TooLong)));
}

#[test]
fn what_is_no_page_ends_the_list_and_keeps_what_there_was() {
    for (result, cut) in [
        (json!({}), Cut::NoItems),
        (json!({ "tools": {} }), Cut::NoItems),
        (json!([]), Cut::NoItems),
        (json!({ "tools": [], "nextCursor": 7 }), Cut::NoCursor),
    ] {
        let mut pages = Pages::new(Kind::Tools);
        assert_eq!(page(&mut pages, &json!({ "tools": [tool("a")], "nextCursor": "1" })), Step::Ask);
        assert_eq!(page(&mut pages, &result), Step::Done, "{result}");
        let followed = pages.finish();
        assert_eq!((names(&followed), followed.cut), (vec!["a".to_owned()], Some(cut)), "{result}");
    }
    let mut pages = Pages::new(Kind::Tools);
    pages.stop(Cut::Late);
    assert_eq!(pages.next_request(), None);
    assert_eq!(page(&mut pages, &json!({ "tools": [tool("a")] })), Step::Done);
    assert_eq!(pages.finish(), Followed { cut: Some(Cut::Late), ..Followed::default() });
}

#[test]
fn a_broken_tool_costs_itself_alone() {
    let object = json!({ "type": "object" });
    let said = left_out(
        Kind::Tools,
        &json!([
            17,
            { "inputSchema": object },
            { "name": 3, "inputSchema": object },
            { "name": "", "inputSchema": object },
            { "name": "a\u{7}b", "inputSchema": object },
            { "name": "no_schema" },
            { "name": "wrong_schema", "inputSchema": { "type": "string" } },
            { "name": "wrong_text", "inputSchema": object, "description": 3 },
            { "name": "good", "inputSchema": object, "unknown": 3 },
            { "name": "good", "inputSchema": object },
        ]),
    );
    assert_eq!(
        said,
        [
            "`#1` is left out: it is no object",
            "`#2` is left out: it has no string `name`",
            "`#3` is left out: it has no string `name`",
            "`#4` is left out: its `name` is empty",
            "`a\\u{7}b` is left out: its `name` has control characters",
            "`no_schema` is left out: it has no object `inputSchema`",
            "`wrong_schema` is left out: the type of its `inputSchema` is not \"object\"",
            "`wrong_text` is left out: its `description` is no string",
            "`good` is left out: the server has another tool of this name",
        ]
    );
}

#[test]
fn prompts_resources_and_templates_have_their_own_rules() {
    let prompts = json!([
        { "name": "a", "arguments": [{ "name": "x" }] },
        { "name": "b", "arguments": [{}] },
        { "name": "c", "arguments": {} },
    ]);
    assert_eq!(
        left_out(Kind::Prompts, &prompts),
        ["`b` is left out: an argument has no string `name`", "`c` is left out: its `arguments` is no array"]
    );
    let resources = json!([{ "uri": "a:b", "name": "" }, { "uri": "a:c" }, { "name": "x" }]);
    assert_eq!(
        left_out(Kind::Resources, &resources),
        ["`a:c` is left out: it has no string `name`", "`#3` is left out: it has no string `uri`"]
    );
    let templates = json!([{ "uriTemplate": "a:{b}", "name": "n", "mimeType": 1 }]);
    assert_eq!(left_out(Kind::Templates, &templates), ["`a:{b}` is left out: its `mimeType` is no string"]);
}

#[test]
fn of_thousands_that_are_left_out_only_some_are_named() {
    let mut pages = Pages::new(Kind::Tools);
    page(&mut pages, &json!({ "tools": vec![json!({ "name": "x".repeat(300) }); 250] }));
    let followed = pages.finish();
    assert_eq!((followed.left_out.len(), followed.more_left_out), (100, 150));
    assert_eq!(followed.left_out[0].name.chars().count(), 129);
}

#[test]
fn the_least_time_and_the_strictest_scope_of_all_pages_count() {
    let mut pages = Pages::new(Kind::Tools);
    page(&mut pages, &json!({ "tools": [], "nextCursor": "1", "ttlMs": 9000, "cacheScope": "private" }));
    page(&mut pages, &json!({ "tools": [], "nextCursor": "2", "ttlMs": 500, "cacheScope": "public" }));
    page(&mut pages, &json!({ "tools": [] }));
    let list = pages.finish().list;
    assert_eq!((list.ttl_ms, list.is_private), (Some(500), true));
    assert_eq!(List::default().ttl_ms, None);
}
