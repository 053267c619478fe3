//! How many containers of each kind a manager wants on standby: a file of the state folder, which holds for a short time.
//!
//! Who reads no valid file does without a manager.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::turn::FOLDER;
use crate::values::Standby;

/// In the folder of standby's own.
const FILE: &str = "targets.json";

/// What the file means.
const SCHEMA: u32 = 1;

/// A longer file is nobody's (bytes).
const LONGEST: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    schema: u32,
    expires: Timestamp,
    kinds: BTreeMap<String, u32>,
    /// Those of them whose bounds a person has set at the manager.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    by_hand: BTreeSet<String>,
}

/// How many of one kind are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    count: u32,
    /// By a person, whatever the configuration says.
    pub(super) by_hand: bool,
}

impl Target {
    /// How many, where the configuration says `standby`.
    pub fn within(self, standby: Standby) -> u32 {
        if self.by_hand { self.count.min(Standby::MOST) } else { standby.chosen(self.count) }
    }
}

/// Which containers serve the same sessions: the client, and the hash of the specification.
pub fn kind(client: &str, hash: &str) -> String {
    format!("{client}-{hash}")
}

/// The client and the hash of a [`kind`].
pub fn parts(kind: &str) -> (&str, &str) {
    kind.rsplit_once('-').unwrap_or((kind, ""))
}

/// What a manager wants now; nothing of any kind where there is none.
pub fn read(state: &Path) -> Targets {
    let nothing = || Targets::new(BTreeMap::new(), BTreeSet::new(), Timestamp::MIN);
    Targets::read(state, Timestamp::now()).unwrap_or_else(nothing)
}

impl Targets {
    pub fn new(kinds: BTreeMap<String, u32>, by_hand: BTreeSet<String>, expires: Timestamp) -> Self {
        Self { schema: SCHEMA, expires, kinds, by_hand }
    }

    /// What is wanted of this kind, if anything was said of it. It stays the same, so that whoever asks twice acts on one answer.
    pub fn of(&self, kind: &str) -> Option<Target> {
        let count = *self.kinds.get(kind)?;
        Some(Target { count, by_hand: self.by_hand.contains(kind) })
    }

    /// Each kind of which something was said, and how many are wanted.
    pub fn all(&self) -> &BTreeMap<String, u32> {
        &self.kinds
    }

    /// The file's, if it holds at `now`.
    fn read(state: &Path, now: Timestamp) -> Option<Self> {
        let file = crate::regular::open(&state.join(FOLDER).join(FILE)).ok()??;
        let targets: Self = serde_json::from_reader(io::Read::take(file, LONGEST)).ok()?;
        (targets.schema == SCHEMA && now < targets.expires).then_some(targets)
    }

    /// Whoever reads finds the old file or this one.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn write(&self, state: &Path) -> io::Result<()> {
        let folder = state.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.persist(folder.join(FILE))?;
        Ok(())
    }

    /// A manager that ends has no wishes.
    pub fn remove(state: &Path) {
        _ = fs::remove_file(state.join(FOLDER).join(FILE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_number_holds_whatever_the_configuration_says() {
        let state = tempfile::tempdir().unwrap();
        let expires = Timestamp::now() + jiff::SignedDuration::from_secs(60);
        let kinds = [("a", 3), ("b", 3), ("c", 99)].map(|(kind, count)| (kind.to_owned(), count));
        let by_hand = ["b", "c"].map(str::to_owned);
        Targets::new(kinds.into(), by_hand.into(), expires).write(state.path()).unwrap();
        let range = Standby::between(0, 2).unwrap();
        let targets = read(state.path());
        let within = |kind, standby| targets.of(kind).map(|target| target.within(standby));
        assert_eq!([within("a", range), within("a", Standby::fixed(1))], [Some(2), Some(1)]);
        assert_eq!([within("b", range), within("b", Standby::NONE)], [Some(3), Some(3)]);
        assert_eq!((within("c", range), within("d", range)), (Some(Standby::MOST), None));
        Targets::remove(state.path());
        assert_eq!(within("b", range), Some(3), "one answer holds for all that follows from it");
        assert_eq!(read(state.path()).of("b"), None);
    }

    #[test]
    fn a_wish_holds_for_its_time_and_a_broken_file_is_none() {
        let state = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let after = |seconds: i64| now + jiff::SignedDuration::from_secs(seconds);
        let kind = kind("codex", "0123");
        assert_eq!(read(state.path()).of(&kind), None);
        let wanted = Targets::new(BTreeMap::from([(kind.clone(), 3)]), BTreeSet::new(), after(60));
        wanted.write(state.path()).unwrap();
        assert_eq!(read(state.path()).of(&kind), Some(Target { count: 3, by_hand: false }));
        assert_eq!(read(state.path()).of("other"), None);
        assert!(Targets::read(state.path(), after(59)).is_some());
        assert!(Targets::read(state.path(), after(60)).is_none(), "it is old");
        Targets { schema: 2, ..wanted.clone() }.write(state.path()).unwrap();
        assert_eq!(read(state.path()).of(&kind), None, "it may mean something else");
        wanted.write(state.path()).unwrap();
        Targets::remove(state.path());
        assert_eq!(read(state.path()).of(&kind), None);
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), 0);
    }
}
