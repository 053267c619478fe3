//! Numbers by metric and labels: sums, and histograms as counts by bucket.

use std::collections::BTreeMap;

use super::families::{Family, Kind};
use super::labels::OTHER;

/// A metric has no more different sets of labels.
const SETS: usize = 1000;

/// Of one metric with one set of labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Value {
    /// A counter's or a gauge's number; the sum of what a histogram has seen.
    pub(super) sum: f64,
    /// A histogram's: how many were seen in each bucket, the last without bound.
    pub(super) counts: Vec<u64>,
}

impl Value {
    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }
}

/// A label each, in the metric's order; one that does not apply is empty.
pub(super) type Labels = Vec<String>;

/// Values by their metrics' names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally(BTreeMap<&'static str, BTreeMap<Labels, Value>>);

impl Tally {
    pub(super) fn of(&self, family: &Family) -> impl Iterator<Item = (&Labels, &Value)> {
        self.0.get(family.name()).into_iter().flatten()
    }

    pub(super) fn get(&self, family: &Family, labels: &Labels) -> Option<&Value> {
        self.0.get(family.name())?.get(labels)
    }

    pub(super) fn add(&mut self, family: &Family, labels: Labels, number: f64) {
        self.merge(family, labels, &Value { sum: number, counts: Vec::new() });
    }

    /// For a histogram.
    pub(super) fn observe(&mut self, family: &Family, labels: Labels, seen: f64) {
        let Kind::Histogram(bounds) = family.kind else { return };
        let mut counts = vec![0; bounds.len() + 1];
        counts[bounds.partition_point(|bound| *bound < seen)] = 1;
        self.merge(family, labels, &Value { sum: seen, counts });
    }

    pub(super) fn set(&mut self, family: &Family, labels: Labels, value: Value) {
        self.0.entry(family.name()).or_default().insert(labels, value);
    }

    fn merge(&mut self, family: &Family, labels: Labels, value: &Value) {
        self.0.entry(family.name()).or_default().entry(labels).or_default().add(value);
    }

    /// Whether a metric, with what this adds to what is `kept`, has these labels or may still have them.
    pub(super) fn has_room(&self, kept: &Self, family: &Family, labels: &Labels) -> bool {
        let is_known = |labels| kept.get(family, labels).is_some();
        let added = || self.of(family).filter(|(labels, _)| !is_known(labels)).count();
        is_known(labels) || self.get(family, labels).is_some() || kept.of(family).count() + added() < SETS
    }

    /// A metric's values one by one, for a file.
    pub(super) fn each<'a>(
        &'a self,
        families: &'a [&'static Family],
    ) -> impl Iterator<Item = (&'static Family, &'a Labels, &'a Value)> {
        families
            .iter()
            .flat_map(|&family| self.of(family).map(move |(labels, value)| (family, labels, value)))
    }

    /// This with what has come.
    pub(super) fn extend(&mut self, more: &Self, families: &[&'static Family]) {
        for (family, labels, value) in more.each(families) {
            self.merge(family, labels.clone(), value);
        }
    }
}

/// The same labels where there is no room for these.
pub(super) fn others(labels: &Labels) -> Labels {
    labels.iter().map(|value| if value.is_empty() { String::new() } else { OTHER.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::families::{ALL, OPERATIONS};

    #[test]
    fn a_bucket_has_what_is_not_above_its_bound() {
        let mut tally = Tally::default();
        for seen in [0.0, 0.01, 0.010_001, 299.0, 300.0, 301.0, f64::MAX] {
            tally.observe(&OPERATIONS, Vec::new(), seen);
        }
        let (_, value) = tally.of(&OPERATIONS).next().unwrap();
        assert_eq!(value.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
        let mut twice = tally.clone();
        twice.extend(&tally, ALL);
        assert_eq!(twice.get(&OPERATIONS, &Vec::new()).unwrap().counts[0], 4);
    }
}
