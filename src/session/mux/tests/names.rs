//! Whose a name or a URI is.

use super::*;
use crate::catalogue::pages::Kind;
use crate::session::mux::table::{Table, Unknown};

fn naming(room: Option<usize>) -> Naming {
    Naming { room, allowed: None, denied: Vec::new() }
}

fn list(items: &[Value]) -> List {
    List { items: items.iter().map(|item| item.to_string().into()).collect(), ..List::default() }
}

fn table(naming: &Naming, members: &[(&str, List, List)]) -> Table {
    Table::of(
        naming,
        members
            .iter()
            .enumerate()
            .map(|(at, (label, tools, resources))| (at, *label, [Some(tools), None, Some(resources), None])),
    )
}

fn tools(names: &[&str]) -> List {
    list(&names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>())
}

fn offered(table: &Table) -> Vec<String> {
    let name =
        |item: &Bytes| serde_json::from_slice::<Value>(item).unwrap()["name"].as_str().unwrap().to_owned();
    table.offered(Kind::Tools).iter().map(name).collect()
}

#[test]
fn a_tool_is_called_by_its_full_name_or_by_its_own_where_it_is_the_only_one() {
    let table = table(
        &naming(Some(41)),
        &[
            ("files", tools(&["read", "list"]), List::default()),
            ("git", tools(&["list", "log"]), List::default()),
        ],
    );
    let found =
        |name: &str| table.named(Kind::Tools, name, true).map(|named| (named.member, named.name.as_str()));
    assert_eq!(offered(&table), ["files__read", "files__list", "git__list", "git__log"]);
    assert_eq!(found("git__list"), Ok((1, "list")));
    assert_eq!(found("log"), Ok((1, "log")));
    assert_eq!(found("list"), Err(Unknown::Several(vec!["files__list".to_owned(), "git__list".to_owned()])));
    assert_eq!(found("files__log"), Err(Unknown::Nobody), "no name is taken apart");
    assert_eq!(table.named(Kind::Tools, "log", false), Err(Unknown::Nobody), "where others may have it, too");
}

#[test]
fn only_the_bytes_of_the_name_are_replaced() {
    let item = r#"{ "x":[1.0 , {"name":"inner"}],"na\u006de" :"re\u0061d", "_meta":{"name":"b"}}"#;
    let list = List { items: vec![item.into()], ..List::default() };
    let table = table(&naming(Some(41)), &[("f", list.clone(), List::default())]);
    let expected = r#"{ "x":[1.0 , {"name":"inner"}],"na\u006de" :"f__read", "_meta":{"name":"b"}}"#;
    assert_eq!(table.offered(Kind::Tools), [Bytes::from(expected)]);
    let single = self::table(&naming(None), &[("f", list, List::default())]);
    assert_eq!(single.offered(Kind::Tools), [Bytes::from(item)]);
}

#[test]
fn a_profile_offers_what_it_allows_by_full_names() {
    let pattern = |text: &str| text.parse::<ToolPattern>().unwrap();
    let naming =
        Naming { room: Some(41), allowed: Some(vec![pattern("a__*")]), denied: vec![pattern("*__write")] };
    let table = table(
        &naming,
        &[("a", tools(&["read", "write"]), List::default()), ("b", tools(&["read"]), List::default())],
    );
    assert_eq!(offered(&table), ["a__read"]);
    assert_eq!(table.named(Kind::Tools, "a__write", true), Err(Unknown::Nobody));
    assert_eq!(table.named(Kind::Tools, "write", true), Err(Unknown::Nobody), "nor by its own name");
    assert!(table.named(Kind::Tools, "read", true).is_ok(), "only one is offered");
}

#[test]
fn a_uri_is_the_first_ones_that_announces_it() {
    let uri = |uri: &str| json!({ "uri": uri, "name": "x" });
    let table = table(
        &naming(Some(41)),
        &[
            ("a", tools(&[]), list(&[uri("x://1"), uri("x://2")])),
            (
                "b",
                list(&[json!({ "name": "app", "_meta": { "ui": { "resourceUri": "ui://app" } } })]),
                list(&[uri("x://2"), uri("x://3")]),
            ),
        ],
    );
    let owners = ["x://1", "x://2", "x://3", "ui://app", "x://4"].map(|uri| table.owner(uri));
    assert_eq!(owners, [Some(0), Some(0), Some(1), Some(1), None]);
    // What shows a tool may be announced by its server, too.
    let app = list(&[json!({ "name": "app", "_meta": { "ui": { "resourceUri": "ui://app" } } })]);
    let both = self::table(&naming(Some(41)), &[("b", app, list(&[uri("ui://app")]))]);
    assert_eq!((both.offered(Kind::Resources).len(), both.left_out.len()), (1, 0));
    assert_eq!(table.offered(Kind::Resources).len(), 3);
    assert_eq!(table.left_out.len(), 1, "{:?}", table.left_out);
}

#[test]
fn a_uri_may_come_of_a_template() {
    let items = [("file:///{path}", 0), ("db://{table}/rows/{id}", 1), ("x://{id}/end", 2), ("{+any}", 3)];
    let lists: Vec<List> =
        items.iter().map(|(template, _)| list(&[json!({ "uriTemplate": template, "name": "t" })])).collect();
    let rows = lists.iter().enumerate().map(|(at, list)| (at, "s", [None, None, None, Some(list)]));
    let table = Table::of(&naming(Some(41)), rows);
    let owners = [
        "file:///a/b",
        "db://t/rows/7",
        "db://t/columns/7",
        "x://1/end",
        "x://1/end/2",
        "x://1/end/end",
        "y",
    ]
    .map(|uri| table.owner(uri));
    assert_eq!(owners, [Some(0), Some(1), Some(3), Some(2), Some(3), Some(2), Some(3)]);
    assert_eq!(table.template_owner("x://{id}/end"), Some(2));
}
