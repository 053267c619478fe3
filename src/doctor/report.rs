//! The report: JSON and an exit code for scripts, lines for people.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::line::{Line, State};
use crate::human::{Plain, count};

/// As `berth doctor --json` prints it. Keys are never renamed or removed; new ones may come.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Nothing has failed; there may be warnings.
    pub healthy: bool,
    pub version: &'static str,
    pub took_s: f64,
    pub lines: Vec<Line>,
}

/// How a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Words: for files and other programs.
    Plain,
    /// Signs.
    Terminal { colours: bool },
}

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";

impl Report {
    pub fn new(lines: Vec<Line>, took: Duration) -> Self {
        let healthy = lines.iter().all(|line| line.state != State::Failed);
        let took_s = (took.as_secs_f64() * 1e3).round() / 1e3;
        Self { healthy, version: env!("CARGO_PKG_VERSION"), took_s, lines }
    }

    /// How many are in that state.
    pub fn count(&self, state: State) -> usize {
        self.lines.iter().filter(|line| line.state == state).count()
    }

    /// Writes it for a person.
    pub fn write(&self, out: &mut impl Write, look: Look) -> io::Result<()> {
        let paint = |colour: &str, text: &str| match look {
            Look::Terminal { colours: true } => format!("{colour}{text}\x1b[0m"),
            _ => text.to_owned(),
        };
        let titles: Vec<String> = self.lines.iter().map(title).collect();
        let widest = titles.iter().map(|title| title.chars().count()).max().unwrap_or_default();
        for (line, title) in self.lines.iter().zip(&titles) {
            let (colour, sign) = sign(line.state, look);
            let fact = match line.state {
                State::NotApplicable => paint(DIM, &format!("not applicable: {}", Plain(&line.fact))),
                _ => Plain(&line.fact).to_string(),
            };
            let margin = sign.chars().count();
            writeln!(out, "{} {title:widest$}  {fact}", paint(colour, sign))?;
            if let Some(next) = &line.next {
                writeln!(out, "{:margin$} {:widest$}  next: {}", "", "", Plain(next))?;
            }
        }
        let [failed, warnings, ok, not_applicable] =
            [State::Failed, State::Warning, State::Ok, State::NotApplicable].map(|state| self.count(state));
        let summary = format!(
            "{ok} ok, {}, {failed} failed, {not_applicable} not applicable, in {:.1} s",
            count(warnings, "warning"),
            self.took_s
        );
        let colour = if failed > 0 {
            RED
        } else if warnings > 0 {
            YELLOW
        } else {
            GREEN
        };
        writeln!(out, "\n{}", paint(colour, &summary))
    }
}

fn title(line: &Line) -> String {
    match &line.object {
        // Clients' files say it, and a project's may be anybody's.
        Some(object) => format!("{} {}", line.name, Plain(object)),
        None => line.name.to_owned(),
    }
}

fn sign(state: State, look: Look) -> (&'static str, &'static str) {
    let (colour, sign, word) = match state {
        State::Ok => (GREEN, "✓", "ok     "),
        State::Warning => (YELLOW, "!", "warning"),
        State::Failed => (RED, "✗", "failed "),
        State::NotApplicable => (DIM, "-", "-      "),
    };
    (colour, if look == Look::Plain { word } else { sign })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let lines = vec![
            Line::ok("engine", "answers"),
            Line::warning("image", "old", "berth up").of("time"),
            Line::not_applicable("clock", "nobody has one"),
        ];
        Report::new(lines, Duration::from_millis(1234))
    }

    fn written(look: Look) -> String {
        let mut out = Vec::new();
        report().write(&mut out, look).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn warnings_are_no_failure_and_one_failure_is() {
        assert!(report().healthy);
        assert!(!Report::new(vec![Line::failed("x", "y", "z")], Duration::ZERO).healthy);
    }

    #[test]
    fn colours_and_signs_are_for_terminals() {
        let plain = written(Look::Plain);
        assert!(plain.is_ascii(), "{plain}");
        assert!(plain.contains("warning image time  old\n") && plain.contains("next: berth up"), "{plain}");
        assert!(plain.ends_with("1 ok, 1 warning, 0 failed, 1 not applicable, in 1.2 s\n"), "{plain}");
        let signs = written(Look::Terminal { colours: false });
        assert!(signs.contains("✓ engine") && !signs.contains('\x1b'), "{signs}");
        assert!(written(Look::Terminal { colours: true }).contains(YELLOW));
    }

    #[test]
    fn nobodys_name_moves_the_text() {
        let lines =
            vec![Line::failed("client", "`a\u{9b}2Jb` of \u{202e}x\n", "berth kill \u{1b}[2J").of("\u{7}x")];
        let mut out = Vec::new();
        Report::new(lines, Duration::ZERO).write(&mut out, Look::Plain).unwrap();
        let text = String::from_utf8(out).unwrap();
        let shown = r"failed  client \u{7}x  `a\u{9b}2Jb` of \u{202e}x\n";
        assert!(text.starts_with(shown), "{text}");
        assert!(text.contains(r"next: berth kill \u{1b}[2J"), "{text}");
    }

    #[test]
    fn scripts_get_each_line() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["lines"][1]["state"], "warning");
        assert_eq!(json["lines"][1]["object"], "time");
        assert_eq!(json["lines"][2]["state"], "not_applicable");
        assert!(json["lines"][0].get("next").is_none());
    }
}
