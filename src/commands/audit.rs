//! `berth audit`: who was refused what, and what a person did by hand.

use std::io::{self, BufReader, Write};
use std::process::ExitCode;

use jiff::Timestamp;

use crate::cli::AuditArgs;
use crate::config::Home;
use crate::failure::{Code, Failure};
use crate::history::{Lines, show};
use crate::human::table::{self, Cut};
use crate::observe::audit::{self, Entry};
use crate::values::Ago;

pub fn run(args: &AuditArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let since = args.since.and_then(Ago::then);
    let path = home.state.join(audit::FILE);
    let mut entries = match crate::regular::open(&path) {
        Ok(Some(file)) => read(BufReader::new(file), since),
        Ok(None) => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let text = format!("cannot read `{}`: {error}", path.display());
            return Err(Failure { code: Code::Unavailable, text, next: None }.into());
        }
    };
    entries.drain(..entries.len().saturating_sub(args.number));
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &entries)?;
        writeln!(out)?;
    } else {
        let width = table::terminal_width(&out);
        write(&mut out, &entries, width)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines that are none are passed over.
fn read(file: impl io::BufRead, since: Option<Timestamp>) -> Vec<Entry> {
    let mut lines = Lines::new(file);
    let mut entries = Vec::new();
    while let Ok(Some(line)) = lines.next_line() {
        let entry = serde_json::from_slice::<Entry>(line).ok();
        entries.extend(entry.filter(|entry| since.is_none_or(|since| entry.time >= since)));
    }
    entries
}

fn write(out: &mut impl Write, entries: &[Entry], width: Option<usize>) -> io::Result<()> {
    let mut rows = vec![["TIME", "EVENT", "SESSION", "SERVER", "WHAT"].map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| {
        let known = |text: &Option<String>| show::plain(text.as_deref().unwrap_or("-"));
        let missing = match entry.missing {
            0 => String::new(),
            missing => format!("; {missing} before it are not here"),
        };
        [
            show::local(entry.time, "%Y-%m-%d %H:%M:%S"),
            show::plain(&entry.event),
            known(&entry.session),
            known(&entry.server),
            show::plain(&format!("{}{missing}", entry.detail)),
        ]
    }));
    table::write(out, &rows, [Cut::Never, Cut::Never, Cut::Never, Cut::Never, Cut::End], width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_line_is_passed_over_and_nothing_moves_the_terminal() {
        let line =
            |time: &str, event: &str| format!("{{\"schema\":1,\"time\":\"{time}\",\"event\":\"{event}\"}}\n");
        let text = format!(
            "{}half\n{}{{\"x\":1}}\n{}",
            line("2026-11-22T10:00:00Z", "old"),
            line("2026-11-22T11:00:00Z", "tool\\u001b refused"),
            "{\"schema\":9,\"time\":\"2026-11-22T12:00:00Z\",\"event\":\"later\",\"unknown\":1,\"missing\":3}\n"
        );
        let since = Some("2026-11-22T10:30:00Z".parse().unwrap());
        let entries = read(text.as_bytes(), since);
        assert_eq!(entries.len(), 2);
        let mut out = Vec::new();
        write(&mut out, &entries, None).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(
            shown.contains("tool\\u{1b} refused") && shown.contains("3 before it are not here"),
            "{shown}"
        );
    }
}
