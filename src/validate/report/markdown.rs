//! The report as a document.

use std::fmt::Write;

use super::{HEADINGS, Report, rows};
use crate::exam::check::Outcome;
use crate::human::count;
use crate::validate::checks::Section;

/// The document, `validation.md`.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, report);
    text
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let verdict = if report.passed { "passed" } else { "**not passed**" };
    writeln!(out, "# Multi-client validation: {verdict}\n")?;
    let Report { clients, calls, server, image, .. } = report;
    let Some(engine) = &report.engine else {
        writeln!(out, "Nobody answers at `{}`; without that nothing else can be examined.", report.daemon)?;
        return report.sections.iter().try_for_each(|section| write_section(out, section));
    };
    let half = clients.div_ceil(2);
    writeln!(
        out,
        "Examined with {} ({half} started as Claude Code does it, {} as Codex does), all at once, of `berth run {server}`, \
         {} each. {}.\n",
        count(*clients, "AI client session"),
        clients - half,
        count(*calls, "call"),
        capitalized(&report.summary()),
    )?;
    let facts = [
        ("date", report.date.clone()),
        ("berth", report.berth.to_owned()),
        ("daemon", format!("`{}`, {} {engine}", report.daemon, report.runs_in)),
        ("server", format!("`{server}`, image `{image}`")),
        ("operation", format!("`{}`", report.operation)),
    ];
    rule(out, &["", ""])?;
    for (name, fact) in facts {
        row(out, &[name, &fact])?;
    }

    writeln!(out, "\n## Figures\n")?;
    rule(out, &["", "here", "reference report"])?;
    for figure in &report.figures {
        row(out, &[figure.name, figure.ours.as_deref().unwrap_or("-"), figure.reference])?;
    }

    writeln!(out, "\n## Summary\n")?;
    rule(out, &["part", "result", "checks"])?;
    for section in &report.sections {
        let count = |outcome| section.checks.iter().filter(|check| check.outcome == outcome).count();
        let (passed, failed) = (count(Outcome::Passed), count(Outcome::Failed));
        let result = match (failed, passed) {
            (1.., _) => "✗ failed",
            (0, 0) => "not applicable",
            (0, _) => "✓ passed",
        };
        row(out, &[section.name, result, &format!("{passed} of {}", passed + failed)])?;
    }

    writeln!(out, "\n## Sessions\n")?;
    rule(out, &HEADINGS)?;
    for cells in rows(report) {
        row(out, &cells.each_ref().map(String::as_str))?;
    }
    for section in &report.sections {
        write_section(out, section)?;
    }
    Ok(())
}

fn write_section(out: &mut String, section: &Section) -> std::fmt::Result {
    writeln!(out, "\n## {}\n", capitalized(section.name))?;
    for check in &section.checks {
        let detail = escaped(&check.detail);
        match check.outcome {
            Outcome::Passed => writeln!(out, "- ✓ {}: {detail}", capitalized(check.name))?,
            Outcome::Failed => writeln!(out, "- ✗ **{}**: {detail}", capitalized(check.name))?,
            Outcome::NotApplicable => {
                writeln!(out, "- {} (not applicable): {detail}", capitalized(check.name))?;
            }
        }
        if let Some(next) = &check.next {
            writeln!(out, "  - next: `{}`", next.replace('`', ""))?;
        }
    }
    Ok(())
}

fn rule(out: &mut String, headings: &[&str]) -> std::fmt::Result {
    row(out, headings)?;
    writeln!(out, "|{}", "---|".repeat(headings.len()))
}

fn row(out: &mut String, cells: &[&str]) -> std::fmt::Result {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell).replace('|', "\\|")).collect();
    writeln!(out, "| {} |", cells.join(" | "))
}

/// One line, whatever a server or a daemon has said.
fn escaped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('<', "&lt;")
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
