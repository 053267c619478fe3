//! Learns from the journals which kinds of sessions come, and how long it takes until the next container stands by.
//!
//! It keeps nothing on disk: what counts is a few hours old at the most, and the journals still have it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mcp_berth::history::Record;
use mcp_berth::values::Standby;

use super::demand::{Demand, NIGHT, Why};
use crate::journals::{Line, Sink};

/// Hostile journals have no more kinds than this.
const KINDS: usize = 256;

/// Of more sessions than these, those that are over are forgotten.
const SESSIONS: usize = 4096;

/// What the daemon has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Containers on standby of all kinds.
    pub(super) containers: u32,
    /// Their memory (bytes).
    pub(super) memory: u64,
}

/// A number that has changed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) kind: String,
    pub(crate) from: Option<u32>,
    pub(crate) to: u32,
    pub(crate) why: Why,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, from, to, why } = self;
        match from {
            Some(from) => write!(f, "standby of `{kind}`: {from} -> {to}: {why}"),
            None => write!(f, "standby of `{kind}`: {to}: {why}"),
        }
    }
}

/// All kinds; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Kinds>>);

#[derive(Debug, Default)]
struct Kinds {
    demand: BTreeMap<String, Demand>,
    /// Of each session, its last record's number, its kind, and when it came.
    sessions: HashMap<String, (u64, Option<(String, Timestamp)>)>,
    targets: BTreeMap<String, u32>,
}

impl Watch {
    /// The targets at `now`, and what has changed since the last ones.
    pub(super) fn decide(&self, now: Timestamp, room: Room) -> (BTreeMap<String, u32>, Vec<Decision>) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kinds.demand.values().filter_map(Demand::last).max();
        let night = i64::try_from(NIGHT.as_secs()).unwrap_or(i64::MAX);
        kinds.demand.retain(|_, demand| {
            demand.last().is_some_and(|last| now.duration_since(last).as_secs() < 2 * night)
        });
        let mut wanted: Vec<(String, u32, u64, Why)> = kinds
            .demand
            .iter()
            .map(|(kind, demand)| {
                let (target, why) = demand.target(now, last);
                (kind.clone(), target, demand.memory, why)
            })
            .collect();
        fit(&mut wanted, room);
        let targets: BTreeMap<String, u32> =
            wanted.iter().map(|(kind, target, ..)| (kind.clone(), *target)).collect();
        let decisions = wanted.into_iter().filter_map(|(kind, to, _, why)| {
            let from = kinds.targets.get(&kind).copied();
            (from != Some(to)).then_some(Decision { kind, from, to, why })
        });
        let decisions = decisions.collect();
        kinds.targets.clone_from(&targets);
        (targets, decisions)
    }
}

/// The greatest give way, one by one, until all have room.
fn fit(wanted: &mut [(String, u32, u64, Why)], room: Room) {
    loop {
        let containers: u32 = wanted.iter().map(|(_, target, ..)| target).sum();
        let memory: u64 = wanted.iter().map(|(_, target, memory, _)| u64::from(*target) * memory).sum();
        if containers <= room.containers && memory <= room.memory {
            return;
        }
        let too_much_memory = memory > room.memory;
        let weight = |(_, target, memory, _): &(String, u32, u64, Why)| {
            u64::from(*target) * if too_much_memory { *memory } else { 1 }
        };
        let Some((_, target, _, why)) = wanted.iter_mut().max_by_key(|each| weight(each)) else { return };
        let Some(less) = target.checked_sub(1) else { return };
        (*target, *why) = (less, Why::Room);
    }
}

