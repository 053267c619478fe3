//! The result of a run: JSON for scripts, a table for people.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::left::Left;
use super::plan::Kind;
use super::tally::{Sessions, Totals, Violation};
use crate::human::{count, table};

/// Of what must not be, so much is shown to people.
const SHOWN: usize = 20;

/// The faults of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tried {
    pub done: usize,
    /// There was nothing to hit.
    pub missed: usize,
    /// From the fault to the result of a call that was sent after it, in seconds, for each.
    pub well_after: Vec<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub seed: u64,
    pub slots: usize,
    pub seconds: f64,
    pub planned: usize,
    /// The way that was asked for, and how many starts of servers ended with their pipes.
    pub streams: &'static str,
    pub by_pipes: usize,
    pub faults: BTreeMap<&'static str, Tried>,
    pub sessions: Sessions,
    pub calls: Totals,
    /// The errors that calls were answered with, by their beginning.
    pub errors: BTreeMap<String, usize>,
    pub left: Left,
    /// Why it could not be found out what is left.
    pub left_unknown: Option<String>,
    /// The traces and standard errors of all sessions, if something is wrong.
    pub kept: Option<PathBuf>,
    pub passed: bool,
}

impl Report {
    /// Whether all that must be zero is zero.
    pub(super) fn judge(&mut self) {
        let Totals { sent, lost, crossed, executed_twice, broken, .. } = &self.calls;
        let wrong = [lost, crossed, executed_twice, broken];
        self.passed = wrong.iter().all(|list| list.is_empty())
            && *sent > 0
            // What was not tried has not been shown: nine in ten, for some find nobody to hit.
            && self.done() * 10 >= self.planned * 9
            && self.left.count() == 0
            && self.left_unknown.is_none();
    }

    pub fn done(&self) -> usize {
        self.faults.values().map(|tried| tried.done).sum()
    }

    /// Writes it for people.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { seed, slots, seconds, planned, calls, sessions, left, streams, .. } = self;
        let done = self.done();
        writeln!(
            out,
            "seed {seed}, {} at once, streams {streams}, {done} of {} in {seconds:.0} s\n",
            count(*slots, "session"),
            count(*planned, "fault"),
        )?;
        let mut lines = vec![["faults", "done", "well again (median)", "(slowest)"].map(str::to_owned)];
        let of_a_cluster = Kind::IN_A_CLUSTER.iter().filter(|kind| !Kind::ALL.contains(kind));
        lines.extend(Kind::ALL.iter().chain(of_a_cluster).filter_map(|kind| {
            let tried = self.faults.get(kind.name())?;
            let (median, slowest) = middle_and_last(&tried.well_after);
            let missed =
                if tried.missed == 0 { String::new() } else { format!(" ({} missed)", tried.missed) };
            Some([kind.name().to_owned(), format!("{}{missed}", tried.done), median, slowest])
        }));
        table::plain(out, &lines)?;
        writeln!(out)?;
        let row =
            |name: &str, count: usize, note: &str| [name.to_owned(), count.to_string(), note.to_owned()];
        let mut lines = vec![
            row("sessions started", sessions.started, ""),
            row("  refused", sessions.refused, "began while no server could start"),
            row("  gave up", sessions.gave_up, "lost more servers than a session replaces"),
            row("servers", calls.servers, "that were called"),
            row("starts by pipes", self.by_pipes, "their bytes did not pass through the daemon"),
            row("calls sent", calls.sent, ""),
            row("  answered", calls.answered, ""),
            row("  failed with an error", calls.failed, ""),
            row("  cut off", calls.cut, "their proxy was killed, or their client left"),
            row("  lost", calls.lost.len(), "must be 0"),
            row("crossed", calls.crossed.len(), "must be 0"),
            row("executed twice", calls.executed_twice.len(), "must be 0"),
            row("sessions broken", calls.broken.len(), "must be 0"),
        ];
        let (containers, volumes) = (left.containers.len(), left.volumes.len());
        lines.extend([
            row("containers left", containers, "must be 0"),
            row("volumes left", volumes, "must be 0"),
            row("networks left", left.networks.len(), "must be 0"),
            row("processes left", left.processes.len(), "must be 0"),
            row("doors left", left.doors.len(), "must be 0"),
        ]);
        table::plain(out, &lines)?;
        self.write_wrong(out)?;
        writeln!(out, "\n{}", if self.passed { "passed" } else { "not passed" })
    }

    fn write_wrong(&self, out: &mut impl Write) -> io::Result<()> {
        let Totals { lost, crossed, executed_twice, broken, .. } = &self.calls;
        let kept = |violation: &Violation| match &self.kept {
            Some(folder) if !violation.session.is_empty() => {
                format!(" (see {})", folder.join(format!("{}.trace", violation.session)).display())
            }
            _ => String::new(),
        };
        let wrong: Vec<&Violation> = [lost, crossed, executed_twice, broken].into_iter().flatten().collect();
        if !wrong.is_empty() {
            writeln!(out)?;
        }
        for violation in wrong.iter().take(SHOWN) {
            writeln!(out, "{}: {}{}", violation.session, violation.what, kept(violation))?;
        }
        if wrong.len() > SHOWN {
            writeln!(out, "and {} more", wrong.len() - SHOWN)?;
        }
        let Left { containers, volumes, networks, processes, doors } = &self.left;
        let left = [
            ("container", containers),
            ("volume", volumes),
            ("network", networks),
            ("process", processes),
            ("door", doors),
        ];
        for (what, names) in left {
            for name in names.iter().take(SHOWN) {
                writeln!(out, "left: the {what} {name}")?;
            }
        }
        if let Some(why) = &self.left_unknown {
            writeln!(out, "cannot look for leftovers: {why}")?;
        }
        if let Some(folder) = &self.kept {
            writeln!(out, "traces and standard errors of all sessions are in {}", folder.display())?;
        }
        Ok(())
    }
}

/// For people: `0.42 s`, or nothing where there is none.
fn middle_and_last(seconds: &[f64]) -> (String, String) {
    let mut sorted = seconds.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let show = |at: usize| sorted.get(at).map(|seconds| format!("{seconds:.2} s")).unwrap_or_default();
    (show(sorted.len().saturating_sub(1) / 2), show(sorted.len().saturating_sub(1)))
}

pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
