//! Each record once, whatever becomes of the files, the sinks and the manager.

use std::fs::OpenOptions;
use std::io::Write;

use super::*;

/// What it has been given, and what of that it has kept.
#[derive(Debug, Default)]
struct Kept {
    has: HashMap<String, u64>,
    taken: Vec<(String, u64, String)>,
    over: Vec<String>,
    gone: Vec<String>,
    commits: usize,
    fails: bool,
}

impl Sink for Kept {
    fn has(&mut self, session: &str) -> anyhow::Result<u64> {
        Ok(self.has.get(session).copied().unwrap_or(0))
    }

    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(!self.fails, "full");
        assert!(self.has.get(line.session).is_none_or(|has| line.seq > *has), "twice: {line:?}");
        self.has.insert(line.session.to_owned(), line.seq);
        self.taken.push((line.session.to_owned(), line.seq, line.record.kind.clone()));
        Ok(())
    }

    fn over(&mut self, session: &str) -> anyhow::Result<()> {
        self.over.push(session.to_owned());
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.commits += 1;
        Ok(())
    }

    fn forget(&mut self, is_gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        self.gone = self.has.keys().filter(|session| is_gone(session)).cloned().collect();
        Ok(())
    }
}

fn line(seq: u64, kind: &str) -> String {
    format!("{{\"time\":\"2026-11-22T10:00:00Z\",\"session\":\"a\",\"kind\":\"{kind}\",\"seq\":{seq}}}\n")
}

fn path(state: &Path, session: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{session}.jsonl"))
}

fn append(state: &Path, session: &str, text: &str) {
    std::fs::create_dir_all(state.join(FOLDER)).unwrap();
    let path = path(state, session);
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn numbers(kept: &Kept) -> Vec<u64> {
    kept.taken.iter().map(|(_, seq, _)| *seq).collect()
}

#[test]
fn each_record_comes_once_however_the_file_grows() {
    let state = tempfile::tempdir().unwrap();
    let (mut follower, mut kept) = (Follower::new(state.path()), Kept::default());
    assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 0, "there is no folder yet");
    let third = line(3, "call");
    let (half, rest) = third.split_at(20);
    append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "up"), half.to_owned()].concat());
    assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 2);
    assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 0);
    append(state.path(), "aaaaaaaaaaaa", &format!("{rest}no record\n{}", line(4, "end")));
    assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 2);
    assert_eq!(numbers(&kept), [1, 2, 3, 4]);
    assert_eq!(kept.over, ["aaaaaaaaaaaa"], "nobody has locked it, and that is said once");
}

#[test]
fn a_manager_that_comes_again_goes_on_where_its_sinks_are() {
    let state = tempfile::tempdir().unwrap();
    append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "call"), line(3, "call")].concat());
    let mut index = Kept::default();
    let mut counters = Kept { has: HashMap::from([("aaaaaaaaaaaa".to_owned(), 2)]), ..Kept::default() };
    let looked = Follower::new(state.path()).look(&mut [&mut index, &mut counters]).unwrap();
    assert_eq!((looked, numbers(&index), numbers(&counters)), (3, vec![1, 2, 3], vec![3]));
}

#[test]
fn a_shortened_journal_goes_on_and_shows_what_is_missing_by_its_numbers() {
    let state = tempfile::tempdir().unwrap();
    let (mut follower, mut kept) = (Follower::new(state.path()), Kept::default());
    append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "call"), line(3, "call")].concat());
    follower.look(&mut [&mut kept]).unwrap();
    let dropped = "{\"time\":\"2026-11-22T10:00:00Z\",\"kind\":\"dropped\",\"count\":4}\n";
    let shortened = [&line(1, "start"), dropped, &line(6, "call"), &line(7, "call")].concat();
    let new = state.path().join("new");
    std::fs::write(&new, shortened).unwrap();
    std::fs::rename(new, path(state.path(), "aaaaaaaaaaaa")).unwrap();
    follower.look(&mut [&mut kept]).unwrap();
    assert_eq!(numbers(&kept), [1, 2, 3, 6, 7]);
}

