//! How many containers a daemon may have on standby, and which of them give way. Asks nobody.

use std::collections::HashMap;
use std::fmt;

use crate::dock::docker::Listed;
use crate::dock::labels::{LABEL_CLIENT, LABEL_CREATED, LABEL_SPEC, STANDBY};

/// So much of the daemon's memory (bytes) allows one container on standby, which holds some 5 MiB of it.
const MEMORY_EACH: u64 = 128 << 20;
/// Every daemon may have as many.
pub(super) const FEWEST: usize = 4;
/// Each is one more for the daemon to list and to watch.
const MOST: usize = 32;

/// How many a daemon with so much memory (bytes) may have.
pub(super) fn of_memory(bytes: u64) -> usize {
    usize::try_from(bytes / MEMORY_EACH).unwrap_or(MOST).clamp(FEWEST, MOST)
}

/// How many containers a daemon has on standby, and how many it may have; for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub waiting: usize,
    pub cap: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiting, cap } = self;
        let containers = if *waiting == 1 { "container" } else { "containers" };
        write!(f, "{waiting} {containers} on standby, of {cap} at most")
    }
}

pub(super) fn is_on_standby(row: &Listed) -> bool {
    row.running && row.name.ends_with(STANDBY)
}

/// How many to start where a kind wishes for `wanted` and has `ready`, in a daemon that has `all`: the first one in any case,
/// for which others give way, and no more than there is room for.
pub(super) fn missing(wanted: usize, ready: usize, all: usize, cap: usize) -> usize {
    let first = usize::from(ready == 0).min(cap);
    wanted.saturating_sub(ready).min(cap.saturating_sub(all).max(first))
}

/// Those beyond `cap`: of the kind that was claimed longest ago, and of that the oldest. A claimed container is replaced at
/// once, so a kind's newest container is as old as its last claim. All who see the same containers choose the same ones.
pub(super) fn surplus(rows: &[Listed], cap: usize) -> Vec<&Listed> {
    let mut waiting: Vec<&Listed> = rows.iter().filter(|row| is_on_standby(row)).collect();
    let mut last_claims = HashMap::new();
    for row in &waiting {
        let last = last_claims.entry(kind(row)).or_default();
        *last = made(row).max(*last);
    }
    waiting.sort_by_key(|row| (last_claims.get(&kind(row)).copied(), kind(row), made(row), &row.id));
    waiting.truncate(waiting.len().saturating_sub(cap));
    waiting
}

/// Those of one kind (`CLIENT-HASH`) beyond `target`, the oldest.
pub(super) fn beyond<'a>(rows: &'a [Listed], kind: &str, target: usize) -> Vec<&'a Listed> {
    let is_of = |row: &&Listed| match self::kind(row) {
        [Some(client), Some(spec)] => format!("{client}-{spec}") == kind,
        _ => false,
    };
    let mut waiting: Vec<&Listed> = rows.iter().filter(|row| is_on_standby(row)).filter(is_of).collect();
    waiting.sort_by_key(|row| (made(row), &row.id));
    waiting.truncate(waiting.len().saturating_sub(target));
    waiting
}

/// By the daemon's clock, which counts seconds; within one, by the clocks of those who have made them.
fn made(row: &Listed) -> (i64, Option<jiff::Timestamp>) {
    (row.created, row.labels.get(LABEL_CREATED).and_then(|time| time.parse().ok()))
}

