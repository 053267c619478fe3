//! Recent sessions, a line each.

use std::io;

use jiff::Timestamp;

use super::session::{Past, State};
use super::show;
use crate::human::table::{self, Cut};

/// Of the reason of an end, so many characters are in the list.
const WHY: usize = 90;

/// For a person; no line is wider than `width`.
pub fn write(out: &mut impl io::Write, all: &[Past], width: Option<usize>) -> io::Result<()> {
    let titles = ["STARTED", "LENGTH", "SESSION", "CLIENT", "SERVER", "START", "END"];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(all.iter().map(|past| {
        let known = |text: &Option<String>| show::plain(text.as_deref().unwrap_or("-"));
        [
            show::local(past.started, "%Y-%m-%d %H:%M:%S"),
            length(past),
            past.session.clone(),
            known(&past.client),
            known(&past.server),
            known(&past.how),
            end(past),
        ]
    }));
    table::write(out, &rows, [Cut::Never; 7], width)
}

fn length(past: &Past) -> String {
    let seconds = past.ended.unwrap_or_else(Timestamp::now).duration_since(past.started).as_secs_f64();
    match seconds.max(0.0) {
        seconds @ ..60.0 => format!("{seconds:.1}s"),
        seconds @ ..3600.0 => format!("{:.0}m", (seconds / 60.0).floor()),
        seconds => format!("{:.1}h", seconds / 3600.0),
    }
}

fn end(past: &Past) -> String {
    let why = show::plain(past.why.as_deref().unwrap_or_default());
    match (past.state, past.code) {
        (State::Live, _) => "live".to_owned(),
        (State::Killed, _) => "killed, or its machine stopped".to_owned(),
        (State::Ended, Some(0) | None) => why,
        (State::Ended, Some(code)) => {
            let short: String = why.chars().take(WHY).collect();
            let cut = if short.len() < why.len() { "…" } else { "" };
            format!("exit {code}: {short}{cut}")
        }
    }
}
