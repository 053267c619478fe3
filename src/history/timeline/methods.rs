//! How often each method was called, and how long its answers took. Bounded: times are counted in classes that are
//! at most a thirty-second of their value apart.
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::Call;

/// Of more methods, those beyond are taken for one.
const METHODS: usize = 200;
const OTHERS: &str = "(others)";

/// Classes from one power of two to the next.
const PARTS: u64 = 32;

/// One method, or one tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    pub count: u64,
    pub errors: u64,
    /// Milliseconds, to a thirty-second; of those that were answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<f64>,
}

#[derive(Debug, Default)]
pub(super) struct Methods(BTreeMap<(String, Option<String>), Count>);

#[derive(Debug, Default)]
struct Count {
    calls: u64,
    errors: u64,
    max: f64,
    classes: BTreeMap<u64, u64>,
}

impl Methods {
    pub(super) fn count(&mut self, method: &str, tool: Option<&str>) {
        self.of(method, tool).calls += 1;
    }

    pub(super) fn answered(&mut self, call: &Call) {
        let count = self.of(&call.method, call.tool.as_deref());
        count.calls += 1;
        count.errors += u64::from(call.code.is_some());
        if let Some(ms) = call.ms {
            count.max = count.max.max(ms);
            *count.classes.entry(class(ms)).or_default() += 1;
        }
    }

    fn of(&mut self, method: &str, tool: Option<&str>) -> &mut Count {
        let key = (method.to_owned(), tool.map(str::to_owned));
        let known = self.0.len() < METHODS || self.0.contains_key(&key);
        self.0.entry(if known { key } else { (OTHERS.to_owned(), None) }).or_default()
    }

    /// The most frequent first.
    pub(super) fn rows(self) -> Vec<Row> {
        let row = |((method, tool), count): ((String, Option<String>), Count)| Row {
            method,
            tool,
            count: count.calls,
            errors: count.errors,
            p50_ms: count.percentile(50),
            p99_ms: count.percentile(99),
            max_ms: (!count.classes.is_empty()).then_some(count.max),
        };
        let mut rows: Vec<Row> = self.0.into_iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }
}

impl Count {
    fn percentile(&self, percent: u64) -> Option<f64> {
        let all: u64 = self.classes.values().sum();
        let rank = (all * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let (class, _) = self.classes.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        })?;
        // Never more than there was.
        Some(middle(*class).min(self.max))
    }
}

/// Of a time in milliseconds. Integers alone: a logarithm would link the C library's mathematics to every session.
fn class(ms: f64) -> u64 {
    let time = Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let shift = (microseconds / PARTS).checked_ilog2().unwrap_or_default();
    u64::from(shift) * PARTS + (microseconds >> shift)
}

/// The middle of a class, in milliseconds.
fn middle(class: u64) -> f64 {
    let shift = (class / PARTS).saturating_sub(1);
    let (least, width) = ((class - shift * PARTS) << shift, 1 << shift);
    Duration::from_micros(least + (width - 1) / 2).as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_as_wide_as_a_thirty_second_at_most() {
        for microseconds in (0..5000).chain((13..63).map(|bits| (1 << bits) + (1 << (bits / 2)))) {
            let ms = Duration::from_micros(microseconds).as_secs_f64() * 1e3;
            let middle = middle(class(ms));
            assert!((middle - ms).abs() <= ms / 32.0 + 1e-9, "{microseconds}: {middle}");
        }
        let classes: Vec<u64> = (0..5000).map(|us| class(f64::from(us) / 1e3)).collect();
        assert!(classes.is_sorted());
        assert_eq!((class(f64::NAN), class(-1.0)), (0, 0));
    }
}
