//! Which containers are on standby, and which have no owner? Judges only.

use std::collections::BTreeMap;

use super::line::{Findings, Line, Seen, list};
use crate::dock::standby::Count;
use crate::human::{Age, count};

/// The containers on standby, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    pub waiting: Vec<Waiting>,
    pub cap: usize,
}

/// A container on standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub name: String,
    pub client: String,
    pub server: String,
    /// Seconds, by the daemon's clock.
    pub age: i64,
    pub fit: Fit,
}

/// Whether a session of a configured server would take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Yes,
    /// A client's entry with flags, `berth run -- LINE`, or a server that was configured once.
    NoSuchServer,
    /// Other settings, or another image; a client's flags may say so.
    Outdated,
    /// It depends on the client.
    Unknown,
}

/// What no session, and no coming one, will ever use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orphans {
    /// How many containers were looked at.
    pub containers: usize,
    /// Created and never started, or ended and not removed: name and age.
    pub stopped: Vec<(String, i64)>,
    /// Run under a session's name, and no session has ever claimed them.
    pub unclaimed: Vec<String>,
    /// Neither run nor have ended.
    pub frozen: Vec<String>,
    /// Former keepers' volumes that no container uses.
    pub volumes: Vec<String>,
    /// How many volumes without a name no container has any more.
    pub nameless: usize,
}

pub(super) fn standby(seen: &Seen<Standby>) -> Line {
    const NAME: &str = "standby";
    seen.line(NAME, |Standby { waiting, cap }| {
        let mut findings = Findings::default();
        findings.fact(Count { waiting: waiting.len(), cap: *cap }.to_string());
        // A client's entry may have flags, and `berth run -- LINE` has no entry: who waits for those waits in order.
        for (fit, what) in [
            (Fit::NoSuchServer, "not from the configuration"),
            (Fit::Outdated, "with outdated settings or an outdated image"),
        ] {
            let names: Vec<&str> =
                waiting.iter().filter(|one| one.fit == fit).map(|one| one.name.as_str()).collect();
            if !names.is_empty() {
                findings.fact(format!("{} {what}: {}", names.len(), list(names)));
            }
        }
        let mut kinds: BTreeMap<(&str, &str), (usize, i64)> = BTreeMap::new();
        for one in waiting {
            let kind = kinds.entry((&one.client, &one.server)).or_default();
            *kind = (kind.0 + 1, kind.1.max(one.age));
        }
        for ((client, server), (number, age)) in kinds {
            findings.fact(format!("{number} of `{server}` for {client}, oldest {}", Age(age)));
        }
        findings.into_line(NAME)
    })
}

pub(super) fn orphans(seen: &Seen<Orphans>) -> Line {
    const NAME: &str = "orphans";
    seen.line(NAME, |found| {
        let mut findings = Findings::default();
        let Orphans { containers, stopped, unclaimed, frozen, volumes, nameless } = found;
        if let Some(oldest) = stopped.iter().map(|(_, age)| *age).max() {
            let names = list(stopped.iter().map(|(name, _)| name.as_str()));
            let problem = format!("never started, or ended and not removed: {names}, oldest {}", Age(oldest));
            findings.fail(problem, "berth gc");
        }
        if !unclaimed.is_empty() {
            let problem = format!("run without an owner: {}", list(unclaimed.iter().map(String::as_str)));
            findings.fail(problem, "berth gc");
        }
        if let Some(first) = frozen.first() {
            let problem = format!("paused or stuck: {}", list(frozen.iter().map(String::as_str)));
            findings.warn(problem, format!("berth kill {first}"));
        }
        if !volumes.is_empty() {
            let problem = format!("volumes of former versions: {}", list(volumes.iter().map(String::as_str)));
            findings.warn(problem, "berth gc");
        }
        if *nameless > 0 {
            findings.warn(format!("{} of ended sessions", count(*nameless, "volume")), "berth gc");
        }
        findings.fact(format!("looked at {}", count(*containers, "container")));
        findings.into_line(NAME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn waiting(name: &str, server: &str, age: i64, fit: Fit) -> Waiting {
        Waiting { name: name.into(), client: "codex".into(), server: server.into(), age, fit }
    }

    fn judged(waiting: Vec<Waiting>) -> Line {
        standby(&Seen::Found(Standby { waiting, cap: 8 }))
    }

    #[test]
    fn who_waits_is_told_for_whom_and_since_when() {
        let line = judged(vec![
            waiting("mcp-codex-1.standby", "time", 60, Fit::Yes),
            waiting("mcp-codex-2.standby", "time", 600, Fit::Unknown),
        ]);
        assert_eq!((line.state, line.next), (State::Ok, None));
        assert_eq!(line.fact, "2 containers on standby, of 8 at most; 2 of `time` for codex, oldest 10 min");
        assert_eq!(judged(Vec::new()).fact, "0 containers on standby, of 8 at most");
    }

    #[test]
    fn who_waits_for_what_the_configuration_does_not_say_is_no_fault() {
        for (fit, what) in [
            (Fit::NoSuchServer, "1 not from the configuration"),
            (Fit::Outdated, "1 with outdated settings or an outdated image"),
        ] {
            let line = judged(vec![waiting("mcp-codex-1.standby", "time", 60, fit)]);
            assert_eq!((line.state, line.next), (State::Ok, None));
            assert!(line.fact.contains(&format!("{what}: `mcp-codex-1.standby`")), "{}", line.fact);
        }
    }

    #[test]
    fn each_kind_of_orphan_has_its_command() {
        let judge = |found: Orphans| orphans(&Seen::Found(found));
        assert_eq!(judge(Orphans { containers: 2, ..Orphans::default() }).state, State::Ok);
        let names = || vec!["x".to_owned()];
        for (found, state, next) in [
            (Orphans { stopped: vec![("x".into(), 90)], ..Orphans::default() }, State::Failed, "berth gc"),
            (Orphans { unclaimed: names(), ..Orphans::default() }, State::Failed, "berth gc"),
            (Orphans { frozen: names(), ..Orphans::default() }, State::Warning, "berth kill x"),
            (Orphans { volumes: names(), ..Orphans::default() }, State::Warning, "berth gc"),
        ] {
            let line = judge(found);
            assert_eq!((line.state, line.next.as_deref()), (state, Some(next)), "{}", line.fact);
            assert!(line.fact.contains("`x`"), "{}", line.fact);
        }
        let line = judge(Orphans { nameless: 3, ..Orphans::default() });
        assert_eq!((line.state, line.next.as_deref()), (State::Warning, Some("berth gc")));
        assert!(line.fact.starts_with("3 volumes of ended sessions"), "{}", line.fact);
    }
}
