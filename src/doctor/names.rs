//! Are names answered where sessions ask, and does the daemon ask this machine's present nameservers? Judges only.

use std::net::IpAddr;
use std::time::Duration;

use super::line::{Findings, Line};
use crate::dock::resolver::{Told, difference, list};

/// A name that anybody may ask for (RFC 2606). Any answer is one, also that there is no such name.
pub const ASKED_FOR: &str = "example.com";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What each nameserver of a session's container answered.
    pub session: Vec<Asked>,
    /// The same for this machine's own, as long as no session's has.
    pub this_machine: Vec<Asked>,
    /// `None` where the daemon does not follow this machine.
    pub told: Option<Told>,
    /// What this machine asks and others can ask, too.
    pub usable: Vec<IpAddr>,
    /// The container of the daemon.
    pub daemon: String,
}

/// A nameserver, and what came of asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub server: String,
    /// The answer's code (RFC 1035, RCODE), or why there was none.
    pub answer: Result<u8, String>,
    pub took: Duration,
}

impl Asked {
    /// `NOERROR` and `NXDOMAIN` come from who knows; all else says that nobody does.
    pub fn is_answered(&self) -> bool {
        matches!(self.answer, Ok(0 | 3))
    }

    fn told(&self) -> String {
        let said = match &self.answer {
            Ok(0) => "answered".to_owned(),
            Ok(2) => "said SERVFAIL".to_owned(),
            Ok(3) => "answered that there is no such name".to_owned(),
            Ok(5) => "said REFUSED".to_owned(),
            Ok(code) => format!("said RCODE {code}"),
            Err(why) => why.clone(),
        };
        format!("{}: {said} after {} ms", self.server, self.took.as_millis())
    }
}

pub(super) const NAME: &str = "names";

pub(super) fn judge(names: &Names) -> Line {
    let mut findings = Findings::default();
    let is_current = names.told.as_ref().is_none_or(|told| told.is_current);
    let asked = |all: &[Asked]| all.iter().map(Asked::told).collect::<Vec<_>>().join(", ");
    if names.session.iter().any(Asked::is_answered) {
        findings.fact(format!("asked for `{ASKED_FOR}` in a container: {}", asked(&names.session)));
    } else {
        let problem = match names.session.as_slice() {
            [] => "a container has no nameserver".to_owned(),
            all => format!("asked for `{ASKED_FOR}` in a container: {}", asked(all)),
        };
        if names.this_machine.iter().any(Asked::is_answered) {
            let own = asked(&names.this_machine);
            findings.fail(format!("{problem}; this machine gets an answer ({own})"), mend(names, is_current));
        } else {
            let own = asked(&names.this_machine);
            let next = "connect this machine to its network, or correct its /etc/resolv.conf";
            findings.warn(format!("{problem}; this machine gets no answer either ({own})"), next);
        }
    }
    if let Some(told) = &names.told {
        if !told.is_current {
            findings.warn(difference(&told.nameservers, &names.usable), "berth up");
        } else if !told.nameservers.is_empty() {
            findings.fact(format!("the daemon asks {}, as this machine does", list(&told.nameservers)));
        }
    }
    findings.into_line(NAME)
}

/// Our own answerer says SERVFAIL where the nameservers are silent; where it is silent itself, it does not run.
fn mend(names: &Names, is_current: bool) -> String {
    if !is_current {
        "berth up".to_owned()
    } else if names.session.iter().any(|asked| asked.answer.is_ok()) && !names.usable.is_empty() {
        format!("let containers reach {} at port 53: a firewall may forbid it", list(&names.usable))
    } else {
        format!("docker logs {}", names.daemon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn asked(server: &str, answer: Result<u8, &str>) -> Asked {
        Asked { server: server.into(), answer: answer.map_err(str::to_owned), took: Duration::from_millis(7) }
    }

    fn healthy() -> Names {
        let router: IpAddr = [192, 168, 1, 1].into();
        Names {
            session: vec![asked("172.30.240.1", Ok(0))],
            this_machine: Vec::new(),
            told: Some(Told { nameservers: vec![router], is_current: true }),
            usable: vec![router],
            daemon: "berth-dind".into(),
        }
    }

    #[test]
    fn an_answer_is_an_answer_whatever_it_says() {
        let found = judge(&healthy());
        assert_eq!((found.state, found.next), (State::Ok, None));
        assert!(found.fact.contains("the daemon asks 192.168.1.1, as this machine does"), "{}", found.fact);
        assert_eq!(judge(&Names { session: vec![asked("a", Ok(3))], ..healthy() }).state, State::Ok);
        let second = vec![asked("a", Err("no answer in 6 s")), asked("b", Ok(0))];
        assert_eq!(judge(&Names { session: second, ..healthy() }).state, State::Ok);
        assert_eq!(judge(&Names { told: None, ..healthy() }).state, State::Ok);
    }

    #[test]
    fn a_daemon_of_yesterday_is_told_with_both_nameservers() {
        let told = Told { nameservers: vec![[10, 0, 0, 1].into()], is_current: false };
        let found = judge(&Names { told: Some(told.clone()), ..healthy() });
        assert_eq!((found.state, found.next.as_deref()), (State::Warning, Some("berth up")));
        assert!(found.fact.contains("(10.0.0.1) than this machine (192.168.1.1)"), "{}", found.fact);
        let silent = vec![asked("172.30.240.1", Ok(2))];
        let own = vec![asked("192.168.1.1", Ok(0))];
        let found = judge(&Names { told: Some(told), session: silent, this_machine: own, ..healthy() });
        assert_eq!((found.state, found.next.as_deref()), (State::Failed, Some("berth up")));
    }

    #[test]
    fn silence_is_a_failure_only_where_this_machine_is_answered() {
        let silent = |answer| Names { session: vec![asked("172.30.240.1", answer)], ..healthy() };
        let own = |answer| vec![asked("192.168.1.1", answer)];
        let offline = judge(&Names { this_machine: own(Err("no answer in 6 s")), ..silent(Ok(2)) });
        assert_eq!(offline.state, State::Warning, "{}", offline.fact);
        let barred = judge(&Names { this_machine: own(Ok(0)), ..silent(Ok(2)) });
        assert_eq!(barred.state, State::Failed);
        assert!(barred.next.unwrap().contains("let containers reach 192.168.1.1 at port 53"));
        let dead = judge(&Names { this_machine: own(Ok(3)), ..silent(Err("no answer in 6 s")) });
        assert_eq!((dead.state, dead.next.as_deref()), (State::Failed, Some("docker logs berth-dind")));
        let none = judge(&Names { session: Vec::new(), this_machine: own(Ok(0)), ..healthy() });
        assert!(none.fact.contains("has no nameserver"), "{}", none.fact);
    }
}
