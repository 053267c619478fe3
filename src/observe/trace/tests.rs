use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::*;
use crate::observe::stderr::tests::Caught;
use crate::rpc::envelope::look;

const CALL: &[u8] =
    br#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","token":"t0k"}}"#;

fn to_file(path: &Path, bodies: bool, secrets: &[&str]) -> Trace {
    let redactor = Redactor::new(secrets.iter().map(|secret| (*secret).to_owned()));
    Trace::open(Sink::File(path.into()), bodies, redactor, StderrSink::to(io::sink())).unwrap()
}

/// Closes the trace and reads the file; a line that is no JSON fails the test.
fn records(trace: Trace, path: &Path) -> Vec<Value> {
    trace.close();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn send(trace: &Trace, line: &[u8]) {
    trace.message(Direction::ClientToServer, &look(line).unwrap(), line, None);
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_file_has_the_documented_members_and_no_others() {
    let folder = folder();
    let path = folder.path().join("trace");
    let trace = to_file(&path, false, &[]);
    trace.step("lease", Instant::now().checked_sub(Duration::from_millis(20)).unwrap(), "mcp-codex-1");
    trace.session("mcp-codex-1");
    trace.session("mcp-codex-2");
    send(&trace, CALL);
    let up = Up { how: "standby", server: "time", client: "codex", container: "c0ffee", lost: 0 };
    trace.up(Instant::now(), &up);
    let answer = br#"{"jsonrpc":"2.0","id":"\u0061","error":{"code":-32601,"message":"x"}}"#;
    let latency = Some(Duration::from_nanos(12_345_678));
    trace.message(Direction::ServerToClient, &look(answer).unwrap(), answer, latency);
    trace.note(Some(Direction::ServerToClient), "stray print", "hello", 5);
    trace.note(None, "end", "", 0);
    let mut records = records(trace, &path);
    for record in &mut records {
        let time = record.as_object_mut().unwrap().remove("time").unwrap();
        let time = time.as_str().unwrap();
        assert!(time.len() == "2026-11-22T16:20:18.123456Z".len() && time.ends_with('Z'), "{time}");
        let age = Timestamp::now().duration_since(time.parse().unwrap());
        assert!(age.as_secs().abs() < 60, "{time}");
    }
    let took = records[0].as_object_mut().unwrap().remove("duration_ms").unwrap().as_f64().unwrap();
    assert!((20.0..2000.0).contains(&took), "{took}");
    assert!(records[2].as_object_mut().unwrap().remove("duration_ms").is_some());
    let expected = json!([
        {"kind": "step", "name": "lease", "detail": "mcp-codex-1"},
        {"session": "mcp-codex-1", "direction": "client->server", "kind": "request", "method": "tools/call",
            "tool": "echo", "id": 3, "bytes": CALL.len()},
        {"session": "mcp-codex-1", "kind": "up", "how": "standby", "server": "time", "client": "codex",
            "container": "c0ffee"},
        {"session": "mcp-codex-1", "direction": "server->client", "kind": "error", "id": "a", "code": -32601,
            "bytes": answer.len(), "latency_ms": 12.346},
        {"session": "mcp-codex-1", "direction": "server->client", "kind": "note", "name": "stray print",
            "detail": "hello", "bytes": 5},
        {"session": "mcp-codex-1", "kind": "note", "name": "end", "bytes": 0},
    ]);
    assert_eq!(Value::from(records), expected);
}

#[test]
fn an_id_stays_as_it_was_spelt() {
    let folder = folder();
    let path = folder.path().join("trace");
    let trace = to_file(&path, false, &[]);
    send(&trace, br#"{"jsonrpc":"2.0","id":1.0e0,"method":"a"}"#);
    send(&trace, br#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"a"}"#);
    trace.close();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(
        text.contains(r#""id":1.0e0,"#) && text.contains(r#""id":123456789012345678901234567890,"#),
        "{text}"
    );
}

#[test]
fn the_file_is_for_its_owner_only_and_is_appended_to() {
    let folder = folder();
    let path = folder.path().join("trace");
    let first = to_file(&path, false, &[]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    send(&first, CALL);
    first.close();
    let second = to_file(&path, false, &[]);
    send(&second, CALL);
    assert_eq!(records(second, &path).len(), 2);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_names_it_and_its_cause() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    // The named pipe has no reader: it must not be waited for.
    for path in [folder.path().to_owned(), folder.path().join("no/such"), fifo] {
        let opened =
            Trace::open(Sink::File(path.clone()), false, Redactor::new([]), StderrSink::to(io::sink()));
        let error = opened.unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn each_message_of_a_batch_has_a_record_and_the_first_has_the_body() {
    let folder = folder();
    let path = folder.path().join("trace");
    let trace = to_file(&path, true, &[]);
    send(&trace, br#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#);
    send(&trace, b"[]");
    let records = records(trace, &path);
    let of = |name: &str| records.iter().map(|record| record[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("kind"), ["request", "notification", "other"]);
    assert_eq!(of("method"), [json!("a"), json!("b"), Value::Null]);
    assert_eq!(of("bytes"), [70, 70, 2]);
    assert_eq!(of("batch"), [2, 2, 0]);
    assert_eq!(of("body")[0][1]["method"], "b");
    assert_eq!(of("body")[1..], [Value::Null, json!([])]);
}

#[test]
fn bodies_are_there_when_asked_for_and_redacted() {
    let folder = folder();
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    let trace = to_file(&with, true, &["hunter22"]);
    send(&trace, CALL);
    send(&trace, b" {\"jsonrpc\":\"2.0\",\"id\":\"a-hunter22\",\"method\":\"x/hunter22\",\"params\":\"\\u0068unter22\"}\r\n");
    trace.note(None, "stray print", "it is hunter22, TOKEN=abc", 8);
    trace.step("env", Instant::now(), "hunter22");
    let shown = records(trace, &with);
    assert_eq!(shown[0]["body"]["params"]["token"], "[redacted]");
    assert_eq!(shown[1]["id"], "a-[redacted]");
    assert_eq!(shown[1]["method"], "x/[redacted]");
    assert_eq!(shown[1]["body"]["params"], "[redacted]");
    assert_eq!(shown[2]["detail"], "it is [redacted], TOKEN=[redacted]");
    assert_eq!(shown[3]["detail"], "[redacted]");

    let trace = to_file(&without, false, &["hunter22"]);
    send(&trace, CALL);
    assert_eq!(records(trace, &without)[0].get("body"), None);
}

#[test]
fn a_number_that_holds_a_secret_becomes_a_string() {
    let folder = folder();
    let path = folder.path().join("trace");
    let trace = to_file(&path, true, &["123456"]);
    send(&trace, br#"{"jsonrpc":"2.0","id":91234567,"method":"a"}"#);
    let records = records(trace, &path);
    assert_eq!(records[0]["id"], "9[redacted]7");
    assert_eq!(
        records[0]["body"],
        serde_json::json!({ "jsonrpc": "2.0", "id": "[redacted]", "method": "a" })
    );
}

#[test]
fn long_bodies_and_methods_are_cut_and_say_so() {
    let folder = folder();
    let path = folder.path().join("trace");
    let trace = to_file(&path, true, &["correct horse battery"]);
    let head = r#"{"jsonrpc":"2.0","method":"a","params":""#;
    // The cut goes through the secret.
    let fill = "x".repeat(BODY - head.len() - 7);
    send(&trace, format!(r#"{head}{fill}correct horse battery{}"}}"#, "y".repeat(BODY)).as_bytes());
    send(&trace, format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, "m".repeat(5000)).as_bytes());
    send(&trace, CALL);
    let records = records(trace, &path);
    assert_eq!(records[0]["truncated"], true);
    assert_eq!(records[0]["bytes"], BODY * 2 + 16);
    assert_eq!(records[0]["body"], format!("{head}{fill}[redacted]"));
    assert_eq!(records[1]["method"], "m".repeat(TEXT));
    assert_eq!(records[1]["truncated"], true);
    assert_eq!(records[2].get("truncated"), None);
}

#[test]
fn a_full_queue_drops_records_and_says_how_many() {
    const SENT: usize = 5000;
    let folder = folder();
    let path = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let mut reader = OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
    let trace = to_file(&path, false, &[]);
    let began = Instant::now();
    for _ in 0..SENT {
        send(&trace, CALL);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "the data path waited {:?}", began.elapsed());
    let closing = std::thread::spawn(move || trace.close());
    let mut text = Vec::new();
    loop {
        match reader.read_to_end(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            read => {
                read.unwrap();
                break;
            }
        }
    }
    closing.join().unwrap();
    let lines = String::from_utf8(text).unwrap();
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &'static str| records.iter().filter(move |record| record["kind"] == kind);
    let missing: u64 = of("dropped").map(|record| record["count"].as_u64().unwrap()).sum();
    assert!(missing > 0);
    assert_eq!(of("request").count() + usize::try_from(missing).unwrap(), SENT);
}

#[test]
fn a_full_disk_ends_the_trace_with_one_line() {
    let (stderr, caught) = Caught::sink();
    let sink = Sink::File("/dev/full".into());
    let trace = Trace::open(sink, false, Redactor::new([]), stderr.clone()).unwrap();
    for _ in 0..50 {
        send(&trace, CALL);
    }
    trace.close();
    let text = caught.text(&stderr);
    assert!(text.starts_with("berth: trace stopped: cannot write to `/dev/full`: No space left"), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn the_lines_for_a_person_are_aligned_and_on_one_line_each() {
    let (stderr, caught) = Caught::sink();
    let trace = Trace::open(Sink::Stderr, false, Redactor::new([]), stderr.clone()).unwrap();
    send(&trace, CALL);
    send(&trace, br#"{"jsonrpc":"2.0","method":"a\nb\u001b[2J\u202e"}"#);
    let answer = format!(r#"{{"jsonrpc":"2.0","id":3,"result":"{}"}}"#, "x".repeat(5190));
    let latency = Some(Duration::from_micros(12_400));
    trace.message(Direction::ServerToClient, &look(answer.as_bytes()).unwrap(), answer.as_bytes(), latency);
    trace.note(None, "end", "client closed", 0);
    trace.close();
    let text = caught.text(&stderr);
    let lines: Vec<_> = text.lines().map(|line| line.split_at("16:20:18.123456".len())).collect();
    for (time, _) in &lines {
        assert!(jiff::civil::Time::strptime("%H:%M:%S%.6f", time).is_ok(), "{time}");
    }
    let rest: Vec<_> = lines.iter().map(|(_, rest)| *rest).collect();
    assert_eq!(
        rest,
        [
            " client->server request      tools/call echo id=3 85 B",
            " client->server notification a\\nb\\u{1b}[2J\\u{202e} 48 B",
            " server->client response     id=3 5.1 KiB 12.4 ms",
            " berth          note         end client closed",
        ]
    );
}

/// Takes its time for each line.
struct Slow(Caught);

impl io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(20));
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn close_waits_for_standard_error_as_well() {
    let caught = Caught::default();
    let stderr = StderrSink::to(Slow(caught.clone()));
    let trace = Trace::open(Sink::Stderr, false, Redactor::new([]), stderr).unwrap();
    for _ in 0..5 {
        send(&trace, CALL);
    }
    trace.close();
    assert_eq!(caught.so_far().lines().count(), 5);
}

#[test]
fn a_body_for_a_person_stands_on_a_second_line() {
    let (stderr, caught) = Caught::sink();
    let trace = Trace::open(Sink::Stderr, true, Redactor::new([]), stderr.clone()).unwrap();
    send(&trace, CALL);
    trace.close();
    let text = caught.text(&stderr);
    let body = text.lines().nth(1).unwrap();
    assert_eq!(
        body,
        r#"    {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","token":"[redacted]"}}"#
    );
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_the_writer_also_with_a_paused_clock() {
    let folder = folder();
    let path = folder.path().join("trace");
    let trace = to_file(&path, false, &[]);
    for _ in 0..500 {
        send(&trace, CALL);
    }
    trace.flush().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 500);
}

#[test]
fn off_it_does_nothing() {
    let trace = Trace::open(Sink::Off, true, Redactor::new([]), StderrSink::to(io::sink())).unwrap();
    assert!(trace.shared.is_none());
    send(&trace, CALL);
    trace.step("x", Instant::now(), "");
    trace.close();
}
