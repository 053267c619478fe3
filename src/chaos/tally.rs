//! What became of each call, and what must never happen. Pure: it records observations, and judges at the end.
//!
//! The order of events, not a clock, decides whether a call was executed after its error was answered. A server that
//! was lost with a call never hears a call sent after that error. So a server that has executed both was asked again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

/// What a call is known by: nobody else's, in the whole run.
pub type Token = String;

/// What is known of a call's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Answered,
    /// With a JSON-RPC error, which came at this point of the run's order.
    Failed(u64),
    /// Its proxy was killed, or its client left: nobody was there to be answered.
    Cut,
    Lost,
}

#[derive(Debug)]
struct Call {
    session: String,
    /// Its place in the run's order.
    sent: u64,
    fate: Fate,
}

/// Everything that was seen so far.
#[derive(Debug, Default)]
pub struct Tally {
    order: u64,
    calls: HashMap<Token, Call>,
    /// How often each process executed each call, by the process.
    executed: BTreeMap<String, HashMap<Token, u64>>,
    /// The session that each process has answered.
    owners: HashMap<String, String>,
    crossed: Vec<Violation>,
    ends: Vec<Violation>,
}

/// Something that must not be, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Violation {
    pub session: String,
    pub what: String,
}

/// The figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    pub sent: usize,
    pub answered: usize,
    pub failed: usize,
    /// Their proxy was killed or their client left in mid-call.
    pub cut: usize,
    pub lost: Vec<Violation>,
    pub crossed: Vec<Violation>,
    pub executed_twice: Vec<Violation>,
    /// Sessions that ended or stood still and should not have.
    pub broken: Vec<Violation>,
    /// Server processes that executed something.
    pub servers: usize,
}

impl Tally {
    /// The present point in the run's order.
    pub fn now(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    pub fn sent(&mut self, session: &str, token: &str) -> u64 {
        let sent = self.now();
        let call = Call { session: session.to_owned(), sent, fate: Fate::Open };
        self.calls.insert(token.to_owned(), call);
        sent
    }

    /// A result came for `token`, which says `said` and came from `process`.
    pub fn answered(&mut self, session: &str, token: &str, said: &str, process: &str) {
        if said != token {
            self.cross(session, format!("the call {token} got the answer to {said}"));
        }
        self.end(session, token, Fate::Answered);
        if !process.is_empty() {
            let owner = self.owners.entry(process.to_owned()).or_insert_with(|| session.to_owned());
            if owner != session {
                let what = format!("the server {process} answers this session and {owner}");
                self.cross(session, what);
            }
        }
    }

    /// An error came for `token`.
    pub fn failed(&mut self, session: &str, token: &str) {
        let now = self.now();
        self.end(session, token, Fate::Failed(now));
    }

    /// Nobody is there any more who could be answered.
    pub fn cut(&mut self, session: &str, token: &str) {
        self.end(session, token, Fate::Cut);
    }

    /// The proxy lived, and gave no answer.
    pub fn lost(&mut self, session: &str, token: &str) {
        self.end(session, token, Fate::Lost);
    }

    /// An answer came that nobody waits for.
    pub fn cross(&mut self, session: &str, what: String) {
        self.crossed.push(Violation { session: session.to_owned(), what });
    }

    /// A session ended, or stood still, and should not have.
    pub fn broke(&mut self, session: &str, what: String) {
        self.ends.push(Violation { session: session.to_owned(), what });
    }

    /// By one account, `process` has executed the call so many times. Several accounts of one process don't add up.
    pub fn executed(&mut self, process: &str, token: &str, times: u64) {
        let known = self.executed.entry(process.to_owned()).or_default().entry(token.to_owned()).or_default();
        *known = times.max(*known);
    }

    fn end(&mut self, session: &str, token: &str, fate: Fate) {
        match self.calls.get_mut(token) {
            Some(call) if call.session == session && call.fate == Fate::Open => call.fate = fate,
            Some(call) if call.session != session => {
                let what = format!("the answer to the call {token} of {} came here", call.session);
                self.cross(session, what);
            }
            Some(_) => self.cross(session, format!("the call {token} was answered twice")),
            None => self.cross(session, format!("an answer came for {token}, which no client called")),
        }
    }

    /// The figures, once nothing more is to come.
    pub fn totals(&self) -> Totals {
        let count = |wanted: fn(&Fate) -> bool| self.calls.values().filter(|call| wanted(&call.fate)).count();
        let open = |call: &Call| matches!(call.fate, Fate::Open | Fate::Lost);
        let mut lost: Vec<Violation> = self
            .calls
            .iter()
            .filter(|(_, call)| open(call))
            .map(|(token, call)| Violation {
                session: call.session.clone(),
                what: format!("the call {token} had no answer"),
            })
            .collect();
        lost.sort_unstable();
        Totals {
            sent: self.calls.len(),
            answered: count(|fate| *fate == Fate::Answered),
            failed: count(|fate| matches!(fate, Fate::Failed(_))),
            cut: count(|fate| *fate == Fate::Cut),
            lost,
            crossed: self.crossed.clone(),
            executed_twice: self.executed_twice(),
            broken: self.ends.clone(),
            servers: self.executed.len(),
        }
    }

    fn executed_twice(&self) -> Vec<Violation> {
        let mut times: HashMap<&str, u64> = HashMap::new();
        let mut found = BTreeSet::new();
        for (process, calls) in &self.executed {
            // What the server heard last tells which server it was.
            let heard = calls.keys().filter_map(|token| self.calls.get(token)).map(|call| call.sent).max();
            for (token, count) in calls {
                *times.entry(token).or_default() += count;
                let Some(call) = self.calls.get(token) else {
                    let what = format!("the server {process} executed {token}, which no client called");
                    found.insert(Violation { session: String::new(), what });
                    continue;
                };
                if let Fate::Failed(at) = call.fate
                    && heard > Some(at)
                {
                    let what = format!(
                        "the call {token} was answered with an error, but the next server {process} executed it"
                    );
                    found.insert(Violation { session: call.session.clone(), what });
                }
            }
        }
        for (token, count) in times.into_iter().filter(|(_, count)| *count > 1) {
            let session = self.calls.get(token).map(|call| call.session.clone()).unwrap_or_default();
            found.insert(Violation { session, what: format!("the call {token} was executed {count} times") });
        }
        found.into_iter().collect()
    }
}

/// How sessions ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sessions {
    pub started: usize,
    /// They began while there was no daemon to be had.
    pub refused: usize,
    /// Their servers were lost more often than a session goes on for.
    pub gave_up: usize,
}

