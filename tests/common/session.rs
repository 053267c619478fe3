//! A session as a test tells it: `Berth::run("everything").client("codex").start()`, then `.send(..)`, `.expect(..)`.
//!
//! What `berth` is, where its containers are and what must run first is said by the harness that this file is a part of.

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENCE, berth, containers_of, daemon, eventually};

/// A `berth run`, before it starts.
pub(crate) struct Berth {
    command: Command,
    client: String,
    unread: Option<PipeReader>,
}

impl Berth {
    /// `berth run SERVER`
    pub(crate) fn run(server: &str) -> Self {
        let mut command = berth();
        command.args(["run", server]);
        Self { command, client: "unknown".to_owned(), unread: None }
    }

    /// `berth run` with several servers, or with a profile.
    pub(crate) fn several(args: &[&str]) -> Self {
        let mut command = berth();
        command.arg("run").args(args);
        Self { command, client: "unknown".to_owned(), unread: None }
    }

    /// `berth run --image IMAGE`; its command is the last that is added.
    pub(crate) fn image(image: &str) -> Self {
        let mut command = berth();
        command.args(["run", "--image", image, "--network", "none"]);
        Self { command, client: "unknown".to_owned(), unread: None }
    }

    /// `berth run`, without a server: what starts one stands behind the `--` that is added last.
    pub(crate) fn line() -> Self {
        let mut command = berth();
        command.arg("run");
        Self { command, client: "unknown".to_owned(), unread: None }
    }

    /// A name of the test's own.
    pub(crate) fn client(mut self, name: &str) -> Self {
        self.command.args(["--client", name]);
        name.clone_into(&mut self.client);
        self
    }

    pub(crate) fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Its standard error is a pipe that is full, and that nobody reads.
    pub(crate) fn unread(mut self) -> Self {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let size = rustix::pipe::fcntl_getpipe_size(&writer).expect("its size");
        writer.write_all(&vec![b'.'; size]).expect("it takes as much");
        self.command.stderr(writer);
        self.unread = Some(reader);
        self
    }

    /// Any other program that speaks MCP, as a comparison.
    pub(crate) fn instead(command: Command) -> Self {
        Self { command, client: "comparison".to_owned(), unread: None }
    }

    pub(crate) fn start(self) -> Session {
        daemon();
        self.start_without_daemon()
    }

    /// With the handshake behind it.
    pub(crate) fn started(self) -> Session {
        let mut session = self.start();
        session.initialize();
        session
    }

    /// For tests of what happens when it isn't there.
    pub(crate) fn start_without_daemon(mut self) -> Session {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if self.unread.is_none() {
            self.command.stderr(Stdio::piped());
        }
        let mut child = self.command.spawn().expect("berth starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take();
        let (line, lines) = channel();
        std::thread::spawn(move || {
            for text in stdout.split(b'\n') {
                let Ok(text) = text else { break };
                if line.send(text).is_err() {
                    break;
                }
            }
        });
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let listener = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Some(Ok(n @ 1..)) = stderr.as_mut().map(|stderr| stderr.read(&mut chunk)) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
        });
        Session {
            child,
            stdin,
            lines,
            said,
            listener,
            client: self.client,
            next_id: 100,
            passed_over: Vec::new(),
            _unread: self.unread,
        }
    }
}

/// A running `berth run`. Killed when it is dropped.
pub(crate) struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    said: Arc<Mutex<String>>,
    /// Hears standard error to its end.
    listener: JoinHandle<()>,
    client: String,
    next_id: u64,
    /// Answers that came while another one was waited for.
    passed_over: Vec<Value>,
    /// Open for as long as the session lasts.
    _unread: Option<PipeReader>,
}

