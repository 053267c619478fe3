//! How often each method was called, and how long its answers took. Bounded: times are counted in classes that are a
//! twentieth apart.
use std::collections::BTreeMap;

use serde::Serialize;

use super::Call;

/// Of more methods, those beyond are taken for one.
const METHODS: usize = 200;
const OTHERS: &str = "(others)";

/// From one class of times to the next.
const RATIO: f64 = 1.05;

/// One method, or one tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    pub count: u64,
    pub errors: u64,
    /// Milliseconds, to a twentieth; of those that were answered.
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
    classes: BTreeMap<i32, u64>,
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
        // The middle of the class; never more than there was.
        let ms = RATIO.powf(f64::from(*class) + 0.5) / 1e3;
        Some(((ms * 1e3).round() / 1e3).min(self.max))
    }
}

/// Of a time in milliseconds.
fn class(ms: f64) -> i32 {
    let class = (ms * 1e3).max(1.0).log(RATIO).floor();
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of a float is far below")]
    let class = class as i32;
    class
}
