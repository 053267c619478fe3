//! Learns from the journals which kinds of sessions come, and how long it takes until the next container stands by.
//!
//! It keeps nothing of them on disk: what counts is a few hours old at the most, and the journals still have it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mcp_berth::backend::docker::targets;
use mcp_berth::failure::Failure;
use mcp_berth::history::Record;
use mcp_berth::values::Standby;

use super::by_hand::{ByHand, Set, SetError};
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
    pub(crate) server: String,
    pub(crate) from: Option<u32>,
    /// `None`: that of the configuration.
    pub(crate) to: Option<u32>,
    pub(crate) why: Why,
    /// A person has set the bounds.
    pub(crate) by_hand: bool,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(from) = self.from {
            write!(f, "{from} -> ")?;
        }
        match self.to {
            Some(to) => write!(f, "{to}")?,
            None => f.write_str("as configured")?,
        }
        write!(f, ": {}", self.why)?;
        if self.by_hand && self.why != Why::Hand { f.write_str(", within a person's bounds") } else { Ok(()) }
    }
}

impl Decision {
    /// The kind of client.
    pub(super) fn client(&self) -> &str {
        targets::parts(&self.kind).0
    }
}

/// What was decided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) targets: BTreeMap<String, u32>,
    /// Those of them whose bounds a person has set.
    pub(super) by_hand: BTreeSet<String>,
    /// What has changed since the last time.
    pub(super) changes: Vec<Decision>,
}

/// A kind, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) kind: String,
    pub(crate) server: String,
    /// How many are to stand by. `None`: it is not for the manager to say.
    pub(crate) target: Option<u32>,
    pub(crate) standby: Standby,
    /// A person has set them then; they are the configuration's otherwise.
    pub(crate) set: Option<Timestamp>,
}

/// All kinds; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    kinds: Arc<Mutex<Kinds>>,
    by_hand: Arc<ByHand>,
}

#[derive(Debug, Default)]
struct Kinds {
    demand: BTreeMap<String, Demand>,
    sessions: HashMap<String, Session>,
    targets: BTreeMap<String, u32>,
}

/// What is known of a session.
#[derive(Debug, Default)]
struct Session {
    /// Its last record's number.
    seq: u64,
    server: String,
    /// Its kind, and when it came, until it is over.
    of: Option<(String, Timestamp)>,
}

