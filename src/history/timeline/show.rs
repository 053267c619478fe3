//! A trace's summary for a person. Foreign text moves no cursor.
use std::io::{self, Write};

use jiff::Timestamp;

use super::methods::Row;
use super::{Call, Passed, Start, Step, Summary};
use crate::history::show::{local, plain, took};
use crate::human::{self, Bytes};

/// A bar's characters.
const BAR: usize = 32;

/// Writes the summary.
pub fn write(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let (Some(began), Some(ended)) = (summary.began, summary.ended) else {
        return writeln!(out, "no records, {}", human::count(summary.broken, "broken line"));
    };
    writeln!(
        out,
        "{} to {}, {}: {}, sessions: {}",
        local(began, "%Y-%m-%d %H:%M:%S%.3f"),
        local(ended, "%H:%M:%S%.3f"),
        took(super::milliseconds(began, ended)),
        human::count(summary.records, "record"),
        summary.sessions
    )?;
    for (count, what, fate) in [
        (summary.broken, "broken line", "skipped"),
        (summary.dropped, "record", "dropped when the trace was written"),
    ] {
        if count > 0 {
            writeln!(out, "{} {fate}", human::count(count, what))?;
        }
    }
    for (what, Passed { messages, bytes }) in
        [("client -> server", summary.client_to_server), ("server -> client", summary.server_to_client)]
    {
        writeln!(out, "{what}: {}, {}", human::count(messages, "message"), Bytes(bytes))?;
    }
    summary.starts.iter().try_for_each(|it| start(out, it))?;
    if !summary.later.is_empty() {
        writeln!(out, "\nafter the start")?;
        for step in &summary.later {
            writeln!(out, "  {:<34} {:>10}  {}", plain(&step.name), took(step.ms), detail(step))?;
        }
    }
    if summary.recoveries > 0 {
        let time = took(summary.recovering_ms);
        writeln!(out, "\nrecoveries: {}, {time} without a server", summary.recoveries)?;
    }
    methods(out, &summary.methods)?;
    calls(out, "slowest", &summary.slowest, began)?;
    calls(out, &format!("errors: {}, the last", summary.errors), &summary.last_errors, began)?;
    let cancelled = match summary.cancellations {
        0 => String::new(),
        count => format!(" (cancellations: {count})"),
    };
    let unanswered = format!("unanswered: {}{cancelled}, the first", summary.unanswered);
    calls(out, &unanswered, &summary.first_unanswered, began)?;
    if !summary.notes.is_empty() {
        let counts: Vec<String> =
            summary.notes.iter().map(|(name, count)| format!("{} {count}", plain(name))).collect();
        writeln!(out, "\nnotes: {}; the last", counts.join(", "))?;
        for note in &summary.last_notes {
            let detail = plain(note.detail.as_deref().unwrap_or_default());
            writeln!(out, "  {:>10} {} {detail}", since(began, note.time), plain(&note.name))?;
        }
    }
    Ok(())
}

fn start(out: &mut impl Write, start: &Start) -> io::Result<()> {
    writeln!(out, "\nstart of {}: {}, {}", plain(&start.server), plain(&start.how), took(start.ms))?;
    if let Some(lost) = start.lost_ms {
        writeln!(out, "  {} after the loss of the one before", took(lost))?;
    }
    for step in &start.steps {
        // From the end backwards, as the end is what is known.
        let ended = start.ms - super::milliseconds(step.ended, start.up);
        let bar = bar((ended - step.ms) / start.ms, ended / start.ms);
        writeln!(out, "  {:<34} {bar} {:>10}  {}", plain(&step.name), took(step.ms), detail(step))?;
    }
    Ok(())
}

fn detail(step: &Step) -> String {
    let detail = step.detail.as_deref().unwrap_or_default();
    plain(crate::history::show::short(detail))
}

/// Where a step stands between begin and end of the start.
fn bar(from: f64, to: f64) -> String {
    let place = |part: f64| {
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "from 0 to a bar's length"
        )]
        let place = (part * BAR as f64).round() as usize;
        place
    };
    let from = place(from).min(BAR - 1);
    let to = place(to).clamp(from + 1, BAR);
    format!("|{}{}{}|", " ".repeat(from), "=".repeat(to - from), " ".repeat(BAR - to))
}

fn methods(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  {:>7} {:>6} {:>10} {:>10} {:>10}  method", "count", "errors", "p50", "p99", "max")?;
    for row in rows {
        let [p50, p99, max] =
            [row.p50_ms, row.p99_ms, row.max_ms].map(|ms| ms.map_or_else(|| "-".to_owned(), took));
        let name = called(&row.method, row.tool.as_deref());
        writeln!(out, "  {:>7} {:>6} {p50:>10} {p99:>10} {max:>10}  {name}", row.count, row.errors)?;
    }
    Ok(())
}

fn calls(out: &mut impl Write, title: &str, calls: &[Call], began: Timestamp) -> io::Result<()> {
    if calls.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for call in calls {
        let took = call.ms.map_or_else(|| "-".to_owned(), took);
        let name = called(&call.method, call.tool.as_deref());
        let code = call.code.map(|code| format!(" code={code}")).unwrap_or_default();
        let id = plain(&call.id.to_string());
        writeln!(out, "  {:>10} {took:>10}  {name} id={id}{code}", since(began, call.time))?;
    }
    Ok(())
}

fn called(method: &str, tool: Option<&str>) -> String {
    match tool {
        Some(tool) => format!("{} {}", plain(method), plain(tool)),
        None => plain(method),
    }
}

fn since(began: Timestamp, time: Timestamp) -> String {
    format!("+{}", took(super::milliseconds(began, time)))
}
