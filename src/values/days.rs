//! Times that are days long.

use std::time::Duration;

use super::quantity::Span;
use super::value::{Value, ValueError, from_str};

from_str!(Ago);

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

/// How far back: a [`Span`], or [`Days`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ago(Duration);

impl Ago {
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Then; `None` where there was no time yet.
    pub fn then(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::now().checked_sub(self.0).ok()
    }
}

impl Value for Ago {
    const EXPECTED: &'static str = "a length of time such as \"1h\" or \"30d\"";

    fn from_text(text: &str) -> Option<Self> {
        let days = Days::from_text(text).map(Days::duration);
        days.or_else(|| Span::from_text(text).map(Span::duration)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_by_hours_or_by_days() {
        let ago = |text| Ago::from_text(text).map(|Ago(time)| time);
        assert_eq!(ago("90m"), Some(Duration::from_mins(90)));
        assert_eq!(ago("30d"), Some(Duration::from_hours(720)));
        assert_eq!([ago("25h"), ago("0d"), ago("d"), ago("1w")], [None; 4]);
    }
}
