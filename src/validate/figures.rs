//! Figures: times of calls, and the reference's beside ours.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::checks::Observations;

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

/// The nearest rank: the smallest of `sorted` that is no less than `percent` of them.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// A time for people: milliseconds below a second.
pub fn text(time: Option<Duration>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if time < Duration::from_millis(10) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        Some(time) if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
pub(super) fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e6).serialize(serializer)
}

/// One of the four figures that the reference report gives, and ours.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub reference: &'static str,
    /// `None`: there is none, for what it measures did not happen.
    pub ours: Option<String>,
}

/// The four, with what they were measured over.
pub fn figures(seen: &Observations, took: Duration) -> [Figure; 4] {
    let deployed = seen.deployment.sessions.iter().filter(|session| session.ready.is_ok()).count();
    let (right, wanted) = (seen.access.right(), seen.access.wanted());
    [
        Figure {
            name: "deployment of four containers",
            reference: "4.5 s",
            ours: (deployed > 0).then(|| {
                let four = if deployed == 4 { String::new() } else { format!(" ({deployed} containers)") };
                format!("{:.2} s{four}", seen.deployment.took.as_secs_f64())
            }),
        },
        Figure {
            name: "mean operation",
            reference: "0.51 s",
            ours: seen.access.times().mean.map(|mean| format!("{:.4} s", mean.as_secs_f64())),
        },
        Figure {
            name: "whole examination",
            reference: "21 s",
            ours: Some(format!("{:.1} s", took.as_secs_f64())),
        },
        Figure {
            name: "successful operations",
            reference: "100 % (20 of 20)",
            ours: (wanted > 0).then(|| format!("{} % ({right} of {wanted})", right * 100 / wanted)),
        },
    ]
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

    #[test]
    fn the_success_is_never_rounded_up() {
        use crate::validate::checks::access::{Call, CallOutcome, ClientCalls};
        let mut seen = Observations::default();
        let call = |outcome| Call { took: Duration::from_millis(1), outcome };
        let mut calls = vec![call(CallOutcome::Right); 299];
        calls.push(call(CallOutcome::Wrong("no".to_owned())));
        seen.access.calls = 300;
        seen.access.clients = vec![ClientCalls { calls, ..ClientCalls::default() }];
        assert_eq!(figures(&seen, Duration::ZERO)[3].ours.as_deref(), Some("99 % (299 of 300)"));
    }
}
