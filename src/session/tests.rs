//! The real loop over pipes in memory, with a clock that the test drives.

mod recovery;

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf, split};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use std::io;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::client::stdio::Hangup;
use super::rewrite::Rules;
use super::upstream::{Exit, Output};
use crate::config::Settings;
use crate::failure::Code;
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::Trace;
use crate::values::OnFailure;

/// What a pipe holds before its writer has to wait.
const PIPE: usize = 1024;

/// More requests than the pipes and a read buffer hold.
const MANY: u32 = 2000;

/// The server's input as the session has it.
type Input = Box<dyn AsyncWrite + Unpin + Send>;

/// Its closing is seen by the server at once, and takes its time here, as that of a TLS stream may.
struct SlowToClose(WriteHalf<DuplexStream>);

impl AsyncWrite for SlowToClose {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = Pin::new(&mut self.0).poll_shutdown(cx);
        Poll::Pending
    }
}

/// The server's side as a test plays it.
struct Played {
    input: Option<Input>,
    output: mpsc::Receiver<io::Result<Output>>,
    exit: Exit,
    terminated: Arc<Mutex<Option<Instant>>>,
    introduced: Arc<Mutex<Vec<String>>>,
}

impl Upstream for Played {
    type Input = Input;

    fn take_input(&mut self) -> Option<Self::Input> {
        self.input.take()
    }

    async fn next(&mut self) -> Option<io::Result<Output>> {
        self.output.recv().await
    }

    async fn terminate(&mut self) {
        *self.terminated.lock().unwrap() = Some(Instant::now());
    }

    async fn introduce(&mut self, client_session: &str) {
        self.introduced.lock().unwrap().push(client_session.to_owned());
    }

    async fn post_mortem(&mut self) -> Exit {
        self.exit.clone()
    }

    async fn release(self) {}
}

struct Stage {
    client_in: Option<WriteHalf<DuplexStream>>,
    client_out: Lines<BufReader<ReadHalf<DuplexStream>>>,
    server_in: Lines<BufReader<ReadHalf<DuplexStream>>>,
    server_out: Option<mpsc::Sender<io::Result<Output>>>,
    terminated: Arc<Mutex<Option<Instant>>>,
    introduced: Arc<Mutex<Vec<String>>>,
    session: JoinHandle<Result<(), Failure>>,
    stop: CancellationToken,
}

/// A session whose server is up at once and ends as `exit` says.
fn stage(exit: Exit) -> Stage {
    stage_with(exit, |input| Box::new(input))
}

fn stage_with(exit: Exit, input: fn(WriteHalf<DuplexStream>) -> Input) -> Stage {
    let (client, ours) = tokio::io::duplex(PIPE);
    let (server, theirs) = tokio::io::duplex(PIPE);
    let (server_out, output) = mpsc::channel(1);
    let terminated = Arc::new(Mutex::new(None));
    let played = Played {
        input: Some(input(split(theirs).1)),
        output,
        exit,
        terminated: Arc::clone(&terminated),
        introduced: Arc::default(),
    };
    play(client, ours, split(server).0, Some(server_out), terminated, Ok(played))
}

/// A session whose server can't be started.
fn failing_stage(code: Code) -> Stage {
    let (client, ours) = tokio::io::duplex(PIPE);
    let failure = Failure { code, text: "no daemon".into(), next: Some("`berth up`".into()) };
    let server = split(tokio::io::duplex(1).0).0;
    play(client, ours, server, None, Arc::default(), Err(failure))
}

fn play(
    client: DuplexStream,
    ours: DuplexStream,
    server: ReadHalf<DuplexStream>,
    server_out: Option<mpsc::Sender<io::Result<Output>>>,
    terminated: Arc<Mutex<Option<Instant>>>,
    start: Result<Played, Failure>,
) -> Stage {
    let (client_out, client_in) = split(client);
    let (from_client, to_client) = split(ours);
    let stop = CancellationToken::new();
    let introduced = start.as_ref().map(|played| Arc::clone(&played.introduced)).unwrap_or_default();
    let mut start = Some(start);
    let session = tokio::spawn(run(from_client, to_client, options(&stop), move |_| {
        std::future::ready(start.take().expect("one start"))
    }));
    Stage {
        client_in: Some(client_in),
        client_out: BufReader::new(client_out).lines(),
        server_in: BufReader::new(server).lines(),
        server_out,
        terminated,
        introduced,
        session,
        stop,
    }
}