impl Session {
    pub(crate) fn client(&self) -> &str {
        &self.client
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> &mut Self {
        let stdin = self.stdin.as_mut().expect("still open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("berth reads its input");
        self
    }

    pub(crate) fn send(&mut self, message: &Value) -> &mut Self {
        self.send_raw(format!("{message}\n").as_bytes())
    }

    /// The next line, without its newline; `None` at the end.
    pub(crate) fn line(&mut self) -> Option<Vec<u8>> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line within {PATIENCE:?}; stderr: {}", self.stderr())
            }
        }
    }

    /// The next line if one comes soon.
    pub(crate) fn line_within(&mut self, within: Duration) -> Option<Vec<u8>> {
        self.lines.recv_timeout(within).ok()
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Value {
        let line = self.line().unwrap_or_else(|| panic!("the session ended; stderr: {}", self.stderr()));
        serde_json::from_slice(&line)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&line)))
    }

    /// The next message for which `wanted` holds; others are passed over.
    pub(crate) fn expect(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.message();
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The answer to the request with this id.
    pub(crate) fn answer(&mut self, id: impl Into<Value>) -> Value {
        let id = id.into();
        // It may have come while another one was waited for.
        if let Some(at) = self.passed_over.iter().position(|message| message["id"] == id) {
            return self.passed_over.remove(at);
        }
        loop {
            let message = self.message();
            let is_answer = message.get("method").is_none();
            if is_answer && message["id"] == id {
                return message;
            }
            if is_answer {
                self.passed_over.push(message);
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        self.answer(id)
    }

    /// Calls a tool; its result.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert!(answer.get("result").is_some(), "{tool}: {answer}");
        answer["result"].clone()
    }

    /// Calls a tool; the text of its result.
    pub(crate) fn call_text(&mut self, tool: &str, arguments: Value) -> String {
        self.call(tool, arguments)["content"][0]["text"].as_str().expect("a text").to_owned()
    }

    /// Calls a tool whose answer must be the very next message; its result.
    pub(crate) fn call_first(&mut self, tool: &str, arguments: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let params = json!({ "name": tool, "arguments": arguments });
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
        let mut message = self.message();
        assert_eq!(message["id"], id, "{tool}: {message}");
        message["result"].take()
    }

    /// The legacy handshake.
    pub(crate) fn initialize(&mut self) -> Value {
        let name = self.client.clone();
        let answer = self.request(
            "initialize",
            json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "roots": { "listChanged": true }, "sampling": {}, "elicitation": {} },
                "clientInfo": { "name": name, "version": "1" },
            }),
        );
        assert!(answer.get("result").is_some(), "initialize: {answer}; stderr: {}", self.stderr());
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        answer
    }

    /// Names of this client's containers.
    pub(crate) fn containers(&self) -> Vec<String> {
        containers_of(&self.client)
    }

    /// Waits until the standard error contains `text`.
    pub(crate) fn expect_stderr(&self, text: &str) {
        let began = Instant::now();
        while !self.stderr().contains(text) {
            assert!(began.elapsed() < PATIENCE, "no {text:?} on standard error: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the client has exactly one container that has its number, and gives its name.
    pub(crate) fn container(&self) -> String {
        eventually("a container with its number", PATIENCE, || {
            let mut names = self.containers();
            // What it has put on standby is nobody's.
            names.retain(|name| !name.ends_with(".standby"));
            match names.as_slice() {
                [name] if !name.ends_with(".starting") => Some(name.clone()),
                _ => None,
            }
        })
    }

    /// What berth has written to its standard error.
    pub(crate) fn stderr(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Closes berth's standard input.
    pub(crate) fn close(&mut self) -> &mut Self {
        self.stdin = None;
        self
    }

    pub(crate) fn signal(&mut self, signal: &str) -> &mut Self {
        let sent = Command::new("kill").args([signal, &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        self
    }

    /// Sends SIGKILL, with no program in between that takes its time, and waits.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child");
        self.wait();
    }

    /// Waits for the end of the process, and of what it has written to its standard error.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let Self { child, listener, .. } = self;
        let status = eventually("the end of berth", PATIENCE, || child.try_wait().expect("a child"));
        let ended = Instant::now();
        // A process that has inherited it may go on.
        while !listener.is_finished() && ended.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
        status
    }

    /// The exit code; a signal is none.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.wait().code()
    }

    /// The lines that are left, once the process has ended.
    pub(crate) fn rest(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.line()).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
