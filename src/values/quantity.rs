//! Sizes, lengths of time, processors and processes.
//!
//! These types cannot hold impossible values, such as no memory or a negative number of processors. Numbers are read in
//! decimal, never through a float, so none is silently rounded or overflows.

use std::time::Duration;

use super::value::{Value, ValueError, from_str};

from_str!(ByteSize, Cpus, LineLimit, Memory, Pids, Span, StandbyLimit, Timeout);

/// `number` times `unit`, the number in decimal with an optional fraction; `None` for anything else, a sign
/// and an exponent included.
fn scale(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    // 18 digits of a fraction are more than any unit here can tell apart, and keep the product in range.
    if !digits(whole) || !digits(fraction) || fraction.len() > 18 {
        return None;
    }
    let power = u32::try_from(fraction.len()).ok()?;
    let part = fraction.parse::<u128>().ok()? * u128::from(unit) / 10_u128.pow(power);
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// A number of bytes: `512m`, `1.5g`, `64MiB`, `4096`. Units are powers of 1024, as Docker has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as \"512m\"";

    fn from_text(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text.trim());
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return None,
        };
        if shift == 0 && number.contains('.') {
            return None;
        }
        // The daemon's sizes are signed.
        scale(number, 1 << shift).filter(|bytes| i64::try_from(*bytes).is_ok()).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// Memory of a container, in bytes; Docker refuses less than 6 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(u64);

