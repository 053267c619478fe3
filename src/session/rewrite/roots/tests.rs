use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rpc::look;

fn rules() -> RootRules {
    let mapping =
        |(host, container): (&str, &str)| RootsMapping { host: host.into(), container: container.into() };
    RootRules::of(
        [("/home/me/src", "/src"), ("/home/me/src/a", "/workspace"), ("/data/ä b", "/ü"), ("/c#", "/hash")]
            .map(mapping)
            .to_vec(),
    )
    .unwrap()
}

fn uri(uri: &str) -> Option<String> {
    match rules().translate_uri(uri) {
        Translated::Is(new) => Some(new),
        Translated::Nowhere => None,
        Translated::Other => Some("other".to_owned()),
    }
}

#[test]
fn a_path_becomes_that_of_the_innermost_mount() {
    for (from, to) in [
        ("file:///home/me/src", "file:///src"),
        ("file:///home/me/src/", "file:///src/"),
        ("file:///home/me/src/b/c", "file:///src/b/c"),
        ("file:///home/me/src/a", "file:///workspace"),
        ("file:///home/me/src/a/b%20c", "file:///workspace/b%20c"),
        ("file:///home/me/src/ab", "file:///src/ab"),
        ("file://localhost/home/me/src/a", "file:///workspace"),
        ("FILE:/home/me/src/a", "file:///workspace"),
        ("file:///home//me/./src/a//b", "file:///workspace/b"),
        ("file:///data/%C3%A4%20b/x", "file:///%C3%BC/x"),
        ("file:///data/ä b/é", "file:///%C3%BC/%C3%A9"),
        ("file:///home/me/src/100%25\"\\", "file:///src/100%25%22%5C"),
        ("file:///c#/x", "file:///hash/x"),
        ("file:///c%23", "file:///hash"),
        ("file:///home/me/src/a?x#y", "file:///workspace"),
    ] {
        assert_eq!(uri(from).as_deref(), Some(to), "{from}");
    }
}

#[test]
fn a_path_that_the_container_has_not_is_nowhere() {
    for from in [
        "file:///home/me",
        "file:///home/me/srcs",
        "file:///tmp",
        "file://elsewhere/home/me/src",
        "file:///home/me/src/../secret",
        "file:///home/me/src/%2e%2e/secret",
        "file:home/me/src",
        "file://",
    ] {
        assert_eq!(uri(from), None, "{from}");
    }
    assert_eq!(uri("https://home/me/src").as_deref(), Some("other"));
    assert_eq!(uri("no uri").as_deref(), Some("other"));
}

fn translated(line: &str) -> Option<String> {
    let line = Bytes::copy_from_slice(line.as_bytes());
    let seen = look(&line).unwrap();
    let asked = |id: &RequestId| id.to_string() == "7";
    rules().translate(&line, &seen, asked).map(|line| String::from_utf8(line.to_vec()).unwrap())
}

const ROOTS: &str = r#"{"roots":[{"uri":"file:///tmp"} , { "name":"\u0061", "uri":"file:\/\/\/home/me/src/a" },{"uri":"x:y"}],"_meta":1e999}"#;
const SEEN: &str =
    r#"{"roots":[{ "name":"\u0061", "uri":"file:///workspace" },{"uri":"x:y"}],"_meta":1e999}"#;

#[test]
fn in_the_answer_to_roots_list_only_the_uris_change() {
    let answer =
        |id: &str, result: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id}, \"result\":{result} }}\r\n");
    assert_eq!(translated(&answer("7", ROOTS)).unwrap(), answer("7", SEEN));
    assert_eq!(translated(&answer("7.0", ROOTS)).unwrap(), answer("7.0", SEEN));
    for other in
        [answer("8", ROOTS), answer("\"7\"", ROOTS), answer("7", r#"{"roots":[]}"#), answer("7", "[]")]
    {
        assert_eq!(translated(&other), None, "{other}");
    }
    assert_eq!(translated(r#"{"id":7,"error":{"code":1,"data":{"roots":[{"uri":"file:///tmp"}]}}}"#), None);
    let batch = |result: &str| format!(r#"[{{"id":7,"result":{result}}},{{"id":8,"result":{ROOTS}}}]"#);
    assert_eq!(translated(&batch(ROOTS)).unwrap(), batch(SEEN));
}

#[test]
fn in_the_newer_era_it_is_the_request_that_is_made_again() {
    let call = |roots: &str| {
        format!(
            r#"{{"id":3,"method":"tools/call","params":{{"name":"x","arguments":{ROOTS},"inputResponses":{{"e":{{"action":"accept"}},"r":{roots}}},"requestState":"file:///home/me/src"}}}}"#
        )
    };
    assert_eq!(translated(&call(ROOTS)).unwrap(), call(SEEN));
    assert_eq!(
        translated(&format!(r#"{{"id":3,"method":"tools/call","params":{{"arguments":{ROOTS}}}}}"#)),
        None
    );
}

#[test]
fn without_mounts_there_are_no_rules() {
    assert!(RootRules::of(Vec::new()).is_none());
}

proptest! {
    #[test]
    fn whatever_a_path_is_called_it_arrives(name in "[^/\u{0}]{1,12}") {
        prop_assume!(name != "." && name != "..");
        let from = format!("file:///home/me/src/{}/", percent_encode(name.as_bytes(), ENCODED));
        let line = json!({ "id": 7, "result": { "roots": [{ "uri": from }] } }).to_string();
        let after: Value = serde_json::from_str(&translated(&line).unwrap()).unwrap();
        let after = after["result"]["roots"][0]["uri"].as_str().unwrap().to_owned();
        let expected = if name == "a" { "/workspace/".to_owned() } else { format!("/src/{name}/") };
        let path = percent_decode_str(after.strip_prefix("file://").unwrap()).decode_utf8().unwrap().into_owned();
        prop_assert_eq!(path, expected);
    }
}
