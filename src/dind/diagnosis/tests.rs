use super::super::owner::LABEL_HOME;
use super::*;
use crate::config::Daemon;
use crate::dock::dial::DialError;
use crate::dock::labels::managed_by;

const NOW: &str = "2026-11-26T12:00:00Z";

/// A container of this home, started so many seconds ago, after its last end so many seconds ago.
fn container(status: &str, restarts: i64, started: i64, finished: i64) -> Container {
    let ago = |seconds: i64| (now() - jiff::SignedDuration::from_secs(seconds)).to_string();
    Container {
        id: String::new(),
        image: String::new(),
        labels: [managed_by()].into(),
        running: status == "running",
        pid: 0,
        status: status.to_owned(),
        health: "starting".to_owned(),
        health_log: String::new(),
        exit_code: 1,
        restarts,
        oom_killed: false,
        created_at: String::new(),
        started_at: ago(started),
        finished_at: ago(finished),
        address: None,
    }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn owner() -> Owner {
    let lookup = |name: &str| (name == "BERTH_HOME").then(|| "/b".to_owned());
    Owner::of(&Home::from_env(&lookup).unwrap())
}

fn judged(container: &Container, log: &str, deaths: i64) -> Diagnosis {
    judge("d", container, &owner(), log, deaths, now())
}

/// Cause and bare next step of what is down.
fn down(diagnosis: Diagnosis) -> (String, String) {
    match diagnosis {
        Diagnosis::Down(trouble) => (trouble.cause, trouble.next.to_string()),
        other => panic!("{other:?}"),
    }
}

const DIED: &str = "berth: iptables does not work here; type: apt install iptables\n";

#[test]
fn one_death_with_a_word_of_ours_is_proof() {
    for (status, restarts) in [("restarting", 1), ("exited", 0), ("running", 1), ("running", 7)] {
        let (cause, next) = down(judged(&container(status, restarts, 0, 1), DIED, 0));
        assert_eq!(cause, "the DinD daemon `d` dies at its start: iptables does not work here", "{status}");
        assert_eq!(next, "apt install iptables");
    }
    let bare = down(judged(&container("restarting", 1, 0, 1), "berth: no\n", 0));
    assert_eq!(bare.1, "docker logs d");
}

#[test]
fn words_of_a_life_before_are_no_reason() {
    let mended = container("running", 0, 1, 600);
    assert!(matches!(judged(&mended, DIED, 0), Diagnosis::Starting(_)), "somebody has started it again");
    let log = format!("{DIED}time=\"x\" msg=\"Starting up\"\n");
    assert!(matches!(judged(&container("running", 1, 1, 2), &log, 0), Diagnosis::Starting(_)));
}

#[test]
fn deaths_without_a_word_of_ours_are_counted() {
    let log = "failed to start daemon: no space left on device\n";
    let crashed = |restarts, deaths| judged(&container("restarting", restarts, 1, 0), log, deaths);
    assert!(matches!(crashed(1, 0), Diagnosis::Starting(_)), "it may be an accident");
    assert!(matches!(crashed(9, 1), Diagnosis::Starting(_)), "those may have been years ago");
    let (cause, next) = down(crashed(2, 2));
    let expected =
        "the DinD daemon `d` dies again and again: failed to start daemon: no space left on device";
    assert_eq!((cause.as_str(), next.as_str()), (expected, "docker logs d"));
    // The engine's pauses between its tries grow; who sees a long one needn't wait for another death.
    down(judged(&container("restarting", 6, 9, 4), log, 0));
    down(judged(&container("running", 6, 1, 8), log, 0));
    assert_eq!(
        down(judged(&container("restarting", 6, 9, 4), "", 0)).0.rsplit_once(": ").unwrap().1,
        "it ends with exit code 1"
    );
}

#[test]
fn what_is_young_is_starting_and_what_is_old_is_silent() {
    assert!(matches!(judged(&container("running", 0, 59, 70), "", 0), Diagnosis::Starting(_)));
    assert_eq!(judged(&container("running", 0, 61, 70), "", 0), Diagnosis::Silent);
    let healthy = Container { health: "healthy".to_owned(), ..container("running", 0, 5, 70) };
    assert_eq!(judged(&healthy, "", 0), Diagnosis::Silent, "somebody else is in the way");
    let ahead = container("running", 0, -90, 70);
    assert!(matches!(judged(&ahead, "", 0), Diagnosis::Starting(_)), "the engine's clock is ahead of ours");
}

#[test]
fn what_up_mends_is_up() {
    for (status, cause) in [
        ("exited", "the container `d` has exited (exit code 1)"),
        ("paused", "the container `d` is paused"),
        ("created", "the container `d` was never started"),
        ("dead", "the container `d` is dead"),
        ("removing", "the container `d` is being removed"),
    ] {
        let log = "time=\"x\" msg=\"Daemon shutdown complete\"\n";
        let found = down(judged(&container(status, 0, 9, 9), log, 0));
        assert_eq!(found, (cause.to_owned(), "berth up".to_owned()));
    }
}

#[test]
fn what_has_just_ended_may_be_restarted() {
    let ended = |ago| judged(&container("exited", 0, 60, ago), "", 0);
    assert!(matches!(ended(2), Diagnosis::Starting(_)));
    assert!(matches!(ended(3), Diagnosis::Down(_)));
    assert!(matches!(judged(&container("exited", 0, 60, 1), DIED, 0), Diagnosis::Down(_)), "it says why");
}

#[test]
fn another_ones_container_is_told_by_its_owner() {
    let mut foreign = container("running", 0, 1, 2);
    foreign.labels.clear();
    assert!(down(judged(&foreign, "", 0)).0.contains("is not berth's"));
    let mut other = container("restarting", 3, 1, 2);
    other.labels.insert(LABEL_HOME.to_owned(), "box:/c".to_owned());
    let Diagnosis::Down(trouble) = judged(&other, DIED, 0) else { panic!("it is another's") };
    assert!(trouble.cause.contains("another berth home, `box:/c`"), "{trouble:?}");
    assert_eq!((trouble.code, trouble.dies), (Code::Configuration, false));
}

#[test]
fn an_engine_is_waited_for_while_its_machine_boots() {
    let silent = |kind: std::io::ErrorKind| {
        let source = DialError::Connect { endpoint: "unix:///s".into(), source: kind.into() };
        DindError::Engine { engine: Box::new(Daemon::configured("unix:///s", None)), source: source.into() }
    };
    let minutes = |n| Some(Duration::from_mins(n));
    let refused = silent(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(
        without_engine(&refused, minutes(9)),
        Diagnosis::Starting("the Docker engine at `unix:///s` is still starting".to_owned())
    );
    for up in [minutes(10), None] {
        let (cause, next) = down(without_engine(&refused, up));
        assert!(cause.contains("unix:///s") && !next.contains("berth up"), "{cause}; {next}");
    }
    down(without_engine(&silent(std::io::ErrorKind::PermissionDenied), minutes(1)));
    assert!(machine_is_up_for().is_some());
}
