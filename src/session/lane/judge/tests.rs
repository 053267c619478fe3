use super::*;
use crate::config::{Overrides, Server};
use crate::rpc::FrameCodec;
use crate::session::rewrite::Rules;

const LIST: &str =
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"read\"},{\"name\":\"write\"}]}}\n";

fn shared(denied: &[&str]) -> Shared {
    let server = Server::from_image("i".parse().unwrap(), Vec::new(), &crate::config::Settings::default())
        .with_overrides(&Overrides::default().with("deny_tools", denied));
    Shared { rules: Rules::of("i", &server.settings), ..Shared::default() }
}

fn asked(shared: &Shared, line: &str) {
    let Look::One(envelope) = look(line.as_bytes()).unwrap() else { panic!("one message") };
    shared.in_flight.insert(&envelope);
}

/// What goes to the client, and whether it is the very memory that the line came in.
fn forwarded(shared: &Shared, line: &str) -> (String, bool) {
    let mut piece = Bytes::copy_from_slice(line.as_bytes());
    let start = piece.as_ptr();
    match judge(FrameCodec::new(4096).next(&mut piece).unwrap(), shared) {
        Verdict::Forward(line) => (String::from_utf8(line.to_vec()).unwrap(), line.as_ptr() == start),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_rules_lines_pass_as_the_bytes_that_they_are() {
    let shared = shared(&[]);
    assert!(shared.rules.tools.is_none());
    asked(&shared, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(forwarded(&shared, LIST), (LIST.to_owned(), true));
}

#[test]
fn with_rules_what_is_no_list_or_loses_nothing_passes_as_the_bytes_that_it_is() {
    let all = shared(&["delete"]);
    asked(&all, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(forwarded(&all, LIST), (LIST.to_owned(), true));
    let some = shared(&["write"]);
    asked(&some, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    assert_eq!(forwarded(&some, LIST), (LIST.to_owned(), true), "a call's result may look like this");
    let asking = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"roots/list\"}\n";
    assert_eq!(forwarded(&some, asking), (asking.to_owned(), true));
}

#[test]
fn a_list_of_tools_loses_what_is_forbidden_whoever_asked_for_it() {
    let expected = LIST.replace(",{\"name\":\"write\"}", "");
    for asking in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":"1","method":"tools/call"}"#,
    ] {
        let shared = shared(&["write"]);
        asked(&shared, asking);
        assert_eq!(forwarded(&shared, LIST).0, expected, "{asking}");
        assert_eq!(forwarded(&shared, LIST).0, expected, "a second answer to {asking}");
    }
}

#[test]
fn a_batch_is_filtered_before_its_requests_are_forgotten() {
    let shared = shared(&["write"]);
    asked(&shared, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    asked(&shared, r#"{"jsonrpc":"2.0","id":2,"method":"tools/call"}"#);
    let (list, call) = (LIST.trim_end(), LIST.trim_end().replace("\"id\":1", "\"id\":2"));
    let expected = format!("[{call},{}]\n", list.replace(",{\"name\":\"write\"}", ""));
    assert_eq!(forwarded(&shared, &format!("[{call},{list}]\n")).0, expected);
    assert!(shared.in_flight.drain().is_empty());
}

#[test]
fn a_spoilt_batch_with_the_answer_to_our_own_request_is_ours_and_leaves_the_others_waiting() {
    let shared = shared(&[]);
    asked(&shared, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let ours = RawId::from_raw(Raw::parse("2").unwrap()).unwrap();
    shared.in_flight.insert_ours(&ours);
    let line = "[{\"id\":1,\"result\":{}},5,{\"id\":2,\"result\":{}}]\n";
    let judged =
        judge(FrameCodec::new(4096).next(&mut Bytes::from_static(line.as_bytes())).unwrap(), &shared);
    assert!(matches!(judged, Verdict::Ours(Err(_))), "{judged:?}");
    let waiting: Vec<String> =
        shared.in_flight.drain().iter().map(|pending| pending.id.to_string()).collect();
    assert_eq!(waiting, ["1"]);
}

#[test]
fn a_print_that_looks_like_a_batch_is_for_nobody() {
    let shared = shared(&[]);
    asked(&shared, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    for print in [
        "[1,2]\n",
        "[]\n",
        "[INFO] {\"id\":1,\"result\":1}\n",
        "[{\"id\":1,\"level\":30}]\n",
        "[{\"id\":1,\n",
    ] {
        let judged =
            judge(FrameCodec::new(4096).next(&mut Bytes::from_static(print.as_bytes())).unwrap(), &shared);
        assert!(matches!(judged, Verdict::Stray(_)), "{print}: {judged:?}");
    }
    assert_eq!(shared.in_flight.drain().len(), 1);
}
