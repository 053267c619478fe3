//! The real loop over pipes in memory, with a clock that the test drives.

mod ends;
mod failures;
mod history;
mod lines;
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
    left: Arc<Mutex<Option<Instant>>>,
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

    async fn client_left(&mut self) {
        *self.left.lock().unwrap() = Some(Instant::now());
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
    left: Arc<Mutex<Option<Instant>>>,
    terminated: Arc<Mutex<Option<Instant>>>,
    introduced: Arc<Mutex<Vec<String>>>,
    session: JoinHandle<Over>,
    stop: CancellationToken,
}

/// A session whose server is up at once and ends as `exit` says.
fn stage(exit: Exit) -> Stage {
    stage_with(exit, |input| Box::new(input))
}

fn stage_with(exit: Exit, input: fn(WriteHalf<DuplexStream>) -> Input) -> Stage {
    stage_after(Duration::ZERO, exit, input, Trace::off())
}

/// The same, whose server takes its time until it is up.
fn stage_after(
    delay: Duration,
    exit: Exit,
    input: fn(WriteHalf<DuplexStream>) -> Input,
    trace: Trace,
) -> Stage {
    let (client, ours) = tokio::io::duplex(PIPE);
    let (server, theirs) = tokio::io::duplex(PIPE);
    let (server_out, output) = mpsc::channel(1);
    let terminated = Arc::new(Mutex::new(None));
    let played = Played {
        input: Some(input(split(theirs).1)),
        output,
        exit,
        left: Arc::default(),
        terminated: Arc::clone(&terminated),
        introduced: Arc::default(),
    };
    play(client, ours, split(server).0, Some(server_out), terminated, (delay, Ok(played)), trace)
}

/// A session whose server can't be started.
fn failing_stage(code: Code) -> Stage {
    let (client, ours) = tokio::io::duplex(PIPE);
    let failure = Failure { code, text: "no daemon".into(), next: Some("`berth up`".into()) };
    let server = split(tokio::io::duplex(1).0).0;
    play(client, ours, server, None, Arc::default(), (Duration::ZERO, Err(failure)), Trace::off())
}

fn play(
    client: DuplexStream,
    ours: DuplexStream,
    server: ReadHalf<DuplexStream>,
    server_out: Option<mpsc::Sender<io::Result<Output>>>,
    terminated: Arc<Mutex<Option<Instant>>>,
    (delay, start): (Duration, Result<Played, Failure>),
    trace: Trace,
) -> Stage {
    let (client_out, client_in) = split(client);
    let (from_client, to_client) = split(ours);
    let stop = CancellationToken::new();
    let introduced = start.as_ref().map(|played| Arc::clone(&played.introduced)).unwrap_or_default();
    let left = start.as_ref().map(|played| Arc::clone(&played.left)).unwrap_or_default();
    let mut start = Some(start);
    let options = Options { trace, ..options(&stop) };
    let session = tokio::spawn(run(from_client, to_client, options, move |_| {
        let start = start.take().expect("one start");
        async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            start
        }
    }));
    Stage {
        client_in: Some(client_in),
        client_out: BufReader::new(client_out).lines(),
        server_in: BufReader::new(server).lines(),
        server_out,
        left,
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
        is_replaced: Arc::default(),
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

    async fn ends(self) -> Over {
        self.session.await.unwrap()
    }
}

/// Of a session that has ended by our doing.
fn failure(over: Over) -> Failure {
    let Over::Failed(failure) = over else { panic!("{over:?}") };
    failure
}

fn request(id: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\"}}\n")
}
