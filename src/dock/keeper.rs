//! The keeper as berth carries it: the program, where containers find it, and how it gets there.
//!
//! Its source is `src/keeper.rs`; the build script compiles it.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::docker::{DockerError, Engine};
use super::labels;
use super::owner::Owner;
use super::place::Place;
use super::protocol::{self, door};
use crate::values::Isolation;

/// The static program.
pub const KEEPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keeper"));

/// The volume that holds this very keeper; a different keeper has a different one, so nothing is ever replaced.
pub const VOLUME: &str = concat!("berth-keeper-", env!("BERTH_KEEPER_HASH"));
/// The same keeper for containers with a kernel of their own. gVisor runs only what it may read.
const READABLE_VOLUME: &str = concat!("berth-keeper-", env!("BERTH_KEEPER_HASH"), "-readable");
const VOLUME_PREFIX: &str = "berth-keeper-";

/// The volume that containers of this isolation have their keeper in.
pub fn volume(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Container => VOLUME,
        Isolation::Gvisor => READABLE_VOLUME,
    }
}

/// What the daemon calls it as its runtime, where it looks at each container before that runs (`keeper/runtime.rs`). Another
/// name whenever it sees to more: a daemon of before then gets it with the next `berth up`.
pub const RUNTIME: &str = "berth-3";

/// What former berths call it, the latest first, and whether it knows of networks. None of them lends anybody's rights.
pub const FORMER_RUNTIMES: [(&str, bool); 2] = [("berth-2", true), ("berth", false)];

/// The same, where it has gVisor run the container (`keeper/gvisor.rs`); a daemon has it if its image has `runsc`.
pub const RUNTIME_GVISOR: &str = "berth-gvisor";

/// The same, for a container that has another's network: daemons of former berths do not know what is its own then.
pub const RUNTIME_PEERS: &str = "berth-peers";

/// What its process is called until somebody claims.
pub const PROCESS: &str = "keeper";

/// What the owner of a lifeline writes to claim its container; the keeper then shows its session as its own name, and all of
/// it as its command line.
pub fn claim(owner: &Owner) -> Vec<u8> {
    line(protocol::CLAIM, owner)
}

/// What it writes, after the claim, when more is known of it.
pub fn introduce(owner: &Owner) -> Vec<u8> {
    line(protocol::INTRODUCE, owner)
}

/// Writes to a keeper, at once.
pub async fn say(lifeline: &mut (impl AsyncWrite + Unpin), words: &[u8]) -> io::Result<()> {
    lifeline.write_all(words).await?;
    lifeline.flush().await
}

fn line(command: u8, owner: &Owner) -> Vec<u8> {
    let mut line = vec![command];
    line.extend_from_slice(owner.line().as_bytes());
    line.push(b'\n');
    line
}

/// What it writes, after the claim, to end its container; an introduction that was cut off ends with it.
pub const TERMINATE: &[u8] = &[b'\n', protocol::TERMINATE];

/// Tells that the client has left. Whatever becomes of the owner from here on, the server's time for its end does not begin
/// anew.
pub const LEAVE: &[u8] = &[b'\n', protocol::LEAVE];

/// What it writes, after the claim, to have the keeper try again for the volumes.
pub const AGAIN: &[u8] = &[protocol::AGAIN];

/// Tells the keeper that a claim is on its way; without one it soon ends.
pub const ANNOUNCE: &str = "SIGUSR1";

/// Ends the container if nobody is about to claim it; void once a claim is announced. Nobody who has never heard of it (a
/// former keeper, a server) ends by it.
pub const END_UNCLAIMED: &str = "SIGWINCH";

/// Ends a session from outside; its owner is told that it was meant: by a line on the keeper's output, or by the exit code of
/// the container of a server that was started ahead.
pub const END: &str = "SIGUSR2";
pub const ENDED: i64 = protocol::ENDED as i64;

/// The exit code of the container of a server that was started ahead, and used more memory than its limit.
pub const OUT_OF_MEMORY: i64 = protocol::OUT_OF_MEMORY as i64;

/// The exit code of the container of a server that was started ahead, and was killed by SIGKILL.
pub const SERVER_KILLED: i64 = protocol::SERVER_KILLED as i64;

