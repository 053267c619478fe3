//! The same with the keeper's own program: processes as in a pod, and pipes for the streams of execs.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Sink, SinkExt, Stream, StreamExt, stream};
use mcp_berth::dock::numbered::FIRST;
use mcp_berth::dock::records::resume::GONE;
use mcp_berth::dock::records::{Ending, SECRET, Start};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio_util::codec::{BytesCodec, FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;

use super::super::{NotOpened, Over, Said, Streams, ToServer};
use super::Session;
use crate::keeper::PROGRAM;

/// What must happen at once has this long on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(20);

/// The processes of execs in a container.
#[derive(Clone)]
struct Execs {
    program: PathBuf,
    _folder: Arc<tempfile::TempDir>,
    secret: [u8; SECRET],
    /// Cuts the last stream.
    cut: Arc<Mutex<CancellationToken>>,
    helper: Arc<Mutex<Option<Child>>>,
}

impl Execs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("keeper");
        std::fs::write(&program, PROGRAM).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o555)).unwrap();
        let mut secret = [0; SECRET];
        secret[..16].copy_from_slice(&rand());
        Self { program, _folder: Arc::new(folder), secret, cut: Arc::default(), helper: Arc::default() }
    }

    fn cut(&self) {
        self.cut.lock().unwrap().cancel();
    }

    fn helper(&self) -> i32 {
        self.helper.lock().unwrap().as_ref().unwrap().id().unwrap().try_into().unwrap()
    }
}

fn rand() -> [u8; 16] {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
    bytes
}

impl Streams for Execs {
    type To = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;
    type From = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

    async fn open(&mut self, epoch: u64) -> Result<(Self::To, Self::From), NotOpened> {
        let mut command = Command::new(&self.program);
        match epoch {
            FIRST => command.arg("serve"),
            _ => command.arg("resume").arg(epoch.to_string()),
        };
        let mut child = command
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        to.write_all(&self.secret).await.unwrap();
        let mut from = FramedRead::new(from, BytesCodec::new());
        let Some(Ok(hello)) = from.next().await else {
            let code = child.wait().await.unwrap().code();
            let gone = code == Some(GONE.into());
            return Err(if gone {
                NotOpened::Gone("gone".into())
            } else {
                NotOpened::Passing(format!("{code:?}"))
            });
        };
        let cut = CancellationToken::new();
        *self.cut.lock().unwrap() = cut.clone();
        if epoch == FIRST {
            *self.helper.lock().unwrap() = Some(child);
        } else {
            tokio::spawn(async move { child.wait().await });
        }
        let from = stream::iter([Ok(hello)]).chain(from).map(|bytes| bytes.map(BytesMut::freeze));
        let to = FramedWrite::new(to, BytesCodec::new());
        Ok((
            Box::pin(SinkExt::<Bytes>::sink_map_err(to, io::Error::from)),
            Box::pin(from.take_until(cut.cancelled_owned())),
        ))
    }

    fn ended(&self) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn start(script: &str) -> Start {
    let argv = ["sh", "-c", script].map(|word| word.as_bytes().to_vec()).into();
    Start { reconnect: Duration::from_mins(1), grace: Duration::from_mins(1), argv, ..Start::default() }
}

#[tokio::test]
async fn a_server_goes_on_where_its_stream_was_cut() {
    let execs = Execs::new();
    let script = "while read -r line; do echo \"$$ $line\"; done; echo bye >&2; exit 5";
    let mut session = Session::begin(execs.clone(), &start(script));
    let mut out = Vec::new();
    session.say("first\n").await;
    let first = session.line(&mut out).await;
    let pid = first.split(' ').next().unwrap();
    for round in 0..6 {
        // One is under way when the cut comes, or comes after it.
        if round % 2 == 0 {
            session.say(&format!("before {round}\n")).await;
            execs.cut();
        } else {
            execs.cut();
            session.say(&format!("before {round}\n")).await;
        }
        session.say(&format!("after {round}\n")).await;
        assert_eq!(session.line(&mut out).await, format!("{pid} before {round}"));
        assert_eq!(session.line(&mut out).await, format!("{pid} after {round}"));
    }
    session.to.send(ToServer::InputEnd).await.unwrap();
    let (out, err, last) = session.rest().await;
    assert_eq!((&out[..], &err[..], last), (&b""[..], &b"bye\n"[..], Some(Said::Ended(Ending::Exited(5)))));
    assert_eq!(session.over.await.unwrap(), Over::Told);
    let mut helper = execs.helper.lock().unwrap().take().unwrap();
    assert!(tokio::time::timeout(AT_ONCE, helper.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn much_arrives_whole_across_cuts() {
    // 16 MB of numbers; a window is 1 MiB.
    let execs = Execs::new();
    let mut session = Session::begin(execs.clone(), &start("seq 1000000 1999999; seq 2000000 2999999 >&2"));
    let (mut out, mut err, mut count) = (Vec::new(), Vec::new(), 0);
    let last = loop {
        match session.from.recv().await.unwrap() {
            Said::Output(bytes) => out.extend_from_slice(&bytes),
            Said::Errors(bytes) => err.extend_from_slice(&bytes),
            last => break last,
        }
        count += 1;
        if count % 60 == 0 {
            execs.cut();
        }
    };
    assert!(last == Said::Ended(Ending::Exited(0)) && count > 180, "{last:?} {count}");
    let numbers = |from: u32| (from..from + 1_000_000).map(|n| format!("{n}\n")).collect::<Vec<_>>().concat();
    assert!(out == numbers(1_000_000).as_bytes() && err == numbers(2_000_000).as_bytes());
}

#[tokio::test]
async fn a_helper_that_is_gone_is_told_at_once() {
    let execs = Execs::new();
    let mut session = Session::begin(execs.clone(), &start("echo ready; exec cat"));
    let mut out = Vec::new();
    assert_eq!(session.line(&mut out).await, "ready");
    let helper = rustix::process::Pid::from_raw(execs.helper()).unwrap();
    rustix::process::kill_process(helper, rustix::process::Signal::KILL).unwrap();
    let over = tokio::time::timeout(AT_ONCE, session.over).await.unwrap().unwrap();
    assert_eq!(over, Over::Lost("gone".to_owned()));
}

#[tokio::test]
async fn a_helper_that_stands_still_is_asked_and_goes_on_later() {
    let execs = Execs::new();
    let mut session = Session::begin(execs.clone(), &start("echo ready; exec cat"));
    let mut out = Vec::new();
    assert_eq!(session.line(&mut out).await, "ready");
    let helper = rustix::process::Pid::from_raw(execs.helper()).unwrap();
    let first = execs.cut.lock().unwrap().clone();
    rustix::process::kill_process(helper, rustix::process::Signal::STOP).unwrap();
    session.say("asked\n").await;
    // Its stream is dropped, and another tried.
    let began = std::time::Instant::now();
    while !first.is_cancelled() && began.elapsed() < Duration::from_secs(7) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rustix::process::kill_process(helper, rustix::process::Signal::CONT).unwrap();
    assert_eq!(session.line(&mut out).await, "asked");
    assert!(!execs.cut.lock().unwrap().is_cancelled(), "by another stream");
}
