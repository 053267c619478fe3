//! Output for people: sizes, times and tables, the same everywhere.

pub mod table;

use std::fmt::{self, Write};
use std::time::Duration;

/// Text of somebody else's, its control characters escaped.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in self.0.split_inclusive(moves_text) {
            let (text, control) = match piece.char_indices().last() {
                Some((at, last)) if moves_text(last) => (piece.get(..at).unwrap_or_default(), Some(last)),
                _ => (piece, None),
            };
            f.write_str(text)?;
            if let Some(control) = control {
                write!(f, "{}", control.escape_default())?;
            }
        }
        Ok(())
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string does not fail.
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Control characters, and those that end a line or turn its direction.
pub fn moves_text(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// So many things: `1 image`, `2 images`; `what` is one of them, and its last word the noun.
pub fn count(number: impl TryInto<i128>, what: &str) -> String {
    let number = number.try_into().unwrap_or(i128::MAX);
    let stem = |end| what.strip_suffix(end).filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match (number, stem("y")) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) if what.ends_with(['s', 'x']) || what.ends_with("ch") => format!("{number} {what}es"),
        (_, None) => format!("{number} {what}s"),
    }
}

/// A size, in the unit that keeps it short; tenths are rounded down.
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |unit: u64| (self.0 / unit, self.0 % unit * 10 / unit);
        match self.0 {
            bytes @ ..1024 => write!(f, "{bytes} B"),
            1024..0x10_0000 => write!(f, "{0}.{1} KiB", tenths(1 << 10).0, tenths(1 << 10).1),
            0x10_0000..0x4000_0000 => write!(f, "{0}.{1} MiB", tenths(1 << 20).0, tenths(1 << 20).1),
            _ => write!(f, "{0}.{1} GiB", tenths(1 << 30).0, tenths(1 << 30).1),
        }
    }
}

/// How long something took.
#[derive(Debug, Clone, Copy)]
pub struct Took(pub Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match self.0.as_micros() {
            micros @ ..1_000 => write!(f, "{micros} µs"),
            1_000..1_000_000 => write!(f, "{:.1} ms", seconds * 1e3),
            _ => write!(f, "{seconds:.2} s"),
        }
    }
}

/// For how many seconds something has been there; clocks may disagree, and it is no less than none.
#[derive(Debug, Clone, Copy)]
pub struct Age(pub i64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.max(0) {
            seconds @ 0..60 => write!(f, "{seconds} s"),
            seconds @ 60..3600 => write!(f, "{} min", seconds / 60),
            seconds @ 3600..86_400 => write!(f, "{} h", seconds / 3600),
            seconds @ 86_400..172_800 => write!(f, "{} day", seconds / 86_400),
            seconds => write!(f, "{} days", seconds / 86_400),
        }
    }
}

/// The nearest rank: the smallest of `sorted` that is no less than `percent` of them.
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_the_unit_that_keeps_them_short() {
        let sizes =
            [0, 1023, 1024, 5222, (1 << 20) - 1, 1 << 20, 16 << 20].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "5.0 KiB", "1023.9 KiB", "1.0 MiB", "16.0 MiB"]);
        let times = [999, 1_000, 12_449, 999_900, 1_000_000, 61_230_000];
        let times = times.map(|micros| Took(Duration::from_micros(micros)).to_string());
        assert_eq!(times, ["999 µs", "1.0 ms", "12.4 ms", "999.9 ms", "1.00 s", "61.23 s"]);
    }

    #[test]
    fn a_number_of_things_is_singular_for_one_alone() {
        let said = [0, 1, 2].map(|number: usize| count(number, "image"));
        assert_eq!(said, ["0 images", "1 image", "2 images"]);
        let many = ["query", "key", "address", "box", "batch", "ill-formed sequence", "day"];
        let many = many.map(|what| count(7_u64, what));
        let expected = [
            "7 queries",
            "7 keys",
            "7 addresses",
            "7 boxes",
            "7 batches",
            "7 ill-formed sequences",
            "7 days",
        ];
        assert_eq!(many, expected);
    }

    #[test]
    fn ages_and_large_sizes_are_readable() {
        let ages = [-3, 59, 60, 7200, 86_400, 200_000].map(|seconds| Age(seconds).to_string());
        assert_eq!(ages, ["0 s", "59 s", "1 min", "2 h", "1 day", "2 days"]);
        assert_eq!(
            [0, 1025, 5 << 20, 3 << 29].map(|bytes| Bytes(bytes).to_string()),
            ["0 B", "1.0 KiB", "5.0 MiB", "1.5 GiB"]
        );
    }
}
