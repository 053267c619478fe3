//! All results in one place. [`terminal`] and [`markdown`] show them; the JSON has the same fields.

pub mod markdown;
pub mod terminal;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::checks::{Observations, Section, judge};
use super::figures::{Figure, figures};
use super::plan::Plan;
use crate::exam::check::{Check, Outcome};
use crate::exam::times::Times;
use crate::human::count;

/// The whole report, as `validation.json` has it. Keys are never renamed or removed; new ones may come.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub passed: bool,
    /// RFC 3339.
    pub date: String,
    pub berth: &'static str,
    pub daemon: String,
    pub engine: Option<String>,
    /// `Docker` or `Kubernetes`.
    pub runs_in: &'static str,
    pub server: String,
    pub image: String,
    pub clients: usize,
    /// Of each client.
    pub calls: usize,
    /// How many times as long everything could take as on an ordinary machine.
    pub patience: u32,
    /// What a call was.
    pub operation: String,
    pub duration_s: f64,
    pub figures: [Figure; 4],
    pub sessions: Vec<SessionRow>,
    /// Over all calls.
    pub all: Times,
    pub sections: Vec<Section>,
}

/// One of the examined sessions.
#[derive(Debug, Clone, Serialize)]
pub struct SessionRow {
    pub title: String,
    pub container: Option<String>,
    /// From its start to its server's first answer.
    pub ready_s: Option<f64>,
    pub right: usize,
    #[serde(flatten)]
    pub times: Times,
}

impl Report {
    pub fn new(plan: &Plan, seen: &Observations, took: Duration, date: Timestamp) -> Self {
        let sections = judge(seen);
        let sessions = seen.deployment.sessions.iter().map(|deployed| {
            let calls = seen.access.clients.iter().find(|client| client.title == deployed.title);
            SessionRow {
                title: deployed.title.clone(),
                container: deployed.container.as_ref().ok().map(|found| found.name.clone()),
                ready_s: deployed.ready.as_ref().ok().map(rounded),
                right: calls.map_or(0, super::checks::access::ClientCalls::right),
                times: calls.map(super::checks::access::ClientCalls::times).unwrap_or_default(),
            }
        });
        Self {
            passed: sections.iter().all(Section::passed),
            date: format!("{date:.0}"),
            berth: env!("CARGO_PKG_VERSION"),
            daemon: seen.address().to_owned(),
            engine: seen.version().ok().map(str::to_owned),
            runs_in: seen.place().name(),
            server: plan.server.name.clone(),
            image: plan.server.image.clone(),
            clients: plan.clients,
            calls: plan.calls,
            patience: plan.patience,
            operation: seen.access.operation.clone(),
            duration_s: rounded(&took),
            figures: figures(seen, took),
            sessions: sessions.collect(),
            all: seen.access.times(),
            sections,
        }
    }

    /// Passed, failed, and not applicable.
    pub fn counts(&self) -> [usize; 3] {
        [Outcome::Passed, Outcome::Failed, Outcome::NotApplicable]
            .map(|outcome| self.checks().filter(|check| check.outcome == outcome).count())
    }

    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.sections.iter().flat_map(|section| &section.checks)
    }

    /// The outcome in one line.
    pub fn summary(&self) -> String {
        let [passed, failed, not_applicable] = self.counts();
        let verdict = if self.passed { "all passed" } else { "not passed" };
        format!(
            "{verdict}: {} passed, {failed} failed, {not_applicable} not applicable, in {:.1} s",
            count(passed, "check"),
            self.duration_s
        )
    }
}

fn rounded(time: &Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

/// A cell of the table of sessions.
fn rows(report: &Report) -> Vec<[String; 8]> {
    use crate::exam::times::text;
    let times = |times: &Times| [times.mean, times.p50, times.p99, times.max].map(text);
    let mut rows: Vec<[String; 8]> = report
        .sessions
        .iter()
        .map(|row| {
            let [mean, p50, p99, max] = times(&row.times);
            let container = row.container.clone().unwrap_or_else(|| "-".to_owned());
            let ready = row.ready_s.map_or("-".to_owned(), |ready| format!("{ready:.2} s"));
            [
                row.title.clone(),
                container,
                ready,
                format!("{}/{}", row.right, report.calls),
                mean,
                p50,
                p99,
                max,
            ]
        })
        .collect();
    let [mean, p50, p99, max] = times(&report.all);
    let right: usize = report.sessions.iter().map(|row| row.right).sum();
    let all = format!("{right}/{}", report.calls * report.sessions.len());
    rows.push(["all".to_owned(), String::new(), String::new(), all, mean, p50, p99, max]);
    rows
}

const HEADINGS: [&str; 8] = ["client", "container", "ready", "calls", "mean", "p50", "p99", "max"];

#[cfg(test)]
mod tests;
