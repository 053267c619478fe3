//! What a probe container proves: its limits hold, its input can end, names are answered, and its lifeline ends it.
//! Judges only.

use std::time::Duration;

use super::ids::{self, Users};
use super::line::{Line, Seen};
use super::names::{self, Names};
use super::streams::Handed;
use crate::exam::check::Outcome;
use crate::exam::limits;
use crate::exam::limits::Resources;
use crate::human::count;

/// The promise: a container goes this soon after its owner.
pub const GONE_WITHIN: Duration = Duration::from_secs(5);

/// What was tried in the probe container.
#[derive(Debug, Clone)]
pub struct Probes {
    pub image: String,
    pub limits: Resources,
    pub users: Seen<Users>,
    pub eof: Seen<Eof>,
    pub names: Seen<Names>,
    /// Judged with the way that sessions take (`streams`).
    pub streams: Seen<Handed>,
    /// How long after its connection was dropped the container was gone.
    pub gone_after: Seen<Duration>,
}

/// A process whose input was closed, and that spoke after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eof {
    pub mutual_tls: bool,
    pub sent: u64,
    pub received: u64,
    /// It waited so long before it spoke.
    pub pause: Duration,
    /// From the closing to its words.
    pub heard_after: Duration,
}

const LIMITS: &str = "limits";
const EOF: &str = "end of input";
const LIFELINE: &str = "lifeline";

pub(super) fn judge(seen: &Seen<Probes>) -> Vec<Line> {
    vec![
        seen.line(LIMITS, limits),
        seen.line(ids::NAME, |probes| ids::judge(&probes.users)),
        seen.line(EOF, |probes| probes.eof.line(EOF, eof)),
        seen.line(names::NAME, |probes| probes.names.line(names::NAME, names::judge)),
        seen.line(LIFELINE, |probes| probes.gone_after.line(LIFELINE, |gone| lifeline(*gone))),
    ]
}

/// What became of pipes that were to be handed over; another line tells why there was no container for it.
pub(super) fn handed(seen: &Seen<Probes>) -> Seen<Handed> {
    match seen {
        Seen::Found(probes) => probes.streams.clone(),
        Seen::NotApplicable(why) => Seen::NotApplicable(why.clone()),
        Seen::Failed { .. } => Seen::NotApplicable("there was no container to try it in".to_owned()),
    }
}

fn limits(probes: &Probes) -> Line {
    let checks = limits::judge(&probes.limits);
    let failed: Vec<String> = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Failed)
        .map(|check| format!("not so: {} ({})", check.name, check.detail))
        .collect();
    if !failed.is_empty() {
        let next = "berth validate   # and see what `docker info` of the daemon warns of";
        return Line::failed(LIMITS, failed.join("; "), next);
    }
    let wanted = &probes.limits.wanted;
    let megabytes = wanted.memory.unwrap_or_default() >> 20;
    let (pids, cpus) = (wanted.pids.unwrap_or_default(), wanted.cpus.unwrap_or_default());
    let cpus = if (cpus - 1.0).abs() < f64::EPSILON {
        "1 processor".to_owned()
    } else {
        format!("{cpus} processors")
    };
    let mut fact = format!(
        "in a container of `{}`: memory {megabytes} MiB, {}, {cpus}, no capabilities, no new privileges",
        probes.image,
        count(pids, "process"),
    );
    for proof in [&probes.limits.memory.over, &probes.limits.pids.over] {
        if let Ok(limits::Went::Stopped(how)) = proof {
            fact = format!("{fact}; {how}");
        }
    }
    Line::ok(LIMITS, fact)
}

fn eof(eof: &Eof) -> Line {
    let Eof { sent, received, pause, heard_after, .. } = eof;
    let over = if eof.mutual_tls { "over mutual TLS" } else { "over the socket" };
    let fact = format!(
        "{over}: {received} of {sent} bytes arrived, then the end of input; words sent {} ms later arrived after {} ms",
        pause.as_millis(),
        heard_after.as_millis()
    );
    if received != sent {
        return Line::failed(EOF, fact, "berth validate");
    }
    Line::ok(EOF, fact)
}

