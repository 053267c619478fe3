use tokio::io::{Empty, Sink, empty};
use tokio::sync::mpsc;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Overrides, Server, Settings};
use crate::rpc::FrameCodec;
use crate::session::client::stdio::Hangup;
use crate::session::lane::shared::Shared;
use crate::session::rewrite::Rules;
use crate::session::rewrite::roots::{RootRules, RootsMapping};

struct Stage {
    pump: ClientToServer<Empty, Sink>,
    replies: mpsc::Receiver<Bytes>,
}

fn stage(denied: &[&str]) -> Stage {
    let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default())
        .with_overrides(&Overrides::default().with("deny_tools", denied));
    stage_of(&server.settings)
}

fn stage_of(settings: &Settings) -> Stage {
    let shared = Shared { rules: Rules::of("i", settings), ..Shared::default() };
    let (reply, replies) = mpsc::channel(9);
    let pump = ClientToServer {
        frames: FramedRead::new(empty(), FrameCodec::new(4096)),
        phases: mpsc::channel(1).1,
        replies: reply,
        for_server: mpsc::channel(1).1,
        hangup: Hangup::default(),
        hello: None,
        shared: std::sync::Arc::new(shared),
        stop: CancellationToken::new(),
        interactive: false,
        beginning: None,
        wanted: None,
        asks: false,
        handing: crate::observe::Handing::default(),
        burst: BytesMut::new(),
    };
    Stage { pump, replies }
}

impl Stage {
    /// What goes to the server, and whether it is the very memory that the line came in.
    async fn sent(&mut self, line: &str) -> Option<(String, bool)> {
        let mut piece = Bytes::from(format!("{line}\n"));
        let start = piece.as_ptr();
        let frame = FrameCodec::new(4096).next(&mut piece).unwrap().unwrap();
        match self.pump.admit(&frame).await {
            Line::Forward(line) => Some((String::from_utf8(line.to_vec()).unwrap(), line.as_ptr() == start)),
            Line::Handled | Line::End => None,
        }
    }

    fn told(&mut self) -> Option<serde_json::Value> {
        self.replies.try_recv().ok().map(|line| serde_json::from_slice(&line).unwrap())
    }

    fn in_flight(&self) -> usize {
        self.pump.shared.in_flight.drain().len()
    }
}

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","name":"read"}}"#;
const WRITE: &str = r#"{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"write"}}"#;
const READ: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read"}}"#;

#[tokio::test]
async fn without_rules_lines_pass_as_the_bytes_that_they_are() {
    let mut stage = stage(&[]);
    for line in [CALL, WRITE, &format!("[{WRITE}, {READ}]")] {
        assert_eq!(stage.sent(line).await, Some((format!("{line}\n"), true)));
    }
    assert_eq!((stage.told(), stage.in_flight()), (None, 3));
}

#[tokio::test]
async fn with_rules_what_may_pass_passes_as_the_bytes_that_it_is() {
    let mut stage = stage(&["write"]);
    for line in [READ, &format!("[{READ}]"), r#"{"jsonrpc":"2.0","id":5,"result":{"roots":[]}}"#] {
        assert_eq!(stage.sent(line).await, Some((format!("{line}\n"), true)));
    }
    assert_eq!((stage.told(), stage.in_flight()), (None, 1));
}

#[tokio::test]
async fn a_forbidden_call_is_answered_and_waits_for_nothing() {
    let mut stage = stage(&["write"]);
    assert_eq!(stage.sent(WRITE).await, None);
    let answer = stage.told().unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&"w".into(), &(-32602).into()));
    assert_eq!(stage.sent(CALL).await, None);
    assert_eq!(stage.told().unwrap()["error"]["code"], -32600);
    let notification = WRITE.replace(r#""id":"w","#, "");
    assert_eq!(stage.sent(&notification).await, None);
    assert_eq!((stage.told(), stage.in_flight()), (None, 0), "nobody waits for an answer to a notification");
}

#[tokio::test]
async fn of_a_batch_the_rest_passes() {
    let mut stage = stage(&["write"]);
    assert_eq!(stage.sent(&format!("[{WRITE}, {READ}]")).await, Some((format!("[{READ}]\n"), false)));
    assert_eq!(stage.told().unwrap()["id"], "w");
    assert_eq!((stage.told(), stage.in_flight()), (None, 1));
}

#[tokio::test]
async fn a_server_is_told_that_the_answer_it_waits_for_was_refused() {
    let mut stage = stage(&["write"]);
    let answer = r#"{"jsonrpc":"2.0","id":7,"result":{},"Method":"tools/call"}"#;
    let (line, _) = stage.sent(&format!("[{answer},{READ}]")).await.unwrap();
    let lines: Vec<&str> = line.lines().collect();
    assert!(lines[0].starts_with(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600"#), "{line}");
    assert_eq!(lines[1..], [format!("[{READ}]")]);
    assert_eq!((stage.told(), stage.in_flight()), (None, 1));
}

const TRACED: &str = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},"name":"read"}}"#;

#[tokio::test]
async fn no_byte_of_a_request_changes_unless_its_trace_context_is_asked_for() {
    let mut settings = Settings::default();
    for line in [TRACED, READ, CALL, &format!("[{TRACED}, {READ}]")] {
        assert_eq!(stage_of(&settings).sent(line).await, Some((format!("{line}\n"), true)));
    }
    settings.trace_context = true;
    let (line, _) = stage_of(&settings).sent(&format!("[{TRACED}, {READ}]")).await.unwrap();
    let sent: serde_json::Value = serde_json::from_str(&line).unwrap();
    let contexts: Vec<&str> =
        (0..2).map(|at| sent[at]["params"]["_meta"]["traceparent"].as_str().unwrap()).collect();
    let written = |at: usize| format!("\"_meta\":{{\"traceparent\":\"{}\"}},", contexts[at]);
    let given = r#""_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},"#;
    assert_ne!(written(0), given);
    assert_eq!(line.replace(&written(0), given).replace(&written(1), ""), format!("[{TRACED}, {READ}]\n"));
    for line in [r#"{"jsonrpc":"2.0","method":"x","params":{}}"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#] {
        assert_eq!(stage_of(&settings).sent(line).await, Some((format!("{line}\n"), true)), "no request");
    }
}

#[tokio::test]
async fn a_request_with_folders_in_it_has_its_trace_context_too() {
    let mut settings = Settings::default();
    settings.trace_context = true;
    let mut stage = stage_of(&settings);
    let mapping = RootsMapping { host: "/home/me".into(), container: "/work".into() };
    std::sync::Arc::get_mut(&mut stage.pump.shared).unwrap().rules.roots = RootRules::of(vec![mapping]);
    let asks = r#"{"id":1,"method":"tools/call","params":{"inputResponses":{"q":{"roots":[{"uri":"file:///home/me"}]}}}}"#;
    let (line, _) = stage.sent(asks).await.unwrap();
    let sent: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(sent["params"]["inputResponses"]["q"]["roots"][0]["uri"], "file:///work");
    assert_eq!(sent["params"]["_meta"]["traceparent"].as_str().unwrap().len(), 55);
}
