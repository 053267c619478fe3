//! Whose a request is.

use crate::egress::http::{Opening, Request, authority, opening};

fn request(text: &str) -> Request {
    match opening(text.as_bytes()) {
        Opening::Request(request) => *request,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn a_request_is_read_as_it_comes() {
    let head = "POST /x HTTP/1.1\r\nHost: A.org:80\r\nConnection: keep-alive\r\nContent-Length: 5\r\nUpgrade: h2c\r\nX: y\r\n\r\n";
    for end in 1..head.len() {
        assert_eq!(opening(&head.as_bytes()[..end]), Opening::Unfinished, "{end}");
    }
    let read = request(&format!("{head}hello"));
    assert_eq!((read.host.as_str(), read.port, read.length, read.head), ("a.org", Some(80), 5, head.len()));
    let rewritten = String::from_utf8(read.rewritten).unwrap();
    assert_eq!(
        rewritten,
        "POST /x HTTP/1.1\r\nHost: A.org:80\r\nContent-Length: 5\r\nX: y\r\nConnection: close\r\n\r\n"
    );
    let connect = request("CONNECT a.org:443 HTTP/1.1\r\nHost: a.org:443\r\n\r\n");
    assert_eq!((connect.method.as_str(), connect.target.as_str()), ("CONNECT", "a.org:443"));
    // As Python 3.11 says it.
    assert_eq!(request("CONNECT a.org:443 HTTP/1.0\r\n\r\n").host, "a.org");
    assert_eq!(request("GET http://a.org/ HTTP/1.1\r\nHost: a.org\r\n\r\n").host, "a.org");
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for wrong in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.org\r\nHost: b.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.org\r\nhOST: a.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.org\r\n Host: b.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.org\nHost: b.org\r\n\r\n",
        "GET / HTTP/1.1\nHost: a.org\n\n",
        "GET / HTTP/1.1\r\nHost: a.org\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.org\rX: y\r\n\r\n",
        "GET http://b.org/ HTTP/1.1\r\nHost: a.org\r\n\r\n",
        "GET b.org HTTP/1.1\r\nHost: a.org\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a.org\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a.org\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a.org\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a.org\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.org\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.org\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.org\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.org\r\nContent-Length: 5,5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.org, b.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b.org\r\n\r\n",
        "get / http/1.1\r\nhost: a.org\r\n\r\n",
    ] {
        assert!(
            matches!(opening(wrong.as_bytes()), Opening::Broken(_)),
            "{wrong:?}: {:?}",
            opening(wrong.as_bytes())
        );
    }
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70 << 10));
    assert!(matches!(opening(endless.as_bytes()), Opening::Broken(_)));
}

#[test]
fn other_protocols_are_known_by_their_first_line() {
    for other in ["SSH-2.0-x\r\n", "EHLO a\r\n", "\0\0\0\x08\x04", "*1\r\n$4\r\nPING\r\n", "USER x\n"] {
        assert_eq!(opening(other.as_bytes()), Opening::Other, "{other:?}");
    }
    // Without a line's end, too: whoever says this waits for an answer.
    for other in [r#"{"jsonrpc":"2.0"}"#, "0042:{}", &"x".repeat(41)] {
        assert_eq!(opening(other.as_bytes()), Opening::Other, "{other:?}");
    }
    for unfinished in ["", "GET", "\r\n", "EHLO", "EHLO {}"] {
        assert_eq!(opening(unfinished.as_bytes()), Opening::Unfinished, "{unfinished:?}");
    }
}

#[test]
fn a_host_may_have_a_port() {
    assert_eq!(authority("A.org:8080"), Some(("a.org".to_owned(), Some(8080))));
    assert_eq!(authority("[fd00::1]:80"), Some(("[fd00::1]".to_owned(), Some(80))));
    assert_eq!(authority("[fd00::1]"), Some(("[fd00::1]".to_owned(), None)));
    for wrong in ["", ":80", "a.org:", "a.org:x", "a.org:99999", "a b", "a/b", "a,b"] {
        assert_eq!(authority(wrong), None, "{wrong}");
    }
}
