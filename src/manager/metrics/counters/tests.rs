use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use mcp_berth::observe::journal;

use super::*;

use crate::journals::Follower;
use crate::metrics::families::{
    DROPPED, ERRORS, OPERATIONS, OVERHEAD, PHASES, RECORDS, RECOVERIES, SERVER_ENDS, SESSION_DURATION,
    STANDBY_HITS, STANDBY_MISSES, STARTS,
};
use crate::metrics::labels::OTHER;

/// A state folder with journals, and the manager's folder in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.folder()).unwrap();
        std::fs::create_dir(place.0.path().join(journal::FOLDER)).unwrap();
        place
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("manager")
    }

    fn open(&self) -> Counters {
        Counters::open(&self.folder()).unwrap()
    }

    fn journal(&self, session: &str) -> PathBuf {
        self.0.path().join(journal::FOLDER).join(format!("{session}.jsonl"))
    }

    fn append(&self, session: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.journal(session)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// One look of a manager that begins now.
    fn look(&self, counters: &mut Counters) -> anyhow::Result<u64> {
        Follower::new(self.0.path()).look(&mut [counters])
    }
}

/// Records from `first` on, a second apart: what stands behind their numbers.
fn records(first: u64, members: &[&str]) -> String {
    let mut text = String::new();
    for (seq, members) in (first..).zip(members) {
        writeln!(text, "{{\"time\":\"2026-11-28T10:00:{:02}Z\",\"seq\":{seq},{members}}}", seq % 60).unwrap();
    }
    text
}

const START: &str = r#""kind":"start","server":"files","client":"codex""#;
const LOOK: &str = r#""kind":"step","name":"look for a container on standby","duration_ms":4.0"#;
const UP: &str =
    r#""kind":"up","how":"standby","duration_ms":120.0,"server":"files","client":"codex","lost":0"#;
const CALL: &str = r#""kind":"call","method":"tools/call","tool":"read","latency_ms":15.0,"bytes":100,"answer_bytes":1000,"outcome":"ok""#;
const END: &str = r#""kind":"end","detail":"the client closed its output","code":0"#;

fn number_of(counters: &Counters, family: &Family, labels: &[&str]) -> f64 {
    let labels: Labels = labels.iter().map(|label| (*label).to_owned()).collect();
    counters.kept.get(family, &labels).map_or(0.0, |value| value.sum)
}

fn seen(counters: &Counters, family: &Family) -> u64 {
    counters.kept().of(family).flat_map(|(_, value)| &value.counts).sum()
}

#[test]
fn a_session_is_counted_as_its_journal_has_it() {
    let place = Place::new();
    let lost = UP.replace("standby", "cold").replace("\"lost\":0", "\"lost\":1");
    let killed = r#""kind":"note","name":"server ended","detail":"OutOfMemory(1024)""#;
    let failed = CALL.replace("\"ok\"", "\"tool_error\"");
    let refused = CALL.replace("\"ok\"", "\"error\",\"code\":-32602").replace("read", "no such tool");
    let all = [START, LOOK, UP, CALL, &failed, &refused, killed, LOOK, &lost, CALL, END];
    place.append("aaaaaaaaaaaa", &records(1, &all));
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    let number = |family, labels: &[&str]| number_of(&counters, family, labels);
    for (family, labels, expected) in [
        (&RECORDS, &[][..], 11.0),
        (&SESSIONS_STARTED, &["codex", "files"], 1.0),
        (&STANDBY_HITS, &["files"], 1.0),
        (&STANDBY_MISSES, &["files"], 1.0),
        (&RECOVERIES, &["files"], 1.0),
        (&SERVER_ENDS, &["files", "out_of_memory"], 1.0),
        (&ERRORS, &["files", "tool_error"], 1.0),
        (&ERRORS, &["files", "error"], 1.0),
        (&STARTS, &["files", "standby"], 0.12),
        (&SESSION_DURATION, &["files", "codex", ""], 10.0),
        (&OPERATIONS, &["files", "tools/call", "read", ""], 0.03),
        (&OPERATIONS, &["files", "tools/call", "read", "tool_error"], 0.015),
        // Nobody but the client says that there is such a tool.
        (&OPERATIONS, &["files", "tools/call", OTHER, "-32602"], 0.015),
    ] {
        assert!(
            (number(family, labels) - expected).abs() < 1e-9,
            "{family:?} {labels:?}: {}",
            number(family, labels)
        );
    }
    assert_eq!(seen(&counters, &OPERATIONS), 4);
    let open = counters.open_sessions();
    assert_eq!(open.of(&SESSIONS).next().map(|(_, value)| value.sum), Some(0.0));
}

