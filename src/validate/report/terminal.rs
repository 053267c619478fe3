//! The report on a terminal.

use std::io::{self, Write};

use super::{HEADINGS, Report, rows};
use crate::exam::check::{Check, Outcome};
use crate::human::{count, table};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";

/// Writes the report; `colours` only where a terminal shows them.
pub fn write(out: &mut impl Write, report: &Report, colours: bool) -> io::Result<()> {
    let paint = |colour: &str, text: &str| {
        if colours { format!("{colour}{text}\x1b[0m") } else { text.to_owned() }
    };
    let Report { clients, calls, server, image, .. } = report;
    let (clients, calls) = (count(*clients, "client"), count(*calls, "call"));
    writeln!(out, "{clients}, {calls} each, of `{server}` (image `{image}`)")?;
    let widest = report.checks().map(|check| check.name.chars().count()).max().unwrap_or_default();
    for section in &report.sections {
        writeln!(out, "\n{}", paint(BOLD, section.name))?;
        for check in &section.checks {
            let (colour, sign) = sign(check);
            let sign = paint(colour, sign);
            let detail = match check.outcome {
                Outcome::NotApplicable => paint(DIM, &format!("not applicable: {}", check.detail)),
                _ => check.detail.clone(),
            };
            writeln!(out, "  {sign} {:widest$}  {detail}", check.name)?;
            if let Some(next) = &check.next {
                writeln!(out, "    {:widest$}  next: {next}", "")?;
            }
        }
    }
    if report.engine.is_none() {
        return writeln!(out, "\n{}", paint(RED, "not passed: nothing can be examined without an answer"));
    }
    if !report.sessions.is_empty() {
        writeln!(out)?;
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        lines.extend(rows(report));
        table::plain(out, &lines)?;
    }
    writeln!(out)?;
    let mut lines = vec![["", "here", "reference"].map(str::to_owned)];
    lines.extend(report.figures.iter().map(|figure| {
        [
            figure.name.to_owned(),
            figure.ours.clone().unwrap_or_else(|| "-".to_owned()),
            figure.reference.to_owned(),
        ]
    }));
    table::plain(out, &lines)?;
    let summary = report.summary();
    writeln!(out, "\n{}", paint(if report.passed { GREEN } else { RED }, &summary))
}

fn sign(check: &Check) -> (&'static str, &'static str) {
    match check.outcome {
        Outcome::Passed => (GREEN, "✓"),
        Outcome::Failed => (RED, "✗"),
        Outcome::NotApplicable => (DIM, "-"),
    }
}
