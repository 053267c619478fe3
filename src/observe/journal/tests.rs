mod calls;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::file::{JournalFile, LONGEST, lost};
use super::writer::BURST;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn begin(state: &Path, session: &str) -> Journal {
    Journal::begin(state, session, Redactor::new(["hunter2".to_owned()]), true)
}

fn path(state: &Path, session: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{session}.jsonl"))
}

fn records(state: &Path, session: &str) -> Vec<Value> {
    let text = fs::read_to_string(path(state, session)).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn flush(journal: &Journal) {
    assert!(journal.0.queue.flush(30 * SECOND));
}

#[test]
fn a_session_leaves_its_start_its_lines_and_its_end_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("not/there");
    let journal = begin(&state, "abc");
    journal.start(&Start {
        server: "time",
        image: "mcp/time",
        client: None,
        client_session: Some("s"),
        project: Some("/p"),
        is_lazy: true,
    });
    let up = Up { how: "cold", server: "time", client: "codex", container: "c0ffee", lost: 1 };
    journal.step("connect", Duration::from_micros(1500), "tcp://x");
    journal.up(Duration::from_millis(300), &up);
    let (sink, _) = crate::observe::stderr::tests::Caught::sink();
    sink.record_in(&journal);
    sink.server_line("the password is hunter2");
    sink.line("berth: hunter2");
    sink.raw(bytes::Bytes::from_static(b"berth: warning: x\n"));
    sink.unrecorded("the trace");
    journal.note(Some(Direction::ServerToClient), "line too long", "", 7);
    journal.end(&End { why: "the client closed its output".to_owned(), requests: 3, ..End::default() });
    flush(&journal);

    let mut records = records(&state, "abc");
    for (at, record) in records.iter_mut().enumerate() {
        let record = record.as_object_mut().unwrap();
        assert_eq!(record.remove("seq").unwrap(), at + 1);
        let time: Timestamp = record.remove("time").unwrap().as_str().unwrap().parse().unwrap();
        assert!(Timestamp::now().duration_since(time).as_secs().abs() < 60);
        assert_eq!(record.remove("session").unwrap(), "abc");
    }
    records[0].as_object_mut().unwrap().remove("pid").unwrap();
    let expected = json!([
        {"kind": "start", "server": "time", "image": "mcp/time", "client_session": "s", "project": "/p",
            "calls": true, "lazy": true, "version": env!("CARGO_PKG_VERSION"), "schema": 1},
        {"kind": "step", "name": "connect", "duration_ms": 1.5, "detail": "tcp://x"},
        {"kind": "up", "how": "cold", "duration_ms": 300.0, "server": "time", "client": "codex",
            "container": "c0ffee", "lost": 1},
        {"kind": "stderr", "detail": "the password is [redacted]"},
        {"kind": "log", "detail": "berth: [redacted]"},
        {"kind": "log", "detail": "berth: warning: x"},
        {"kind": "note", "direction": "server->client", "name": "line too long", "bytes": 7},
        {"kind": "end", "detail": "the client closed its output", "code": 0, "requests": 3, "errors": 0,
            "lost": 0, "unanswered": 0},
    ]);
    assert_eq!(Value::from(records), expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state.join(FOLDER)), mode(&path(&state, "abc"))), (0o700, 0o600));
}

#[test]
fn nothing_is_made_before_there_is_something_to_write_and_the_lock_tells_who_lives() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    flush(&journal);
    assert!(!folder.path().join(FOLDER).exists());
    journal.line("log", b"x");
    flush(&journal);
    let path = path(folder.path(), "abc");
    assert!(is_live(&path));
    drop(journal);
    let began = Instant::now();
    while is_live(&path) {
        assert!(began.elapsed() < 30 * SECOND, "the thread ends with the last handle");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_line_is_bounded_and_a_secret_at_the_cut_is_hidden_whole() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    journal.line("stderr", &vec![b'x'; 1 << 20]);
    journal.line("stderr", format!("{}hunter2", "y".repeat(TEXT - 3)).as_bytes());
    flush(&journal);
    let records = records(folder.path(), "abc");
    assert_eq!(records[0]["detail"].as_str().unwrap().len(), TEXT);
    assert_eq!(records[0]["truncated"], true);
    assert_eq!(records[1]["detail"], format!("{}[redacted]", "y".repeat(TEXT - 3)));
}

