//! What a run is made of: the order of its faults and of its calls. Pure, and fixed by the seed.
//!
//! The faults and each slot's calls draw from random streams of their own. So the pace of one does not change the
//! others.

use std::time::Duration;

/// What is done to the system, and to which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ProxyKilled,
    ProxyStopped,
    ClientLeft,
    ClientDied,
    ServerCrashed,
    ServerBrokeOff,
    ServerKilled,
    KeeperKilled,
    ContainerKilled,
    ContainerRemoved,
    ContainerPaused,
    ConnectionsCut,
    ConnectionsStalled,
    DaemonStopped,
    DaemonRestarted,
    DaemonKilled,
    PodDeleted,
    Commanded,
}

impl Kind {
    /// Those of a daemon's sessions.
    pub const ALL: [Self; 16] = [
        Self::ProxyKilled,
        Self::ProxyStopped,
        Self::ClientLeft,
        Self::ClientDied,
        Self::ServerCrashed,
        Self::ServerBrokeOff,
        Self::ServerKilled,
        Self::KeeperKilled,
        Self::ContainerKilled,
        Self::ContainerRemoved,
        Self::ContainerPaused,
        Self::ConnectionsCut,
        Self::ConnectionsStalled,
        Self::DaemonStopped,
        Self::DaemonRestarted,
        Self::DaemonKilled,
    ];

    /// Those of a cluster's.
    pub const IN_A_CLUSTER: [Self; 8] = [
        Self::ProxyKilled,
        Self::ProxyStopped,
        Self::ClientLeft,
        Self::ClientDied,
        Self::ServerCrashed,
        Self::ServerBrokeOff,
        Self::PodDeleted,
        Self::Commanded,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProxyKilled => "proxy: SIGKILL",
            Self::ProxyStopped => "proxy: SIGSTOP, SIGCONT",
            Self::ClientLeft => "client: closes its output in mid-call",
            Self::ClientDied => "client: closes both ends in mid-call",
            Self::ServerCrashed => "server: exits in mid-call",
            Self::ServerBrokeOff => "server: exits in mid-answer",
            Self::ServerKilled => "server: SIGKILL",
            Self::KeeperKilled => "keeper: SIGKILL",
            Self::ContainerKilled => "container: docker kill",
            Self::ContainerRemoved => "container: docker rm -f",
            Self::ContainerPaused => "container: docker pause, unpause",
            Self::ConnectionsCut => "network: connections cut",
            Self::ConnectionsStalled => "network: nothing passes for a while",
            Self::DaemonStopped => "daemon: SIGSTOP, SIGCONT",
            Self::DaemonRestarted => "daemon: docker restart",
            Self::DaemonKilled => "daemon: docker kill, start",
            Self::PodDeleted => "pod: deleted",
            Self::Commanded => "cluster: a command of `--fault`",
        }
    }

    /// Whether it is done to the daemon or the cluster, and so to all sessions.
    pub fn is_of_daemon(self) -> bool {
        matches!(self, Self::DaemonStopped | Self::DaemonRestarted | Self::DaemonKilled | Self::Commanded)
    }

    /// How often it stands in a deck. What takes all sessions down takes seconds, too.
    fn share(self) -> usize {
        match self {
            Self::DaemonRestarted | Self::DaemonKilled => 1,
            Self::Commanded => 2,
            _ => 4,
        }
    }
}

/// One fault of the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    /// The slot of the session; of no meaning for the daemon's.
    pub slot: usize,
    /// After the fault before it, on a scale on which the mean is 1.
    pub pause: f64,
    /// How long what is stopped stays so.
    pub hold: Duration,
    /// Whether it waits until the session has got over the fault before.
    pub patient: bool,
}

