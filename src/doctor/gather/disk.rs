//! Measures the room on the daemon's volume and in berth's own folder.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;

use super::{Asked, failed};
use crate::config::Home;
use crate::dind::spec;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::exec;
use crate::dock::exec::Chunk;
use crate::dock::wire::{Request, Wire};
use crate::doctor::disk::{Data, Folder, Space};
use crate::doctor::line::Seen;

/// A daemon counts its layers the first time it is asked.
const COUNT_WITHIN: Duration = Duration::from_secs(10);
const DF_WITHIN: Duration = Duration::from_secs(15);
/// A folder with more entries is not counted to its end.
const ENTRIES: usize = 100_000;

pub(super) async fn data(asked: &Asked<'_>) -> Seen<Data> {
    if !asked.is_ours() {
        return Seen::NotApplicable("`host` in [dind] names a daemon that berth did not make".to_owned());
    }
    let (daemon, host) = match (asked.daemon(), asked.host()) {
        (Ok(daemon), Ok(host)) => (daemon, host),
        (Err(seen), _) | (_, Err(seen)) => return seen,
    };
    let dind = &asked.config.dind;
    let (space, images) = tokio::join!(
        tokio::time::timeout(DF_WITHIN * asked.patience, space_in(host, &dind.name)),
        tokio::time::timeout(COUNT_WITHIN * asked.patience, images(daemon)),
    );
    match space {
        Ok(Ok(Some(space))) => {
            Seen::Found(Data { volume: spec::volume(dind), space, images: images.ok().and_then(Result::ok) })
        }
        Ok(Ok(None)) => Seen::NotApplicable(format!("`df` in `{}` gives no answer", dind.name)),
        Ok(Err(error)) => failed(error),
        Err(_) => Seen::failed(
            format!("no answer within {} s", (DF_WITHIN * asked.patience).as_secs()),
            "berth status",
        ),
    }
}

/// What is free where the daemon in `container` keeps its data, as a process in there sees it: the engine may be on another
/// machine.
async fn space_in(host: &Engine, container: &str) -> Result<Option<Space>, DockerError> {
    let wire = Wire::connect(host.endpoint()).await?;
    let argv = ["df", "-Pk", "/var/lib/docker"].map(str::to_owned);
    let mut df = exec::start_plain(wire, container, &argv, &[]).await?;
    let mut output = Vec::new();
    while let Some(Ok(Chunk::Stdout(bytes) | Chunk::Stderr(bytes))) = df.output.next().await {
        output.extend_from_slice(&bytes);
    }
    Ok(read_df(&String::from_utf8_lossy(&output)))
}

/// The last line of `df -Pk`: file system, blocks of 1024 bytes, used, available, …
fn read_df(output: &str) -> Option<Space> {
    let mut columns = output.lines().last()?.split_whitespace().skip(1);
    let total = columns.next()?.parse::<u64>().ok()?;
    let free = columns.nth(1)?.parse::<u64>().ok()?;
    Some(Space { free: free * 1024, total: total * 1024 })
}

/// How many images there are, and the size of their layers, each counted once.
async fn images(daemon: &Engine) -> Result<(usize, u64), DockerError> {
    let request = Request::get("measure", "the daemon", "/system/df?type=image".to_owned());
    let usage = Wire::connect(daemon.endpoint()).await?.call(&request).await?;
    let images = usage["Images"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sizes = || images.iter().filter_map(|image| image["Size"].as_u64()).sum();
    Ok((images.len(), usage["LayersSize"].as_u64().unwrap_or_else(sizes)))
}

/// berth's own folder; before its first use, the one in which it will be made.
pub(super) fn folder(home: &Home) -> Seen<Folder> {
    let path = &home.state;
    let Some(there) = path.ancestors().find(|path| path.is_dir()) else {
        return Seen::failed(format!("{} cannot be made", path.display()), "mkdir -p it");
    };
    let looked = rustix::fs::statvfs(there).map_err(io::Error::from);
    match looked {
        Ok(space) => Seen::Found(Folder {
            path: path.display().to_string(),
            space: Space {
                free: space.f_bavail.saturating_mul(space.f_frsize),
                total: space.f_blocks.saturating_mul(space.f_frsize),
            },
            used: if there == path { used(path, &mut ENTRIES.clone()) } else { 0 },
            writable: rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_ok(),
        }),
        Err(error) => {
            Seen::failed(format!("{}: {error}", there.display()), format!("ls -ld {}", there.display()))
        }
    }
}

/// Bytes in a folder; `left` is how many entries may still be looked at.
fn used(folder: &Path, left: &mut usize) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        // Not followed where it is a link.
        let Ok(found) = entry.metadata() else { continue };
        bytes += if found.is_dir() { used(&entry.path(), left) } else { found.len() };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_is_read_by_its_columns() {
        let output = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                      /dev/vda         263174212 33000000  62000000      36% /var/lib/docker\n";
        let space = Space { free: 62_000_000 * 1024, total: 263_174_212 * 1024 };
        assert_eq!(read_df(output), Some(space));
        assert_eq!(read_df("df: /var/lib/docker: No such file"), None);
        assert_eq!(read_df(""), None);
    }

    #[test]
    fn a_folder_is_counted_whole_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("c"), [0; 5]).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("d")).unwrap();
        let link = 1;
        assert_eq!(used(folder.path(), &mut 100), 15 + link);
        assert!(used(folder.path(), &mut 1) <= 10);
    }

    #[test]
    fn before_its_first_use_a_folder_is_measured_where_it_will_be() {
        let there = tempfile::tempdir().unwrap();
        let base = there.path().to_str().unwrap().to_owned();
        let home =
            Home::from_env(&|name| (name == "BERTH_HOME").then(|| format!("{base}/new/home"))).unwrap();
        let Seen::Found(found) = folder(&home) else { panic!() };
        assert!(found.writable && found.used == 0 && found.space.total > found.space.free);
        assert!(found.path.ends_with("/new/home/state"));
    }
}