fn options(stop: &CancellationToken) -> Options {
    let mut settings = Settings::default();
    settings.max_line = 400;
    settings.stop_grace = Duration::from_secs(4);
    settings.on_failure = OnFailure::Exit;
    settings.recover_within = Duration::from_secs(10);
    settings.answer_timeout = Duration::from_mins(10);
    Options {
        server: "played".into(),
        settings,
        interactive: false,
        trace: Trace::off(),
        stderr: StderrSink::to(std::io::sink()),
        redactor: Redactor::new(["hunter2hunter2".to_owned()]),
        hangup: Hangup::default(),
        stop: stop.clone(),
        rules: Rules::default(),
    }
}

impl Stage {
    async fn client_sends(&mut self, text: &str) {
        self.client_in.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
    }

    async fn client_closes(&mut self) {
        self.client_in.take().unwrap().shutdown().await.unwrap();
    }

    async fn client_gets(&mut self) -> Value {
        let line = self.client_out.next_line().await.unwrap().expect("a line");
        serde_json::from_str(&line).unwrap()
    }

    async fn server_gets(&mut self) -> String {
        self.server_in.next_line().await.unwrap().expect("a line")
    }

    async fn server_sends(&mut self, text: &str) {
        let chunk = Output::Stdout(Bytes::copy_from_slice(text.as_bytes()));
        self.server_out.as_ref().unwrap().send(Ok(chunk)).await.unwrap();
    }

    async fn ends(self) -> Result<(), Failure> {
        self.session.await.unwrap()
    }
}

fn request(id: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\"}}\n")
}