impl Kinds {
    fn take(&mut self, session: &str, record: &Record) {
        match (record.kind.as_str(), record.name.as_deref()) {
            ("standby", Some(kind)) => self.came(session, kind, record),
            ("step", Some("put on standby")) => {
                let of = self.sessions.get(session).and_then(|(_, of)| of.as_ref());
                if let Some((kind, came)) = of
                    && let Some(demand) = self.demand.get_mut(kind)
                {
                    let took = record.time.duration_since(*came);
                    demand.took(Duration::try_from(took).unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    fn came(&mut self, session: &str, kind: &str, record: &Record) {
        let count = |bound: Option<u64>| bound.and_then(|bound| u32::try_from(bound).ok());
        let bounds = count(record.min).zip(count(record.max));
        let Some(standby) = bounds.and_then(|(least, most)| Standby::between(least, most)) else { return };
        if self.demand.len() >= KINDS && !self.demand.contains_key(kind) {
            return;
        }
        let memory = record.bytes.unwrap_or_default();
        let demand = self.demand.entry(kind.to_owned()).or_insert_with(|| Demand::new(standby, memory));
        // The newest session's configuration holds.
        if demand.last().is_none_or(|last| last <= record.time) {
            (demand.standby, demand.memory) = (standby, memory);
        }
        demand.came(record.time);
        if let Some((_, of)) = self.sessions.get_mut(session) {
            *of = Some((kind.to_owned(), record.time));
        }
    }
}

impl Sink for Watch {
    fn has(&mut self, session: &str) -> anyhow::Result<u64> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kinds.sessions.get(session).map_or(0, |(seq, _)| *seq))
    }

    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.sessions.len() >= SESSIONS && !kinds.sessions.contains_key(line.session) {
            kinds.sessions.retain(|_, (_, of)| of.is_some());
        }
        kinds.sessions.entry(line.session.to_owned()).or_default().0 = line.seq;
        kinds.take(line.session, line.record);
        Ok(())
    }

    fn over(&mut self, session: &str) -> anyhow::Result<()> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, of)) = kinds.sessions.get_mut(session) {
            *of = None;
        }
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn forget(&mut self, is_gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.sessions.retain(|session, _| !is_gone(session));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { containers: 32, memory: 1 << 30 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn told(watch: &mut Watch, session: &str, seq: u64, second: i64, rest: &str) {
        let line = format!("{{\"time\":\"{}\",\"seq\":{seq},{rest}}}", at(second));
        let record = Record::parse(line.as_bytes()).unwrap();
        watch.take(Line { session, seq, record: &record }).unwrap();
    }

    fn came(watch: &mut Watch, session: &str, second: i64, kind: &str) {
        let rest = format!("\"kind\":\"standby\",\"name\":\"{kind}\",\"min\":0,\"max\":20,\"bytes\":8388608");
        told(watch, session, 5, second, &rest);
    }

    #[test]
    fn each_kind_has_its_own_number_and_a_change_says_why() {
        let mut watch = Watch::default();
        for session in ["a", "b", "c", "d", "e"] {
            came(&mut watch, session, 0, "codex-1");
        }
        came(&mut watch, "f", 1, "codex-2");
        let (targets, decisions) = watch.decide(at(1), ROOM);
        assert_eq!(targets, BTreeMap::from([("codex-1".to_owned(), 6), ("codex-2".to_owned(), 2)]));
        assert_eq!((decisions.len(), decisions[0].from, decisions[0].to), (2, None, 6));
        assert_eq!(decisions[0].why.to_string(), "5 sessions came within 10 s");
        assert_eq!(watch.decide(at(2), ROOM).1, [], "nothing has changed");
        let idle = watch.decide(at(400), ROOM).1;
        assert_eq!(idle[0], Decision { kind: "codex-1".to_owned(), from: Some(6), to: 0, why: Why::Idle });
        assert!(watch.decide(at(7 * 3600), ROOM).0.is_empty(), "forgotten");
    }

    #[test]
    fn how_long_it_took_is_from_the_session_on() {
        let mut watch = Watch::default();
        came(&mut watch, "a", 0, "codex-1");
        told(&mut watch, "a", 6, 30, "\"kind\":\"step\",\"name\":\"put on standby\",\"duration_ms\":300");
        came(&mut watch, "b", 40, "codex-1");
        came(&mut watch, "c", 65, "codex-1");
        assert_eq!(
            watch.decide(at(66), ROOM).1[0].why,
            Why::Demand { sessions: 2, within: Duration::from_secs(30) }
        );
    }

    #[test]
    fn all_kinds_have_room_together() {
        let mut watch = Watch::default();
        for n in 0..10 {
            came(&mut watch, &format!("a{n}"), 0, "codex-1");
        }
        came(&mut watch, "b", 0, "codex-2");
        let (targets, decisions) = watch.decide(at(1), Room { containers: 6, ..ROOM });
        assert_eq!(targets.values().copied().collect::<Vec<_>>(), [4, 2], "the greatest gives way");
        assert_eq!(decisions[0].why, Why::Room);
        let little = Room { memory: 24 << 20, ..ROOM };
        assert_eq!(watch.decide(at(1), little).0.values().sum::<u32>(), 3);
        assert_eq!(watch.decide(at(1), Room { containers: 0, memory: 0 }).0.values().sum::<u32>(), 0);
    }

    #[test]
    fn a_stranger_cannot_fill_the_memory_or_break_it() {
        let mut watch = Watch::default();
        for n in 0..1000 {
            came(&mut watch, "a", 0, &format!("codex-{n}"));
        }
        told(&mut watch, "a", 9, 0, "\"kind\":\"standby\",\"name\":\"x\",\"min\":9,\"max\":1");
        told(&mut watch, "a", 10, 0, "\"kind\":\"standby\"");
        assert_eq!(watch.decide(at(1), ROOM).0.len(), KINDS);
    }
}
