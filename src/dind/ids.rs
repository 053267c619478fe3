//! The range of ids that the users of a daemon's containers have on its machine.
//!
//! It follows from the daemon's name, so that each daemon of a machine has another one, and the same at each start. All of
//! them lie where no user, no distribution and no systemd assigns any (systemd, `docs/UIDS-GIDS.md`: 0x70000000 and above;
//! from 0x7FFE0000 on they are taken again). The lower half is for the owners of namespaces (`keeper/ids.rs`).

use std::fmt;

use sha2::{Digest, Sha256};

use crate::dock::keeper;

const FIRST: u32 = 0x7800_0000;
/// Four times as many as an image may have anywhere else.
const COUNT: u32 = keeper::USERS;
const RANGES: u32 = 511;

/// Of each of these numbers.
const DIGITS: usize = 10;
/// The fewest that any `ps` shows of it.
const SHOWN: usize = 7;

/// As the daemon's entry point and the keeper read it: `FIRST:COUNT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub first: u32,
    pub count: u32,
}

impl Ids {
    pub fn of(daemon: &str) -> Self {
        let digest = Sha256::digest(daemon);
        let number = digest.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte));
        Self { first: FIRST + number % RANGES * COUNT, count: COUNT }
    }

    /// Whether `user` is one of them, as `ps` shows a user who has no name: the number, or as much of it as there is room for.
    pub fn shows(self, user: &str) -> bool {
        let digits = user.strip_suffix('+').unwrap_or(user);
        let Ok(number) = digits.parse::<u64>() else { return false };
        let unit = (digits.len()..DIGITS).fold(1, |unit, _| unit * 10);
        (SHOWN..=DIGITS).contains(&digits.len())
            && (u64::from(self.first) / unit..=u64::from(self.first + self.count) / unit).contains(&number)
    }

    pub fn contains(self, id: u32) -> bool {
        id.checked_sub(self.first).is_some_and(|id| id < self.count)
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.first, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_daemon_has_a_range_of_its_own_where_nobody_else_has_one() {
        let ranges: Vec<_> = (0..40).map(|n| Ids::of(&format!("berth-{n}")).first).collect();
        let mut distinct = ranges.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 30, "{ranges:?}");
        assert!(ranges.iter().all(|first| *first >= 0x7800_0000 && first + COUNT <= 0x7ffe_0000));
        assert_eq!(Ids::of("berth-dind"), Ids::of("berth-dind"), "its files stay where they are");
        let ids = Ids::of("berth-dind");
        let first = ids.first.to_string();
        for shown in [&first, &format!("{}+", &first[..7]), &first[..8].to_owned()] {
            assert!(ids.shows(shown), "{shown}");
        }
        for other in ["0", "root", "1000", "1168400+", "11684005", &first[..6], "4294967295", "nobody", ""] {
            assert!(!ids.shows(other), "{other}");
        }
        assert!(ids.contains(ids.first) && !ids.contains(ids.first + COUNT) && !ids.contains(1000));
    }
}
