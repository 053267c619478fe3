//! Which numbers are found, for whom, and what is said of them.

use super::*;

const ROOM: Room = Room { containers: 32, memory: 1 << 30 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn told(watch: &mut Watch, session: &str, seq: u64, second: i64, rest: &str) {
    let line = format!("{{\"time\":\"{}\",\"seq\":{seq},{rest}}}", at(second));
    let record = Record::parse(line.as_bytes()).unwrap();
    watch.take(Line { session, seq, record: &record }).unwrap();
}

fn came(watch: &mut Watch, session: &str, second: i64, kind: &str) {
    let rest = format!("\"kind\":\"standby\",\"name\":\"{kind}\",\"min\":0,\"max\":20,\"bytes\":8388608");
    told(watch, session, 5, second, &rest);
}

fn watch() -> (tempfile::TempDir, Watch) {
    let folder = tempfile::tempdir().unwrap();
    let watch = Watch::open(folder.path()).unwrap();
    (folder, watch)
}

#[test]
fn each_kind_has_its_own_number_and_a_change_says_why() {
    let (_folder, mut watch) = watch();
    for session in ["a", "b", "c", "d", "e"] {
        came(&mut watch, session, 0, "codex-1");
    }
    came(&mut watch, "f", 1, "codex-2");
    let Decided { targets, changes: decisions, .. } = watch.decide(at(1), ROOM);
    assert_eq!(targets, BTreeMap::from([("codex-1".to_owned(), 6), ("codex-2".to_owned(), 2)]));
    assert_eq!((decisions.len(), decisions[0].from, decisions[0].to), (2, None, Some(6)));
    assert_eq!(decisions[0].why.to_string(), "5 sessions came within 10 s");
    assert_eq!(watch.decide(at(2), ROOM).changes, [], "nothing has changed");
    let idle = watch.decide(at(400), ROOM).changes;
    assert_eq!((idle[0].kind.as_str(), idle[0].client()), ("codex-1", "codex"));
    assert_eq!(idle[0].to_string(), "6 -> 0: no session came for 5 minutes");
    assert_eq!(watch.decide(at(7 * 3600), ROOM), Decided::default(), "forgotten");
}

#[test]
fn how_long_it_took_is_from_the_session_on() {
    let (_folder, mut watch) = watch();
    came(&mut watch, "a", 0, "codex-1");
    told(&mut watch, "a", 6, 30, "\"kind\":\"step\",\"name\":\"put on standby\",\"duration_ms\":300");
    came(&mut watch, "b", 40, "codex-1");
    came(&mut watch, "c", 65, "codex-1");
    assert_eq!(
        watch.decide(at(66), ROOM).changes[0].why,
        Why::Demand { sessions: 2, within: Duration::from_secs(30) }
    );
}

#[test]
fn all_kinds_have_room_together() {
    let (_folder, mut watch) = watch();
    for n in 0..10 {
        came(&mut watch, &format!("a{n}"), 0, "codex-1");
    }
    came(&mut watch, "b", 0, "codex-2");
    let Decided { targets, changes: decisions, .. } = watch.decide(at(1), Room { containers: 6, ..ROOM });
    assert_eq!(targets.values().copied().collect::<Vec<_>>(), [4, 2], "the greatest gives way");
    assert_eq!(decisions[0].why, Why::Room);
    let little = Room { memory: 24 << 20, ..ROOM };
    assert_eq!(watch.decide(at(1), little).targets.values().sum::<u32>(), 3);
    assert_eq!(watch.decide(at(1), Room { containers: 0, memory: 0 }).targets.values().sum::<u32>(), 0);
}

#[test]
fn a_stranger_cannot_fill_the_memory_or_break_it() {
    let (_folder, mut watch) = watch();
    for n in 0..1000 {
        came(&mut watch, "a", 0, &format!("codex-{n}"));
    }
    told(&mut watch, "a", 9, 0, "\"kind\":\"standby\",\"name\":\"x\",\"min\":9,\"max\":1");
    told(&mut watch, "a", 10, 0, "\"kind\":\"standby\"");
    assert_eq!(watch.decide(at(1), ROOM).targets.len(), KINDS);
}

#[test]
fn a_fixed_number_is_a_persons_to_change_and_nobody_elses() {
    let (folder, mut watch) = watch();
    told(&mut watch, "a", 1, 0, "\"kind\":\"start\",\"server\":\"files\"");
    let fixed = "\"kind\":\"standby\",\"name\":\"codex-1\",\"min\":1,\"max\":1,\"bytes\":8388608";
    told(&mut watch, "a", 5, 0, fixed);
    assert_eq!(watch.decide(at(1), ROOM), Decided::default());
    let known = watch.known().remove(0);
    assert_eq!((known.server.as_str(), known.target, known.set), ("files", None, None));

    watch.set("codex-1", Standby::fixed(3), "files").unwrap();
    let decided = watch.decide(at(2), ROOM);
    assert_eq!(decided.by_hand, BTreeSet::from(["codex-1".to_owned()]));
    assert_eq!(decided.changes[0].to_string(), "3: a person has set it");
    assert_eq!(decided.changes[0].server, "files");
    assert_eq!(watch.known()[0].target, Some(3));

    watch.set("codex-1", Standby::between(0, 8).unwrap(), "files").unwrap();
    let changed = watch.decide(at(3), ROOM).changes;
    assert_eq!(changed[0].to_string(), "3 -> 2: 1 session came within 10 s, within a person's bounds");

    assert!(watch.unset("codex-1").unwrap());
    let decided = watch.decide(at(4), ROOM);
    assert_eq!(decided.changes[0].to_string(), "2 -> as configured: the configuration has a fixed number");
    assert!(decided.targets.is_empty() && decided.by_hand.is_empty());

    // After a new start no journal may tell of the kind any more.
    watch.set("codex-1", Standby::fixed(40), "files").unwrap();
    let again = Watch::open(folder.path()).unwrap();
    assert_eq!(again.decide(at(5), ROOM).targets["codex-1"], 32, "no more than the daemon may have");
    assert_eq!((again.known()[0].kind.as_str(), again.known()[0].server.as_str()), ("codex-1", "files"));
}

#[test]
fn the_newest_sessions_configuration_holds_whatever_is_read_last() {
    let (_folder, mut watch) = watch();
    let bounds = |least: u32| {
        format!("\"kind\":\"standby\",\"name\":\"codex-1\",\"min\":{least},\"max\":20,\"bytes\":8388608")
    };
    told(&mut watch, "a", 5, 10, &bounds(3));
    told(&mut watch, "b", 5, 20, &bounds(5));
    told(&mut watch, "c", 5, 15, &bounds(7));
    assert_eq!(watch.known()[0].standby, Standby::between(5, 20).unwrap());
}

#[test]
fn who_needs_most_memory_gives_way_where_memory_is_short() {
    let (_folder, mut watch) = watch();
    for n in 0..5 {
        came(&mut watch, &format!("a{n}"), 0, "codex-1");
    }
    let great = "\"kind\":\"standby\",\"name\":\"codex-2\",\"min\":0,\"max\":20,\"bytes\":1073741824";
    told(&mut watch, "b", 5, 0, great);
    let decided = watch.decide(at(1), Room { containers: 32, memory: 1 << 30 });
    let targets: Vec<u32> = decided.targets.into_values().collect();
    assert_eq!(targets, [6, 0], "one of the second kind alone leaves no room for the others");
}

#[test]
fn what_is_known_of_a_session_ends_with_it() {
    let (_folder, mut watch) = watch();
    came(&mut watch, "a", 0, "codex-1");
    assert_eq!((watch.has("a").unwrap(), watch.has("b").unwrap()), (5, 0));
    watch.over("a").unwrap();
    told(&mut watch, "a", 6, 100, "\"kind\":\"step\",\"name\":\"put on standby\"");
    came(&mut watch, "b", 100, "codex-1");
    let why = watch.decide(at(101), ROOM).changes.remove(0).why;
    assert_eq!(why, Why::Demand { sessions: 1, within: Duration::from_secs(10) }, "nobody waited for it");
    watch.forget(&|session| session == "a").unwrap();
    assert_eq!((watch.has("a").unwrap(), watch.has("b").unwrap()), (0, 5));
    for n in 0..=SESSIONS {
        told(&mut watch, &format!("x{n}"), 1, 100, "\"kind\":\"start\"");
    }
    assert!(watch.kinds.lock().unwrap().sessions.len() <= SESSIONS);
    assert_eq!(watch.has("b").unwrap(), 5, "it lives");
}
