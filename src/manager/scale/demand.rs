//! What one kind of session needs on standby. Pure: it asks no clock.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcp_berth::human::count;
use mcp_berth::values::Standby;

/// So long what has come is expected again. A longer time makes an idle hour dearer.
const EXPECTED: Duration = Duration::from_mins(5);

/// Nothing of any kind came for so long: it is night.
pub(super) const NIGHT: Duration = Duration::from_hours(3);

/// A replenishment waits for starts to end, and then for its turn.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(2);

/// So many more than have come at once, in per cent.
const MARGIN: usize = 20;

/// Older arrivals than these are forgotten.
const KEPT: usize = 1024;

/// How the number was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// So many sessions came within one replenishment.
    Demand {
        sessions: usize,
        within: Duration,
    },
    Idle,
    Night,
    /// A person has set the number.
    Hand,
    /// A manager has nothing to choose any more.
    Configuration,
    /// The daemon's cap, or its memory, has room for no more.
    Room,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Demand { sessions, within } => {
                let sessions = count(*sessions, "session");
                write!(f, "{sessions} came within {} s", within.as_secs())
            }
            Self::Idle => write!(f, "no session came for {} minutes", EXPECTED.as_secs() / 60),
            Self::Night => write!(f, "no session of any kind came for {} hours", NIGHT.as_secs() / 3600),
            Self::Hand => f.write_str("a person has set it"),
            Self::Configuration => f.write_str("the configuration has a fixed number"),
            Self::Room => f.write_str("the daemon has room for no more"),
        }
    }
}

/// What is known of a kind.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    pub(super) standby: Standby,
    /// Whose containers they are.
    pub(super) server: String,
    /// Of one container on standby (bytes).
    pub(super) memory: u64,
    /// When sessions came, the newest last.
    arrivals: VecDeque<Timestamp>,
    /// How long the last replenishments took, from a session's start on.
    replenished: Duration,
}

impl Demand {
    pub(super) fn new(standby: Standby, server: String, memory: u64) -> Self {
        Self { standby, server, memory, arrivals: VecDeque::new(), replenished: SHORTEST }
    }

    pub(super) fn came(&mut self, at: Timestamp) {
        // Journals are read one after another.
        let place = self.arrivals.iter().rposition(|other| *other <= at).map_or(0, |before| before + 1);
        self.arrivals.insert(place, at);
        if self.arrivals.len() > KEPT {
            self.arrivals.pop_front();
        }
    }

    /// A session's containers were on standby after so long. One that took long counts for a while.
    pub(super) fn took(&mut self, time: Duration) {
        let faded = self.replenished.mul_f64(0.9);
        self.replenished = time.max(faded).clamp(SHORTEST, LONGEST);
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        self.arrivals.back().copied()
    }

    /// How many of `standby` are to stand by at `now`, where the last session of any kind came at `last`.
    pub(super) fn target(&self, standby: Standby, now: Timestamp, last: Option<Timestamp>) -> (u32, Why) {
        let is_since = |time: Option<Timestamp>, span: Duration| {
            time.is_some_and(|time| {
                now.duration_since(time) < SignedDuration::try_from(span).unwrap_or_default()
            })
        };
        if !is_since(last, NIGHT) {
            return (0, Why::Night);
        }
        let recent: Vec<Timestamp> =
            self.arrivals.iter().copied().filter(|time| is_since(Some(*time), EXPECTED)).collect();
        let sessions = most_within(&recent, self.replenished);
        if sessions == 0 {
            return (standby.least(), Why::Idle);
        }
        let wanted = (sessions * (100 + MARGIN)).div_ceil(100);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let wanted = wanted.clamp(standby.least(), standby.most());
        (wanted, Why::Demand { sessions, within: self.replenished })
    }
}

