//! What aborted runs have left on this machine: daemons, their volumes, folders. Judges only.

use super::line::{Findings, Line, Seen, list};
use crate::human::count;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Daemons of berth's on the host's engine, this home's included.
    pub daemons: usize,
    /// Those whose home, or whose process, is gone: name, and why nobody owns it.
    pub dead: Vec<(String, String)>,
    /// Volumes of daemons that were only there for a process that is gone.
    pub volumes: Vec<String>,
    /// Folders for the files of a process that is gone.
    pub folders: Vec<String>,
}

/// The process that a name like `berth-chaos-4711-dind` stands for.
pub fn owner_pid(name: &str) -> Option<u32> {
    let rest = ["berth-chaos-", "berth-validate-"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    rest.split('-').next()?.parse().ok()
}

/// Why nobody owns a daemon. `place` is what its label says of its home (`host:/folder/certs`), if anything.
pub fn is_dead(
    name: &str,
    place: Option<&str>,
    this_host: &str,
    exists: impl Fn(&str) -> bool,
    lives: impl Fn(u32) -> bool,
) -> Option<String> {
    let (host, certs) = place?.split_once(':')?;
    // Of another machine's processes and folders nothing can be known here.
    if host != this_host {
        return None;
    }
    if let Some(pid) = owner_pid(name).filter(|pid| !lives(*pid)) {
        return Some(format!("its process {pid} is gone"));
    }
    let home = certs.strip_suffix("/certs").unwrap_or(certs);
    (!exists(home)).then(|| format!("its home {home} is gone"))
}

pub(super) fn judge(seen: &Seen<Leftovers>) -> Line {
    const NAME: &str = "leftovers";
    seen.line(NAME, |found| {
        let mut findings = Findings::default();
        if !found.dead.is_empty() {
            let told = found.dead.iter().take(3).map(|(name, why)| format!("`{name}` ({why})"));
            let names: Vec<&str> = found.dead.iter().map(|(name, _)| name.as_str()).collect();
            let volumes: Vec<String> = names.iter().map(|name| format!("{name}-data")).collect();
            let next =
                format!("docker rm -f {} && docker volume rm -f {}", names.join(" "), volumes.join(" "));
            let told = told.collect::<Vec<_>>().join(", ");
            findings.warn(format!("{} without an owner: {told}", count(names.len(), "daemon")), next);
        }
        if !found.volumes.is_empty() {
            let next = format!("docker volume rm {}", found.volumes.join(" "));
            findings.warn(
                format!("volumes without an owner: {}", list(found.volumes.iter().map(String::as_str))),
                next,
            );
        }
        if !found.folders.is_empty() {
            let next = format!("rm -r {}", found.folders.join(" "));
            findings.warn(
                format!("folders without an owner: {}", list(found.folders.iter().map(String::as_str))),
                next,
            );
        }
        findings.fact(format!("{} of berth's on the engine", count(found.daemons, "daemon")));
        findings.into_line(NAME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    #[test]
    fn a_name_may_hold_a_process() {
        assert_eq!(owner_pid("berth-chaos-4711-dind"), Some(4711));
        assert_eq!(owner_pid("berth-validate-12-99"), Some(12));
        for other in ["berth-dind", "berth-chaos-x-dind", "x-berth-chaos-1-dind"] {
            assert_eq!(owner_pid(other), None, "{other}");
        }
    }

    #[test]
    fn a_daemon_is_dead_with_its_home_or_its_process() {
        let dead = |name, place, exists, lives| is_dead(name, place, "box", |_| exists, |_| lives);
        let home = Some("box:/h/certs");
        assert_eq!(dead("berth-dind", home, true, false), None);
        assert_eq!(dead("berth-dind", home, false, true).unwrap(), "its home /h is gone");
        assert_eq!(dead("berth-chaos-7-dind", home, true, true), None);
        assert_eq!(dead("berth-chaos-7-dind", home, true, false).unwrap(), "its process 7 is gone");
        assert_eq!(
            dead("berth-chaos-7-dind", Some("other:/h/certs"), false, false),
            None,
            "another machine's"
        );
        assert_eq!(dead("berth-chaos-7-dind", None, false, false), None, "it says nothing of itself");
    }

    #[test]
    fn leftovers_are_warnings_with_the_command_that_removes_them() {
        let none = Leftovers { daemons: 2, ..Leftovers::default() };
        let line = judge(&Seen::Found(none.clone()));
        assert_eq!((line.state, line.fact.as_str()), (State::Ok, "2 daemons of berth's on the engine"));
        let dead = vec![("a".to_owned(), "its home is gone".to_owned())];
        let line = judge(&Seen::Found(Leftovers { dead, ..none.clone() }));
        assert_eq!(line.next.as_deref(), Some("docker rm -f a && docker volume rm -f a-data"));
        assert_eq!(line.state, State::Warning);
        let line = judge(&Seen::Found(Leftovers { volumes: vec!["v".into()], ..none.clone() }));
        assert_eq!(line.next.as_deref(), Some("docker volume rm v"));
        let line = judge(&Seen::Found(Leftovers { folders: vec!["/tmp/f".into()], ..none }));
        assert_eq!(line.next.as_deref(), Some("rm -r /tmp/f"));
    }
}
