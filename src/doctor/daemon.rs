//! Is there an engine, does it hold our daemon, does the daemon answer, and does its clock agree with ours? Judges
//! only.

use std::time::Duration;

use super::line::{Findings, Line, Seen};
use crate::dind::diagnosis::Trouble;
use crate::failure::Failure;
use crate::human::{Age, count};

/// Certificates are valid from ten minutes before they were made (`dind::certs`).
const SKEW_FATAL: f64 = 600.0;
/// Ages are told in seconds; more than this is seen in them.
const SKEW_SEEN: f64 = 2.0;

/// A daemon that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub address: String,
    pub engine: String,
    pub api: String,
    pub mutual_tls: bool,
    pub took: Duration,
}

/// The container of the DinD daemon, on the host's engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    pub name: String,
    /// As Docker has it: `running`, `exited`, …
    pub status: String,
    pub health: String,
    pub health_log: String,
    pub exit_code: i64,
    /// Since it was started, in seconds by this machine's clock.
    pub up_for: Option<i64>,
    pub restarts: i64,
    /// Whether it was made with today's settings of today's image; `None` where there is no such image any more.
    pub is_current: Option<bool>,
    /// Why it is none of ours, and what to do.
    pub others: Option<Failure>,
    /// It ends whenever it is started.
    pub dies: Option<Trouble>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// How far the daemon's clock is ahead of ours, in seconds.
    pub ahead: f64,
    /// It took so long to ask.
    pub took: Duration,
}

pub(super) fn engine(seen: &Seen<Answer>) -> Line {
    const NAME: &str = "engine";
    seen.line(NAME, |answer| Line::ok(NAME, answered(answer)))
}

pub(super) fn daemon(seen: &Seen<Answer>) -> Line {
    const NAME: &str = "daemon";
    seen.line(NAME, |answer| {
        let tls = if answer.mutual_tls { "over mutual TLS" } else { "without TLS" };
        let fact = format!("{}, {tls}", answered(answer));
        if answer.mutual_tls || answer.address.starts_with("unix:") {
            return Line::ok(NAME, fact);
        }
        Line::failed(NAME, fact, "name its certificates in [dind]: `certs = \"FOLDER\"`")
    })
}

fn answered(answer: &Answer) -> String {
    let Answer { address, engine, api, took, .. } = answer;
    format!("Docker {engine} (API {api}) at {address}, answered in {} ms", took.as_millis())
}

/// `answers`: whether the daemon in it does.
pub(super) fn container(seen: &Seen<Container>, answers: bool) -> Line {
    const NAME: &str = "container";
    seen.line(NAME, |found| {
        let mut findings = Findings::default();
        let name = &found.name;
        if let Some(Failure { text, next, .. }) = &found.others {
            return Line::failed(NAME, text, next.clone().unwrap_or_default());
        }
        if let Some(Trouble { cause, next, .. }) = &found.dies {
            findings.fail(cause, next.to_string());
            findings.fact(format!(
                "`{name}` is {}, and was started again {}",
                found.status,
                count(found.restarts, "time")
            ));
            return findings.into_line(NAME);
        }
        if found.status == "running" {
            let up = found.up_for.map_or_else(String::new, |seconds| format!(" for {}", Age(seconds)));
            findings.fact(format!("`{name}` is running{up}"));
        } else {
            let code = if found.status == "exited" {
                format!(" (exit code {})", found.exit_code)
            } else {
                String::new()
            };
            findings.fail(format!("`{name}` is {}{code}", found.status), "berth up");
        }
        match found.health.as_str() {
            "unhealthy" if answers => findings.warn(
                format!("its health check failed, but it answers: {}", found.health_log.trim()),
                "berth status",
            ),
            "unhealthy" => {
                findings.fail(format!("it is unhealthy: {}", found.health_log.trim()), "berth up");
            }
            "" => {}
            health => findings.fact(format!("health: {health}")),
        }
        match found.is_current {
            Some(true) => findings.fact("as configured"),
            Some(false) => {
                findings.warn("its settings or its image have changed since it was made", "berth up");
            }
            None => findings.fact("its image or a shared folder no longer exists"),
        }
        if found.restarts > 0 {
            let times = format!("it has crashed and was started again {}", count(found.restarts, "time"));
            findings.warn(times, format!("docker logs {name}"));
        } else {
            findings.fact("0 restarts");
        }
        findings.into_line(NAME)
    })
}

