//! The images that a daemon could do without, and room for others (`[limits] disk`, `berth gc --images`).
//!
//! Only images that berth has put there are taken away: those that it baked say so by a label, and those that it loaded or
//! pulled have a note in the state folder. A note's time is that of the last use, give or take a day. Without its note an
//! image stays.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::dind::progress::Progress;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::LABEL_PACKAGE;
use crate::dock::wire::{Request, Wire};
use crate::human::{Bytes, hex};

const NOTES: &str = "images";
/// A use is noted at most so often.
const NOTED_EVERY: Duration = Duration::from_hours(24);
/// No image's name is longer (bytes).
const LONGEST: u64 = 1 << 10;

/// What the images of a daemon may take, and which of them are wanted.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// Of all images together (bytes); `None`: as much as there is.
    pub limit: Option<u64>,
    needed: BTreeSet<String>,
}

impl Shelf {
    /// The images of the configured servers, and what these are baked on.
    pub fn of(config: &Config) -> Self {
        let bases = config.recipes();
        let names = config.images().into_iter().chain(bases.iter().map(|recipe| recipe.base()));
        Self { limit: config.limits.disk, needed: names.map(whole).collect() }
    }
}

/// An image that nobody needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unneeded {
    pub name: String,
    /// What it alone takes.
    pub bytes: u64,
    pub used: SystemTime,
}

/// As daemons write it.
fn whole(name: &str) -> String {
    let name =
        ["docker.io/", "index.docker.io/"].iter().find_map(|hub| name.strip_prefix(hub)).unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

fn folder(state: &Path, daemon: &Engine) -> PathBuf {
    state.join(NOTES).join(&hex(&Sha256::digest(daemon.endpoint().to_string()))[..16])
}

fn file(state: &Path, daemon: &Engine, image: &str) -> PathBuf {
    folder(state, daemon).join(&hex(&Sha256::digest(whole(image)))[..32])
}

/// Notes that berth has put an image into a daemon. Where that fails, the image stays for good.
pub fn note(state: &Path, daemon: &Engine, image: &str) {
    let path = file(state, daemon, image);
    let noted =
        std::fs::create_dir_all(folder(state, daemon)).and_then(|()| std::fs::write(path, whole(image)));
    if let Err(error) = noted {
        tracing::debug!("no note of the image {image}: {error}");
    }
}

/// Notes that a noted image is used.
pub fn used(state: &Path, daemon: &Engine, image: &str) {
    let path = file(state, daemon, image);
    let Ok(modified) = std::fs::metadata(&path).and_then(|metadata| metadata.modified()) else { return };
    let now = SystemTime::now();
    if now.duration_since(modified).is_ok_and(|age| age > NOTED_EVERY) {
        let _ = std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(now));
    }
}

fn noted(state: &Path, daemon: &Engine, name: &str) -> Option<SystemTime> {
    let path = file(state, daemon, name);
    let metadata = std::fs::metadata(&path).ok().filter(|metadata| metadata.len() <= LONGEST)?;
    let is_it = std::fs::read_to_string(&path).is_ok_and(|noted| noted == name);
    is_it.then(|| metadata.modified().ok())?
}

/// What a daemon says of its images.
struct Disk {
    bytes: u64,
    images: Vec<Value>,
    in_use: BTreeSet<String>,
}

async fn disk(daemon: &Engine) -> Result<Disk, DockerError> {
    let mut wire = Wire::connect(daemon.endpoint()).await?;
    let object = daemon.endpoint().to_string();
    let images = Request::get("measure the images of", &object, "/system/df?type=image".to_owned());
    let images = wire.call(&images).await?;
    let containers = Request::get("list the containers of", &object, "/containers/json?all=1".to_owned());
    let containers = wire.call(&containers).await?;
    let rows = containers.as_array().into_iter().flatten();
    Ok(Disk {
        bytes: images["LayersSize"].as_u64().unwrap_or_default(),
        images: images["Images"].as_array().cloned().unwrap_or_default(),
        in_use: rows.filter_map(|row| row["ImageID"].as_str()).map(str::to_owned).collect(),
    })
}

/// Those that no configured server and no container has, the least recently used first. `known`: when an image that berth
/// has put there was used last.
fn unneeded(disk: &Disk, shelf: &Shelf, known: impl Fn(&str) -> Option<SystemTime>) -> Vec<Unneeded> {
    let mut unneeded = Vec::new();
    for row in &disk.images {
        let names = ["RepoTags", "RepoDigests"].into_iter().filter_map(|key| row[key].as_array()).flatten();
        let names: Vec<String> = names.filter_map(Value::as_str).map(whole).collect();
        let is_needed = names.iter().any(|name| shelf.needed.contains(name));
        if is_needed || row["Id"].as_str().is_none_or(|id| disk.in_use.contains(id)) {
            continue;
        }
        let is_baked = row["Labels"][LABEL_PACKAGE].as_str().is_some_and(|package| !package.is_empty());
        let created = Duration::from_secs(row["Created"].as_u64().unwrap_or_default());
        let bytes = |key: &str| u64::try_from(row[key].as_i64().unwrap_or_default()).unwrap_or_default();
        for name in names {
            // A person may have given it a name of their own, which is no business of berth's.
            let made_here = is_baked && name.starts_with("berth-");
            let used = known(&name).or_else(|| made_here.then(|| SystemTime::UNIX_EPOCH + created));
            let bytes = bytes("Size").saturating_sub(bytes("SharedSize"));
            unneeded.extend(used.map(|used| Unneeded { name, bytes, used }));
        }
    }
    unneeded.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.name.cmp(&b.name)));
    unneeded
}