/// The faults: each of `kinds` once, then from decks in which each has its share.
pub fn schedule(seed: u64, faults: usize, slots: usize, kinds: &[Kind]) -> Vec<Fault> {
    let mut random = Random::new(seed, u64::MAX);
    let mut plan = Vec::with_capacity(faults);
    let mut deck = kinds.to_vec();
    random.shuffle(&mut deck);
    while plan.len() < faults {
        let kind = deck.pop().unwrap_or_else(|| {
            deck = kinds.iter().flat_map(|kind| std::iter::repeat_n(*kind, kind.share())).collect();
            random.shuffle(&mut deck);
            // A deck holds each kind.
            deck.pop().unwrap_or(Kind::ProxyKilled)
        });
        plan.push(Fault {
            kind,
            slot: random.below(slots),
            pause: 0.5 + random.unit(),
            hold: Duration::from_millis(300 + random.below(1200) as u64),
            patient: random.below(4) != 0,
        });
    }
    plan
}

/// What a call asks the server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Since the call before.
    pub pause: Duration,
    /// What the server takes for it.
    pub work: Duration,
    /// What is sent along.
    pub pad: usize,
    /// What comes along with the answer.
    pub bytes: usize,
}

/// A slot's calls, one after another, whichever of its sessions makes them.
#[derive(Debug)]
pub struct Calls(Random);

impl Calls {
    pub fn new(seed: u64, slot: usize) -> Self {
        Self(Random::new(seed, slot as u64))
    }
}

impl Iterator for Calls {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        let random = &mut self.0;
        let long = random.below(8) == 0;
        let work = if long { 200 + random.below(600) } else { random.below(40) };
        // Mostly small, as calls are; some are cut in their middle by whatever cuts.
        let size = |random: &mut Random| if random.below(16) == 0 { random.below(96 << 10) } else { 0 };
        Some(Call {
            pause: Duration::from_millis(5 + random.below(60) as u64),
            work: Duration::from_millis(work as u64),
            pad: size(random),
            bytes: size(random),
        })
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut mixer = Self(seed);
        let first = mixer.next();
        Self(first ^ Self(stream).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap_or_default()
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_plan() {
        assert_eq!(schedule(7, 200, 6, &Kind::ALL), schedule(7, 200, 6, &Kind::ALL));
        assert_eq!(
            schedule(7, 200, 6, &Kind::ALL)[..50],
            schedule(7, 50, 6, &Kind::ALL),
            "a longer run begins like a shorter one"
        );
        assert_ne!(schedule(7, 200, 6, &Kind::ALL), schedule(8, 200, 6, &Kind::ALL));
        let calls = |seed, slot| Calls::new(seed, slot).take(100).collect::<Vec<_>>();
        assert_eq!(calls(7, 0), calls(7, 0));
        assert_ne!(calls(7, 0), calls(7, 1), "slots differ");
        assert_ne!(calls(7, 0), calls(8, 0));
    }

    #[test]
    fn each_kind_occurs_as_soon_as_there_is_room_for_all() {
        for seed in 0..50 {
            let mut kinds: Vec<Kind> =
                schedule(seed, Kind::ALL.len(), 4, &Kind::ALL).iter().map(|fault| fault.kind).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, Kind::ALL, "seed {seed}");
        }
    }

    #[test]
    fn a_cluster_has_faults_of_its_own() {
        let plan = schedule(42, 250, 8, &Kind::IN_A_CLUSTER);
        assert!(plan.iter().all(|fault| Kind::IN_A_CLUSTER.contains(&fault.kind)));
        let commands = plan.iter().filter(|fault| fault.kind == Kind::Commanded).count();
        assert!((10..30).contains(&commands), "{commands}");
    }

    #[test]
    fn a_long_run_hits_every_slot_and_rarely_the_whole_daemon() {
        let plan = schedule(1, 500, 6, &Kind::ALL);
        assert!((0..6).all(|slot| plan.iter().filter(|fault| fault.slot == slot).count() > 50));
        let restarts = plan.iter().filter(|fault| fault.kind.share() == 1).count();
        assert!((10..40).contains(&restarts), "{restarts}");
        let mean = plan.iter().map(|fault| fault.pause).sum::<f64>() / 500.0;
        assert!((0.9..1.1).contains(&mean), "{mean}");
    }
}
