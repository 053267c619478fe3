//! What the kernel forbids session containers, apart from capabilities: a seccomp filter, a mandatory profile. Judges
//! only.

use super::line::{Findings, Line, Seen};

/// As each daemon lists them: `name=seccomp,profile=builtin`, `name=apparmor`, …
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement {
    /// Of the DinD daemon, whose containers the sessions' are.
    pub daemon: Vec<String>,
    /// Of the engine that holds it; `None` where nobody can be asked.
    pub engine: Option<Vec<String>>,
    /// The DinD daemon's container, where it is ours.
    pub container: Option<String>,
}

/// The profile that a daemon gives its containers, if it has that means at all; it may have no name.
fn profile<'a>(options: &'a [String], means: &str) -> Option<&'a str> {
    let fields = |option: &'a String| {
        let mut fields = option.split(',');
        (fields.next()?.strip_prefix("name=")? == means)
            .then(|| fields.find_map(|field| field.strip_prefix("profile=")).unwrap_or_default())
    };
    options.iter().find_map(fields).filter(|profile| *profile != "unconfined")
}

pub(super) fn judge(seen: &Seen<Confinement>) -> Line {
    const NAME: &str = "confinement";
    seen.line(NAME, |found| {
        let mut findings = Findings::default();
        let next = match &found.container {
            Some(name) => format!("docker logs {name}"),
            None => "docker info   # on that daemon".to_owned(),
        };
        match profile(&found.daemon, "seccomp") {
            Some("") => findings.fact("session containers have a seccomp filter"),
            Some(profile) => findings.fact(format!("session containers have a seccomp filter ({profile})")),
            None => findings.warn("session containers have no seccomp filter", next.as_str()),
        }
        let engine = found.engine.as_deref();
        if profile(&found.daemon, "apparmor").is_some() {
            findings.fact("an AppArmor profile");
        } else if engine.is_some_and(|engine| profile(engine, "apparmor").is_some()) {
            let why =
                "session containers have no AppArmor profile, though the engine's own containers have one";
            findings.warn(why, next.as_str());
        } else if engine.is_some() {
            findings.fact("no AppArmor profile: the engine uses none");
        } else {
            findings.fact("no AppArmor profile");
        }
        findings.into_line(NAME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    const SECCOMP: &str = "name=seccomp,profile=builtin";

    fn judged(daemon: &[&str], engine: Option<&[&str]>) -> Line {
        let options = |options: &[&str]| options.iter().map(ToString::to_string).collect::<Vec<_>>();
        let container = engine.map(|_| "berth-dind".to_owned());
        judge(&Seen::Found(Confinement { daemon: options(daemon), engine: engine.map(options), container }))
    }

    #[test]
    fn what_the_engine_has_and_the_daemon_lacks_is_a_warning() {
        let both = ["name=apparmor", SECCOMP, "name=cgroupns"];
        let line = judged(&both, Some(&both));
        assert_eq!(
            (line.state, line.fact.as_str()),
            (State::Ok, "session containers have a seccomp filter (builtin); an AppArmor profile")
        );
        let line = judged(&[SECCOMP], Some(&both));
        assert_eq!((line.state, line.next.as_deref()), (State::Warning, Some("docker logs berth-dind")));
        assert!(line.fact.starts_with("session containers have no AppArmor profile"), "{}", line.fact);
        let line = judged(&[SECCOMP], Some(&[SECCOMP]));
        assert_eq!(line.state, State::Ok);
        assert!(line.fact.contains("the engine uses none"), "{}", line.fact);
        assert_eq!(judged(&[SECCOMP], None).state, State::Ok, "nobody knows of another");
    }

    #[test]
    fn without_a_seccomp_filter_there_is_a_warning() {
        for daemon in [&["name=apparmor"][..], &["name=seccomp,profile=unconfined"], &["name=seccomplike"]] {
            let line = judged(daemon, Some(&[]));
            assert_eq!(line.state, State::Warning, "{}", line.fact);
            assert!(line.fact.contains("no seccomp filter"), "{}", line.fact);
        }
        assert_eq!(judged(&["name=seccomp"], Some(&[])).state, State::Ok, "older daemons name no profile");
    }
}