/// Removes what nobody needs, or only says what that is.
pub async fn clear(
    state: &Path,
    daemon: &Engine,
    shelf: &Shelf,
    dry_run: bool,
) -> Result<Vec<Unneeded>, DockerError> {
    let found = unneeded(&disk(daemon).await?, shelf, |name| noted(state, daemon, name));
    let mut removed = Vec::new();
    for image in found {
        if dry_run || remove(state, daemon, &image).await? {
            removed.push(image);
        }
    }
    Ok(removed)
}

/// False where somebody has begun to use it.
async fn remove(state: &Path, daemon: &Engine, image: &Unneeded) -> Result<bool, DockerError> {
    match daemon.remove_image(&image.name).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) if error.is_conflict() => return Ok(false),
        Err(error) => return Err(error),
    }
    let _ = std::fs::remove_file(file(state, daemon, &image.name));
    Ok(true)
}

/// Makes room for `image`, which is about to come, where there is a limit: the images that nobody needs go, one by one.
/// Nothing here keeps it from coming.
pub async fn make(state: &Path, daemon: &Engine, shelf: &Shelf, image: &str, progress: &Progress) {
    let Some(limit) = shelf.limit else { return };
    if let Err(error) = try_make(state, daemon, shelf, (image, limit), progress).await {
        progress.say(&format!("warning: no room was made for `{image}`: {error}"));
    }
}

async fn try_make(
    state: &Path,
    daemon: &Engine,
    shelf: &Shelf,
    (image, limit): (&str, u64),
    progress: &Progress,
) -> Result<(), DockerError> {
    let mut now = disk(daemon).await?;
    for unneeded in unneeded(&now, shelf, |name| noted(state, daemon, name)) {
        if now.bytes < limit {
            return Ok(());
        }
        if unneeded.name != whole(image) && remove(state, daemon, &unneeded).await? {
            let (name, bytes) = (&unneeded.name, Bytes(unneeded.bytes));
            progress.say(&format!("removed the image `{name}` ({bytes}), which nobody needs, for `{image}`"));
            now = disk(daemon).await?;
        }
    }
    if now.bytes >= limit {
        let (bytes, limit) = (Bytes(now.bytes), Bytes(limit));
        progress.say(&format!(
            "warning: images take {bytes}, and `disk` in [limits] is {limit}; the others are needed"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shelf(needed: &[&str]) -> Shelf {
        Shelf { limit: None, needed: needed.iter().copied().map(whole).collect() }
    }

    fn image(id: &str, tags: &[&str], label: &str) -> Value {
        json!({ "Id": id, "RepoTags": tags, "RepoDigests": [], "Labels": { LABEL_PACKAGE: label },
                "Created": 50, "Size": 100, "SharedSize": 30 })
    }

    #[test]
    fn only_what_berth_put_there_and_nobody_needs_goes_and_the_oldest_first() {
        let disk = Disk {
            bytes: 0,
            images: vec![
                image("1", &["needed:latest"], ""),
                image("2", &["a-persons:latest"], ""),
                image("3", &["pulled:1"], ""),
                image("4", &["berth-npx/x:0123"], "x"),
                image("5", &["berth-npx/running:0123"], "running"),
                image("6", &["renamed:by-a-person", "berth-uvx/y:0123"], "y"),
                image("7", &["mcp/hub:latest"], ""),
            ],
            in_use: BTreeSet::from(["5".to_owned()]),
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let known = |name: &str| match name {
            "pulled:1" => Some(at(70)),
            "berth-uvx/y:0123" => Some(at(90)),
            "needed:latest" | "mcp/hub:latest" => Some(at(1)),
            _ => None,
        };
        let found = unneeded(&disk, &shelf(&["needed", "docker.io/mcp/hub"]), known);
        let row = |name: &str, seconds| Unneeded { name: name.to_owned(), bytes: 70, used: at(seconds) };
        assert_eq!(found, [row("berth-npx/x:0123", 50), row("pulled:1", 70), row("berth-uvx/y:0123", 90)]);
    }

    #[test]
    fn names_are_compared_as_daemons_write_them() {
        for (name, expected) in [
            ("busybox", "busybox:latest"),
            ("docker.io/library/busybox:1", "busybox:1"),
            ("docker.io/mcp/time", "mcp/time:latest"),
            ("box:5000/time", "box:5000/time:latest"),
            ("time@sha256:ab", "time@sha256:ab"),
        ] {
            assert_eq!(whole(name), expected);
        }
    }

    #[test]
    fn a_note_is_of_one_daemon_and_its_time_is_that_of_the_last_use() {
        let state = tempfile::tempdir().unwrap();
        let engine = |port: u16| {
            let endpoint = crate::dock::dial::Endpoint::parse(&format!("tcp://127.0.0.1:{port}"), None);
            Engine::new(endpoint.unwrap())
        };
        let (one, other) = (engine(1), engine(2));
        note(state.path(), &one, "mcp/time");
        let at = |engine: &Engine| noted(state.path(), engine, "mcp/time:latest");
        assert!(at(&one).is_some() && at(&other).is_none());
        let old = SystemTime::now() - Duration::from_hours(48);
        let path = file(state.path(), &one, "mcp/time");
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        used(state.path(), &one, "mcp/time");
        assert!(at(&one).unwrap() > old + Duration::from_hours(47));
        let first = at(&one);
        used(state.path(), &one, "mcp/time");
        assert_eq!(at(&one), first, "once a day is enough");
        used(state.path(), &other, "mcp/time");
        assert!(at(&other).is_none(), "a use is no note");
    }
}
