//! A number of days.

use std::time::Duration;

use super::value::Value;

/// So many whole days, `7d`; up to ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u16);

impl Days {
    pub const fn duration(self) -> Duration {
        Duration::from_hours(24 * self.0 as u64)
    }
}

impl Value for Days {
    const EXPECTED: &'static str = "a number of days such as \"90d\", at most \"3650d\"";

    fn from_text(text: &str) -> Option<Self> {
        let days = text.trim().strip_suffix('d')?.parse().ok()?;
        (1..=3650).contains(&days).then_some(Self(days))
    }
}
