//! Is there room for images, containers and history? Judges only.

use super::line::{Findings, Line, Seen};
use crate::human::{Bytes, count};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Less than this, and a larger image may not fit.
const DATA_LOW: u64 = 2 * GIB;
/// Less than this, and containers may not even start.
const DATA_OUT: u64 = 256 * MIB;
const STATE_LOW: u64 = 256 * MIB;
const STATE_OUT: u64 = 16 * MIB;
/// History that nobody has cleared.
const STATE_LARGE: u64 = GIB;

/// Of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// Where the daemon keeps images and containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    pub volume: String,
    pub space: Space,
    /// How many images, and their size together; `None` where the daemon doesn't say.
    pub images: Option<(usize, u64)>,
}

/// berth's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub path: String,
    pub space: Space,
    pub used: u64,
    pub writable: bool,
}

pub(super) fn data(seen: &Seen<Data>) -> Line {
    const NAME: &str = "data disk";
    const NEXT: &str = "eval \"$(berth env)\" && docker system df, and remove images with `docker rmi`";
    seen.line(NAME, |data| {
        let mut findings = Findings::default();
        let free = free(data.space);
        match data.space.free {
            0..DATA_OUT => findings.fail(free, NEXT),
            DATA_OUT..DATA_LOW => findings.warn(free, NEXT),
            _ => findings.fact(free),
        }
        if let Some((images, bytes)) = data.images {
            findings.fact(format!("{} of {}", count(images, "image"), Bytes(bytes)));
        }
        findings.fact(format!("volume `{}`", data.volume));
        findings.into_line(NAME)
    })
}

pub(super) fn folder(seen: &Seen<Folder>) -> Line {
    const NAME: &str = "state folder";
    seen.line(NAME, |folder| {
        let mut findings = Findings::default();
        let (path, free) = (&folder.path, free(folder.space));
        if !folder.writable {
            findings.fail(format!("{path} cannot be written to"), format!("sudo chown -R \"$USER\" {path}"));
        }
        let full = || format!("df -h {path}");
        match folder.space.free {
            0..STATE_OUT => findings.fail(free, full()),
            STATE_OUT..STATE_LOW => findings.warn(free, full()),
            _ => findings.fact(free),
        }
        let used = format!("{} used", Bytes(folder.used));
        if folder.used >= STATE_LARGE {
            findings.warn(used, format!("remove what you don't need: du -ah {path} | sort -h | tail"));
        } else {
            findings.fact(used);
        }
        findings.fact(path.as_str());
        findings.into_line(NAME)
    })
}

fn free(space: Space) -> String {
    format!("{} of {} free", Bytes(space.free), Bytes(space.total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    #[test]
    fn a_disk_gets_full_by_and_by() {
        let with = |free| {
            let space = Space { free, total: 250 * GIB };
            data(&Seen::Found(Data { volume: "v-data".into(), space, images: Some((3, GIB)) }))
        };
        let line = with(60 * GIB);
        assert_eq!(line.state, State::Ok);
        assert_eq!(line.fact, "60.0 GiB of 250.0 GiB free; 3 images of 1.0 GiB; volume `v-data`");
        assert_eq!(with(GIB).state, State::Warning);
        assert_eq!(with(MIB).state, State::Failed);
        assert!(with(MIB).next.is_some());
    }

    #[test]
    fn a_state_folder_has_room_and_an_owner() {
        let with = |free, used, writable| {
            let space = Space { free, total: 10 * GIB };
            folder(&Seen::Found(Folder { path: "/h/state".into(), space, used, writable }))
        };
        assert_eq!(with(GIB, MIB, true).state, State::Ok);
        assert_eq!(with(100 * MIB, MIB, true).state, State::Warning);
        assert_eq!(with(MIB, MIB, true).state, State::Failed);
        assert_eq!(with(GIB, 2 * GIB, true).state, State::Warning);
        let line = with(GIB, MIB, false);
        assert_eq!((line.state, line.next.is_some()), (State::Failed, true));
    }
}
