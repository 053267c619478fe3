use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use mcp_berth::observe::{audit, journal};
use tempfile::TempDir;

use super::query::sessions::{One, State};
use super::query::{calls, events, sessions};
use super::*;
use crate::database;
use crate::journals::{Follower, Sink as _};

mod noted;

const A: &str = "aaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbb";

const TEN_YEARS: Duration = Duration::from_hours(3650 * 24);

/// A manager's part that keeps the index, on a state folder of its own.
struct House {
    state: TempDir,
    index: Index,
    sink: Sink,
    keeper: Keeper,
    follower: Follower,
}

impl House {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(state: TempDir) -> Self {
        let index = Index::open(state.path()).unwrap();
        let sink = index.sink().unwrap();
        let keeper = index.keeper(state.path(), TEN_YEARS).unwrap();
        let follower = Follower::new(state.path());
        Self { state, index, sink, keeper, follower }
    }

    /// The manager is killed, and another one comes.
    fn again(self) -> Self {
        Self::at(self.state)
    }

    fn look(&mut self) -> u64 {
        self.follower.look(&mut [&mut self.sink]).unwrap()
    }

    /// What is done after a look.
    fn tend(&mut self) {
        let is_all = self.follower.look_at_audit(&mut [&mut self.sink]).unwrap();
        self.keeper.tend(is_all).unwrap();
    }

    fn path(&self, session: &str) -> PathBuf {
        self.state.path().join(journal::FOLDER).join(format!("{session}.jsonl"))
    }

    fn write(&self, session: &str, lines: &[String]) {
        let path = self.path(session);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
    }

    fn connection(&self) -> Connection {
        database::connect(&self.state.path().join(FILE)).unwrap()
    }

    fn one(&self, session: &str) -> Option<One> {
        sessions::one(&self.connection(), session).unwrap()
    }

    fn calls(&self) -> Vec<calls::Call> {
        let wanted = calls::Wanted { limit: 1000, ..Default::default() };
        calls::list(&self.connection(), wanted).unwrap().entries
    }

    /// Kind and name of each, the oldest first.
    fn events(&self) -> Vec<(String, String)> {
        let (found, _) = events::after(&self.connection(), events::Wanted::default(), 0, 1000).unwrap();
        found.into_iter().map(|event| (event.kind, event.name)).collect()
    }

    fn numbers(&self, session: &str) -> (i64, i64, i64) {
        let session = self.one(session).expect("it is there").session;
        (session.last_seq, session.indexed, session.dropped)
    }
}

/// A record at 10:00:00 and `seq` seconds.
fn line(seq: u64, kind: &str, more: &str) -> String {
    let time = format!("2026-11-22T10:{:02}:{:02}Z", seq / 60, seq % 60);
    format!("{{\"time\":\"{time}\",\"session\":\"x\",\"kind\":\"{kind}\",\"seq\":{seq}{more}}}\n")
}

fn call(seq: u64) -> String {
    let more = ",\"method\":\"tools/call\",\"tool\":\"t\",\"latency_ms\":2.345,\"bytes\":7,\"answer_bytes\":8,\"outcome\":\"ok\"";
    line(seq, "call", more)
}

fn start(seq: u64) -> String {
    let more = ",\"server\":\"time\",\"image\":\"mcp/time\",\"client_session\":\"cs\",\"project\":\"/p\",\"version\":\"0.1.0\",\"schema\":1";
    line(seq, "start", more)
}

fn up(seq: u64, how: &str, lost: u32) -> String {
    let more = format!(
        ",\"how\":\"{how}\",\"duration_ms\":331.5,\"server\":\"time\",\"client\":\"codex\",\"container\":\"c{lost}\",\"lost\":{lost}"
    );
    line(seq, "up", &more)
}

fn end(seq: u64) -> String {
    let more = ",\"detail\":\"the client closed its output\",\"code\":3,\"code_of\":\"server\",\"requests\":9,\"errors\":2,\"lost\":1,\"unanswered\":0";
    line(seq, "end", more)
}

fn note(seq: u64, name: &str, detail: &str) -> String {
    line(seq, "note", &format!(",\"name\":\"{name}\",\"detail\":\"{detail}\""))
}

