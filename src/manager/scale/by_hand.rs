//! What people have set: how many containers of a kind stand by, in place of the server's `standby`. A file of the manager's.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::regular;
use mcp_berth::values::Standby;
use serde::{Deserialize, Serialize};

/// In the manager's folder.
const FILE: &str = "standby.json";

/// What the file means. A file of a later berth is left alone.
const SCHEMA: u32 = 1;

/// So many kinds have bounds of a person's.
const MOST: usize = 256;

/// What a person has set for one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Set {
    min: u32,
    max: u32,
    pub(crate) since: Timestamp,
    /// Whose containers they are.
    pub(crate) server: String,
    /// Of one container (bytes), as far as it was known then.
    pub(super) memory: u64,
}

impl Set {
    pub(super) fn new(standby: Standby, server: String, memory: u64) -> Self {
        Self { min: standby.least(), max: standby.most(), since: Timestamp::now(), server, memory }
    }

    pub(crate) fn standby(&self) -> Standby {
        Standby::between(self.min, self.max).unwrap_or_default()
    }
}

/// Why bounds are not set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetError {
    #[error("{MOST} kinds have bounds of their own already; remove some of them")]
    TooMany,
    #[error("cannot keep the bounds: {0}")]
    Unkept(#[from] io::Error),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Text {
    schema: u32,
    kinds: BTreeMap<String, Set>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct ByHand {
    path: PathBuf,
    kinds: Mutex<BTreeMap<String, Set>>,
}

impl ByHand {
    /// # Errors
    /// The file cannot be read, or is another berth's.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let kinds = read(&path).map_err(|error| Failure {
            code: Code::Unavailable,
            text: format!("cannot use `{}`: {error}", path.display()),
            next: Some("move the file away: the servers' own `standby` holds then".to_owned()),
        })?;
        Ok(Self { path, kinds: Mutex::new(kinds) })
    }

    pub(super) fn all(&self) -> BTreeMap<String, Set> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the disk: what holds is what is kept.
    pub(super) fn set(&self, kind: &str, set: Set) -> Result<(), SetError> {
        self.change(|kinds| {
            if kinds.len() >= MOST && !kinds.contains_key(kind) {
                return Err(SetError::TooMany);
            }
            kinds.insert(kind.to_owned(), set);
            Ok(())
        })
    }

    /// False where nothing was set.
    pub(super) fn remove(&self, kind: &str) -> Result<bool, SetError> {
        let mut was_set = false;
        self.change(|kinds| {
            was_set = kinds.remove(kind).is_some();
            Ok(())
        })?;
        Ok(was_set)
    }

    fn change(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Set>) -> Result<(), SetError>,
    ) -> Result<(), SetError> {
        let mut held = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kinds = held.clone();
        change(&mut kinds)?;
        if kinds != *held {
            let text = Text { schema: SCHEMA, kinds };
            regular::replace(&self.path, &serde_json::to_vec(&text).map_err(io::Error::from)?)?;
            *held = text.kinds;
        }
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, Set>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read?,
    };
    let text: Text = serde_json::from_slice(&text)?;
    if text.schema != SCHEMA {
        return Err(io::Error::other("another berth has written it"));
    }
    Ok(text.kinds)
}

/// Whoever reads finds the old file or this one, after a power cut, too.
#[cfg(test)]
mod tests {
    use super::*;

    fn set(min: u32, max: u32) -> Set {
        Set::new(Standby::between(min, max).unwrap(), "files".to_owned(), 8 << 20)
    }

    #[test]
    fn what_is_set_holds_over_a_new_start_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let by_hand = ByHand::open(folder.path()).unwrap();
        by_hand.set("codex-1", set(1, 4)).unwrap();
        by_hand.set("codex-2", set(2, 2)).unwrap();
        by_hand.set("codex-1", set(0, 3)).unwrap();
        let again = ByHand::open(folder.path()).unwrap();
        let kinds = again.all();
        assert_eq!(kinds.keys().collect::<Vec<_>>(), ["codex-1", "codex-2"]);
        assert_eq!(kinds["codex-1"].standby(), Standby::between(0, 3).unwrap());
        assert!(again.remove("codex-1").unwrap() && !again.remove("codex-1").unwrap());
        assert_eq!(ByHand::open(folder.path()).unwrap().all().len(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_cannot_be_kept_does_not_hold() {
        let folder = tempfile::tempdir().unwrap();
        let by_hand = ByHand::open(folder.path()).unwrap();
        drop(folder);
        assert!(matches!(by_hand.set("codex-1", set(1, 4)), Err(SetError::Unkept(_))));
        assert!(by_hand.all().is_empty());
    }

    #[test]
    fn there_are_not_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let by_hand = ByHand::open(folder.path()).unwrap();
        let full = (0..MOST).map(|n| (format!("codex-{n}"), set(1, 1))).collect();
        *by_hand.kinds.lock().unwrap() = full;
        assert!(matches!(by_hand.set("codex-x", set(1, 1)), Err(SetError::TooMany)));
        by_hand.set("codex-1", set(1, 2)).unwrap();
        by_hand.remove("codex-2").unwrap();
        by_hand.set("codex-x", set(1, 1)).unwrap();
    }

    #[test]
    fn another_berths_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["{\"schema\":2,\"kinds\":{}}", "{"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let refused = ByHand::open(folder.path()).unwrap_err();
            assert!(refused.text.contains("standby.json"), "{refused:?}");
        }
    }
}
