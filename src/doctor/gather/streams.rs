//! Looks whether the daemon has the folder of doors, and for doors of containers that are gone.

use super::{Asked, failed};
use crate::dind::soon;
use crate::dock::door;
use crate::dock::roster;
use crate::doctor::daemon::Container;
use crate::doctor::line::Seen;
use crate::doctor::streams::{Doors, Streams};
use crate::failure::Failure;
use crate::values::{Isolation, Way};

pub(super) async fn look(asked: &Asked<'_>, container: &Seen<Container>) -> Seen<Streams> {
    let daemon = match asked.daemon() {
        Ok(daemon) => daemon,
        Err(seen) => return seen,
    };
    let (state, daemon_name) = (&asked.home.state, &asked.config.dind.name);
    let found = door::Doors::find(state, daemon_name).filter(|_| asked.is_ours());
    let doors = match &found {
        Some(_) => Doors::Shared,
        None if !asked.is_ours() => Doors::Others,
        None => without(door::Doors::known(state, daemon_name).is_some(), container),
    };
    let left = async {
        let Some(doors) = found else { return Ok(Vec::new()) };
        let stale_after = roster::stale_after(asked.lookup)?;
        soon(daemon, doors.left(daemon, stale_after)).await.map_err(Failure::from)
    };
    let left = match left.await {
        Ok(left) => left,
        Err(failure) => return failed(failure),
    };
    let with = |is_it: fn(Way, Isolation) -> bool| -> Vec<String> {
        let settings = asked.config.servers.iter().filter(|(_, server)| {
            let settings = &server.settings;
            is_it(settings.streams, settings.isolation)
        });
        settings.map(|(name, _)| name.clone()).collect()
    };
    Seen::Found(Streams {
        doors,
        left,
        only_direct: with(|way, _| way == Way::Direct),
        never_direct: with(|way, isolation| way == Way::Exec || isolation == Isolation::Gvisor),
    })
}

/// Why a daemon of berth's has no such folder; `is_known`: there is one to share.
fn without(is_known: bool, container: &Seen<Container>) -> Doors {
    match container {
        // Made as today's berth makes it, and the engine did not find the folder.
        Seen::Found(Container { is_current: Some(true), .. }) if is_known => Doors::Elsewhere,
        _ => Doors::Former,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_as_it_should_be_has_another_machines_engine() {
        let container = |is_current| Seen::Found(Container { is_current, ..Container::default() });
        assert_eq!(without(true, &container(Some(true))), Doors::Elsewhere);
        assert_eq!(without(false, &container(Some(true))), Doors::Former);
        assert_eq!(without(true, &container(Some(false))), Doors::Former);
        assert_eq!(without(true, &container(None)), Doors::Former);
        assert_eq!(without(true, &Seen::NotApplicable(String::new())), Doors::Former);
    }
}
