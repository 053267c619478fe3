//! How long calls took: mean, percentiles, and their texts.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::human::{Took, percentile};

/// What several calls took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Times {
    pub calls: usize,
    #[serde(rename = "mean_s", serialize_with = "seconds")]
    pub mean: Option<Duration>,
    #[serde(rename = "p50_s", serialize_with = "seconds")]
    pub p50: Option<Duration>,
    #[serde(rename = "p99_s", serialize_with = "seconds")]
    pub p99: Option<Duration>,
    #[serde(rename = "max_s", serialize_with = "seconds")]
    pub max: Option<Duration>,
}

impl Times {
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
        Self {
            calls: times.len(),
            mean: times.iter().sum::<Duration>().checked_div(count),
            p50: percentile(&times, 50),
            p99: percentile(&times, 99),
            max: times.last().copied(),
        }
    }

    pub fn mean_text(&self) -> String {
        text(self.mean)
    }
}

/// A time for people, or a dash.
pub fn text(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| Took(time).to_string())
}

pub fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e6).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times =
            |milliseconds: &[u64]| Times::of(milliseconds.iter().map(|ms| Duration::from_millis(*ms)));
        let ms = |time: Option<Duration>| time.map(|time| time.as_millis());
        let few = times(&[5, 1, 2, 4, 3]);
        assert_eq!(
            (ms(few.p50), ms(few.p99), ms(few.max), ms(few.mean)),
            (Some(3), Some(5), Some(5), Some(3))
        );
        let hundred = times(&(1..=100).collect::<Vec<_>>());
        assert_eq!((ms(hundred.p50), ms(hundred.p99), ms(hundred.max)), (Some(50), Some(99), Some(100)));
        assert_eq!(times(&[]), Times::default());
    }
}
