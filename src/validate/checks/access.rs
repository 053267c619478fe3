//! Did each call get its own answer, while all clients called at once?

use std::time::Duration;

use crate::exam::check::{Check, Question, Seen, UNEXAMINED, unexamined};
use crate::exam::times::Times;
use crate::human::count;

/// What the clients' calls gave.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What a call was: `tools/call echo`.
    pub operation: String,
    /// How many each client had to do.
    pub calls: usize,
    pub clients: Vec<ClientCalls>,
    /// One more request to each, at the very end.
    pub later: Vec<Later>,
    /// The mean of the calls has to stay below; [`MEAN_BELOW`] where nothing else is said.
    pub mean_below: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
pub struct ClientCalls {
    /// The session's title.
    pub title: String,
    pub calls: Vec<Call>,
    /// Answers to requests that this client never made.
    pub strange_answers: Vec<String>,
    /// Lines on standard output that are no messages.
    pub garbage: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub took: Duration,
    pub outcome: CallOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    Right,
    /// The marker of another call came back.
    Crossed(String),
    /// Anything else, in words.
    Wrong(String),
}

/// A session's sign of life at the end.
#[derive(Debug, Clone)]
pub struct Later {
    pub title: String,
    /// Since its server first answered.
    pub age: Duration,
    pub answered: Seen<()>,
}

impl ClientCalls {
    pub fn right(&self) -> usize {
        self.calls.iter().filter(|call| call.outcome == CallOutcome::Right).count()
    }

    pub fn times(&self) -> Times {
        Times::of(self.calls.iter().map(|call| call.took))
    }
}

impl Access {
    pub fn times(&self) -> Times {
        Times::of(self.clients.iter().flat_map(|client| &client.calls).map(|call| call.took))
    }

    pub fn wanted(&self) -> usize {
        self.calls * self.clients.len()
    }

    pub fn right(&self) -> usize {
        self.clients.iter().map(ClientCalls::right).sum()
    }
}

/// The reference's own target for the mean.
pub const MEAN_BELOW: Duration = Duration::from_secs(2);

/// A container that its session did not claim ends after 4 s (`dock::spec`): whoever looks before this has seen nothing.
pub const STEADY_AFTER: Duration = Duration::from_secs(5);

const RIGHT: Question =
    Question::new("every call gets the right answer", "berth run --trace SERVER, and make the same call");
const CROSSED: Question =
    Question::new("no message crosses to another session", "report it: this must never happen");
const CLEAN: Question =
    Question::new("nothing but messages on standard output", "report it: this must never happen");
const FAST: Question = Question::new(
    "the mean stays under the reference's target",
    "berth ps, and see what else uses the machine",
);
const ALIVE: Question =
    Question::new("every session stays alive", "berth run --trace SERVER, and see why it ends");

pub(super) fn judge(seen: &Access) -> Vec<Check> {
    let times = seen.times();
    let (right, wanted) = (seen.right(), seen.wanted());
    let fine = format!(
        "{right} of {wanted} `{}`, by {} at once",
        seen.operation,
        count(seen.clients.len(), "client")
    );
    let all_right = RIGHT.each(&seen.clients, fine, |client| {
        let wrong = client.calls.iter().find_map(|call| match &call.outcome {
            CallOutcome::Right => None,
            CallOutcome::Crossed(what) | CallOutcome::Wrong(what) => Some(what.as_str()),
        });
        let why = wrong.unwrap_or("not all calls were made");
        (client.right() < seen.calls.max(1))
            .then(|| format!("{}: {} of {} ({why})", client.title, client.right(), seen.calls))
    });
    let crossed = CROSSED.each(
        &seen.clients,
        format!("{}, each with a marker of its own", count(wanted, "call")),
        |client| {
            let in_answers = client.calls.iter().find_map(|call| match &call.outcome {
                CallOutcome::Crossed(what) => Some(what.clone()),
                _ => None,
            });
            let crossed = in_answers.or_else(|| client.strange_answers.first().cloned());
            crossed.map(|what| format!("{} got {what}", client.title))
        },
    );
    let clean = CLEAN.each(&seen.clients, "no other line", |client| {
        client.garbage.first().map(|line| format!("{} got `{line}`", client.title))
    });
    let below = seen.mean_below.unwrap_or(MEAN_BELOW);
    let told = format!("mean {}, target {} s", times.mean_text(), below.as_secs());
    let fast = match times.mean {
        Some(mean) => FAST.holds(mean < below, told),
        None => FAST.failed(UNEXAMINED),
    };
    let youngest = seen.later.iter().map(|later| later.age).min().unwrap_or_default();
    let alive = ALIVE.each(
        &seen.later,
        format!("{} still answer after {:.1} s", seen.later.len(), youngest.as_secs_f64()),
        |later| match &later.answered {
            Err(why) => Some(format!("{}: {why}", later.title)),
            Ok(()) if later.age < STEADY_AFTER => {
                Some(unexamined(&later.title, "it was asked too soon after its start"))
            }
            Ok(()) => None,
        },
    );
    vec![all_right, crossed, clean, fast, alive]
}
