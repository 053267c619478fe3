//! Leftovers of a killed run: its daemon, the daemon's volume and the run's folder.
//!
//! Each run locks a file in its folder, and the kernel drops the lock with the run's process. A process number could
//! belong to another process by now. Never touches a run of another machine. Never touches a folder without such a
//! file: its run has ended and a report names the folder, so it was kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Home;
use crate::dind::DindError;
use crate::dind::owner::{LABEL_HOME, Owner};
use crate::dock::docker::Engine;
use crate::dock::labels;
use crate::values::Lookup;

const LOCKED: &str = "running";
const PREFIX: &str = "berth-chaos-";
const SUFFIX: &str = "-dind";

/// The daemon's name in a run of this process.
pub(super) fn name(process: u32) -> String {
    format!("{PREFIX}{process}{SUFFIX}")
}

fn process(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Says that a run lives in `folder`, for as long as the file is open.
pub(super) fn live_in(folder: &Path) -> io::Result<File> {
    // Locked before it has its name, so that nobody finds it unlocked.
    let unnamed = folder.join("starting");
    let file = File::create_new(&unnamed)?;
    file.lock()?;
    fs::rename(unnamed, folder.join(LOCKED))?;
    Ok(file)
}

/// Has the folder stay for a person to read.
pub(super) fn keep(folder: &Path) -> io::Result<()> {
    fs::remove_file(folder.join(LOCKED))
}

/// The folder of a run that is dead, locked by us.
struct Dead {
    folder: PathBuf,
    process: u32,
    _lock: File,
}

fn dead_in(temporary: &Path) -> Vec<Dead> {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (process, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
            let process = process.parse().ok()?;
            let folder = entry.path();
            let lock = File::open(folder.join(LOCKED)).ok()?;
            lock.try_lock().ok()?;
            Some(Dead { folder, process, _lock: lock })
        })
        .collect()
}

/// Removes it all; gives the names.
///
/// # Errors
/// Where the engine that holds the daemons can't be used.
pub(super) async fn sweep(host: &Engine, lookup: Lookup<'_>) -> Result<Vec<String>, DindError> {
    let dead = dead_in(&std::env::temp_dir());
    let mut removed = Vec::new();
    for row in host.list(&labels::managed_by_filter()).await? {
        let Some(process) = process(&row.name) else { continue };
        let Some(folder) = folder(&row.labels) else { continue };
        let is_dead = dead.iter().any(|dead| dead.folder == folder)
            // After a restart of the machine there may be no such folder, and the engine has started the daemon again.
            || !folder.exists() && !Path::new("/proc").join(process.to_string()).exists();
        let place = folder.display().to_string();
        let home =
            Home::from_env(&|name| if name == "BERTH_HOME" { Some(place.clone()) } else { lookup(name) })?;
        if is_dead && Owner::of(&home).other(&row.labels).is_none() && host.remove(&row.id).await? {
            remove_volume(host, &row.name, &mut removed).await?;
            removed.push(row.name);
        }
    }
    for run in dead {
        // It is made before the container.
        let name = name(run.process);
        if host.inspect(&name).await?.is_none() {
            remove_volume(host, &name, &mut removed).await?;
        }
        if fs::remove_dir_all(&run.folder).is_ok() {
            removed.push(run.folder.display().to_string());
        }
    }
    Ok(removed)
}

async fn remove_volume(host: &Engine, name: &str, removed: &mut Vec<String>) -> Result<(), DindError> {
    let volume = format!("{name}-data");
    let (label, value) = labels::managed_by();
    let ours = host.volume_labels(&volume).await?.is_some_and(|labels| labels.get(&label) == Some(&value));
    if ours && host.remove_volume(&volume).await? {
        removed.push(volume);
    }
    Ok(())
}

/// Where the run that made a container has its files.
fn folder(labels: &std::collections::HashMap<String, String>) -> Option<PathBuf> {
    let (_machine, certificates) = labels.get(LABEL_HOME)?.split_once(':')?;
    Some(Path::new(certificates).parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_dead_once_its_lock_is_free() {
        let temporary = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let folder = temporary.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let dead = || {
            let mut dead: Vec<_> = dead_in(temporary.path())
                .into_iter()
                .map(|dead| (dead.process, dead.folder.file_name().unwrap().to_owned()))
                .collect();
            dead.sort();
            dead
        };
        let one = live_in(&make("berth-chaos-7-1")).unwrap();
        let other = live_in(&make("berth-chaos-8-1")).unwrap();
        // The same number in an earlier life of the machine.
        drop(live_in(&make("berth-chaos-7-0")).unwrap());
        let kept = make("berth-chaos-9-1");
        drop(live_in(&kept).unwrap());
        keep(&kept).unwrap();
        make("berth-chaos-10-1");
        drop(live_in(&make("berth-validate-11-1")).unwrap());
        assert_eq!(dead(), [(7, "berth-chaos-7-0".into())]);
        drop(other);
        assert_eq!(dead(), [(7, "berth-chaos-7-0".into()), (8, "berth-chaos-8-1".into())]);
        drop(one);
        assert_eq!(dead().len(), 3);
    }

    #[test]
    fn daemons_of_runs_are_known_by_their_names() {
        assert_eq!(process(&name(12)), Some(12));
        for other in ["berth-dind", "berth-chaos-dind", "berth-chaos-x-dind", "berth-chaos-12-dind-data"] {
            assert_eq!(process(other), None, "{other}");
        }
        let labels = [(LABEL_HOME.to_owned(), "box:/tmp/berth-chaos-7-1/certs".to_owned())].into();
        assert_eq!(folder(&labels).as_deref(), Some(Path::new("/tmp/berth-chaos-7-1")));
    }
}