#[test]
fn all_of_a_session_is_told() {
    let mut house = House::new();
    let step = line(2, "step", ",\"name\":\"take a name\",\"duration_ms\":2.25,\"detail\":\"mcp-codex-1\"");
    let records = [
        start(1),
        step,
        up(3, "standby", 0),
        call(4),
        note(5, "stray output", ""),
        note(6, "server ended", "OutOfMemory(1024)"),
        up(7, "cold", 1),
        note(8, "server ended", "Code(1)"),
        note(9, "port in use", "x"),
        line(10, "log", ",\"detail\":\"berth: warning: x\""),
        line(11, "stderr", ",\"detail\":\"a word\""),
        end(12),
    ];
    house.write(A, &records);
    assert_eq!(house.look(), 12);
    let One { session, steps, calls, failed } = house.one(A).unwrap();
    let said = serde_json::to_value(&session).unwrap();
    let expected = serde_json::json!({
        "session": A, "state": "ended", "started": "2026-11-22T10:00:01Z", "ended": "2026-11-22T10:00:12Z",
        "server": "time", "client": "codex", "client_session": "cs", "project": "/p", "image": "mcp/time",
        "version": "0.1.0", "containers": ["mcp-codex-1", "c0", "c1"], "how": "standby", "start_ms": 331.5,
        "recoveries": 1, "why": "the client closed its output", "code": 3, "code_of": "server",
        "requests": 9, "errors": 2, "lost": 1, "unanswered": 0, "last_seq": 12, "indexed": 12, "dropped": 0,
    });
    assert_eq!(said, expected);
    assert_eq!((steps.len(), steps[0].name.as_str(), steps[0].ms), (1, "take a name", 2.25));
    assert_eq!((calls, failed), (1, 0));
    let kinds: Vec<String> = house.events().into_iter().map(|(kind, _)| kind).collect();
    let expected = ["start", "quarantine", "out_of_memory", "recovery", "server_ended", "note", "log", "end"];
    assert_eq!(kinds, expected);
    let calls = house.calls();
    assert_eq!((calls[0].latency_ms, calls[0].client.as_deref()), (2.345, Some("codex")));

    // The journals say the same to a person.
    let past = mcp_berth::history::session::all(house.state.path()).remove(0);
    let told: mcp_berth::history::session::Past = serde_json::from_value(said).unwrap();
    assert_eq!(serde_json::to_value(&told).unwrap(), serde_json::to_value(&past).unwrap());
}

#[test]
fn a_manager_that_is_killed_at_any_moment_has_each_record_once() {
    let mut house = House::new();
    house.write(A, &[start(1), up(2, "cold", 0), call(3)]);
    // It dies before it commits.
    let record = mcp_berth::history::Record::parse(start(1).as_bytes()).unwrap();
    house.sink.take(crate::journals::Line { session: A, seq: 1, record: &record }).unwrap();
    let mut house = house.again();
    assert_eq!(house.one(A), None);
    assert_eq!(house.look(), 3);
    let mut house = house.again();
    assert_eq!(house.look(), 0);
    house.write(A, &[call(4), end(5)]);
    assert_eq!(house.look(), 2);
    let mut house = house.again();
    assert_eq!((house.look(), house.numbers(A)), (0, (5, 5, 0)));
    assert_eq!(house.calls().len(), 2);
}

#[test]
fn what_could_not_be_written_is_written_whole_later() {
    let mut house = House::new();
    house.write(A, &[start(1), call(2), end(3)]);
    let other = house.connection();
    other.execute_batch("ALTER TABLE events RENAME TO away").unwrap();
    assert!(house.follower.look(&mut [&mut house.sink]).is_err());
    assert_eq!((house.one(A), house.calls().len()), (None, 0), "nothing of it is half there");
    other.execute_batch("ALTER TABLE away RENAME TO events").unwrap();
    assert_eq!(house.look(), 3);
    assert_eq!((house.numbers(A), house.calls().len(), house.events().len()), ((3, 3, 0), 1, 1));
}

#[test]
fn a_record_that_is_missing_is_counted() {
    let mut house = House::new();
    house.write(A, &[start(1), call(2), call(5), end(9)]);
    house.look();
    assert_eq!(house.numbers(A), (9, 4, 5));
}