/// The most of these, the oldest first, that lie within one span of time.
fn most_within(times: &[Timestamp], span: Duration) -> usize {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    let mut first = 0;
    let mut most = 0;
    for (at, time) in times.iter().enumerate() {
        while time.duration_since(times[first]) > span {
            first += 1;
        }
        most = most.max(at + 1 - first);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn demand() -> Demand {
        Demand::new(Standby::between(0, 20).unwrap(), String::new(), 8 << 20)
    }

    fn target(demand: &Demand, now: i64) -> u32 {
        demand.target(demand.standby, at(now), demand.last()).0
    }

    #[test]
    fn as_many_as_come_within_one_replenishment_and_some_more() {
        let mut demand = demand();
        assert_eq!(demand.target(demand.standby, at(0), None), (0, Why::Night), "nothing ever came");
        demand.came(at(0));
        assert_eq!(target(&demand, 1), 2);
        for second in 100..110 {
            demand.came(at(second));
        }
        assert_eq!(target(&demand, 110), 12);
        assert_eq!(target(&demand, 300), 12, "the next burst may come");
        // The same number at times that no replenishment is too slow for.
        let mut spread = self::demand();
        (0..10).for_each(|minute| spread.came(at(60 * minute)));
        assert_eq!(target(&spread, 541), 2);
        spread.took(Duration::from_secs(100));
        assert_eq!(target(&spread, 541), 3, "a slow daemon needs more");
    }

    #[test]
    fn idle_has_the_least_and_a_night_has_none() {
        let mut demand = Demand::new(Standby::between(2, 20).unwrap(), String::new(), 8 << 20);
        (0..20).for_each(|_| demand.came(at(0)));
        assert_eq!(target(&demand, 299), 20, "the most");
        assert_eq!(demand.target(demand.standby, at(300), demand.last()), (2, Why::Idle));
        assert_eq!(demand.target(demand.standby, at(3 * 3600), demand.last()), (0, Why::Night));
        assert_eq!(
            demand.target(demand.standby, at(3 * 3600), Some(at(3 * 3600 - 1))),
            (2, Why::Idle),
            "others work"
        );
    }

    #[test]
    fn the_least_stands_by_though_fewer_come_and_a_replenishments_end_is_a_part_of_it() {
        let mut demand = Demand::new(Standby::between(4, 20).unwrap(), String::new(), 8 << 20);
        demand.came(at(0));
        assert_eq!(target(&demand, 1), 4);
        (0..3).for_each(|_| demand.came(at(0)));
        demand.came(at(10));
        assert_eq!(target(&demand, 10), 6, "five within ten seconds");
    }

    #[test]
    fn no_more_arrivals_are_kept_than_count() {
        let mut demand = demand();
        (0..2000).for_each(|second| demand.came(at(second)));
        assert_eq!((demand.arrivals.len(), demand.arrivals[0]), (KEPT, at(2000 - 1024)));
    }

    #[test]
    fn arrivals_may_be_read_in_any_order() {
        let mut demand = demand();
        for second in [50, 10, 30, 12, 11] {
            demand.came(at(second));
        }
        assert_eq!(demand.last(), Some(at(50)));
        assert_eq!(target(&demand, 60), 4, "three within ten seconds");
    }

    #[test]
    fn a_slow_replenishment_counts_for_a_while() {
        let mut demand = demand();
        demand.took(Duration::from_mins(1));
        assert_eq!(demand.replenished, Duration::from_mins(1));
        demand.took(Duration::from_millis(300));
        assert_eq!(demand.replenished, Duration::from_secs(54), "it fades by a tenth");
        (0..40).for_each(|_| demand.took(Duration::from_millis(300)));
        assert_eq!(demand.replenished, SHORTEST);
        demand.took(Duration::from_hours(1));
        assert_eq!(demand.replenished, LONGEST);
    }

    /// Sessions start at these seconds, each after its claim has one made in its turn, a second each, once no session starts.
    /// Gives who found one, and how many container-seconds stood by until `until`.
    fn simulate(starts: &[i64], until: i64) -> (Vec<bool>, i64) {
        let mut demand = demand();
        let (mut ready, mut debt, mut stood) = (0_i64, false, 0);
        let mut hits = Vec::new();
        let mut due = starts.iter().peekable();
        for second in 0..until {
            let mut starting = false;
            while due.next_if(|start| **start == second).is_some() {
                hits.push(ready > 0);
                ready -= i64::from(ready > 0);
                demand.came(at(second));
                (starting, debt) = (true, true);
            }
            let target = i64::from(target(&demand, second));
            if debt && !starting && ready < target {
                ready += 1;
            }
            debt &= ready < target;
            ready = ready.min(target);
            stood += ready;
        }
        (hits, stood)
    }

    #[test]
    fn bursts_find_what_they_need_from_the_third_on_and_an_idle_hour_is_cheap() {
        let burst = |from: i64| (0..20).map(move |n| from + n / 2);
        let starts: Vec<i64> = (0..5).flat_map(|n| burst(3600 + 120 * n)).collect();
        let end = 3600 + 120 * 4 + 10;
        let (hits, _) = simulate(&starts, end + 1);
        let hits_of = |n: usize| hits[20 * n..20 * (n + 1)].iter().filter(|hit| **hit).count();
        assert!((2..5).all(|n| hits_of(n) >= 16), "{:?}", (0..5).map(hits_of).collect::<Vec<_>>());
        let until_the_end = simulate(&starts, end).1;
        let idle = simulate(&starts, end + 3600).1 - until_the_end;
        assert!(idle <= 20 * 3600 / 10, "{idle} container-seconds");
    }

    #[test]
    fn starts_at_random_times_mostly_find_one() {
        // Exponential distances of 15 s in the mean, of a fixed generator.
        let mut state = 7_u64;
        let mut time = 0.0_f64;
        let starts: Vec<i64> = (0..400)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                #[expect(clippy::cast_precision_loss, reason = "a random number")]
                let uniform = ((state >> 33) as f64 + 1.0) / (1_u64 << 31) as f64;
                time -= 15.0 * uniform.ln();
                #[expect(clippy::cast_possible_truncation, reason = "seconds")]
                let second = time as i64;
                second
            })
            .collect();
        let until = starts.last().unwrap() + 1;
        let (hits, stood) = simulate(&starts, until);
        let hit = hits.iter().filter(|hit| **hit).count();
        assert!(hit * 100 >= 90 * hits.len(), "{hit} of {}", hits.len());
        assert!(stood / until <= 5, "{} stood by in the mean", stood / until);
    }
}