impl Watch {
    /// What people have set is in the manager's folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        Ok(Self { kinds: Arc::default(), by_hand: Arc::new(ByHand::open(folder)?) })
    }

    /// All kinds that sessions have told of, or a person has set.
    pub(crate) fn known(&self) -> Vec<Known> {
        let set = self.by_hand.all();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.add(&set);
        let there =
            kinds.demand.iter().filter(|(kind, demand)| set.contains_key(*kind) || demand.last().is_some());
        let known = there.map(|(kind, demand)| Known {
            kind: kind.clone(),
            server: demand.server.clone(),
            target: kinds.targets.get(kind).copied(),
            standby: set.get(kind).map_or(demand.standby, Set::standby),
            set: set.get(kind).map(|set| set.since),
        });
        known.collect()
    }

    /// A person's bounds, in place of the configuration's. Waits for the disk.
    ///
    /// # Errors
    /// They are not kept, and do not hold.
    pub(crate) fn set(&self, kind: &str, standby: Standby, server: &str) -> Result<(), SetError> {
        let memory = {
            let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.demand.get(kind).map_or(0, |demand| demand.memory)
        };
        self.by_hand.set(kind, Set::new(standby, server.to_owned(), memory))
    }

    /// The configuration's bounds hold again; false where nothing was set. Waits for the disk.
    ///
    /// # Errors
    /// What was set still holds.
    pub(crate) fn unset(&self, kind: &str) -> Result<bool, SetError> {
        self.by_hand.remove(kind)
    }

    /// The targets at `now`, and what has changed since the last ones.
    pub(super) fn decide(&self, now: Timestamp, room: Room) -> Decided {
        let set = self.by_hand.all();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kinds.demand.values().filter_map(Demand::last).max();
        let night = i64::try_from(NIGHT.as_secs()).unwrap_or(i64::MAX);
        kinds.demand.retain(|_, demand| {
            demand.last().is_some_and(|last| now.duration_since(last).as_secs() < 2 * night)
        });
        kinds.add(&set);
        let mut wanted: Vec<(String, u32, u64, Why)> = kinds
            .demand
            .iter()
            .filter_map(|(kind, demand)| {
                let (target, why) = match set.get(kind).map(Set::standby) {
                    Some(fixed) if !fixed.is_range() => (fixed.least(), Why::Hand),
                    Some(range) => demand.target(range, now, last),
                    None if demand.standby.is_range() => demand.target(demand.standby, now, last),
                    None => return None,
                };
                Some((kind.clone(), target, demand.memory, why))
            })
            .collect();
        fit(&mut wanted, room);
        let targets: BTreeMap<String, u32> =
            wanted.iter().map(|(kind, target, ..)| (kind.clone(), *target)).collect();
        let given_up = kinds.targets.keys().filter(|kind| !targets.contains_key(*kind));
        let given_up = given_up.map(|kind| (kind.clone(), None, Why::Configuration));
        let chosen = wanted.into_iter().map(|(kind, to, _, why)| (kind, Some(to), why));
        let changes = chosen.chain(given_up).filter_map(|(kind, to, why)| {
            let from = kinds.targets.get(&kind).copied();
            // Of a kind that is forgotten there is nothing to say.
            let server = kinds.demand.get(&kind)?.server.clone();
            let by_hand = set.contains_key(&kind);
            (from != to).then_some(Decision { kind, server, from, to, why, by_hand })
        });
        let changes = changes.collect();
        kinds.targets.clone_from(&targets);
        let by_hand = set.into_keys().filter(|kind| targets.contains_key(kind)).collect();
        Decided { targets, by_hand, changes }
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
    /// What a person has set is known, though no session has told of it.
    fn add(&mut self, set: &BTreeMap<String, Set>) {
        for (kind, set) in set {
            if !self.demand.contains_key(kind) {
                let demand = Demand::new(Standby::NONE, set.server.clone(), set.memory);
                self.demand.insert(kind.clone(), demand);
            }
        }
    }

    fn take(&mut self, session: &str, record: &Record) {
        match (record.kind.as_str(), record.name.as_deref()) {
            ("standby", Some(kind)) => self.came(session, kind, record),
            ("step", Some("put on standby")) => {
                let of = self.sessions.get(session).and_then(|session| session.of.as_ref());
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
        let session = self.sessions.entry(session.to_owned()).or_default();
        session.of = Some((kind.to_owned(), record.time));
        let memory = record.bytes.unwrap_or_default();
        let demand = self
            .demand
            .entry(kind.to_owned())
            .or_insert_with(|| Demand::new(standby, session.server.clone(), memory));
        // The newest session's configuration holds.
        if demand.last().is_none_or(|last| last <= record.time) {
            (demand.standby, demand.memory) = (standby, memory);
        }
        demand.came(record.time);
    }
}

impl Sink for Watch {
    fn has(&mut self, session: &str) -> anyhow::Result<u64> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kinds.sessions.get(session).map_or(0, |session| session.seq))
    }

    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.sessions.len() >= SESSIONS && !kinds.sessions.contains_key(line.session) {
            kinds.sessions.retain(|_, session| session.of.is_some());
        }
        let session = kinds.sessions.entry(line.session.to_owned()).or_default();
        session.seq = line.seq;
        if let Some(server) = &line.record.server {
            session.server.clone_from(server);
        }
        kinds.take(line.session, line.record);
        Ok(())
    }

    fn over(&mut self, session: &str) -> anyhow::Result<()> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = kinds.sessions.get_mut(session) {
            session.of = None;
        }
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn forget(&mut self, is_gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.sessions.retain(|session, _| !is_gone(session));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