#[test]
fn what_berth_adds_is_counted_where_a_line_says_it() {
    let place = Place::new();
    let told = CALL.replace("\"latency_ms\"", "\"relay_us\":12.5,\"latency_ms\"");
    place.append("aaaaaaaaaaaa", &records(1, &[START, UP, &told, &told, CALL]));
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    let tally = counters.kept();
    let (labels, value) = tally.of(&OVERHEAD).next().unwrap();
    assert_eq!((labels.as_slice(), value.counts[..3].to_vec()), (&["files".to_owned()][..], vec![0, 2, 0]));
    assert!((value.sum - 25e-6).abs() < 1e-12, "{}", value.sum);
    assert_eq!((seen(&counters, &OVERHEAD), seen(&counters, &OPERATIONS)), (2, 3));
}

#[test]
fn a_lazy_start_is_a_kind_of_its_own_and_its_container_counts_all_the_same() {
    let place = Place::new();
    let lazy = format!("{START},\"lazy\":true");
    let next = UP.replace("\"lost\":0", "\"lost\":1");
    let ended = r#""kind":"note","name":"server ended","detail":"Lost""#;
    place.append("aaaaaaaaaaaa", &records(1, &[&lazy, LOOK]));
    place.look(&mut place.open()).unwrap();
    // The manager begins anew in between.
    place.append("aaaaaaaaaaaa", &records(3, &[UP, ended, LOOK, &next]));
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    let number = |family, labels: &[&str]| number_of(&counters, family, labels);
    assert!(number(&STARTS, &["files", "lazy"]) > 0.0 && number(&STARTS, &["files", "standby"]) > 0.0);
    assert_eq!((seen(&counters, &STARTS), number(&STANDBY_HITS, &["files"])), (2, 2.0));
    let look = "look for a container on standby";
    assert!(number(&PHASES, &[look, "lazy"]) > 0.0 && number(&PHASES, &[look, "standby"]) > 0.0);
}

#[test]
fn a_record_counts_once_though_the_manager_is_killed_before_it_keeps_it() {
    let place = Place::new();
    place.append("aaaaaaaaaaaa", &records(1, &[START, UP, CALL]));
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    place.append("aaaaaaaaaaaa", &records(4, &[CALL, CALL]));
    // Taken, and not committed.
    let text = records(4, &[CALL, CALL]);
    for (seq, line) in (4..).zip(text.lines()) {
        let record = mcp_berth::history::Record::parse(line.as_bytes()).unwrap();
        counters.take(Line { session: "aaaaaaaaaaaa", seq, record: &record }).unwrap();
    }
    assert_eq!(seen(&counters, &OPERATIONS), 1, "what may be lost is not told");
    drop(counters);
    let mut counters = place.open();
    assert_eq!(seen(&counters, &OPERATIONS), 1);
    place.look(&mut counters).unwrap();
    assert_eq!((seen(&counters, &OPERATIONS), number_of(&counters, &RECORDS, &[])), (3, 5.0));
    for _ in 0..3 {
        counters = place.open();
        place.look(&mut counters).unwrap();
    }
    assert_eq!((seen(&counters, &OPERATIONS), number_of(&counters, &RECORDS, &[])), (3, 5.0));
}

/// An index that was deleted: it asks for everything again.
#[derive(Debug, Default)]
struct Deleted(u64);