#[tokio::test(start_paused = true)]
async fn each_request_in_flight_is_answered_when_the_server_dies_and_none_twice() {
    let mut stage = stage(Exit::Code(7));
    for id in ["1", "\"two\"", "3"] {
        stage.client_sends(&request(id)).await;
        stage.server_gets().await;
    }
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n").await;
    assert_eq!(stage.client_gets().await["result"], json!({}));
    stage.server_out = None;
    for id in [json!("two"), json!(3)] {
        let answer = stage.client_gets().await;
        assert_eq!(answer["id"], id);
        assert_eq!(answer["error"]["code"], 69);
        assert!(answer["error"]["message"].as_str().unwrap().contains("exited with code 7"), "{answer}");
    }
    assert!(stage.client_out.next_line().await.unwrap().is_none(), "nothing more");
    assert_eq!(stage.ends().await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_dead_server_never_read_is_answered_too() {
    let mut stage = stage(Exit::Lost);
    let filler = "x".repeat(300);
    // More than the pipe holds: the last ones are stuck in our hands when the server dies.
    for id in 0..6 {
        stage.client_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{filler}\"}}\n")).await;
    }
    stage.server_out = None;
    for id in 0..6 {
        assert_eq!(stage.client_gets().await["id"], id);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_server_the_first_request_is_told_why_and_then_it_ends() {
    let mut stage = failing_stage(Code::Configuration);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(!stage.session.is_finished(), "it waits for a request, or nobody would know");
    stage.client_sends(&request("1")).await;
    let answer = stage.client_gets().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(78)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("`berth up`"));
    assert_eq!(stage.ends().await.unwrap_err().code, Code::Configuration);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_probe_is_told_and_so_is_the_initialize_behind_it() {
    let mut stage = failing_stage(Code::Unavailable);
    stage.client_sends("{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"server/discover\"}\n").await;
    assert_eq!(stage.client_gets().await["id"], "p");
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.client_sends(&request("0")).await;
    assert_eq!(stage.client_gets().await["id"], 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_client_that_asks_on_and_on_does_not_keep_the_session() {
    let mut stage = failing_stage(Code::Unavailable);
    let asking = async {
        for id in 0.. {
            let line = request(&id.to_string());
            if stage.client_in.as_mut().unwrap().write_all(line.as_bytes()).await.is_err() {
                break;
            }
            let Ok(Some(answer)) = stage.client_out.next_line().await else { break };
            assert!(answer.contains("no daemon"), "{answer}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asking).await.expect("it ends");
    assert_eq!(stage.ends().await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_up_its_own_direction_only() {
    let mut stage = stage(Exit::Code(0));
    let notification = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}\n", "y".repeat(300));
    let flood = stage.server_out.clone().unwrap();
    let text = notification.clone();
    let flooding = tokio::spawn(async move {
        for _ in 0..50 {
            flood.send(Ok(Output::Stdout(Bytes::copy_from_slice(text.as_bytes())))).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!flooding.is_finished(), "nothing is queued beyond the pipes");
    for id in 0..50 {
        stage.client_sends(&request(&id.to_string())).await;
        assert_eq!(stage.server_gets().await, request(&id.to_string()).trim_end());
    }
    for _ in 0..50 {
        assert_eq!(stage.client_out.next_line().await.unwrap().unwrap(), notification.trim_end());
    }
    flooding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_holds_up_its_own_direction_only() {
    let mut stage = stage(Exit::Code(0));
    let mut client_in = stage.client_in.take().unwrap();
    let stuffing = tokio::spawn(async move {
        for id in 0..MANY {
            client_in.write_all(request(&id.to_string()).as_bytes()).await.unwrap();
        }
        client_in
    });
    for n in 0..50 {
        stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"method\":\"n{n}\"}}\n")).await;
        assert_eq!(stage.client_gets().await["method"], format!("n{n}"));
    }
    assert!(!stuffing.is_finished(), "nothing is queued beyond the pipes");
    for id in 0..MANY {
        assert_eq!(stage.server_gets().await, request(&id.to_string()).trim_end());
    }
    stuffing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_with_its_input_has_done_nothing_wrong() {
    let mut stage = stage_with(Exit::Code(0), |input| Box::new(SlowToClose(input)));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    stage.client_closes().await;
    assert!(stage.server_in.next_line().await.unwrap().is_none());
    stage.server_out = None;
    assert!(stage.client_out.next_line().await.unwrap().is_none(), "nobody waits for an answer");
    assert_eq!(stage.ends().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_after_the_end_of_its_input_is_told_to_end() {
    let mut stage = stage(Exit::Code(143));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    let closed = Instant::now();
    stage.client_closes().await;
    assert!(stage.server_in.next_line().await.unwrap().is_none(), "its input ends at once");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = stage.terminated.lock().unwrap().expect("told to end");
    assert_eq!(told - closed, Duration::from_secs(2), "after half of the grace");
    stage.server_out = None;
    assert_eq!(stage.ends().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_ended_does_not_keep_the_session() {
    let mut stage = stage(Exit::Lost);
    let closed = Instant::now();
    stage.client_closes().await;
    let _held = stage.server_out.clone();
    assert_eq!(stage.ends().await, Ok(()));
    assert_eq!(closed.elapsed(), Duration::from_secs(5), "the grace and a second");
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_a_session_whose_client_does_not_read() {
    let mut stage = stage(Exit::Lost);
    for _ in 0..10 {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}\n", "z".repeat(300));
        if tokio::time::timeout(Duration::from_secs(1), stage.server_sends(&line)).await.is_err() {
            break;
        }
    }
    stage.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), &mut stage.session).await;
    assert!(ended.is_ok(), "it hangs on a client that does not read");
}

#[tokio::test(start_paused = true)]
async fn bad_lines_are_answered_and_the_next_one_goes_through() {
    let mut stage = stage(Exit::Code(0));
    let long = "l".repeat(500);
    for (line, id, code) in [
        (r#"{"jsonrpc":"2.0","id":5,"method":"x",}"#.to_owned(), json!(5), -32700),
        ("no json at all".to_owned(), json!(null), -32700),
        (format!(r#"{{"jsonrpc":"2.0","method":"x","params":"{long}","id":"end"}}"#), json!("end"), -32600),
    ] {
        stage.client_sends(&format!("{line}\n\n \n")).await;
        let answer = stage.client_gets().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{line}");
    }
    stage.client_sends(&request("6")).await;
    assert_eq!(stage.server_gets().await, request("6").trim_end());
}

#[tokio::test(start_paused = true)]
async fn what_a_server_spoils_becomes_an_error_for_the_request_that_waits() {
    let mut stage = stage(Exit::Code(0));
    for id in ["1", "2", "3"] {
        stage.client_sends(&request(id)).await;
        stage.server_gets().await;
    }
    stage.server_sends("starting up...\n{\"level\":\"info\"}\n42\n\n").await;
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{broken}\n").await;
    let long = "l".repeat(500);
    stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"{long}\"}}\n")).await;
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}").await;
    stage.server_out = None;
    assert_eq!(stage.client_gets().await["error"]["code"], -32700);
    let too_long = stage.client_gets().await;
    assert_eq!(too_long["id"], 2);
    assert!(too_long["error"]["message"].as_str().unwrap().contains("max_line"));
    assert_eq!(stage.client_gets().await["id"], 3, "the last line needs no newline");
}

#[tokio::test(start_paused = true)]
async fn a_side_that_waits_for_a_spoilt_answer_is_told() {
    let mut stage = stage(Exit::Code(0));
    // The client's answer to the server: its id is the server's, so the client hears nothing of it.
    stage.client_sends("{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{,}}\n").await;
    let refusal: Value = serde_json::from_str(&stage.server_gets().await).unwrap();
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&json!(5), &json!(-32700)));
    // The server's own request.
    let long = "l".repeat(500);
    stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"{long}\"}}\n")).await;
    let refusal: Value = serde_json::from_str(&stage.server_gets().await).unwrap();
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&json!(6), &json!(-32600)));
    stage.client_sends(&request("7")).await;
    assert_eq!(stage.server_gets().await, request("7").trim_end(), "and nothing of it reached the client");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_outlasts_the_grace_is_answered_with_that() {
    let mut stage = stage(Exit::Code(0));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    stage.client_closes().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.server_out = None;
    let answer = stage.client_gets().await;
    assert_eq!(answer["id"], 1);
    assert!(answer["error"]["message"].as_str().unwrap().contains("closed its side"), "{answer}");
    assert_eq!(stage.ends().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_in_order_after_its_client_owes_nothing() {
    let mut stage = stage(Exit::Code(0));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    stage.client_closes().await;
    assert!(stage.server_in.next_line().await.unwrap().is_none());
    stage.server_out = None;
    assert!(
        stage.client_out.next_line().await.unwrap().is_none(),
        "what goes through `cat` comes back as it was"
    );
    assert_eq!(stage.ends().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_side_and_does_not_read_cannot_keep_the_session() {
    let mut stage = stage(Exit::Lost);
    let flood = stage.server_out.clone().unwrap();
    let flooding = tokio::spawn(async move {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}\n", "w".repeat(300));
        while flood.send(Ok(Output::Stdout(Bytes::copy_from_slice(line.as_bytes())))).await.is_ok() {}
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let closed = Instant::now();
    stage.client_closes().await;
    let ended = tokio::time::timeout(Duration::from_mins(1), &mut stage.session).await;
    assert!(ended.is_ok(), "it waits for ever");
    assert!(closed.elapsed() <= Duration::from_secs(6), "{:?}", closed.elapsed());
    flooding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_servers_last_words_keep_its_secrets() {
    let mut stage = stage(Exit::Code(1));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    let said = Output::Stderr(Bytes::from_static(b"auth failed for hunter2hunter2\n"));
    stage.server_out.take().unwrap().send(Ok(said)).await.unwrap();
    let message = stage.client_gets().await["error"]["message"].to_string();
    assert!(message.contains("auth failed"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_log_line_with_a_method_is_no_message() {
    let mut stage = stage(Exit::Code(0));
    stage.server_sends("{\"level\":30,\"method\":\"GET\",\"id\":1}\n").await;
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"method\":\"real\"}\n").await;
    assert_eq!(stage.client_gets().await["method"], "real");
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_asked_for_pass_as_they_are() {
    let mut stage = stage(Exit::Code(0));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    let lines = [
        r#"{"jsonrpc":"2.0","id":"never asked","result":{ }}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":"first"}"#,
        r#"{"jsonrpc":"2.0", "id":1.0,"error":{"code":1,"message":"second"}}"#,
    ];
    for line in lines {
        stage.server_sends(&format!("{line}\n")).await;
        assert_eq!(stage.client_out.next_line().await.unwrap().unwrap(), line);
    }
    stage.client_sends(&request("2")).await;
    assert_eq!(stage.server_gets().await, request("2").trim_end());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_codex_names_late_is_passed_on_once() {
    let mut stage = stage(Exit::Code(0));
    stage
        .client_sends(
            "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"clientInfo\":{\"name\":\"codex-mcp-client\"}}}\n",
        )
        .await;
    stage.server_gets().await;
    for (id, session) in [(1, "first"), (2, "second")] {
        let meta = format!("{{\"x-codex-turn-metadata\":{{\"session_id\":\"{session}\"}}}}");
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"x\",\"_meta\":{meta}}}}}\n"
        );
        stage.client_sends(&call).await;
        assert_eq!(stage.server_gets().await + "\n", call, "as it came");
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(*stage.introduced.lock().unwrap(), ["first"]);
}
