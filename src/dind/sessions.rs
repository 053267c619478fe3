//! How many sessions a daemon has. berth must know this before it stops the daemon.

use super::{ANSWER_WITHIN, soon};
use crate::dock::dial::{DialError, Endpoint};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::peers::HOLDER;
use crate::dock::roster::{self, State};
use crate::dock::spec::LONGEST_CLAIM_MS;
use crate::dock::{keeper, place};

/// The sessions in a daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sessions {
    /// Claimed, the ones that are starting included.
    pub active: usize,
    /// Started, and claimed by nobody yet.
    pub standby: usize,
}

impl Sessions {
    pub(super) async fn count(daemon: &Engine) -> Result<Self, DockerError> {
        let running = soon(daemon, roster::list(daemon)).await?.into_iter();
        // What holds the network of several is none of them.
        let running = running.filter(|entry| entry.running && !entry.server.starts_with(HOLDER));
        Ok(running.fold(Self::default(), |mut count, entry| {
            match entry.state {
                State::Standby => count.standby += 1,
                State::Active | State::Starting => count.active += 1,
            }
            count
        }))
    }
}

/// Sessions that would be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActiveSessions(pub usize);

impl std::fmt::Display for ActiveSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("1 session is active"),
            n => write!(f, "{n} sessions are active"),
        }
    }
}

/// The active sessions of the daemon in a running container.
///
/// A daemon that doesn't answer may be slow, listen elsewhere or have been given other certificates: its sessions go
/// on all the same. Then the engine that holds it says what runs in it. An error is no zero.
pub(super) async fn active(
    host: &Engine,
    container: &str,
    daemon: Result<Endpoint, DialError>,
) -> Result<ActiveSessions, DockerError> {
    if let Ok(endpoint) = daemon {
        let daemon = Engine::new(endpoint.with_timeout(ANSWER_WITHIN));
        if let Ok(sessions) = Sessions::count(&daemon).await {
            return Ok(ActiveSessions(sessions.active));
        }
    }
    let processes = soon(host, host.processes(container)).await?;
    Ok(ActiveSessions(processes.iter().filter(|(name, command)| is_session(name, command)).count()))
}

/// What gVisor calls its process.
const GVISOR: &str = "runsc-sandbox ";

/// Whether it is the first process of a session's container. One on standby has no other name yet; one that was made for
/// its session is claimed in a moment, or in half a minute where the daemon is slow. In doubt it is a session.
fn is_session(name: &str, command: &str) -> bool {
    // The kernel of a container that has one; its processes are not to be seen, and in doubt it is a session.
    if command.starts_with(GVISOR) {
        return true;
    }
    let arguments = place::arguments(command).and_then(|arguments| arguments.strip_prefix(" hold"));
    let waits = |arguments: &str| {
        let (_, rest) = arguments.split_once(" --claim-within ")?;
        rest.split(' ').next()?.parse::<u32>().ok()
    };
    arguments.is_some_and(|arguments| {
        name != keeper::PROCESS
            || waits(arguments).is_some_and(|milliseconds| milliseconds <= LONGEST_CLAIM_MS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_of_each_session_is_counted() {
        let own = "/.berth/keeper hold --claim-within 4000 --grace 10000";
        let standby = "/.berth/keeper hold --claim-within 1800000 --grace 10000 -- server --claim-within";
        assert!(is_session("0123456789ab", own) && is_session("0123456789ab", standby));
        let claimed = "/.berth/keeper hold for 0123456789ab project=/home/me";
        assert!(is_session("0123456789ab", claimed));
        assert!(is_session("keeper", own) && !is_session("keeper", standby));
        let slow = "/.berth/keeper hold --room --- --claim-within 30000 --grace 10000";
        assert!(is_session("keeper", slow), "its daemon is slow, and it is about to be claimed");
        let place = "/.berth-0123456789abcdef0123456789abcdef/keeper";
        assert!(is_session("0123456789ab", &format!("{place} hold for 0123456789ab project=/home/me")));
        assert!(is_session("keeper", &format!("{place} hold --room --- --claim-within 4000 --grace 1")));
        assert!(!is_session("keeper", &format!("{place} hold --room --- --claim-within 1800000 --grace 1")));
        assert!(
            is_session("exe", "runsc-sandbox --root=/run boot --bundle=/b id"),
            "its processes are its own"
        );
        for other in [
            "runsc-gofer --root=/run gofer",
            "/.berth/keeper run -- node",
            "dockerd --host x",
            "grep /.berth/keeper hold",
        ] {
            assert!(!is_session("0123456789ab", other), "{other}");
        }
    }
}