impl Memory {
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Value for Memory {
    const EXPECTED: &'static str = "a size such as \"512m\", at least \"6m\"";

    fn from_text(text: &str) -> Option<Self> {
        ByteSize::from_text(text).map(ByteSize::bytes).filter(|bytes| *bytes >= 6 << 20).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// The longest line that passes in a direction, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineLimit(usize);

impl LineLimit {
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl Value for LineLimit {
    const EXPECTED: &'static str = "a size such as \"16m\", from \"1k\" to \"1g\"";

    fn from_text(text: &str) -> Option<Self> {
        let bytes = ByteSize::from_text(text)?.bytes();
        usize::try_from(bytes).ok().filter(|bytes| (1 << 10..=1 << 30).contains(bytes)).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// How many sessions may be there at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimit(u32);

impl SessionLimit {
    pub const fn count(self) -> u32 {
        self.0
    }
}

impl Value for SessionLimit {
    const EXPECTED: &'static str = "a number of sessions from 1 to 10000";

    fn from_text(_text: &str) -> Option<Self> {
        None
    }

    fn from_number(number: &str) -> Option<Self> {
        number.parse().ok().filter(|count| (1..=10_000).contains(count)).map(Self)
    }
}

/// A length of time up to a day: `500ms`, `3s`, `2m`, `1h`; a plain number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Value for Span {
    const EXPECTED: &'static str = "a length of time such as \"3s\", at most \"24h\"";

    fn from_text(text: &str) -> Option<Self> {
        const SECOND: u64 = 1_000_000_000;
        let (number, unit) = split_unit(text.trim());
        let unit = match unit {
            "ms" => SECOND / 1000,
            "" | "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        };
        scale(number, unit).filter(|nanos| *nanos <= 24 * 3600 * SECOND).map(Duration::from_nanos).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// How long something may take: a [`Span`] of a millisecond or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Value for Timeout {
    const EXPECTED: &'static str = "a length of time such as \"10s\", from \"1ms\" to \"24h\"";

    fn from_text(text: &str) -> Option<Self> {
        let least = Duration::from_millis(1);
        Span::from_text(text).map(Span::duration).filter(|duration| *duration >= least).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// How long a cut may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reconnect(Duration);

impl Reconnect {
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Value for Reconnect {
    const EXPECTED: &'static str = "a length of time such as \"15s\", from \"5s\" to \"1h\"";

    fn from_text(text: &str) -> Option<Self> {
        // A keeper hears its owner each second, and some of that may come late.
        let possible = Duration::from_secs(5)..=Duration::from_hours(1);
        Span::from_text(text).map(Span::duration).filter(|duration| possible.contains(duration)).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// A share of processors, in billionths of one; Docker refuses less than 0.01, or more than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(i64);

impl Cpus {
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

impl Value for Cpus {
    const EXPECTED: &'static str = "a number of processors such as 1.5, at least 0.01";

    fn from_text(text: &str) -> Option<Self> {
        let nanos = i64::try_from(scale(text.trim(), 1_000_000_000)?).ok()?;
        (10_000_000..=1_000_000_000_000_000).contains(&nanos).then_some(Self(nanos))
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// The most processes and threads that a container may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pids(u32);

impl Pids {
    pub const fn count(self) -> u32 {
        self.0
    }
}

impl Value for Pids {
    const EXPECTED: &'static str = "a number of processes such as 256, at least 2";

    fn from_text(text: &str) -> Option<Self> {
        // One is the keeper; with no room beside it no server ever starts.
        text.trim().parse().ok().filter(|count| *count >= 2).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

/// How many containers a daemon may have on standby, for all kinds of sessions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StandbyLimit(u32);

impl StandbyLimit {
    pub const fn count(self) -> u32 {
        self.0
    }
}

impl Value for StandbyLimit {
    const EXPECTED: &'static str = "a number of containers from 0 to 1000";

    fn from_text(text: &str) -> Option<Self> {
        text.trim().parse().ok().filter(|count| *count <= 1000).map(Self)
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        ByteSize::from_text(text).map(ByteSize::bytes)
    }

    fn millis(text: &str) -> Option<u128> {
        Span::from_text(text).map(|span| span.duration().as_millis())
    }

    #[test]
    fn sizes_are_dockers() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("4096b", 4096),
            ("1k", 1 << 10),
            ("1KB", 1 << 10),
            ("1KiB", 1 << 10),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("2t", 2 << 40),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "", "m", "512 m", "lots", "-1", "+1", "1.5", "1.", ".5g", "1e3", "1mm", "1p", "0x10", "1..5g",
            "٣m",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
        assert_eq!(bytes("9223372036854775807"), Some(i64::MAX as u64));
        assert_eq!(bytes("9223372036854775808"), None);
        assert_eq!(bytes("99999999999999999999t"), None);
        assert_eq!(bytes("16777216t"), None);
    }

    #[test]
    fn memory_and_lines_have_bounds() {
        assert_eq!(Memory::from_text("6m").map(Memory::bytes), Some(6 << 20));
        assert_eq!(Memory::from_text("6291455"), None);
        assert_eq!(LineLimit::from_text("16m").map(LineLimit::bytes), Some(16 << 20));
        assert_eq!(LineLimit::from_text("1023"), None);
        assert!(LineLimit::from_text("1g").is_some());
        assert_eq!(LineLimit::from_text("1025m"), None);
    }

    #[test]
    fn spans_have_units_and_seconds_without() {
        let cases = [("0", 0), ("3", 3000), ("0.5", 500), ("500ms", 500), ("3s", 3000), ("1.5s", 1500)];
        for (text, expected) in cases.into_iter().chain([("2m", 120_000), ("1h", 3_600_000)]) {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in ["", "s", "-1", "1d", "3S", "3 s", "1m30s", "inf", "25h", "999999999999999999999h"] {
            assert_eq!(millis(text), None, "{text}");
        }
        assert_eq!(Timeout::from_text("0"), None);
        assert_eq!(Timeout::from_text("0.5ms"), None);
        assert_eq!(Reconnect::from_text("1h").map(Reconnect::duration), Some(Duration::from_hours(1)));
        assert_eq!(Reconnect::from_text("5s").map(Reconnect::duration), Some(Duration::from_secs(5)));
        for beyond in ["1s", "4.9s", "61m"] {
            assert_eq!(Reconnect::from_text(beyond), None);
        }
        assert_eq!(Timeout::from_text("1ms").map(Timeout::duration), Some(Duration::from_millis(1)));
    }

    #[test]
    fn processors_and_processes() {
        let nanos = |text| Cpus::from_text(text).map(Cpus::nanos);
        assert_eq!(nanos("1"), Some(1_000_000_000));
        assert_eq!(nanos("1.5"), Some(1_500_000_000));
        assert_eq!(nanos("0.01"), Some(10_000_000));
        for text in ["0", "0.009", "-1", "", "nan", "inf", "1e3", "two", "99999999999"] {
            assert_eq!(nanos(text), None, "{text}");
        }
        assert_eq!(Pids::from_text("256").map(Pids::count), Some(256));
        for text in ["0", "1", "-1", "1.5", "", "4294967296"] {
            assert_eq!(Pids::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_flags_error_says_what_is_expected() {
        let error = "lots".parse::<Memory>().unwrap_err();
        assert_eq!(error.to_string(), "expected a size such as \"512m\", at least \"6m\"");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"(\PC{0,8}|[0-9]{0,40}(\.[0-9]{0,40})?(ms|[a-z]{0,3}))") {
            let _ = ByteSize::from_text(&text);
            let _ = Memory::from_text(&text);
            let _ = LineLimit::from_text(&text);
            let _ = Span::from_text(&text);
            let _ = Timeout::from_text(&text);
            let _ = Cpus::from_text(&text);
            let _ = Pids::from_text(&text);
        }

        #[test]
        fn a_size_is_its_number_times_its_unit(number in 0_u64..1 << 20, shift in 0_usize..4) {
            let unit = ["b", "k", "m", "g"][shift];
            prop_assert_eq!(bytes(&format!("{number}{unit}")), Some(number << (10 * shift)));
        }
    }
}
