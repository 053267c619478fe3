//! One line of the report: its subject, its state, the facts, and the command that mends it.

use serde::Serialize;

/// From the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There is nothing to look at here, or something before it failed. No failure.
    NotApplicable,
    Ok,
    /// Sessions work; somebody should see to it all the same.
    Warning,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at. Never renamed; new ones may come.
    pub name: &'static str,
    /// Which one, where there may be several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    pub state: State,
    /// What was measured.
    pub fact: String,
    /// What mends it: a command where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Line {
    pub fn ok(name: &'static str, fact: impl Into<String>) -> Self {
        Self { name, object: None, state: State::Ok, fact: fact.into(), next: None }
    }

    pub fn not_applicable(name: &'static str, why: impl Into<String>) -> Self {
        Self { state: State::NotApplicable, ..Self::ok(name, why) }
    }

    pub fn warning(name: &'static str, fact: impl Into<String>, next: impl Into<String>) -> Self {
        Self { state: State::Warning, next: Some(next.into()), ..Self::ok(name, fact) }
    }

    pub fn failed(name: &'static str, fact: impl Into<String>, next: impl Into<String>) -> Self {
        Self { state: State::Failed, next: Some(next.into()), ..Self::ok(name, fact) }
    }

    #[must_use]
    pub fn of(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }
}

/// What could be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    Found(T),
    /// There is nothing to look at, or something else has to be mended first.
    NotApplicable(String),
    Failed {
        why: String,
        next: String,
    },
}

impl<T> Seen<T> {
    pub fn failed(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), next: next.into() }
    }

    /// Judges what was found; what was not is told as it is.
    pub(super) fn line(&self, name: &'static str, judge: impl FnOnce(&T) -> Line) -> Line {
        match self {
            Self::Found(found) => judge(found),
            Self::NotApplicable(why) => Line::not_applicable(name, why),
            Self::Failed { why, next } => Line::failed(name, why, next),
        }
    }
}

/// Facts that become one line: problems go first, and the worst one's command is told.
#[derive(Debug, Default)]
pub(super) struct Findings {
    facts: Vec<String>,
    problems: Vec<(State, String, String)>,
}

impl Findings {
    pub(super) fn fact(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    pub(super) fn warn(&mut self, problem: impl Into<String>, next: impl Into<String>) {
        self.problems.push((State::Warning, problem.into(), next.into()));
    }

    pub(super) fn fail(&mut self, problem: impl Into<String>, next: impl Into<String>) {
        self.problems.push((State::Failed, problem.into(), next.into()));
    }

    pub(super) fn into_line(mut self, name: &'static str) -> Line {
        // Stable: of two that are as bad, the first one found goes first.
        self.problems.sort_by_key(|(state, ..)| std::cmp::Reverse(*state));
        let state = self.problems.first().map_or(State::Ok, |(state, ..)| *state);
        let next = self.problems.first().map(|(.., next)| next.clone());
        let problems = self.problems.into_iter().map(|(_, problem, _)| problem);
        let fact = problems.chain(self.facts).collect::<Vec<_>>().join("; ");
        Line { name, object: None, state, fact, next }
    }
}

/// A command that names the few that it is for.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const TOLD: usize = 3;
    let names: Vec<&str> = names.into_iter().collect();
    let told = names.iter().take(TOLD).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_problem_gives_the_state_and_the_command() {
        let mut findings = Findings::default();
        findings.fact("2 files");
        assert_eq!(
            Findings { facts: vec!["2 files".into()], ..Findings::default() }.into_line("x"),
            Line::ok("x", "2 files")
        );
        findings.warn("one is old", "renew");
        findings.fail("one is gone", "make");
        findings.fail("one is broken", "mend");
        let line = findings.into_line("x");
        assert_eq!(line, Line::failed("x", "one is gone; one is broken; one is old; 2 files", "make"));
    }

    #[test]
    fn a_list_is_cut() {
        assert_eq!(list(["a", "b", "c", "d", "e"]), "`a`, `b`, `c` and 2 more");
        assert_eq!(list(["a"]), "`a`");
    }
}
