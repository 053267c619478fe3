//! Which proxies do servers and the daemon use, and can a container reach them? Judges only.

use std::path::PathBuf;

use super::line::{Findings, Line, Seen};

/// What is configured; addresses have no credentials here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The docker CLI's file.
    pub file: PathBuf,
    /// Those of servers, by that file.
    pub servers: Vec<String>,
    /// The ones of the file that are this machine's own.
    pub on_loopback: Vec<String>,
    /// Those of the daemon, by `[dind]`.
    pub daemon: Vec<String>,
    pub daemon_on_loopback: bool,
}

/// No line where none is configured.
pub(super) fn judge(seen: &Seen<Proxies>) -> Option<Line> {
    const NAME: &str = "proxies";
    match seen {
        Seen::NotApplicable(_) => None,
        Seen::Failed { why, next } => Some(Line::warning(NAME, why, next)),
        Seen::Found(found) => Some(line(found).into_line(NAME)),
    }
}

fn line(found: &Proxies) -> Findings {
    let mut findings = Findings::default();
    let file = found.file.display();
    let all = |addresses: &[String]| {
        addresses.iter().map(|address| format!("`{address}`")).collect::<Vec<_>>().join(", ")
    };
    if !found.servers.is_empty() {
        findings.fact(format!("servers reach the network by {} ({file})", all(&found.servers)));
    }
    if !found.daemon.is_empty() {
        findings.fact(format!("the daemon pulls by {}", all(&found.daemon)));
    }
    if !found.on_loopback.is_empty() {
        findings.warn(
            format!(
                "no container reaches {} in {file}: this machine's loopback is closed to containers; servers use no proxy",
                all(&found.on_loopback)
            ),
            "let the proxy listen on docker0's address, and name that address in the file",
        );
    }
    if found.daemon_on_loopback {
        findings.warn(
            "the daemon does not reach the `proxy` of [dind]: it is on this machine's own loopback",
            "let the proxy listen on docker0's address, name that address in [dind], and type `berth up`",
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn told(found: Proxies) -> Line {
        judge(&Seen::Found(Proxies { file: "/h/.docker/config.json".into(), ..found })).unwrap()
    }

    #[test]
    fn proxies_are_facts_and_those_on_loopback_a_warning() {
        let servers = vec!["http://[redacted]@p:1".to_owned()];
        let daemon = vec!["http://q:1".to_owned()];
        let line = told(Proxies { servers, daemon, ..Proxies::default() });
        assert_eq!(line.state, State::Ok);
        for part in ["`http://[redacted]@p:1`", "/h/.docker/config.json", "the daemon pulls by `http://q:1`"]
        {
            assert!(line.fact.contains(part), "{}", line.fact);
        }
        let on_loopback = vec!["http://127.0.0.1:1".to_owned()];
        let line = told(Proxies { on_loopback, ..Proxies::default() });
        assert_eq!(line.state, State::Warning);
        assert!(line.fact.contains("`http://127.0.0.1:1`") && line.next.is_some(), "{}", line.fact);
        assert_eq!(told(Proxies { daemon_on_loopback: true, ..Proxies::default() }).state, State::Warning);
    }

    #[test]
    fn no_proxies_are_no_line_and_a_broken_file_is_a_warning() {
        assert_eq!(judge(&Seen::NotApplicable("none".into())), None);
        assert_eq!(judge(&Seen::failed("broken", "mend it")).unwrap().state, State::Warning);
    }
}