#[test]
fn a_long_history_keeps_its_beginning_and_its_newest_part_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    let mut file = JournalFile::new(path.clone());
    let line = |n: usize| format!("{{\"kind\":\"stderr\",\"detail\":\"{n:0100}\"}}\n");
    let all = 3 * LONGEST / line(0).len();
    for n in 0..all {
        assert_eq!(file.append(line(n).as_bytes()), 0);
        assert!(is_live(&path) || n % 100 != 0, "the new file is locked like the old one");
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.len() <= LONGEST, "{}", text.len());
    let mut next = 0;
    let mut gaps = 0;
    for record in text.lines() {
        let record: Value = serde_json::from_str(record).expect(record);
        if record["kind"] == "dropped" {
            gaps += 1;
            assert!(next > 100, "the beginning is there");
            next += usize::try_from(record["count"].as_u64().unwrap()).unwrap();
        } else {
            assert_eq!(record["detail"], format!("{next:0100}"));
            next += 1;
        }
    }
    assert_eq!((next, gaps), (all, 1), "each is there or counted");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_server_that_talks_without_end_fills_no_disk_and_the_end_is_told_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let journal = begin(folder.path(), "abc");
    let sent = 20_000;
    for _ in 0..sent {
        journal.line("stderr", &[b'x'; 1000]);
        // What the queue has no room for is counted as well, but is not the point.
        flush(&journal);
    }
    journal.end(&End::default());
    flush(&journal);
    let records = records(folder.path(), "abc");
    let lines = records.iter().filter(|record| record["kind"] == "stderr").count() as u64;
    let missing: u64 = records.iter().filter_map(|record| record["count"].as_u64()).sum();
    assert_eq!(lines + missing, sent);
    assert!(lines >= u64::from(BURST) / 1200, "{lines}");
    assert!(missing > 0, "20 MB in a moment are more than it may say");
    assert_eq!(records.last().unwrap()["kind"], "end");
}

#[test]
fn a_folder_that_cannot_be_made_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("file");
    fs::write(&state, "no folder").unwrap();
    let journal = begin(&state, "abc");
    for _ in 0..100 {
        journal.line("stderr", b"x");
    }
    journal.end(&End::default());
    flush(&journal);
    assert_eq!(fs::read_to_string(&state).unwrap(), "no folder");
}

#[test]
fn on_a_full_disk_what_is_missing_is_counted_once_there_is_room() {
    // A bound of the process's own would hit other tests: this file refuses what `/dev/full` does.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(FOLDER)).unwrap();
    let file = path(folder.path(), "abc");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let mut full = JournalFile::new(file.clone());
    assert_eq!(full.append(b"lost\n") + full.append(b"lost\n"), 2);

    // Of several lines a full disk takes a part: those that are whole are there.
    let lines = b"{\"kind\":\"call\"}\n{\"kind\":\"dropped\",\"count\":3}\n{\"kind\":\"end\"}\n";
    let lost = |written| lost(lines, written);
    assert_eq!((lost(0), lost(15), lost(16), lost(40), lost(lines.len())), (5, 5, 4, 4, 0));

    // With the folder's place taken there is no file; then there is.
    fs::remove_file(&file).unwrap();
    let journal = begin(folder.path(), "abc");
    fs::create_dir(&file).unwrap();
    journal.line("log", b"one");
    journal.line("log", b"two");
    flush(&journal);
    fs::remove_dir(&file).unwrap();
    journal.line("log", b"three");
    flush(&journal);
    let records = records(folder.path(), "abc");
    assert_eq!((&records[0]["kind"], &records[0]["count"]), (&json!("dropped"), &json!(2)));
    assert_eq!(records[1]["detail"], "three");
}

#[test]
fn old_histories_go_and_living_ones_and_other_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let aged = |name: &str, age: Duration| {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        file.set_modified(SystemTime::now().checked_sub(age).unwrap()).unwrap();
        file
    };
    for n in 0..10 {
        aged(&format!("{n:012x}.jsonl"), n * SECOND);
    }
    let living = aged("11111111111a.jsonl", 100 * SECOND);
    living.try_lock().unwrap();
    aged("other.txt", 100 * SECOND);
    aged("mine.jsonl", 100 * SECOND);
    aged("22222222222b.jsonl.new", 100 * SECOND);
    let names = || {
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    prune::prune(folder.path(), 3, 50 * SECOND);
    let newest = ["000000000000.jsonl", "000000000001.jsonl", "000000000002.jsonl"];
    assert_eq!(names(), [&newest[..], &["11111111111a.jsonl", "mine.jsonl", "other.txt"]].concat());
    drop(living);
    prune::prune(folder.path(), 10, 50 * SECOND);
    assert_eq!(names(), [&newest[..], &["mine.jsonl", "other.txt"]].concat(), "it is too old");
    prune::prune(&folder.path().join("missing"), 0, SECOND);
}

#[test]
fn pruning_waits_for_the_first_answer() {
    let folder = tempfile::tempdir().unwrap();
    let old = path(folder.path(), "0123456789ab");
    fs::create_dir(folder.path().join(FOLDER)).unwrap();
    let file = fs::File::create(&old).unwrap();
    file.set_modified(SystemTime::now().checked_sub(2 * prune::OLDEST).unwrap()).unwrap();
    let journal = begin(folder.path(), "abc");
    journal.line("log", b"x");
    flush(&journal);
    assert!(old.exists());
    journal.tidy();
    flush(&journal);
    assert!(!old.exists());
}