/// How many users a daemon of berth's own gives its containers (`keeper/ids.rs`); the last one is whoever has a greater number.
pub const USERS: u32 = 0x4_0000;

/// A filler that stands longer than this was killed.
const STALE: Duration = Duration::from_secs(20);

/// Fills the keeper's volume. `image` is any image of the daemon: a container of it is created, never started.
///
/// Safe against everybody who does the same at once (the filler's name is the lock) and against being cut off in the
/// middle: the archive's last entry is the link that makes the program findable, so it is there whole or not at all.
pub async fn fill(engine: &Engine, image: &str, isolation: Isolation) -> Result<(), DockerError> {
    let volume = volume(isolation);
    let filler = format!("{volume}-filler");
    let place = Place::new()?;
    engine.create_volume(volume, HashMap::from([labels::managed_by()])).await?;
    let (label, value) = labels::managed_by();
    let body = json!({
        "Image": image,
        "Entrypoint": [place.program()],
        "Labels": labels::of_container(&[(&label, &value)]),
        "HostConfig": { "AutoRemove": true, "NetworkMode": "none",
            "Mounts": [{ "Type": "volume", "Source": volume, "Target": place.folder(), "VolumeOptions": { "NoCopy": true } }] },
    });
    let deadline = tokio::time::Instant::now() + STALE;
    let created = loop {
        match engine.create(&filler, body.clone()).await {
            Err(error) if error.is_conflict() => {}
            created => break created?,
        }
        if engine.inspect(&filler).await?.is_none() {
            return Ok(()); // somebody else has just filled it
        }
        if tokio::time::Instant::now() > deadline {
            engine.remove(&filler).await?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let uploaded = upload(engine, &created, &place, isolation).await;
    engine.remove(&created).await?;
    uploaded
}

/// Whether a volume of berth's holds another keeper than this one.
pub(crate) fn is_former(volume: &str) -> bool {
    volume.starts_with(VOLUME_PREFIX) && ![VOLUME, READABLE_VOLUME].contains(&volume)
}

/// Removes the volumes of former keepers that no container uses any more; gives their names.
pub async fn retire_former(engine: &Engine) -> Result<Vec<String>, DockerError> {
    let mut removed = Vec::new();
    for volume in engine.volumes(&labels::managed_by_filter()).await? {
        if is_former(&volume) {
            // 409: a session of a former berth is still on.
            match engine.remove_volume(&volume).await {
                Err(error) if !error.is_conflict() => return Err(error),
                Ok(true) => removed.push(volume),
                _ => {}
            }
        }
    }
    Ok(removed)
}

async fn upload(
    engine: &Engine,
    filler: &str,
    place: &Place,
    isolation: Isolation,
) -> Result<(), DockerError> {
    // Filled already: replacing the program would take it away from who starts at this moment.
    if engine.has_path(filler, &place.program()).await? {
        return Ok(());
    }
    let archive = archive(isolation).map_err(|error| DockerError::broken("pack", "the keeper", error))?;
    engine.upload(filler, place.folder(), archive).await
}

fn archive(isolation: Isolation) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::with_capacity(KEEPER.len() + 4096));
    let mut file = tar::Header::new_gnu();
    file.set_size(KEEPER.len() as u64);
    // Not readable: the kernel makes such a process non-dumpable from its first instruction on, so no server can reach
    // into PID 1 before the keeper has locked itself. With gVisor no server runs before it has.
    file.set_mode(if isolation == Isolation::Gvisor { 0o555 } else { 0o111 });
    file.set_cksum();
    tar.append_data(&mut file, "keeper.bin", KEEPER)?;
    // Where a container's door is mounted: no runtime could make a place in here.
    let mut door = tar::Header::new_gnu();
    door.set_entry_type(tar::EntryType::Directory);
    door.set_size(0);
    door.set_mode(0o555);
    tar.append_data(&mut door, door::FOLDER, &[][..])?;
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    link.set_mode(0o777);
    tar.append_link(&mut link, "keeper", "keeper.bin")?;
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_that_makes_the_program_findable_comes_last() {
        let packed = archive(Isolation::Container).unwrap();
        let mut tar = tar::Archive::new(&packed[..]);
        let names: Vec<_> =
            tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, ["keeper.bin", "door", "keeper"].map(std::path::PathBuf::from));
    }
}
