//! The ids of containers' users on the machine: a range that is the daemon's, and that nobody else there has.
//!
//! Each container has a user namespace of its own in that range. What the kernel counts for each user (inotify instances,
//! queued signals, processes, …) it counts for the user in the namespace, and for the namespace's owner in the namespace
//! around it. So each namespace has an owner of its own, too: no container uses up another's share, nor the machine's.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Failure;
use super::json::Json;
use super::sys::userns::{self, Idler};

/// Where the entry point of the daemon's container writes the range down.
const RANGE: &str = "/berth/ids";

/// Numbers that nobody assigns (systemd, `docs/UIDS-GIDS.md`): of them we take owners, and `dind/ids.rs` ranges.
const OWNERS: u32 = 0x7000_0000;
const OWNERS_BITS: u32 = 0x07ff_ffff;
/// Where the users and groups below `OWNERS` are who have nothing to do with a container. No tool makes such numbers, and Docker
/// takes none from an image.
const STRANGERS: u32 = 0x8000_0000;

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// Ids of a container, and what they are on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) inside: u32,
    pub(super) outside: u32,
    pub(super) count: u32,
}

impl Range {
    /// The machine's own ids, for containers that have them.
    pub(super) const MACHINE: Self = Self { first: 0, count: u32::MAX };

    /// `FIRST:COUNT`
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, count) = text.trim().split_once(':')?;
        let range = Self { first: first.parse().ok()?, count: count.parse().ok()? };
        (range.first > 0 && range.count > 1 && range.first.checked_add(range.count).is_some())
            .then_some(range)
    }

    /// The daemon's; `None` where its containers have the machine's ids.
    pub(super) fn of_daemon() -> Option<Self> {
        Self::parse(&fs::read_to_string(RANGE).ok()?)
    }

    /// How many each container has. The last one is for a user with a greater number.
    pub(super) fn common(self) -> u32 {
        self.count - 1
    }

    pub(super) fn contains(self, id: u32) -> bool {
        id.checked_sub(self.first).is_some_and(|id| id < self.count)
    }

    /// Of a container whose process has this id.
    pub(super) fn map(self, id: u32) -> Vec<Extent> {
        let mut map = vec![Extent { inside: 0, outside: self.first, count: self.common() }];
        map.extend((id >= self.common()).then(|| Extent {
            inside: id,
            outside: self.first + self.common(),
            count: 1,
        }));
        map
    }

    /// The same, where this id is `real` on the machine.
    pub(super) fn map_keeping(self, id: u32, real: u32) -> Vec<Extent> {
        self.split(id, real, 0)
    }

    /// What shows a volume's files in such a container as they are shown in any other.
    pub(super) fn map_kept(self, id: u32, real: u32) -> Vec<Extent> {
        self.split(id, real, self.first)
    }

    /// What shows the files of `caller` in a mount as those of the container's `own`. All others' are somebody's whom no
    /// process of it can be, by a group of its image's neither: what is closed to the caller stays so.
    pub(super) fn map_lent(self, own: u32, caller: u32) -> Vec<Extent> {
        let lent = Extent { inside: caller, outside: self.first + own.min(self.common()), count: 1 };
        let strangers = |from: u32, to: u32| {
            let count = to.min(OWNERS).saturating_sub(from);
            Extent { inside: from, outside: STRANGERS.saturating_add(from), count }
        };
        let extents = [strangers(0, caller), lent, strangers(caller.saturating_add(1), OWNERS)];
        extents.into_iter().filter(|extent| extent.count > 0).collect()
    }

    /// All of the range, beginning inside at `base`; `id` of it is the machine's `real`.
    fn split(self, id: u32, real: u32, base: u32) -> Vec<Extent> {
        let at = id.min(self.common());
        let before = Extent { inside: base, outside: self.first, count: at };
        let own = Extent { inside: if base == 0 { id } else { base + at }, outside: real, count: 1 };
        let rest = self.common().saturating_sub(at + 1);
        let behind = Extent {
            inside: base.saturating_add(at + 1),
            outside: self.first.saturating_add(at + 1),
            count: rest,
        };
        [before, own, behind].into_iter().filter(|extent| extent.count > 0).collect()
    }
}

/// As the kernel reads it, and shows it.
pub(super) fn lines(map: &[Extent]) -> String {
    map.iter().fold(String::new(), |mut lines, Extent { inside, outside, count }| {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{inside} {outside} {count}");
        lines
    })
}

/// As a runtime reads it.
pub(super) fn json(map: &[Extent]) -> Json {
    let extent = |extent: &Extent| {
        let fields = [("containerID", extent.inside), ("hostID", extent.outside), ("size", extent.count)];
        Json::Object(fields.map(|(name, id)| (name.to_owned(), Json::number(id))).into())
    };
    Json::List(map.iter().map(extent).collect())
}

/// The owner of a container's user namespace: a number that no user has, and hardly another container.
pub(super) fn owner(container: &OsStr) -> u32 {
    let digits = container.to_str().and_then(|id| u32::from_str_radix(id.get(..8)?, 16).ok());
    OWNERS | (digits.unwrap_or_default() & OWNERS_BITS)
}

/// A new user namespace, which stays for as long as this lives.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Runtimes read the ids of a process rather than of a namespace.
    idler: Idler,
    file: File,
}

impl Namespace {
    pub(super) fn make(owner: u32, users: &[Extent], groups: &[Extent]) -> io::Result<Self> {
        let idler = Idler::start(owner)?;
        let of = |file: &str| format!("/proc/{}/{file}", idler.pid());
        fs::write(of("uid_map"), lines(users))?;
        fs::write(of("gid_map"), lines(groups))?;
        let file = File::open(of("ns/user"))?;
        Ok(Self { idler, file })
    }

    pub(super) fn path(&self) -> String {
        format!("/proc/{}/ns/user", self.idler.pid())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether containers can have the ids of this range here.
pub(super) fn check(range: Range) -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::new(Failure::SYSTEM, why));
    for map in ["uid_map", "gid_map"] {
        if !has_all(&fs::read_to_string(format!("/proc/self/{map}"))?) {
            return refused("the engine has a user namespace of its own, with too few ids for others");
        }
    }
    let map = range.map(0);
    match Namespace::make(owner(OsStr::new("")), &map, &map) {
        Ok(_) => {
            // What is asked is nonsense, to a kernel that knows the question.
            let root = File::open("/")?;
            let said = userns::map_ids(root.as_fd(), root.as_fd());
            if said.is_err_and(|error| error.raw_os_error() == Some(ENOSYS)) {
                return refused("the kernel has no id-mapped mounts, and is older than 5.12");
            }
            Ok(())
        }
        Err(error) => refused(&format!("the kernel refuses one: {error}")),
    }
}

const ENOSYS: i32 = 38;

/// Whether a map, as the kernel shows it, leads to all that the machine has.
pub(super) fn has_all(map: &str) -> bool {
    let fields: Vec<Option<u32>> = map.split_whitespace().map(|field| field.parse().ok()).collect();
    fields == [Some(0), Some(0), Some(u32::MAX)]
}