pub(super) fn clock(seen: &Seen<Clock>) -> Line {
    const NAME: &str = "clock";
    const NEXT: &str = "sudo timedatectl set-ntp true   # on both machines";
    seen.line(NAME, |clock| {
        // The daemon looked at its clock at some moment between the question and the answer.
        let unsure = clock.took.as_secs_f64() / 2.0;
        let apart = (clock.ahead.abs() - unsure).max(0.0);
        let ahead = clock.ahead;
        let fact =
            format!("the daemon's is {:+.0} ms off this machine's (±{:.0} ms)", ahead * 1e3, unsure * 1e3);
        if apart >= SKEW_FATAL {
            Line::failed(NAME, format!("{fact}: certificates are not valid at both ends"), NEXT)
        } else if apart >= SKEW_SEEN {
            Line::warning(NAME, fact, NEXT)
        } else {
            Line::ok(NAME, fact)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dind::diagnosis::Next;
    use crate::doctor::line::State;
    use crate::failure::Code;

    fn answer() -> Answer {
        Answer {
            address: "tcp://127.0.0.1:12376".into(),
            engine: "26.1.5".into(),
            api: "1.45".into(),
            mutual_tls: true,
            took: Duration::from_millis(7),
        }
    }

    #[test]
    fn an_engine_answers_or_says_what_to_do() {
        let line = engine(&Seen::Found(answer()));
        assert_eq!((line.state, line.next), (State::Ok, None));
        for part in ["26.1.5", "1.45", "tcp://127.0.0.1:12376", "7 ms"] {
            assert!(line.fact.contains(part), "{}", line.fact);
        }
        let line = engine(&Seen::failed("permission denied", "sudo usermod"));
        assert_eq!((line.state, line.next.as_deref()), (State::Failed, Some("sudo usermod")));
        assert_eq!(engine(&Seen::NotApplicable("none".into())).state, State::NotApplicable);
    }

    #[test]
    fn a_daemon_is_spoken_to_over_tls_or_a_socket() {
        assert_eq!(daemon(&Seen::Found(answer())).state, State::Ok);
        let plain = Answer { mutual_tls: false, ..answer() };
        assert_eq!(daemon(&Seen::Found(plain.clone())).state, State::Failed);
        let socket = Answer { address: "unix:///run/docker.sock".into(), ..plain };
        assert_eq!(daemon(&Seen::Found(socket)).state, State::Ok);
    }

    fn healthy() -> Container {
        Container {
            name: "berth-dind".into(),
            status: "running".into(),
            health: "healthy".into(),
            up_for: Some(7200),
            is_current: Some(true),
            ..Container::default()
        }
    }

    #[test]
    fn each_fault_of_the_container_is_told_with_its_command() {
        let judge = |found| container(&Seen::Found(found), true);
        let line = judge(healthy());
        assert_eq!(line.state, State::Ok);
        assert!(line.fact.contains("running for 2 h") && line.fact.contains("0 restarts"), "{}", line.fact);

        let line = judge(Container { status: "exited".into(), exit_code: 137, ..healthy() });
        assert_eq!((line.state, line.next.as_deref()), (State::Failed, Some("berth up")));
        assert!(line.fact.contains("exited (exit code 137)"), "{}", line.fact);

        let line = judge(Container { is_current: Some(false), ..healthy() });
        assert_eq!((line.state, line.next.as_deref()), (State::Warning, Some("berth up")));
        assert_eq!(judge(Container { is_current: None, ..healthy() }).state, State::Ok);

        let line = judge(Container { restarts: 3, ..healthy() });
        assert_eq!((line.state, line.next.as_deref()), (State::Warning, Some("docker logs berth-dind")));
        assert!(line.fact.contains("3 times"), "{}", line.fact);

        let dies = Some(Trouble {
            code: Code::Unavailable,
            cause: "it dies at its start: no iptables".into(),
            next: Next::Command("apt install iptables".into()),
            dies: true,
        });
        // Of one that dies again and again, whatever state it is in at the moment.
        for status in ["running", "restarting", "exited"] {
            let line =
                judge(Container { dies: dies.clone(), restarts: 3, status: status.into(), ..healthy() });
            assert_eq!((line.state, line.next.as_deref()), (State::Failed, Some("apt install iptables")));
            assert!(line.fact.starts_with("it dies at its start: no iptables; "), "{}", line.fact);
        }

        let others = Some(Failure {
            code: Code::Configuration,
            text: "it belongs to another".into(),
            next: Some("name another".into()),
        });
        let line = judge(Container { others, ..healthy() });
        assert_eq!((line.state, line.next.as_deref()), (State::Failed, Some("name another")));
    }

    #[test]
    fn a_health_check_counts_for_less_than_an_answer() {
        let sick = Seen::Found(Container { health: "unhealthy".into(), ..healthy() });
        assert_eq!(container(&sick, true).state, State::Warning);
        assert_eq!(container(&sick, false).state, State::Failed);
    }

    #[test]
    fn a_clock_is_off_only_by_more_than_the_question_took() {
        let judge = |ahead, took| clock(&Seen::Found(Clock { ahead, took: Duration::from_millis(took) }));
        assert_eq!(judge(-0.5, 20).state, State::Ok);
        assert_eq!(judge(3.0, 20).state, State::Warning);
        assert_eq!(judge(3.0, 4000).state, State::Ok, "the answer was slow");
        assert_eq!(judge(-700.0, 20).state, State::Failed);
        assert!(judge(-700.0, 20).next.is_some());
        assert!(judge(0.25, 20).fact.contains("+250 ms"));
    }
}