#[test]
fn a_journal_of_an_older_berth_is_read_once() {
    let mut house = House::new();
    let old = |text: String| {
        let at = text.find(",\"seq\":").unwrap();
        let rest = &text[at + 7..];
        format!("{}{}", &text[..at], rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
    };
    house.write(A, &[start(1), call(2), end(3)].map(old));
    assert_eq!(house.look(), 3);
    let mut house = house.again();
    assert_eq!((house.look(), house.numbers(A), house.calls().len()), (0, (3, 3, 0), 1));
}

#[test]
fn a_journal_of_a_later_berth_is_never_misread() {
    let mut house = House::new();
    let later = line(1, "start", ",\"server\":\"time\",\"schema\":2");
    house.write(A, &[later, call(2), end(3)]);
    house.look();
    assert_eq!((house.numbers(A), house.calls().len(), house.events().len()), ((3, 0, 3), 0, 1));
    assert_eq!(house.one(A).unwrap().session.server, None);
}

#[test]
fn a_session_is_live_ended_or_killed() {
    let mut house = House::new();
    house.write(A, &[start(1), up(2, "cold", 0)]);
    let lock = File::open(house.path(A)).unwrap();
    lock.lock().unwrap();
    house.write(B, &[start(1), up(2, "cold", 0), call(7)]);
    house.look();
    let state = |house: &House, session| house.one(session).map(|one| (one.session.state, one.session.ended));
    assert_eq!(state(&house, A), Some((State::Live, None)));
    let last: Timestamp = "2026-11-22T10:00:07Z".parse().unwrap();
    assert_eq!(state(&house, B), Some((State::Killed, Some(last))));
    let mut house = house.again();
    house.look();
    let killed = |house: &House| house.events().iter().filter(|(kind, _)| kind == "killed").count();
    assert_eq!(killed(&house), 1, "it is said once");

    // It ends while no manager runs, and its journal goes.
    std::fs::remove_file(house.path(A)).unwrap();
    drop(lock);
    let mut house = house.again();
    house.look();
    house.tend();
    assert_eq!(state(&house, A).unwrap().0, State::Killed);
    assert_eq!(killed(&house), 2);
}

#[test]
fn an_index_that_is_removed_is_made_again() {
    let mut house = House::new();
    house.write(A, &[start(1), up(2, "cold", 0), call(3), end(4)]);
    house.look();
    let (one, newest) = (house.one(A), events::newest(&house.connection()).unwrap());
    for end in ["", "-wal", "-shm"] {
        _ = std::fs::remove_file(house.state.path().join(format!("{FILE}{end}")));
    }
    let mut house = house.again();
    assert_eq!(house.look(), 4);
    assert_eq!(house.one(A), one);
    let first = events::after(&house.connection(), events::Wanted::default(), 0, 1).unwrap().0.remove(0);
    assert!(first.id > newest, "{} is no later than {newest}", first.id);
}

#[test]
fn an_index_that_is_not_known_is_put_aside() {
    let mut house = House::new();
    house.write(A, &[start(1), end(2)]);
    house.look();
    let path = house.state.path().join(FILE);
    let mode = path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    house.connection().pragma_update(None, "user_version", 7).unwrap();
    let mut house = house.again();
    assert_eq!((house.one(A), house.look()), (None, 2));
    let aside = path.with_extension("db.old");
    let version = |path: &Path| {
        let connection = Connection::open(path).unwrap();
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((version(&aside), version(&path)), (7, 1));

    let House { state, .. } = house;
    std::fs::write(&path, "no database, and long enough to be taken for a page of one".repeat(100)).unwrap();
    let mut house = House::at(state);
    assert_eq!(house.look(), 2);
    assert!(std::fs::read(aside).unwrap().starts_with(b"no database"));
}

#[test]
fn what_is_old_is_forgotten_and_not_read_again() {
    let mut house = House::new();
    house.write(A, &[start(1), up(2, "cold", 0), call(3), end(4)]);
    house.write(B, &[start(1), up(2, "cold", 0), call(3), end(4)]);
    house.look();
    let old = Timestamp::now().checked_sub(TEN_YEARS).unwrap().as_microsecond() - 1;
    let connection = house.connection();
    connection.execute("UPDATE sessions SET ended = ?1 WHERE id = ?2", rusqlite::params![old, A]).unwrap();
    connection.execute("UPDATE events SET time = ?1 WHERE session = ?2", rusqlite::params![old, A]).unwrap();
    house.tend();
    assert_eq!((house.one(A), house.calls().len(), house.events().len()), (None, 1, 2));
    assert_eq!(house.numbers(B), (4, 4, 0));
    let mut house = house.again();
    assert_eq!((house.look(), house.one(A)), (0, None), "its journal is still there");
    std::fs::remove_file(house.path(A)).unwrap();
    house.tend();
    let lines: i64 =
        house.connection().query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(lines, 1);
}

#[test]
fn lines_of_the_audit_file_are_events_once() {
    let mut house = House::new();
    let add = |house: &House, event: &str| {
        audit::append(house.state.path(), &audit::Entry::new(event, "x")).unwrap();
    };
    house.tend();
    add(&house, "tool refused");
    add(&house, "definition held");
    house.tend();
    add(&house, "ended by hand");
    let path = house.state.path().join(audit::FILE);
    let half = "{\"schema\":1,\"time\":\"2026-11-22T10:00:00Z\",";
    OpenOptions::new().append(true).open(&path).unwrap().write_all(half.as_bytes()).unwrap();
    let mut house = house.again();
    house.tend();
    let rest =
        "\"event\":\"over a ceiling\"}\n{\"schema\":9,\"time\":\"2026-11-22T10:00:00Z\",\"event\":\"x\"}\n";
    OpenOptions::new().append(true).open(&path).unwrap().write_all(rest.as_bytes()).unwrap();
    house.tend();
    house.tend();
    let expected = [
        ("denial", "tool refused"),
        ("definition", "definition held"),
        ("audit", "ended by hand"),
        ("denial", "over a ceiling"),
    ];
    assert_eq!(house.events(), expected.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
    assert!(house.index.is_complete());
}
