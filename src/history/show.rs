//! A journal's record as a line for a person. Always one line: a server's text can neither break it nor move a
//! terminal's cursor.
use std::fmt::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Record;
use crate::human::{self, Bytes, Plain, Took};

/// `22:29:36.123 server | its line`
pub fn line(record: &Record) -> String {
    let mut line = format!("{} ", local(record.time, "%H:%M:%S%.3f"));
    // Writing to a string does not fail.
    _ = write(&mut line, record);
    if record.truncated {
        line.push_str(" (cut)");
    }
    line
}

/// A time where the person is.
pub fn local(time: Timestamp, format: &str) -> String {
    time.to_zoned(TimeZone::system()).strftime(format).to_string()
}

/// A time of milliseconds, short.
pub fn took(milliseconds: f64) -> String {
    Took(Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default()).to_string()
}

/// Text of somebody else's, its control characters escaped.
pub fn plain(text: &str) -> String {
    Plain(text).to_string()
}

fn write(line: &mut String, record: &Record) -> fmt::Result {
    let detail = Plain(short(record.detail.as_deref().unwrap_or_default()));
    match record.kind.as_str() {
        "log" => write!(line, "{detail}"),
        "stderr" => write!(line, "server | {detail}"),
        "start" => {
            write!(line, "start  ")?;
            list(line, record)
        }
        "up" => {
            let took = record.duration_ms.map(took).unwrap_or_default();
            write!(line, "up     {}, {took}: ", Plain(record.how.as_deref().unwrap_or("started")))?;
            list(line, record)
        }
        "step" => {
            let name = Plain(record.name.as_deref().unwrap_or_default());
            write!(line, "step   {name} {} {detail}", record.duration_ms.map(took).unwrap_or_default())
        }
        "call" => {
            let what = record.tool.as_deref().or(record.method.as_deref()).unwrap_or_default();
            let outcome = record.outcome.as_deref().unwrap_or_default();
            write!(
                line,
                "call   {} {} {}",
                Plain(what),
                record.latency_ms.map(took).unwrap_or_default(),
                Plain(outcome)
            )?;
            if let Some(code) = record.code {
                write!(line, " code={code}")?;
            }
            Ok(())
        }
        "end" => {
            write!(line, "end    {detail}; exit code {}", record.code.unwrap_or_default())?;
            counts(line, record)
        }
        "dropped" => {
            let missing = record.count.unwrap_or_default();
            let are = if missing == 1 { "is" } else { "are" };
            write!(line, "…      {} {are} missing here", human::count(missing, "record"))
        }
        kind => {
            write!(line, "{:<6} ", Plain(kind).to_string())?;
            let known = [&record.direction, &record.name, &record.method, &record.tool].into_iter().flatten();
            known.map(String::as_str).try_for_each(|text| write!(line, "{} ", Plain(text)))?;
            if let Some(id) = &record.id {
                write!(line, "id={} ", Plain(&id.to_string()))?;
            }
            if let Some(code) = record.code {
                write!(line, "code={code} ")?;
            }
            if let Some(bytes @ 1..) = record.bytes {
                write!(line, "{} ", Bytes(bytes))?;
            }
            if let Some(latency) = record.latency_ms {
                write!(line, "{} ", took(latency))?;
            }
            write!(line, "{detail}")
        }
    }?;
    line.truncate(line.trim_end().len());
    Ok(())
}

/// A container's id as Docker shows it.
pub fn short(text: &str) -> &str {
    let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &text[..12] } else { text }
}

/// Server, client and so on, as far as they are known.
fn list(line: &mut String, record: &Record) -> fmt::Result {
    let known = [
        ("server", &record.server),
        ("image", &record.image),
        ("client", &record.client),
        ("client's session", &record.client_session),
        ("container", &record.container),
    ];
    let mut comma = "";
    for (what, text) in known {
        if let Some(text) = text {
            write!(line, "{comma}{what} {}", Plain(short(text)))?;
            comma = ", ";
        }
    }
    Ok(())
}

fn counts(line: &mut String, record: &Record) -> fmt::Result {
    let Some(requests) = record.requests else { return Ok(()) };
    write!(line, "; {}", human::count(requests, "request"))?;
    for (what, count) in [
        ("answered with an error", record.errors),
        ("lost with a server", record.lost),
        ("unanswered", record.unanswered),
    ] {
        if let Some(count @ 1..) = count {
            write!(line, ", {count} {what}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        let line = line(&Record::parse(json.as_bytes()).unwrap());
        line.split_once(' ').unwrap().1.to_owned()
    }

    #[test]
    fn what_a_server_says_moves_no_cursor() {
        assert_eq!(
            shown(
                r#"{"time":"2026-11-22T10:00:00Z","kind":"stderr","detail":"\u001b[2Jgone\rback\u202e","truncated":true}"#
            ),
            r"server | \u{1b}[2Jgone\rback\u{202e} (cut)"
        );
        assert_eq!(
            shown(r#"{"time":"2026-11-22T10:00:00Z","kind":"ha\nha","name":"\u0007"}"#),
            r"ha\nha \u{7}"
        );
    }

    #[test]
    fn each_kind_reads_as_a_sentence() {
        for (json, expected) in [
            (
                r#""kind":"up","how":"cold","duration_ms":331.5,"server":"time","client":"codex""#,
                "up     cold, 331.5 ms: server time, client codex",
            ),
            (r#""kind":"step","name":"take a name","duration_ms":2.25"#, "step   take a name 2.2 ms"),
            (
                r#""kind":"end","detail":"the client closed its output","code":0,"requests":9,"errors":2,"lost":0"#,
                "end    the client closed its output; exit code 0; 9 requests, 2 answered with an error",
            ),
            (r#""kind":"dropped","count":7"#, "…      7 records are missing here"),
            (r#""kind":"log","detail":"berth: warning: x""#, "berth: warning: x"),
        ] {
            assert_eq!(shown(&format!(r#"{{"time":"2026-11-22T10:00:00Z",{json}}}"#)), expected);
        }
    }
}
