//! A question about a system, and its answer as one line of a report. A question that could not be examined never
//! passes.

use serde::Serialize;

/// Why a check fails that had nothing to look at, before it is said what was missing: another one before it says what to do.
pub const UNEXAMINED: &str = "nothing could be examined";

/// More problems of one check than this are counted, not told.
const TOLD: usize = 3;

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

/// A question, before its answer.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    name: &'static str,
    /// What to do when the answer is no.
    next: &'static str,
}

impl Question {
    pub const fn new(name: &'static str, next: &'static str) -> Self {
        Self { name, next }
    }

    pub fn passed(self, detail: impl Into<String>) -> Check {
        Check { name: self.name, outcome: Outcome::Passed, detail: detail.into(), next: None }
    }

    pub fn failed(self, detail: impl Into<String>) -> Check {
        let detail = detail.into();
        let next = (detail != UNEXAMINED).then(|| self.next.to_owned());
        Check { name: self.name, outcome: Outcome::Failed, detail, next }
    }

    pub fn not_applicable(self, why: impl Into<String>) -> Check {
        Check { name: self.name, outcome: Outcome::NotApplicable, detail: why.into(), next: None }
    }

    pub fn holds(self, is_so: bool, detail: impl Into<String>) -> Check {
        if is_so { self.passed(detail) } else { self.failed(detail) }
    }

    /// Passes with `fine` if there is at least one item and none has a problem.
    pub fn each<T>(
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
pub fn unexamined(what: &str, why: &str) -> String {
    format!("{what} could not be examined: {why}")
}

/// Those of `values` that stand there more than once, each once.
pub fn repeated<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut values: Vec<&str> = values.into_iter().collect();
    values.sort_unstable();
    let mut repeated: Vec<&str> =
        values.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}