#[test]
fn a_journal_of_an_older_berth_is_counted() {
    let state = tempfile::tempdir().unwrap();
    let old = |kind: &str| format!("{{\"time\":\"2026-11-22T10:00:00Z\",\"kind\":\"{kind}\"}}\n");
    append(state.path(), "aaaaaaaaaaaa", &[old("start"), old("up")].concat());
    let (mut follower, mut kept) = (Follower::new(state.path()), Kept::default());
    follower.look(&mut [&mut kept]).unwrap();
    append(state.path(), "aaaaaaaaaaaa", &old("end"));
    follower.look(&mut [&mut kept]).unwrap();
    assert_eq!(numbers(&kept), [1, 2, 3]);
    // Another manager's sinks have them all.
    assert_eq!(Follower::new(state.path()).look(&mut [&mut kept]).unwrap(), 0);
}

#[test]
fn what_a_sink_could_not_take_comes_again() {
    let state = tempfile::tempdir().unwrap();
    append(state.path(), "aaaaaaaaaaaa", &[line(1, "start"), line(2, "up")].concat());
    let (mut follower, mut kept) = (Follower::new(state.path()), Kept { fails: true, ..Kept::default() });
    assert!(follower.look(&mut [&mut kept]).is_err());
    kept.fails = false;
    assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 2);
}

#[test]
fn a_journal_that_is_gone_is_told_of_and_a_folder_that_cannot_be_read_loses_none() {
    let state = tempfile::tempdir().unwrap();
    for session in ["aaaaaaaaaaaa", "bbbbbbbbbbbb"] {
        append(state.path(), session, &line(1, "start"));
    }
    let (mut follower, mut kept) = (Follower::new(state.path()), Kept::default());
    follower.look(&mut [&mut kept]).unwrap();
    std::fs::remove_file(path(state.path(), "aaaaaaaaaaaa")).unwrap();
    let commits = kept.commits;
    follower.look(&mut [&mut kept]).unwrap();
    assert_eq!((&kept.gone[..], kept.commits), (&["aaaaaaaaaaaa".to_owned()][..], commits + 1));
    // A manager that comes then has never seen the other one.
    kept.gone.clear();
    Follower::new(state.path()).look(&mut [&mut kept]).unwrap();
    assert_eq!(kept.gone, ["aaaaaaaaaaaa"]);
    kept.gone.clear();
    std::fs::rename(state.path().join(FOLDER), state.path().join("away")).unwrap();
    follower.look(&mut [&mut kept]).unwrap();
    Follower::new(state.path()).look(&mut [&mut kept]).unwrap();
    assert_eq!(kept.gone, [""; 0]);
}

#[test]
fn a_number_is_found_where_berth_writes_it() {
    assert_eq!(numbered(line(17, "call").as_bytes()), Some(17));
    assert_eq!(numbered(b"{\"seq\":x}"), None);
    assert_eq!(numbered(&[&[b' '; 300], &b"\"seq\":1"[..]].concat()), None);
}

#[test]
fn a_manager_that_is_to_end_leaves_a_long_history_to_the_next_one() {
    let state = tempfile::tempdir().unwrap();
    let text: String = (1..=600).map(|seq| line(seq, "call")).collect();
    for session in ["a", "b", "c"] {
        append(state.path(), session, &text);
    }
    let stop = CancellationToken::new();
    let mut kept = Kept::default();
    let mut follower = Follower::new(state.path()).until(&stop);
    stop.cancel();
    assert_eq!(follower.look(&mut [&mut kept]).unwrap(), 1200, "what has just come is not much");
    assert!(kept.commits > 0 && kept.taken.iter().all(|(session, ..)| session != "c"));
    assert_eq!(Follower::new(state.path()).look(&mut [&mut kept]).unwrap(), 600);
}
