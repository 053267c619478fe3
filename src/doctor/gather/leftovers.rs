//! Looks for daemons, volumes and folders whose processes are gone.

use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::{Asked, failed};
use crate::dind::owner::LABEL_HOME;
use crate::dind::soon;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels;
use crate::doctor::leftovers::{Leftovers, is_dead, owner_pid};
use crate::doctor::line::Seen;

pub(super) async fn look(asked: &Asked<'_>) -> Seen<Leftovers> {
    let mut found = Leftovers { folders: folders(&std::env::temp_dir()), ..Leftovers::default() };
    let host = match asked.host() {
        Ok(host) => host,
        Err(_) if !found.folders.is_empty() => return Seen::Found(found),
        Err(seen) => return seen,
    };
    match on_engine(host, &mut found).await {
        Ok(()) => Seen::Found(found),
        Err(error) => failed(error),
    }
}

async fn on_engine(host: &Engine, found: &mut Leftovers) -> Result<(), DockerError> {
    let this_host = labels::machine();
    let rows = soon(host, host.list(&labels::managed_by_filter())).await?;
    // An engine of sessions (`[dind] host`) has those of sessions, too.
    let daemons = rows.iter().filter(|row| row.labels.get(labels::LABEL_CLIENT).is_none_or(String::is_empty));
    let exists = |path: &str| Path::new(path).exists();
    for row in daemons {
        found.daemons += 1;
        let place = row.labels.get(LABEL_HOME).map(String::as_str);
        found
            .dead
            .extend(is_dead(&row.name, place, &this_host, exists, lives).map(|why| (row.name.clone(), why)));
    }
    // A volume doesn't say whose it is; only on this machine does a process's number mean anything.
    if host.endpoint().to_string().starts_with("unix:") {
        let volumes = soon(host, host.volumes(&labels::managed_by_filter())).await?;
        found.volumes = volumes
            .into_iter()
            .filter(|name| owner_pid(name).is_some_and(|pid| !lives(pid)))
            .filter(|name| !rows.iter().any(|row| name.strip_suffix("-data") == Some(&row.name)))
            .collect();
    }
    Ok(())
}

/// Those of processes that are gone.
fn folders(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let dead = entries.filter(|entry| {
        entry.file_name().to_str().and_then(owner_pid).is_some_and(|pid| !lives(pid))
            && entry.metadata().is_ok_and(|found| found.is_dir())
    });
    dead.map(|entry| entry.path().display().to_string()).collect()
}

/// Whether there is such a process, whosever it is.
fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_found_and_those_of_the_living_are_not() {
        let place = tempfile::tempdir().unwrap();
        let dead = place.path().join("berth-chaos-2147483646-5");
        std::fs::create_dir(&dead).unwrap();
        std::fs::create_dir(place.path().join(format!("berth-chaos-{}-5", std::process::id()))).unwrap();
        std::fs::create_dir(place.path().join("other-2147483646-5")).unwrap();
        std::fs::write(place.path().join("berth-validate-2147483646-5"), "a file").unwrap();
        assert_eq!(folders(place.path()), [dead.display().to_string()]);
    }
}
