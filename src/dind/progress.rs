//! Progress of commands and sessions on standard error: bars on a terminal, else a line for each step. A session never
//! waits for the reader of its lines: they wait in its queue.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::observe::stderr::StderrSink;

/// Where steps are shown.
#[derive(Debug, Clone)]
pub struct Progress(Shown);

#[derive(Debug, Clone)]
enum Shown {
    Bars(MultiProgress),
    Lines,
    Queued(StderrSink),
    Nothing,
}

impl Progress {
    /// On standard error, in writes that may block: for a command that does nothing else meanwhile.
    pub fn stderr() -> Self {
        if std::io::stderr().is_terminal() {
            Self(Shown::Bars(MultiProgress::new()))
        } else {
            Self(Shown::Lines)
        }
    }

    /// Lines in a session's queue, which also keeps them in its history.
    pub fn queued(stderr: StderrSink) -> Self {
        Self(Shown::Queued(stderr))
    }

    /// Nowhere.
    pub fn silent() -> Self {
        Self(Shown::Nothing)
    }

    /// A step that is done, or what is being waited for.
    pub fn say(&self, line: &str) {
        // Nobody to tell it to is no reason to stop.
        drop(match &self.0 {
            Shown::Bars(bars) => bars.println(line),
            // In one write: two processes may share the terminal or the log.
            Shown::Lines => std::io::stderr().lock().write_all(format!("{line}\n").as_bytes()),
            Shown::Queued(stderr) => {
                stderr.line(line);
                Ok(())
            }
            Shown::Nothing => Ok(()),
        });
    }

    /// A step that takes its time.
    pub fn task(&self, title: &str) -> Task {
        let bar = if let Shown::Bars(bars) = &self.0 {
            let bar = bars.add(ProgressBar::new_spinner().with_message(title.to_owned()));
            bar.set_style(style("{spinner} {msg}"));
            bar.enable_steady_tick(Duration::from_millis(100));
            Some(bar)
        } else {
            None
        };
        Task { progress: self.clone(), bar, started: Instant::now() }
    }
}

/// A step under way. Dropping it takes its bar away.
#[derive(Debug)]
pub struct Task {
    progress: Progress,
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Task {
    /// How much of it is done; an unknown `total` is 0.
    pub fn set(&self, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if total > 0 && bar.length().is_none() {
            bar.set_style(style("{spinner} {msg} [{bar:30}] {bytes}/{total_bytes}"));
        }
        if total > 0 {
            // What was estimated too low must not show more than all.
            bar.set_length(total.max(done));
        }
        bar.set_position(done);
    }

    /// Replaces the bar by a line.
    pub fn done(self, line: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.progress.say(&format!("{line} ({seconds:.1} s)"));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_says_what_it_does_and_waits_for_no_reader() {
        let (reader, writer) = std::io::pipe().unwrap();
        let stderr = StderrSink::to(writer);
        let progress = Progress::queued(stderr.clone());
        progress.say("baking `x`, once");
        let task = progress.task("baking `x`");
        task.set(1, 2);
        // More than a pipe holds.
        for _ in 0..2000 {
            progress.say(&"-".repeat(100));
        }
        task.done("baked `x`");
        drop((progress, stderr));
        let text = std::io::read_to_string(reader).unwrap();
        assert!(text.starts_with("baking `x`, once\n---") && text.contains("\nbaked `x` ("), "{text}");
    }
}
