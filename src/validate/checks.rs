//! From observations to checks: pure functions. Nothing here speaks to anybody, so each check can be shown to fail.

pub mod access;
pub mod cleanup;
pub mod deployment;
pub mod isolation;
pub mod orchestrator;
pub mod resources;
pub mod tls;
mod unexamined;

use serde::Serialize;

use access::Access;
use cleanup::Cleanup;
use deployment::Deployment;
use isolation::Isolation;
use orchestrator::Orchestrator;
use resources::Resources;
use tls::Tls;

/// Why a check fails that had nothing to look at, before it is said what was missing: another one before it says what to do.
const UNEXAMINED: &str = "nothing could be examined";

/// More problems of one check than this are counted, not told.
const TOLD: usize = 3;

/// All that was seen, as plain data.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    pub orchestrator: Orchestrator,
    pub deployment: Deployment,
    /// Sessions beside the examined ones that did not start, and why.
    pub missing_spares: Vec<(String, String)>,
    pub access: Access,
    pub isolation: Isolation,
    pub resources: Resources,
    pub tls: Tls,
    pub cleanup: Cleanup,
}

/// What could be found out, or why not. What could not be examined never passes.
pub type Seen<T> = Result<T, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    /// There is nothing to examine here, as the configuration has it. Not a pass, and no failure.
    NotApplicable,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
    /// The facts behind the outcome.
    pub detail: String,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A part of the examination.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    pub name: &'static str,
    pub checks: Vec<Check>,
}

impl Section {
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }
}

/// All sections, in the order in which they are told; only the first where there was no daemon to examine.
pub fn judge(seen: &Observations) -> Vec<Section> {
    let mut sections = vec![
        Section { name: "orchestrator", checks: orchestrator::judge(&seen.orchestrator) },
        Section { name: "deployment", checks: deployment::judge(&seen.deployment) },
        Section { name: "concurrent access", checks: access::judge(&seen.access) },
        Section { name: "isolation", checks: isolation::judge(&seen.isolation) },
        Section { name: "resources", checks: resources::judge(&seen.resources) },
        Section { name: "TLS", checks: tls::judge(&seen.tls) },
        Section { name: "clean-up", checks: cleanup::judge(&seen.cleanup) },
    ];
    if seen.orchestrator.engine.is_err() {
        sections.truncate(1);
    }
    unexamined::explain(&mut sections, seen);
    for next in
        sections.iter_mut().flat_map(|section| &mut section.checks).filter_map(|check| check.next.as_mut())
    {
        *next = next.replace("SERVER", &seen.deployment.server);
    }
    sections
}

/// A question, before its answer.
#[derive(Debug, Clone, Copy)]
struct Question {
    name: &'static str,
    /// What to do when the answer is no.
    next: &'static str,
}

impl Question {
    const fn new(name: &'static str, next: &'static str) -> Self {
        Self { name, next }
    }

    fn passed(self, detail: impl Into<String>) -> Check {
        Check { name: self.name, outcome: Outcome::Passed, detail: detail.into(), next: None }
    }

    fn failed(self, detail: impl Into<String>) -> Check {
        let detail = detail.into();
        let next = (detail != UNEXAMINED).then(|| self.next.to_owned());
        Check { name: self.name, outcome: Outcome::Failed, detail, next }
    }

    fn not_applicable(self, why: impl Into<String>) -> Check {
        Check { name: self.name, outcome: Outcome::NotApplicable, detail: why.into(), next: None }
    }

    fn holds(self, is_so: bool, detail: impl Into<String>) -> Check {
        if is_so { self.passed(detail) } else { self.failed(detail) }
    }

    /// Passes with `fine` if there is at least one item and none has a problem.
    fn each<T>(
        self,
        items: impl IntoIterator<Item = T>,
        fine: impl Into<String>,
        mut problem: impl FnMut(T) -> Option<String>,
    ) -> Check {
        let (mut examined, mut problems) = (0, Vec::new());
        for item in items {
            examined += 1;
            problems.extend(problem(item));
        }
        if examined == 0 {
            return self.failed(UNEXAMINED);
        }
        if problems.is_empty() {
            return self.passed(fine);
        }
        let more = problems.len().saturating_sub(TOLD);
        problems.truncate(TOLD);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        self.failed(problems.join("; "))
    }
}

/// The problem with what could not be examined.
fn unexamined(what: &str, why: &str) -> String {
    format!("{what} could not be examined: {why}")
}

/// Those of `values` that stand there more than once, each once.
fn repeated<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut values: Vec<&str> = values.into_iter().collect();
    values.sort_unstable();
    let mut repeated: Vec<&str> =
        values.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}

#[cfg(test)]
pub(in crate::validate) mod sample;
#[cfg(test)]
mod tests;
