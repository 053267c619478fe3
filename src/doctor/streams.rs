//! Which way do the bytes of sessions' servers go, and what is left of the doors that they come through? Judges only.

use std::time::Duration;

use super::line::{Findings, Line, Seen, list};
use crate::human::count;

/// What is known of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    pub doors: Doors,
    /// Doors of containers that are gone.
    pub left: Vec<String>,
    /// Servers that start by pipes or not at all.
    pub only_direct: Vec<String>,
    /// Servers whose settings lead their bytes through the daemon.
    pub never_direct: Vec<String>,
}

/// Whether the daemon has the folder of doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doors {
    Shared,
    /// The daemon is none of berth's making.
    Others,
    /// The daemon's engine has not this machine's files.
    Elsewhere,
    /// The daemon was made by a berth that knew of no doors, or not by `berth up` since.
    Former,
}

/// A process whose pipes were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    pub sent: u64,
    pub received: u64,
    /// From its start until its pipes were here.
    pub after: Duration,
}

pub(super) const NAME: &str = "streams";

pub(super) fn judge(seen: &Seen<Streams>, tried: &Seen<Handed>) -> Line {
    seen.line(NAME, |found| {
        let mut findings = Findings::default();
        let next = match found.doors {
            Doors::Shared => shared(&mut findings, tried),
            Doors::Others => {
                let why = "`host` in [dind] names a daemon that berth did not make";
                Some(through_the_daemon(&mut findings, why))
            }
            Doors::Elsewhere => {
                let why = "the daemon's engine has not this machine's files";
                Some(through_the_daemon(&mut findings, why))
            }
            Doors::Former => {
                findings.warn("bytes pass through the daemon: it was made without doors", "berth up");
                Some("berth up")
            }
        };
        if let (Some(next), false) = (next, found.only_direct.is_empty()) {
            let names = list(found.only_direct.iter().map(String::as_str));
            findings.fail(format!("cannot start with `streams = \"direct\"`: {names}"), next);
        }
        if !found.never_direct.is_empty() {
            let names = list(found.never_direct.iter().map(String::as_str));
            findings.fact(format!("through the daemon by their settings: {names}"));
        }
        if !found.left.is_empty() {
            findings.warn(format!("{} of ended containers", count(found.left.len(), "door")), "berth gc");
        }
        findings.into_line(NAME)
    })
}

/// What mends it for servers that have no other way; `None`: nothing has to be.
fn shared(findings: &mut Findings, tried: &Seen<Handed>) -> Option<&'static str> {
    match tried {
        Seen::Found(Handed { sent, received, after }) if sent == received => {
            let after = after.as_secs_f64() * 1e3;
            findings.fact(format!(
                "by pipes: a process's own were here {after:.1} ms after its start, and {received} of {sent} bytes arrived"
            ));
            None
        }
        Seen::Found(Handed { sent, received, .. }) => {
            findings.fail(format!("by pipes, and {received} of {sent} bytes arrived"), "berth validate");
            None
        }
        Seen::NotApplicable(why) => {
            findings.fact(format!("by pipes: the daemon has the folder of doors; not tried: {why}"));
            None
        }
        Seen::Failed { why, next } => {
            findings.warn(format!("bytes pass through the daemon: no pipes were handed over: {why}"), next);
            Some(TO_AUTO)
        }
    }
}

const TO_AUTO: &str = "set `streams = \"auto\"` for them";

fn through_the_daemon(findings: &mut Findings, why: &str) -> &'static str {
    findings.fact(format!("through the daemon: {why}"));
    TO_AUTO
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn streams(doors: Doors) -> Streams {
        Streams { doors, left: Vec::new(), only_direct: Vec::new(), never_direct: Vec::new() }
    }

    fn handed(received: u64) -> Seen<Handed> {
        Seen::Found(Handed { sent: 27, received, after: Duration::from_micros(3_210) })
    }

    fn line(found: Streams, tried: &Seen<Handed>) -> (State, String, Option<String>) {
        let line = judge(&Seen::Found(found), tried);
        (line.state, line.fact, line.next)
    }

    #[test]
    fn pipes_that_were_handed_over_are_told_with_their_numbers() {
        let fact = "by pipes: a process's own were here 3.2 ms after its start, and 27 of 27 bytes arrived";
        assert_eq!(line(streams(Doors::Shared), &handed(27)), (State::Ok, fact.to_owned(), None));
        let (state, fact, next) = line(streams(Doors::Shared), &handed(26));
        assert_eq!((state, next.as_deref()), (State::Failed, Some("berth validate")), "{fact}");
        let quick = Seen::NotApplicable("left out by `--quick`".to_owned());
        let (state, fact, _) = line(streams(Doors::Shared), &quick);
        assert_eq!(state, State::Ok);
        assert!(fact.ends_with("not tried: left out by `--quick`"), "{fact}");
    }

    #[test]
    fn a_way_that_is_not_there_is_a_warning_and_for_some_servers_a_failure() {
        let refused = Seen::failed("cannot connect to its door", "see it");
        let (state, fact, next) = line(streams(Doors::Shared), &refused);
        assert_eq!((state, next.as_deref()), (State::Warning, Some("see it")));
        assert!(fact.ends_with("no pipes were handed over: cannot connect to its door"), "{fact}");
        let only = Streams { only_direct: vec!["x".into()], ..streams(Doors::Shared) };
        let (state, fact, next) = line(only.clone(), &refused);
        assert_eq!((state, next.as_deref()), (State::Failed, Some(TO_AUTO)));
        assert!(fact.starts_with("cannot start with `streams = \"direct\"`: `x`; bytes pass"), "{fact}");
        assert_eq!(line(only, &handed(27)).0, State::Ok);
    }

    #[test]
    fn a_daemon_without_the_folder_says_why() {
        for (doors, state, next) in [
            (Doors::Others, State::Ok, None),
            (Doors::Elsewhere, State::Ok, None),
            (Doors::Former, State::Warning, Some("berth up")),
        ] {
            let (is, fact, command) = line(streams(doors), &handed(27));
            assert_eq!((is, command.as_deref()), (state, next), "{fact}");
            assert!(fact.contains("through the daemon: "), "{fact}");
            let only = Streams { only_direct: vec!["x".into()], ..streams(doors) };
            let (is, _, command) = line(only, &handed(27));
            assert_eq!((is, command.as_deref()), (State::Failed, next.or(Some(TO_AUTO))));
        }
    }

    #[test]
    fn doors_that_are_left_are_cleared_away_by_gc() {
        let left = Streams { left: vec!["0a".into(), "0b".into()], ..streams(Doors::Shared) };
        let (state, fact, next) = line(left, &handed(27));
        assert_eq!((state, next.as_deref()), (State::Warning, Some("berth gc")));
        assert!(fact.starts_with("2 doors of ended containers; by pipes"), "{fact}");
        let never = Streams { never_direct: vec!["g".into()], ..streams(Doors::Shared) };
        assert!(line(never, &handed(27)).1.ends_with("; through the daemon by their settings: `g`"));
    }
}
