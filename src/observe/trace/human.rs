//! A record as a line for a person.
//!
//! ```text
//! 16:20:18.123456 client->server request      tools/call id=3 312 B
//! 16:20:18.135871 server->client response     id=3 5.1 KiB 12.4 ms
//! 16:20:17.880211 berth          step         lease 181.0 ms mcp-codex-1
//! ```
//!
//! Always one line, its body on a second one: what came from a peer can't break it, nor move a terminal's cursor.
use std::fmt::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::record::Shown;

pub(super) fn line(shown: &Shown<'_>, time: Timestamp) -> String {
    let mut line = String::with_capacity(96);
    // Writing to a string does not fail.
    _ = write(&mut line, shown, time);
    line
}

fn write(line: &mut String, shown: &Shown<'_>, time: Timestamp) -> fmt::Result {
    let local = time.to_zoned(TimeZone::system());
    write!(
        line,
        "{} {:<14} {:<12}",
        local.strftime("%H:%M:%S%.6f"),
        shown.direction.unwrap_or("berth"),
        shown.kind
    )?;
    if let Some(name) = shown.name {
        write!(line, " {name}")?;
    }
    if let Some(method) = &shown.method {
        write!(line, " {}", Plain(method))?;
    }
    if let Some(tool) = &shown.tool {
        write!(line, " {}", Plain(tool))?;
    }
    if let Some(how) = shown.how {
        write!(line, " {how}")?;
    }
    for text in [&shown.server, &shown.client].into_iter().flatten() {
        write!(line, " {}", Plain(text))?;
    }
    if let Some(id) = &shown.id {
        write!(line, " id={}", Plain(id.get()))?;
    }
    if let Some(code) = shown.code {
        write!(line, " code={code}")?;
    }
    // A note without bytes is about none.
    if let Some(bytes) = shown.bytes.filter(|bytes| *bytes > 0) {
        write!(line, " {}", Size(bytes))?;
    }
    if let Some(duration) = shown.latency_ms.or(shown.duration_ms) {
        write!(line, " {}", Took(duration))?;
    }
    if let Some(count) = shown.count {
        write!(line, " {count} records, the trace was not written fast enough")?;
    }
    if let Some(detail) = &shown.detail {
        write!(line, " {}", Plain(detail))?;
    }
    if let Some(body) = &shown.body {
        write!(line, "\n    {}", Plain(body.get()))?;
    }
    if shown.truncated { line.write_str(" (cut)") } else { Ok(()) }
}

/// Text of somebody else's, its control characters escaped.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

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

/// Control characters, and those that end a line or turn its direction.
fn moves_text(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tenths, rounded down: 5.1 KiB.
        let tenths = |unit: u64| (self.0 / unit, self.0 % unit * 10 / unit);
        match self.0 {
            bytes @ ..1024 => write!(f, "{bytes} B"),
            1024..0x10_0000 => write!(f, "{0}.{1} KiB", tenths(1 << 10).0, tenths(1 << 10).1),
            _ => write!(f, "{0}.{1} MiB", tenths(1 << 20).0, tenths(1 << 20).1),
        }
    }
}

pub(crate) struct Took(pub(crate) Duration);

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

#[cfg(test)]
mod tests {
    use super::{Size, Took};
    use std::time::Duration;

    #[test]
    fn sizes_and_times_have_the_unit_that_keeps_them_short() {
        let sizes =
            [0, 1023, 1024, 5222, (1 << 20) - 1, 1 << 20, 16 << 20].map(|bytes| Size(bytes).to_string());
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "5.0 KiB", "1023.9 KiB", "1.0 MiB", "16.0 MiB"]);
        let times = [999, 1_000, 12_449, 999_900, 1_000_000, 61_230_000];
        let times = times.map(|micros| Took(Duration::from_micros(micros)).to_string());
        assert_eq!(times, ["999 µs", "1.0 ms", "12.4 ms", "999.9 ms", "1.00 s", "61.23 s"]);
    }
}
