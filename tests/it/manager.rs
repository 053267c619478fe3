//! `berth manager`: what its index has, who may ask for it, and what becomes of it when the manager is killed. No daemon.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PATIENCE, berth, eventually};

/// A home of its own, with a manager.
struct Place {
    home: TempDir,
    /// When its histories are from: an index keeps none that are old.
    minute: String,
    manager: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Place {
    fn new() -> Self {
        let day_before = Timestamp::now() - SignedDuration::from_hours(24);
        let minute = day_before.strftime("%Y-%m-%dT%H:%M").to_string();
        Self { home: tempfile::tempdir().expect("a folder"), minute, manager: None }
    }

    fn berth(&self, args: &[&str]) -> Command {
        let mut command = berth();
        command.env("BERTH_HOME", self.home.path()).args(args);
        command
    }

    fn says(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.berth(args).output().expect("berth runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a manager, and waits until all journals are in its index.
    fn start(&mut self) {
        let args = ["manager", "run", "--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0"];
        let started = self.berth(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.manager = Some(started.expect("it starts"));
        eventually("a manager that has read the journals", PATIENCE, || {
            let ready = self.address().is_some() && self.get("/v1/sessions")["complete"] == true;
            ready.then_some(())
        });
    }

    /// SIGKILL.
    fn kill(&mut self) {
        if let Some(mut manager) = self.manager.take() {
            _ = manager.kill();
            _ = manager.wait();
        }
    }

    /// Of the API.
    fn address(&self) -> Option<String> {
        let (code, said) = self.says(&["manager", "status"]);
        let line = said.lines().find_map(|line| line.strip_prefix("API:"))?.trim();
        let address = line.strip_prefix("http://")?.to_owned();
        assert_eq!(code, Some(0));
        Some(address)
    }

    fn token(&self) -> String {
        self.says(&["manager", "token"]).1.trim().to_owned()
    }

    /// Status, head and body of the answer.
    fn ask(&self, path: &str, headers: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address().expect("it listens")).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> Value {
        let headers = format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", self.token());
        let (status, _, body) = self.ask(path, &headers);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    fn journal(&self, session: &str) -> PathBuf {
        self.home.path().join("state/sessions").join(format!("{session}.jsonl"))
    }

    /// Adds records to a session's journal, from this number on.
    fn write(&self, session: &str, first: usize, records: &[Value]) {
        let path = self.journal(session);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        for (seq, record) in (first..).zip(records) {
            let mut whole =
                json!({ "time": format!("{}:{seq:02}Z", self.minute), "session": session, "seq": seq });
            whole.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
            writeln!(file, "{whole}").unwrap();
        }
    }

    fn with_histories() -> Self {
        let place = Self::new();
        for (at, (session, client)) in
            [("aaaaaaaaaaaa", "codex"), ("bbbbbbbbbbbb", "claude")].into_iter().enumerate()
        {
            let first = 1 + 10 * at;
            let records = [
                json!({ "kind": "start", "server": "time", "image": "mcp/time", "schema": 1, "version": "0.1.0" }),
                json!({ "kind": "step", "name": "take a name", "duration_ms": 2.5, "detail": format!("mcp-{client}-1") }),
                json!({ "kind": "up", "how": "cold", "duration_ms": 331.5, "client": client, "container": "f".repeat(64), "lost": 0 }),
                json!({ "kind": "call", "method": "tools/call", "tool": "now", "latency_ms": 1.234 + f64::from(u8::try_from(at).unwrap()),
                    "bytes": 70, "answer_bytes": 2000, "outcome": "ok" }),
                json!({ "kind": "call", "method": "no/such", "latency_ms": 0.5 + f64::from(u8::try_from(at).unwrap()) / 8.0,
                    "bytes": 7, "answer_bytes": 20, "outcome": "error", "code": -32601 }),
                json!({ "kind": "end", "detail": "the client closed its output", "code": 0, "requests": 2, "errors": 1, "lost": 0, "unanswered": 0 }),
            ];
            place.write(session, first, &records);
        }
        place
    }
}

#[test]
fn who_asks_has_the_token_and_is_of_this_machine() {
    let mut place = Place::with_histories();
    let (code, said) = place.says(&["manager", "status"]);
    assert_eq!((code, said.trim()), (Some(69), "no manager runs"));
    place.start();
    let with_token = format!("Authorization: Bearer {}\r\n", place.token());
    let here = "Host: 127.0.0.1\r\n";
    assert_eq!(place.ask("/healthz", here).0, 200);
    for (path, headers, expected) in [
        ("/v1/sessions", here.to_owned(), 401),
        ("/v1/nothing", here.to_owned(), 401),
        ("/v1/sessions", format!("{here}Authorization: Bearer {}\r\n", "0".repeat(64)), 401),
        ("/v1/sessions", format!("Host: example.org\r\n{with_token}"), 403),
        ("/healthz", "Host: example.org\r\n".to_owned(), 403),
        ("/v1/sessions", format!("{here}Origin: http://example.org\r\n{with_token}"), 403),
        ("/v1/nothing", format!("{here}{with_token}"), 404),
        ("/v1/calls?limit=0", format!("{here}{with_token}"), 400),
    ] {
        let (status, head, body) = place.ask(path, &headers);
        assert_eq!(status, expected, "{path} {headers}: {body}");
        assert!(head.contains("content-type: application/problem+json"), "{path}: {head}");
    }
    let second = place.berth(&["manager", "run"]).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    let holder = format!("process {} is the manager of ", place.manager.as_ref().unwrap().id());
    assert!(second.status.code() == Some(69) && error.contains(&holder), "{error}");
    let (code, said) = place.says(&["manager", "stop"]);
    assert_eq!((code, said.contains("has ended")), (Some(0), true), "{said}");
    assert_eq!(place.says(&["manager", "status"]).0, Some(69));
}

#[test]
fn a_person_is_told_the_same_by_a_manager_and_more() {
    let mut place = Place::with_histories();
    let asked: [&[&str]; 12] = [
        &["sessions"],
        &["sessions", "--json"],
        &["sessions", "--client", "codex"],
        &["sessions", "--since", "3650d", "-n", "1"],
        &["calls"],
        &["calls", "--json"],
        &["calls", "--slow", "-n", "3", "--json"],
        &["calls", "--errors", "--client", "claude", "--json"],
        &["calls", "last"],
        &["calls", "aaaa", "--json"],
        &["calls", "mcp-codex-1", "--json"],
        &["calls", "ffffffffffff"],
    ];
    let without: Vec<_> = asked.iter().map(|args| place.says(args)).collect();
    assert!(without.iter().all(|(code, said)| *code == Some(0) && said.lines().count() > 1), "{without:?}");
    place.start();
    for (args, without) in asked.iter().zip(&without) {
        assert_eq!(place.says(args), *without, "{args:?}");
    }
    // Journals are removed after a while.
    std::fs::remove_file(place.journal("aaaaaaaaaaaa")).unwrap();
    std::fs::remove_file(place.journal("bbbbbbbbbbbb")).unwrap();
    for (args, without) in asked.iter().zip(&without) {
        assert_eq!(place.says(args), *without, "{args:?}: the index has it still");
    }
    place.kill();
    assert_eq!(place.says(&["sessions", "--json"]), (Some(0), "[]\n".to_owned()));
}

#[test]
fn a_manager_that_is_killed_goes_on_and_has_nothing_twice() {
    let mut place = Place::with_histories();
    let call = json!({ "kind": "call", "method": "ping", "latency_ms": 0.5, "bytes": 7, "answer_bytes": 20, "outcome": "ok" });
    place.write("cccccccccccc", 1, &[json!({ "kind": "start", "server": "time" }), call.clone()]);
    place.start();
    let events = place.get("/v1/events");
    place.write("cccccccccccc", 3, &[call.clone(), call.clone()]);
    place.kill();
    // Two records of it are not in the file, and never will be.
    place.write("cccccccccccc", 7, &[call, json!({ "kind": "end", "code": 0 })]);
    place.start();
    let session = place.get("/v1/sessions/cccccccccccc");
    let numbers = ["last_seq", "indexed", "dropped", "calls"].map(|name| session[name].as_u64());
    assert_eq!(numbers, [Some(8), Some(6), Some(2), Some(4)]);
    assert_eq!(place.get("/v1/calls")["calls"].as_array().unwrap().len(), 8);
    let now = place.get("/v1/events");
    let known = events["events"].as_array().unwrap();
    let new = &now["events"].as_array().unwrap()[..1];
    assert_eq!((&new[0]["kind"], &now["events"].as_array().unwrap()[1..]), (&json!("end"), known.as_slice()));
    assert!(new[0]["id"].as_i64() > known[0]["id"].as_i64());
}

/// Becomes a program that has two listening sockets from whoever started it, as from systemd (`sd_listen_fds(3)`).
const HANDING: &str = r#"
import fcntl, os, socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(one.getsockname()[1] for one in held), flush=True)
away = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 10) for one in held]
for place, one in enumerate(away, 3):
    os.dup2(one, place)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn sockets_that_were_handed_over_are_taken_the_api_first() {
    let mut place = Place::new();
    let mut command = Command::new("python3");
    command.args(["-c", HANDING, env!("CARGO_BIN_EXE_berth"), "manager", "run"]);
    command.env("BERTH_HOME", place.home.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let manager = place.manager.insert(command.spawn().expect("python3"));
    let mut said = BufReader::new(manager.stdout.take().unwrap());
    let mut ports = String::new();
    said.read_line(&mut ports).unwrap();
    let asked = |port: &str, path: &str| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    };
    let (api, monitor) = ports.trim_end().split_once(' ').unwrap();
    // Who connects before the manager accepts waits in the socket.
    assert_eq!(asked(api, "/healthz"), "HTTP/1.1 200 OK");
    assert_eq!(asked(api, "/metrics"), "HTTP/1.1 401 Unauthorized");
    assert_eq!(asked(monitor, "/healthz"), "HTTP/1.1 200 OK");
    assert_eq!(place.address(), Some(format!("127.0.0.1:{api}")));
}

#[test]
fn what_sessions_run_has_nothing_of_the_managers() {
    let berth = PathBuf::from(env!("CARGO_BIN_EXE_berth"));
    let has = |program: &str, library: &str| {
        let text = std::fs::read(berth.with_file_name(program)).unwrap();
        // Panics name their files.
        memchr::memmem::find(&text, format!("/{library}-").as_bytes()).is_some()
    };
    for library in ["axum", "rusqlite", "prometheus-client", "maud", "utoipa"] {
        assert!(has("berth-manager", library) && !has("berth", library), "{library}");
    }
}
