//! What `berth restore` says of each thing, and at its end.

use std::io::{self, Write};

use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::count;

/// What is told of each step.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) is_trial: bool,
    changed: usize,
    left: usize,
    /// Whether `--force` replaces any of what was left.
    is_replaced_by_force: bool,
}

pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

pub(crate) fn stays(what: &str) -> io::Result<()> {
    say(&format!("unchanged {what}"))
}

impl Report {
    pub(crate) fn of(is_trial: bool) -> Self {
        Self { is_trial, ..Self::default() }
    }

    pub(crate) fn wrote(&mut self, what: &str) -> io::Result<()> {
        self.changed += 1;
        say(&if self.is_trial { format!("would restore {what}") } else { format!("restored {what}") })
    }

    /// Something else is there, which `--force` replaces.
    pub(crate) fn left(&mut self, what: &str, why: &str) -> io::Result<()> {
        self.is_replaced_by_force = true;
        self.left_always(what, &format!("{why}, and `--force` replaces it"))
    }

    /// No option changes it.
    pub(crate) fn left_always(&mut self, what: &str, why: &str) -> io::Result<()> {
        self.left += 1;
        say(&format!("left alone {what}: {why}"))
    }

    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Self { is_trial, changed, left, is_replaced_by_force } = self;
        if left > 0 {
            let things = count(left, "thing");
            return Err(Failure {
                code: Code::Configuration,
                text: if is_trial {
                    format!("{things} would be left alone, and nothing was written")
                } else {
                    format!("{things} left alone, and all else is restored")
                },
                next: Some(if is_replaced_by_force {
                    "see above; `--force` replaces what is there".to_owned()
                } else {
                    "see above why each stays".to_owned()
                }),
            }
            .into());
        }
        match (changed, is_trial) {
            (0, _) => say("nothing to change: all of it is there")?,
            (n, true) => say(&format!("would change {}", count(n, "thing")))?,
            (n, false) => say(&format!("restored {}", count(n, "thing")))?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_was_done_and_what_force_would_do() {
        let end = |is_trial: bool, always: bool| {
            let mut report = Report::of(is_trial);
            report.wrote("a").unwrap();
            if always { report.left_always("b", "why") } else { report.left("b", "why") }.unwrap();
            report.end().unwrap_err().to_string()
        };
        assert_eq!(
            end(false, false),
            "1 thing left alone, and all else is restored; see above; `--force` replaces what is there"
        );
        assert!(end(true, false).starts_with("1 thing would be left alone, and nothing was written;"));
        assert!(!end(false, true).contains("--force"));
    }
}