/// For whom it waits.
fn kind(row: &Listed) -> [Option<&str>; 2] {
    [LABEL_CLIENT, LABEL_SPEC].map(|label| row.labels.get(label).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greater_daemon_may_have_more_within_bounds() {
        let of_gib = |gib: u64| of_memory(gib << 30);
        assert_eq!([of_gib(0), of_memory(1 << 29), of_gib(1), of_gib(4), of_gib(64)], [4, 4, 8, 32, 32]);
        assert_eq!(of_memory(u64::MAX), MOST);
    }

    #[test]
    fn the_first_is_made_in_any_case_and_more_only_where_there_is_room() {
        for ((wanted, ready, all, cap), expected) in [
            ((1, 0, 0, 8), 1),
            ((1, 1, 1, 8), 0),
            ((3, 0, 0, 8), 3),
            ((3, 1, 6, 8), 2),
            ((3, 1, 7, 8), 1),
            // Others give way for the first one, and for no second one.
            ((1, 0, 8, 8), 1),
            ((3, 0, 9, 8), 1),
            ((3, 1, 8, 8), 0),
            // More than a daemon may have is nobody's wish.
            ((64, 0, 0, 8), 8),
            ((1, 0, 0, 0), 0),
            ((0, 0, 0, 8), 0),
        ] {
            assert_eq!(missing(wanted, ready, all, cap), expected, "{wanted} {ready} {all} {cap}");
        }
    }

    #[test]
    fn a_person_reads_the_count() {
        let count = |waiting| Count { waiting, cap: 32 }.to_string();
        assert_eq!(count(1), "1 container on standby, of 32 at most");
        assert_eq!(count(3), "3 containers on standby, of 32 at most");
    }

    /// `id spec created`, on standby.
    fn rows(text: &[&str]) -> Vec<Listed> {
        let row = |text: &&str| {
            let [id, spec, created] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
            let (seconds, fraction) = created.split_once('.').unwrap_or((created, "0"));
            let time = format!("2026-11-27T10:00:00.{fraction}Z");
            let labels = [(LABEL_CLIENT, "codex"), (LABEL_SPEC, spec), (LABEL_CREATED, &time)];
            Listed {
                id: id.to_owned(),
                name: format!("mcp-codex-{id}.standby"),
                labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                image: String::new(),
                command: String::new(),
                running: true,
                stopped: false,
                created: seconds.parse().unwrap(),
            }
        };
        text.iter().map(row).collect()
    }

    fn ids(rows: &[Listed], cap: usize) -> Vec<&str> {
        surplus(rows, cap).into_iter().map(|row| row.id.as_str()).collect()
    }

    #[test]
    fn who_was_claimed_longest_ago_gives_way() {
        // Of `often`, one is the oldest of all; its last claim is the latest of all.
        let rows = rows(&["a often 1", "b often 9", "c once 2", "d twice 3", "e twice 5"]);
        assert_eq!(ids(&rows, 5), [""; 0]);
        assert_eq!(ids(&rows, 6), [""; 0]);
        assert_eq!(ids(&rows, 4), ["c"]);
        assert_eq!(ids(&rows, 2), ["c", "d", "e"]);
        assert_eq!(ids(&rows, 0), ["c", "d", "e", "a", "b"]);
    }

    #[test]
    fn the_oldest_of_a_kind_are_beyond_its_target() {
        let rows = rows(&["a often 5", "b often 9", "c once 2", "d often 3"]);
        let beyond = |kind, target| {
            super::beyond(&rows, kind, target).iter().map(|row| row.id.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(beyond("codex-often", 1), ["d", "a"]);
        assert_eq!(beyond("codex-often", 3), [""; 0]);
        assert_eq!(beyond("codex-once", 0), ["c"]);
        assert_eq!(beyond("claude-once", 0), [""; 0]);
    }

    #[test]
    fn within_a_second_the_makers_clocks_count() {
        let rows = rows(&["a x 1.5", "b y 1.25", "c z 1.125", "d w 0.9"]);
        assert_eq!(ids(&rows, 0), ["d", "c", "b", "a"]);
    }

    #[test]
    fn what_is_claimed_or_not_there_yet_does_not_count() {
        let mut rows = rows(&["a x 1", "b y 2", "c z 3"]);
        rows[0].name = "mcp-codex-1".to_owned();
        rows[1].running = false;
        assert_eq!(ids(&rows, 1), [""; 0]);
        assert_eq!(ids(&rows, 0), ["c"]);
        assert!(super::beyond(&rows, "codex-x", 0).is_empty(), "a session has it");
        assert!(super::beyond(&rows, "codex-y", 0).is_empty(), "it does not run");
    }

    /// Fifty that were made in one second, as each of their makers sees them: with the others so far, in any order.
    #[test]
    fn all_who_count_at_once_end_the_same_ones() {
        const CAP: usize = 8;
        let all: Vec<String> = (0..50).map(|n| format!("{:02} s{n} {}", n * 7 % 50, 100 + n / 20)).collect();
        let all = rows(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut ended: Vec<String> = Vec::new();
        for seen in 1..=all.len() {
            // Half of those that were ended are still there for it.
            let mut view: Vec<Listed> = all[..seen].to_vec();
            view.retain(|row| !ended.contains(&row.id) || row.id.ends_with(['0', '2', '4', '6', '8']));
            view.rotate_left(seen / 2);
            ended.extend(surplus(&view, CAP).into_iter().map(|row| row.id.clone()));
        }
        let left = all.iter().filter(|row| !ended.contains(&row.id)).count();
        assert_eq!(left, CAP, "neither too many are left nor too few");
    }
}