impl Sink for Deleted {
    fn has(&mut self, _: &str) -> anyhow::Result<u64> {
        Ok(0)
    }
    fn take(&mut self, _: Line<'_>) -> anyhow::Result<()> {
        self.0 += 1;
        Ok(())
    }
    fn over(&mut self, _: &str) -> anyhow::Result<()> {
        Ok(())
    }
    fn commit(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

#[test]
fn a_deleted_index_changes_no_counter() {
    let place = Place::new();
    place.append("aaaaaaaaaaaa", &records(1, &[START, UP, CALL, END]));
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    let before = counters.kept();
    let mut index = Deleted::default();
    let mut counters = place.open();
    Follower::new(place.0.path()).look(&mut [&mut index, &mut counters]).unwrap();
    assert_eq!((index.0, counters.kept() == before), (4, true), "{:?}", counters.kept());
}

#[test]
fn what_could_not_be_kept_is_counted_when_it_can() {
    let place = Place::new();
    place.append("aaaaaaaaaaaa", &records(1, &[START, UP, CALL]));
    let mut counters = place.open();
    let other = rusqlite::Connection::open(place.folder().join(FILE)).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'full'); END";
    other.execute_batch(full).unwrap();
    assert!(format!("{:#}", place.look(&mut counters).unwrap_err()).contains("full"));
    assert_eq!((seen(&counters, &OPERATIONS), counters.has("aaaaaaaaaaaa").unwrap()), (0, 0));
    other.execute_batch("DROP TRIGGER full").unwrap();
    place.look(&mut counters).unwrap();
    assert_eq!((seen(&counters, &OPERATIONS), seen(&place.open(), &OPERATIONS)), (1, 1));
}

#[test]
fn a_session_is_forgotten_with_its_journal_and_its_counts_are_not() {
    let place = Place::new();
    place.append("aaaaaaaaaaaa", &records(1, &[START, CALL, END]));
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    std::fs::remove_file(place.journal("aaaaaaaaaaaa")).unwrap();
    place.append("bbbbbbbbbbbb", &records(1, &[START, CALL]));
    place.look(&mut counters).unwrap();
    let counters = place.open();
    assert_eq!(counters.sessions.keys().collect::<Vec<_>>(), ["bbbbbbbbbbbb"]);
    assert_eq!(seen(&counters, &OPERATIONS), 2);
}

#[test]
fn missing_records_are_counted_and_a_killed_session_too() {
    let place = Place::new();
    place.append("aaaaaaaaaaaa", &[records(1, &[START, CALL]), records(10, &[CALL])].concat());
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    assert_eq!(Some(number_of(&counters, &DROPPED, &[])), Some(7.0));
    // Nobody holds the journal's lock.
    place.look(&mut counters).unwrap();
    let killed = number_of(&counters, &SESSION_DURATION, &["files", "codex", "killed"]);
    assert_eq!((killed, seen(&counters, &SESSION_DURATION)), (9.0, 1));
}

#[test]
fn an_open_session_is_a_gauge_until_it_is_over() {
    let place = Place::new();
    place.append("aaaaaaaaaaaa", &records(1, &[START, UP]));
    let lock = std::fs::File::open(place.journal("aaaaaaaaaaaa")).unwrap();
    lock.lock().unwrap();
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    let open = |counters: &Counters| {
        let open = counters.open_sessions();
        open.get(&SESSIONS, &vec!["codex".to_owned(), "files".to_owned()]).map(|value| value.sum)
    };
    assert_eq!(open(&counters), Some(1.0));
    drop(lock);
    place.look(&mut counters).unwrap();
    assert_eq!(open(&counters), Some(0.0));
}

#[test]
fn hostile_names_fill_nothing() {
    let place = Place::new();
    let mut text = String::new();
    for n in 0..3000 {
        // Hardly any two of them go together twice.
        let (server, tool) = (format!("server {}", n % 100), format!("tool {}", n % 301));
        let call = CALL.replace("read", &tool);
        let server = START.replace("files", &server).replace("codex", &format!("client {n}"));
        text += &records(2 * n + 1, &[&server, &call]);
    }
    place.append("aaaaaaaaaaaa", &text);
    let mut counters = place.open();
    place.look(&mut counters).unwrap();
    let sets = counters.kept.of(&OPERATIONS).count();
    assert!(sets <= 1001, "{sets}");
    for (at, most) in [(0, 65), (2, 257)] {
        let values: HashSet<&String> = counters.kept.of(&OPERATIONS).map(|(labels, _)| &labels[at]).collect();
        assert!(values.len() <= most && values.contains(&OTHER.to_owned()), "{}", values.len());
    }
    assert_eq!(seen(&counters, &OPERATIONS), 3000, "all are counted");
    assert_eq!(seen(&place.open(), &OPERATIONS), 3000);
}

#[test]
fn the_audit_files_lines_count_once() {
    use mcp_berth::observe::audit::{Entry, append};
    let place = Place::new();
    let refused = Entry { server: Some("files".to_owned()), missing: 2, ..Entry::new("tool refused", "x") };
    append(place.0.path(), &refused).unwrap();
    for _ in 0..2 {
        let mut counters = place.open();
        assert!(Follower::new(place.0.path()).look_at_audit(&mut [&mut counters]).unwrap());
        let number = |event| number_of(&counters, &AUDIT, &["files", event]);
        assert_eq!((number("tool_refused"), number("not_recorded")), (1.0, 2.0));
    }
}

#[test]
fn what_another_berth_remembers_of_a_session_hinders_nobody() {
    let place = Place::new();
    place.append("aaaaaaaaaaaa", &records(1, &[START, CALL]));
    place.look(&mut place.open()).unwrap();
    let other = rusqlite::Connection::open(place.folder().join(FILE)).unwrap();
    for state in ["{\"later\":1}", "{\"server\":[]}", "?"] {
        other.execute("UPDATE sessions SET state = ?", [state]).unwrap();
        let mut counters = place.open();
        assert_eq!(counters.has("aaaaaaaaaaaa").unwrap(), 2, "{state}");
        place.look(&mut counters).unwrap();
        assert_eq!(seen(&counters, &OPERATIONS), 1, "{state}");
    }
}

#[test]
fn a_later_berths_file_is_left_alone() {
    let place = Place::new();
    drop(place.open());
    let other = rusqlite::Connection::open(place.folder().join(FILE)).unwrap();
    other.pragma_update(None, "user_version", 2).unwrap();
    let refused = Counters::open(&place.folder()).unwrap_err();
    assert!(refused.text.ends_with("a later berth has written it"), "{refused:?}");
}
