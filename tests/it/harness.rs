//! A session as a test tells it: `Berth::run("everything").client("codex").start()`, then `.send(..)`, `.expect(..)`.

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longer than anything takes on a slow machine; only a defect waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A container is gone this soon after its session (the promise of the design).
pub(crate) const GONE_WITHIN: Duration = Duration::from_secs(5);

/// The tests' own state folder. Never a person's own `BERTH_HOME`: the configuration in it is overwritten.
static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let home = std::env::var_os("BERTH_TEST_HOME").map_or_else(
        || {
            let user = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache");
            let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(user, PathBuf::from);
            cache.join("mcp-berth/test-home")
        },
        PathBuf::from,
    );
    std::fs::create_dir_all(&home).expect("the tests' state folder");
    std::fs::create_dir_all(files_of(&home)).expect("the folder that is shared");
    let share = format!("[dind]\nshare = [\"{}\"]\n", files_of(&home).display());
    let config = include_str!("berth.toml").replacen("[dind]\n", &share, 1);
    std::fs::write(home.join("berth.toml"), config).expect("the tests' configuration");
    home
});

/// Starts the daemon, once for all tests.
static DAEMON: LazyLock<()> = LazyLock::new(|| {
    let start = || berth().arg("up").output().expect("berth runs");
    let mut up = start();
    if !up.status.success() {
        // A run with another state folder was cut off and left its daemon; the name is the tests' own.
        let _ = berth().args(["down", "--force"]).output();
        up = start();
    }
    assert!(
        up.status.success(),
        "these tests need Docker and the images of fixtures/setup.sh; `berth up` says:\n{}",
        String::from_utf8_lossy(&up.stderr)
    );
});

/// Beside the home, which can't be shared.
fn files_of(home: &Path) -> PathBuf {
    home.with_extension("files")
}

/// A folder that the daemon shares, emptied for a test of this name.
pub(crate) fn shared(name: &str) -> PathBuf {
    let folder = files_of(&HOME).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::canonicalize(folder).expect("a folder")
}

pub(crate) fn home() -> &'static Path {
    &HOME
}

/// The program, pointed at the tests' state folder, with no client's environment.
pub(crate) fn berth() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.env("BERTH_HOME", &*HOME).stdin(Stdio::null());
    for name in
        ["CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR", "BERTH_LOG", "BERTH_STALE_AFTER"]
    {
        command.env_remove(name);
    }
    command
}

/// Makes sure that the daemon runs.
pub(crate) fn daemon() {
    LazyLock::force(&DAEMON);
}

/// The docker CLI on the tests' daemon: an eye that is not berth's own.
pub(crate) fn docker(args: &[&str]) -> Output {
    docker_command(args).output().expect("the docker CLI runs")
}

/// The same, for what runs beside a test.
pub(crate) fn docker_command(args: &[&str]) -> Command {
    daemon();
    let mut command = Command::new("docker");
    command
        .args(args)
        .env("DOCKER_HOST", "tcp://127.0.0.1:22376")
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", HOME.join("certs"));
    command
}

/// What a `berth` command says: exit code, standard output, standard error.
pub(crate) fn berth_says(args: &[&str]) -> (Option<i32>, String, String) {
    let output = berth().args(args).output().expect("berth runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a successful docker command printed, trimmed.
pub(crate) fn docker_says(args: &[&str]) -> String {
    let output = docker(args);
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Names of a client's containers, running or not, as the daemon has them.
pub(crate) fn containers_of(client: &str) -> Vec<String> {
    let filter = format!("label=io.mcp-berth.client={client}");
    docker_says(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"])
        .lines()
        .map(str::to_owned)
        .collect()
}

/// What the daemon knows of a container.
pub(crate) fn inspect(container: &str) -> Value {
    let mut found: Value = serde_json::from_str(&docker_says(&["inspect", container])).expect("JSON");
    found[0].take()
}

/// Runs `work` on each item at once, and gives the results in the items' order.
pub(crate) fn at_once<T: Send, R: Send>(items: Vec<T>, work: impl Fn(usize, T) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let started: Vec<_> =
            items.into_iter().enumerate().map(|(n, item)| scope.spawn(move || work(n, item))).collect();
        started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// Waits until `done` gives something.
pub(crate) fn eventually<T>(what: &str, within: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(began.elapsed() < within, "{what} did not happen within {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a trace says one of these; looks more often than [`eventually`], for what is killed then is about to go on.
pub(crate) fn until_traced(file: &Path, marks: &[&str]) {
    let began = Instant::now();
    while !std::fs::read_to_string(file).is_ok_and(|said| marks.iter().any(|mark| said.contains(mark))) {
        assert!(began.elapsed() < PATIENCE, "none of {marks:?} in {}", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a client has no container, and fails if that takes longer than promised.
pub(crate) fn expect_gone(client: &str) {
    eventually(&format!("the end of {client}'s containers"), GONE_WITHIN, || {
        containers_of(client).is_empty().then_some(())
    });
}

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
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Some(Ok(n @ 1..)) = stderr.as_mut().map(|stderr| stderr.read(&mut chunk)) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
        });
        Session { child, stdin, lines, said, client: self.client, next_id: 100, _unread: self.unread }
    }
}

/// A running `berth run`. Killed when it is dropped.
pub(crate) struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    said: Arc<Mutex<String>>,
    client: String,
    next_id: u64,
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
        self.expect(|message| message["id"] == id && message.get("method").is_none())
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
        eventually(&format!("{text:?} on standard error"), PATIENCE, || {
            self.stderr().contains(text).then_some(())
        });
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

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of berth", PATIENCE, || child.try_wait().expect("a child"))
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