fn lifeline(gone: Duration) -> Line {
    let fact = format!("the container was gone {:.2} s after its connection was dropped", gone.as_secs_f64());
    if gone <= GONE_WITHIN {
        Line::ok(LIFELINE, fact)
    } else {
        let promised = GONE_WITHIN.as_secs();
        Line::warning(LIFELINE, format!("{fact}; the promise is {promised} s"), "berth validate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;
    use crate::exam::limits::{Limits, Proof, Went};

    fn probes() -> Probes {
        let wanted = Limits {
            memory: Some(64 << 20),
            pids: Some(32),
            cpus: Some(0.5),
            effective: Some(0),
            bounding: Some(0),
            no_new_privileges: true,
            read_only_root: false,
        };
        let proof = |how: &str| Proof {
            under: Ok(Went::Through("fine".into())),
            over: Ok(Went::Stopped(how.into())),
        };
        Probes {
            image: "time".into(),
            limits: Resources {
                own_kernel: false,
                pids_of_node: false,
                wanted: wanted.clone(),
                seen: Ok(wanted),
                memory: proof("killed on the way to 96 MiB"),
                pids: proof("31 of 48 could be started"),
            },
            users: Seen::NotApplicable("an example".into()),
            eof: Seen::Found(Eof {
                mutual_tls: true,
                sent: 5,
                received: 5,
                pause: Duration::from_millis(200),
                heard_after: Duration::from_millis(210),
            }),
            names: Seen::NotApplicable("no configured server has a network".into()),
            streams: Seen::NotApplicable("an example".into()),
            gone_after: Seen::Found(Duration::from_millis(150)),
        }
    }

    fn states(probes: Probes) -> Vec<State> {
        judge(&Seen::Found(probes)).iter().map(|line| line.state).collect()
    }

    #[test]
    fn what_was_proven_is_told_with_its_numbers() {
        let lines = judge(&Seen::Found(probes()));
        let (ok, none) = (State::Ok, State::NotApplicable);
        assert_eq!(states(probes()), [ok, none, ok, none, ok]);
        assert!(lines[0].fact.contains("64 MiB") && lines[0].fact.contains("31 of 48"), "{}", lines[0].fact);
        assert!(
            lines[2].fact.contains("5 of 5 bytes") && lines[2].fact.contains("210 ms"),
            "{}",
            lines[2].fact
        );
        assert!(lines[4].fact.contains("0.15 s"), "{}", lines[4].fact);
    }

    #[test]
    fn a_limit_that_does_not_hold_fails() {
        let mut open = probes();
        open.limits.memory.over = Ok(Went::Through("96 MiB could be allocated".into()));
        let line = judge(&Seen::Found(open)).remove(0);
        assert_eq!(line.state, State::Failed);
        assert!(line.fact.contains("96 MiB could be allocated"), "{}", line.fact);
        let mut unlimited = probes();
        unlimited.limits.seen.as_mut().unwrap().pids = None;
        assert_eq!(states(unlimited)[0], State::Failed);
    }

    #[test]
    fn an_input_that_loses_something_fails() {
        let mut lossy = probes();
        if let Seen::Found(eof) = &mut lossy.eof {
            eof.received = 4;
        }
        assert_eq!(states(lossy)[2], State::Failed);
        let deaf = Probes { eof: Seen::failed("no answer", "berth validate"), ..probes() };
        assert_eq!(states(deaf)[2..], [State::Failed, State::NotApplicable, State::Ok]);
    }

    #[test]
    fn a_slow_lifeline_is_a_warning_and_none_a_failure() {
        let slow = Probes { gone_after: Seen::Found(Duration::from_secs(6)), ..probes() };
        assert_eq!(states(slow)[4], State::Warning);
        let none = Probes { gone_after: Seen::failed("still there", "berth gc"), ..probes() };
        assert_eq!(states(none)[4], State::Failed);
        assert!(
            judge(&Seen::NotApplicable("--quick".into()))
                .iter()
                .all(|line| line.state == State::NotApplicable)
        );
    }

    #[test]
    fn pipes_are_not_tried_without_a_container() {
        let handed = |seen: Seen<Probes>| super::handed(&seen);
        assert_eq!(handed(Seen::Found(probes())), Seen::NotApplicable("an example".into()));
        assert_eq!(handed(Seen::NotApplicable("--quick".into())), Seen::NotApplicable("--quick".into()));
        let why = "there was no container to try it in";
        assert_eq!(handed(Seen::failed("no container", "berth gc")), Seen::NotApplicable(why.into()));
    }
}
