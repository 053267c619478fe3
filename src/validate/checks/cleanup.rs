//! Is anything left of a session after its end, however it ended?

use std::time::Duration;

use super::Where;
use crate::exam::check::{Check, Question, Seen, UNEXAMINED};
use crate::human;

/// How the sessions ended, and what was left.
#[derive(Debug, Clone)]
pub struct Cleanup {
    pub ends: Vec<End>,
    /// Containers that were created and don't run; in a cluster, what is left of sessions' pods.
    pub leftovers: Seen<Vec<String>>,
    /// By when a container must be gone.
    pub within: Duration,
    /// The same where its session was killed, which it may wait for.
    pub killed_within: Duration,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            ends: Vec::new(),
            leftovers: Err(UNEXAMINED.to_owned()),
            within: WITHIN,
            killed_within: WITHIN,
        }
    }
}

#[derive(Debug, Clone)]
pub struct End {
    pub title: String,
    pub by: By,
    /// From the end of the session to the first look at the daemon that no longer showed its container.
    pub gone_after: Seen<Duration>,
    /// The exit code of `berth run`; `None`: a signal ended it.
    pub exit: Seen<Option<i32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Its standard input was closed.
    Eof,
    Sigterm,
    Sigkill,
}

/// A container must be gone by then.
pub const WITHIN: Duration = Duration::from_secs(5);

const NEXT: &str = "berth ps, then `berth kill SESSION`";
const EOF: Question = Question::new("nothing is left after the end of input", NEXT);
const SIGTERM: Question = Question::new("nothing is left after SIGTERM", NEXT);
const SIGKILL: Question = Question::new("nothing is left after SIGKILL", NEXT);
const EXIT: Question =
    Question::new("ended sessions exit with 0", "berth run --trace SERVER, and end its input");
const LEFTOVERS: Question = Question::new("no container was created and never started", "berth gc");

const PODS: Question = Question::new("no pod is left once a berth has looked", "berth gc");

pub(super) fn judge(seen: &Cleanup, place: Where) -> Vec<Check> {
    let left = match place {
        Where::Daemon => LEFTOVERS,
        Where::Cluster => PODS,
    };
    let gone = |question: Question, by: By| {
        let ends = seen.ends.iter().filter(|end| end.by == by);
        let slowest =
            ends.clone().filter_map(|end| end.gone_after.as_ref().ok()).max().copied().unwrap_or_default();
        let count = ends.clone().count();
        let within = if by == By::Sigkill { seen.killed_within } else { seen.within };
        let fine = format!("the slowest of {count} was gone after {:.2} s", slowest.as_secs_f64());
        question.each(ends, fine, |end| match &end.gone_after {
            Ok(after) if *after <= within => None,
            Ok(after) => Some(format!("{} took {:.1} s", end.title, after.as_secs_f64())),
            Err(why) => Some(format!("{}: {why}", end.title)),
        })
    };
    let orderly = seen.ends.iter().filter(|end| end.by != By::Sigkill);
    let exit =
        EXIT.each(orderly.clone(), human::count(orderly.clone().count(), "session"), |end| match &end.exit {
            Ok(Some(0)) => None,
            Ok(Some(code)) => Some(format!("{} exited with {code}", end.title)),
            Ok(None) => Some(format!("{} was killed", end.title)),
            Err(why) => Some(format!("{}: {why}", end.title)),
        });
    let leftovers = match &seen.leftovers {
        Ok(names) => left.each([()], "none", |()| (!names.is_empty()).then(|| names.join(", "))),
        Err(why) => left.failed(why.as_str()),
    };
    vec![gone(EOF, By::Eof), gone(SIGTERM, By::Sigterm), gone(SIGKILL, By::Sigkill), exit, leftovers]
}
