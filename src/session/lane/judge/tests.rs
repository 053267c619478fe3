use std::sync::atomic::Ordering;

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
    shared.in_flight.insert(&envelope, None);
}

/// What goes to the client, and whether it is the very memory that the line came in.
fn forwarded(shared: &Shared, line: &str) -> (String, bool) {
    let mut piece = Bytes::copy_from_slice(line.as_bytes());
    let start = piece.as_ptr();
    match judge(FrameCodec::new(4096).next(&mut piece).unwrap(), shared, &mut Returning::default()) {
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
    let judged = judge(
        FrameCodec::new(4096).next(&mut Bytes::from_static(line.as_bytes())).unwrap(),
        &shared,
        &mut Returning::default(),
    );
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
        "[debug {\"id\":1,\"result\":1} was sent\n",
        "[{\"id\":1,\"level\":30}]\n",
        "[{\"id\":1,\n",
    ] {
        let judged = judge(
            FrameCodec::new(4096).next(&mut Bytes::from_static(print.as_bytes())).unwrap(),
            &shared,
            &mut Returning::default(),
        );
        assert!(matches!(judged, Verdict::Stray(_)), "{print}: {judged:?}");
    }
    assert_eq!(shared.in_flight.drain().len(), 1);
}

/// Servers of this kind break their messages.
fn with_broken_answers(reaction: &str, denied: &[&str]) -> Shared {
    let overrides = Overrides::default().with("broken_answers", &[reaction]).with("deny_tools", denied);
    let server = Server::from_image("i".parse().unwrap(), Vec::new(), &crate::config::Settings::default());
    Shared { rules: Rules::of("i", &server.with_overrides(&overrides).settings), ..Shared::default() }
}

fn judged(shared: &Shared, line: &[u8]) -> Verdict {
    judge(
        FrameCodec::new(4096).next(&mut Bytes::copy_from_slice(line)).unwrap(),
        shared,
        &mut Returning::default(),
    )
}

#[test]
fn a_broken_message_is_repaired_and_completes_its_request() {
    for (broken, repaired) in [
        (
            &b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}\r\n"[..],
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\u{fffd}\"}\r\n",
        ),
        (b"[{\"id\":1,\"result\":[NaN,-Infinity]}]\n", "[{\"id\":1,\"result\":[null,null]}]\n"),
        (b"{\"id\":1,\"result\":NaN}", "{\"id\":1,\"result\":null}\n"),
    ] {
        let shared = with_broken_answers("repair", &[]);
        asked(&shared, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
        let item = FrameCodec::new(4096).next(&mut Bytes::copy_from_slice(broken));
        let item = item.unwrap_or_else(|| {
            let mut codec = FrameCodec::new(4096);
            codec.next(&mut Bytes::copy_from_slice(broken));
            codec.last().unwrap()
        });
        let Verdict::Forward(line) = judge(item, &shared, &mut Returning::default()) else {
            panic!("{}", broken.escape_ascii())
        };
        assert_eq!(line, repaired);
        assert!(shared.in_flight.drain().is_empty());
        assert!(shared.has_repaired.load(Ordering::Relaxed));
    }
}

#[test]
fn what_a_server_says_unasked_is_repaired_as_well() {
    let shared = with_broken_answers("repair", &[]);
    for (broken, repaired) in [
        ("{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":{\"progress\":NaN}}\n", "NaN"),
        ("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"x\",\"params\":{\"load\":Infinity}}\n", "Infinity"),
    ] {
        let Verdict::Forward(line) = judged(&shared, broken.as_bytes()) else { panic!("{broken}") };
        assert_eq!(line, broken.replace(repaired, "null"));
    }
    for print in ["{\"level\":30,\"load\":NaN}\n", "load: NaN\n", "[NaN]\n"] {
        assert!(matches!(judged(&shared, print.as_bytes()), Verdict::Stray(_)), "{print}");
    }
}

#[test]
fn a_server_that_is_to_be_refused_or_says_nothing_that_can_be_read_spoils_its_answer() {
    for (reaction, broken) in [
        ("refuse", &b"{\"id\":1,\"result\":NaN}\n"[..]),
        ("refuse", b"{\"id\":1,\"result\":\"\xff\"}\n"),
        ("repair", b"{\"id\":1,\"result\":[NaN,undefined]}\n"),
    ] {
        let shared = with_broken_answers(reaction, &[]);
        asked(&shared, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
        let Verdict::Replace { to_client, .. } = judged(&shared, broken) else {
            panic!("{}", broken.escape_ascii())
        };
        assert!(String::from_utf8_lossy(&to_client).contains("-32700"), "{to_client:?}");
        assert!(!shared.has_repaired.load(Ordering::Relaxed));
    }
}

#[test]
fn the_allow_lists_see_what_was_repaired() {
    let shared = with_broken_answers("repair", &["write"]);
    asked(&shared, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let tools = b"{\"name\":\"wr\xffite\"},{\"name\":\"read\",\"description\":\"\xff\"},{\"name\":\"write\",\"x\":NaN}";
    let line = [b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[", &tools[..], b"]}}\n"].concat();
    let Verdict::Forward(line) = judged(&shared, &line) else { panic!("a list") };
    let expected = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"read\",\"description\":\"\u{fffd}\"}]}}\n";
    assert_eq!(line, expected);
}

#[test]
fn a_good_line_is_not_looked_at_for_repairs() {
    let shared = with_broken_answers("repair", &[]);
    let line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"NaN \u{fffd}\"}\n";
    assert_eq!(forwarded(&shared, line), (line.to_owned(), true));
    assert!(!shared.has_repaired.load(Ordering::Relaxed));
}
