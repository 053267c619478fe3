//! A record as a line for a person.
//!
//! ```text
//! 16:20:18.123456 client->server request      tools/call id=3 312 B
//! 16:20:18.135871 server->client response     id=3 5.1 KiB 12.4 ms
//! 16:20:17.880211 berth          step         lease 181.0 ms mcp-codex-1
//! ```
//!
//! Always one line, and a second line for its body: a peer's text can neither break it nor move a terminal's cursor.
use std::fmt::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::record::Shown;
use crate::human::{Bytes, Plain, Took, count};

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
    if let Some(lane) = shown.lane {
        write!(line, " [{lane}]")?;
    }
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
        write!(line, " {}", Bytes(bytes))?;
    }
    if let Some(duration) = shown.latency_ms.or(shown.duration_ms) {
        write!(line, " {}", Took(duration))?;
    }
    if let Some(missing) = shown.count {
        write!(line, " {}: the trace was not written fast enough", count(missing, "record"))?;
    }
    if let Some(detail) = &shown.detail {
        write!(line, " {}", Plain(detail))?;
    }
    if let Some(body) = &shown.body {
        write!(line, "\n    {}", Plain(body.get()))?;
    }
    if shown.truncated { line.write_str(" (cut)") } else { Ok(()) }
}