/// The beginning of an error, without what is different each time.
pub(super) fn kind_of_error(text: &str) -> String {
    let beginning = text.split(['(', ';']).next().unwrap_or_default();
    beginning
        .chars()
        .map(|c| if c.is_ascii_digit() { '#' } else { c })
        .take(120)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sessions with one well-answered call each.
    fn calm() -> Tally {
        let mut tally = Tally::default();
        for (session, token, process) in [("a", "a1", "p"), ("b", "b1", "q")] {
            tally.sent(session, token);
            tally.executed(process, token, 1);
            tally.answered(session, token, token, process);
        }
        tally
    }

    fn said(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(|violation| format!("{}: {}", violation.session, violation.what)).collect()
    }

    #[test]
    fn a_calm_run_is_clean() {
        let mut tally = calm();
        // Standard error and the ledger tell of the same execution.
        tally.executed("p", "a1", 1);
        let expected = Totals { sent: 2, answered: 2, servers: 2, ..Totals::default() };
        assert_eq!(tally.totals(), expected);
    }

    #[test]
    fn an_unanswered_call_is_lost_unless_nobody_was_there() {
        let mut tally = calm();
        for token in ["a2", "a3", "a4"] {
            tally.sent("a", token);
        }
        tally.cut("a", "a2");
        tally.lost("a", "a3");
        let totals = tally.totals();
        assert_eq!((totals.sent, totals.answered, totals.cut), (5, 2, 1));
        assert_eq!(said(&totals.lost), ["a: the call a3 had no answer", "a: the call a4 had no answer"]);
    }

    #[test]
    fn an_answer_that_is_somebody_elses_is_crossed() {
        let mut tally = calm();
        tally.sent("a", "a2");
        tally.answered("a", "a2", "b1", "p");
        tally.answered("a", "a1", "a1", "p");
        tally.failed("b", "a2");
        tally.sent("b", "b2");
        tally.answered("b", "b2", "b2", "p");
        tally.answered("b", "x", "x", "q");
        assert_eq!(
            said(&tally.totals().crossed),
            [
                "a: the call a2 got the answer to b1",
                "a: the call a1 was answered twice",
                "b: the answer to the call a2 of a came here",
                "b: the server p answers this session and a",
                "b: an answer came for x, which no client called",
            ]
        );
    }

    #[test]
    fn a_call_is_executed_once_in_all_servers_together() {
        let mut tally = calm();
        tally.executed("p", "a1", 2);
        tally.executed("r", "b1", 1);
        assert_eq!(
            said(&tally.totals().executed_twice),
            ["a: the call a1 was executed 2 times", "b: the call b1 was executed 2 times"]
        );
    }

    #[test]
    fn what_was_answered_with_an_error_is_not_asked_again() {
        let mut tally = calm();
        tally.sent("a", "a2");
        // The lost server may execute it, before or after the error.
        tally.failed("a", "a2");
        tally.executed("p", "a2", 1);
        tally.sent("a", "a3");
        tally.executed("r", "a3", 1);
        tally.answered("a", "a3", "a3", "r");
        assert_eq!(tally.totals().executed_twice, []);

        let mut tally = calm();
        tally.sent("a", "a2");
        tally.failed("a", "a2");
        tally.sent("a", "a3");
        tally.executed("r", "a2", 1);
        tally.executed("r", "a3", 1);
        assert_eq!(
            said(&tally.totals().executed_twice),
            ["a: the call a2 was answered with an error, but the next server r executed it"]
        );
    }
}
