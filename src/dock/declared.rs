//! The `VOLUME`s that an image declares: what becomes of them in a session's container.
//!
//! Left to the daemon each were a volume on its disk, without a limit, mounted wherever the image's links lead. So each is
//! mounted here, as an empty file system in memory that has a size; or the image is refused.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::lease::error::LeaseError;
use crate::config::Settings;

/// What is put into one counts as the container's memory; this bounds each of them alone.
const BYTES: u64 = 64 << 20;

/// More of them than any image needs.
const MOST: usize = 64;

/// Where the container has what is the kernel's, and a volume has no business.
const CLOSED: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The places of those of `declared` that need a mount: at the others the settings have one. `image` is whose they are.
pub fn places(image: &str, declared: &[String], settings: &Settings) -> Result<Vec<String>, LeaseError> {
    let refused = |volume: &str, why: String| {
        Err(LeaseError::ImageVolume { image: image.to_owned(), volume: volume.to_owned(), why })
    };
    if declared.len() > MOST {
        return refused(&declared[0], format!("it is one of {}, and {MOST} are the most", declared.len()));
    }
    let taken: Vec<PathBuf> = settings.mounted().map(clean).collect();
    let mut places = Vec::new();
    for volume in declared {
        let path = clean(volume);
        let Some(text) = path.to_str().filter(|_| Path::new(volume).is_absolute()) else {
            return refused(volume, "it is no absolute path".to_owned());
        };
        if text == "/" {
            return refused(volume, "it would hide all that is in the container".to_owned());
        }
        if let Some(closed) = CLOSED.iter().find(|closed| path.starts_with(closed)) {
            return refused(volume, format!("the container needs its own `{closed}`"));
        }
        if taken.contains(&path) {
            continue;
        }
        // The daemon knows no such mount, and makes a volume of its own where there is none.
        if settings.tmpfs.iter().any(|(at, tmpfs)| tmpfs.exec && is_at(at, text)) {
            return refused(volume, "`exec` in `tmpfs` has no effect there".to_owned());
        }
        // What is missing there the daemon would make, as root, in the person's own folder; or follow a link in it.
        if let Some(above) = taken.iter().find(|above| path.starts_with(above)) {
            return refused(volume, format!("it lies in what is mounted at `{}`", above.display()));
        }
        places.push(text.to_owned());
    }
    places.sort();
    places.dedup();
    Ok(places)
}

/// The mount at `place`. As large as the person wants it, where the settings say so.
pub(super) fn mount(place: &str, settings: &Settings) -> Value {
    let wanted = settings.tmpfs.iter().find(|(path, _)| is_at(path, place));
    let bytes = wanted.map_or(BYTES, |(_, tmpfs)| tmpfs.bytes);
    json!({ "Type": "tmpfs", "Target": place, "TmpfsOptions": { "SizeBytes": bytes, "Mode": 0o1777 } })
}

/// Whether a path of the settings is this place.
pub(super) fn is_at(path: &str, place: &str) -> bool {
    clean(path) == Path::new(place)
}

/// As the daemon reads it: by its words alone, no link is followed.
fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Server};
    use crate::values::Tmpfs;

    fn settings(overrides: &Overrides) -> Settings {
        let image = "image".parse().unwrap();
        Server::from_image(image, Vec::new(), &Settings::default()).with_overrides(overrides).settings
    }

    fn settled(declared: &[&str], settings: &Settings) -> Result<Vec<String>, String> {
        let declared: Vec<String> = declared.iter().map(|volume| (*volume).to_owned()).collect();
        places("image", &declared, settings).map_err(|error| error.to_string())
    }

    #[test]
    fn each_volume_gets_a_mount_at_its_own_place() {
        let plain = Settings::default();
        let places = settled(&["/data", "/.a", "/b/../c//d/.", "/data/"], &plain).unwrap();
        assert_eq!(places, ["/.a", "/c/d", "/data"]);
        let mount = mount("/data", &plain);
        assert_eq!((&mount["Type"], &mount["Target"]), (&json!("tmpfs"), &json!("/data")));
        assert_eq!(mount["TmpfsOptions"], json!({ "SizeBytes": 64 << 20, "Mode": 0o1777 }));
    }

    #[test]
    fn the_persons_own_size_counts() {
        let mut sized = Settings::default();
        sized.tmpfs.insert("/data/".to_owned(), Tmpfs { bytes: 4096, exec: false });
        assert_eq!(mount("/data", &sized)["TmpfsOptions"]["SizeBytes"], 4096);
        sized.tmpfs.insert("/data/".to_owned(), Tmpfs { bytes: 4096, exec: true });
        let said = settled(&["/data"], &sized).unwrap_err();
        assert!(said.contains("`exec` in `tmpfs` has no effect there"), "{said}");
        assert!(settled(&["/other"], &sized).is_ok());
        assert!(is_at("/data/", "/data") && !is_at("/dat", "/data"));
    }

    #[test]
    fn what_the_person_mounts_there_stays() {
        let mounted =
            settings(&Overrides::default().with("mounts", &["/x:/w"]).with("volumes", &["m:/data"]));
        assert_eq!(settled(&["/w/", "/data", "/other"], &mounted).unwrap(), ["/other"]);
        let above = settings(&Overrides::default().with("mounts", &["/x:/w/project"]));
        assert_eq!(settled(&["/w"], &above).unwrap(), ["/w"], "nobody else writes into that");
    }

    #[test]
    fn what_would_do_harm_is_refused() {
        let mounted =
            settings(&Overrides::default().with("mounts", &["/x:/w"]).with("volumes", &["m:/data"]));
        for volume in [
            "/",
            "//",
            "/a/..",
            "data",
            "",
            "/proc",
            "/proc/self",
            "/dev/shm",
            "/sys/fs",
            "/w/below",
            "/data/a",
        ] {
            let said = settled(&["/fine", volume], &mounted).unwrap_err();
            assert!(
                said.contains("the image `image` declares the volume")
                    && said.contains(&format!("`{volume}`")),
                "{said}"
            );
        }
        let many: Vec<String> = (0..=MOST).map(|n| format!("/{n}")).collect();
        assert!(places("image", &many, &Settings::default()).is_err());
        assert!(places("image", &many[1..], &Settings::default()).is_ok());
    }
}
